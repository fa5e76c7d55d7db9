//! What an FLV file says at its beginning of what is in it.
//!
//! Players of browsers wait for the set-up of each medium that is announced, and play nothing before. One that was not
//! announced and comes all the same is not played at all. So a medium is left out only where it will not come.

use std::sync::Arc;

use hub::Item;
use media::{Frame, Kind, Medium, flv::Contents, tag};
use rtmp::{AmfLimits, amf::amf0::Decoder};

/// After so many items a stream that says nothing of itself has been going for seconds, and has all that it will have.
const SETTLED_ITEMS: u64 = 100;
/// Video that comes by itself for so long has no sound between, whose frames are some 20 ms long.
const ALONE_MS: u64 = 200;
/// Encoders' metadata has some twenty values. What has more than this names nothing: it is gone through for each viewer who
/// joins, and encoders are not to choose what that costs.
const VALUES_MAX: usize = 256;

/// The contents of a file that begins with these items, set-up first, of a stream that has had `items_total`. Encoders name in
/// the metadata what they send; one that names nothing is believed to send both, unless what it sends has been one medium for
/// a while.
pub(super) fn of(items: &[Arc<Item>], items_total: u64) -> Contents {
    let (mut found, mut named) = (Contents::default(), Contents::default());
    for frame in frames(items) {
        match frame.medium {
            Medium::Audio => found.audio = true,
            Medium::Video => found.video = true,
            Medium::Data => named = named.or(named_by(frame)),
        }
    }
    match named != Contents::default() || (items_total >= SETTLED_ITEMS && is_alone(items)) {
        true => found.or(named),
        false => Contents::BOTH,
    }
}

/// Whether what is not among the items was not there for a while.
fn is_alone(items: &[Arc<Item>]) -> bool {
    let coded = || frames(items).filter(|frame| matches!(frame.kind, Kind::Key | Kind::Delta));
    let (Some(first), Some(last)) = (coded().next(), coded().last()) else { return false };
    // Readers start with sound only where there is no video in memory.
    first.medium == Medium::Audio || last.dts.saturating_sub(first.dts) >= ALONE_MS
}

fn named_by(frame: &Frame) -> Contents {
    if !tag::is_metadata(&frame.payload) {
        return Contents::default();
    }
    let limits = AmfLimits { values_max: VALUES_MAX, ..AmfLimits::default() };
    let mut values = Decoder::new(&frame.payload, &limits);
    let members = std::iter::from_fn(|| values.next_value().ok().flatten()).find(|value| value.members().is_some());
    let members = members.as_ref().and_then(|members| members.members()).unwrap_or_default();
    let is_named = |medium: &str, has: &str| {
        members.iter().any(|(name, value)| match value.as_bool() {
            Some(flag) => flag && name == has,
            None => name.starts_with(medium) && !value.is_nothing(),
        })
    };
    Contents { audio: is_named("audio", "hasAudio"), video: is_named("video", "hasVideo") }
}

fn frames(items: &[Arc<Item>]) -> impl Iterator<Item = &Frame> {
    items.iter().filter_map(|item| item.frame())
}
