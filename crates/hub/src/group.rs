//! What readers are shown at once.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::item::{Body, Event, Item, WireForm};

/// The items that stand between two marks: every paced reader that has read up to the first gets all of them at once, and
/// sends the same bytes. They are put together once, by whoever asks first.
#[derive(Debug)]
pub struct Group {
    items: Box<[Arc<Item>]>,
    frames: u64,
    wire: [OnceLock<Bytes>; WireForm::COUNT],
}

/// Longer groups are not put together: readers take their items one by one. It bounds what one reader that has come to a
/// halt in a group keeps alive.
const GROUP_BYTES_MAX: usize = 1 << 20;

impl Group {
    /// The items, unless they are too many bytes, leave positions out, or tell of the end of the stream: those are for
    /// each reader to go through.
    pub(crate) fn of(items: Vec<Arc<Item>>) -> Option<Self> {
        let mut bytes = 0;
        let mut frames = 0;
        for (item, due) in items.iter().zip(items.first()?.seq..) {
            match &item.body {
                _ if item.seq != due => return None,
                Body::Event(Event::Close { .. }) => return None,
                Body::Event(_) => {}
                Body::Frame(frame) | Body::Setup(frame) => {
                    bytes += frame.payload.len();
                    frames += 1;
                }
            }
        }
        let wire = Default::default();
        (bytes <= GROUP_BYTES_MAX).then(|| Self { items: items.into_boxed_slice(), frames, wire })
    }

    /// What it is made of, oldest first, without a gap; never none.
    pub fn items(&self) -> &[Arc<Item>] {
        &self.items
    }

    /// How many of the items are frames.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// All of it in this form: made by whoever asks first, shared by the rest.
    pub fn wire(&self, form: WireForm, make: impl FnOnce(&[Arc<Item>]) -> Bytes) -> &Bytes {
        self.wire[form as usize].get_or_init(|| make(&self.items))
    }

    /// The first position.
    pub(crate) fn first_seq(&self) -> u64 {
        self.items.first().map_or(0, |item| item.seq)
    }

    /// The position after the last.
    pub fn next_seq(&self) -> u64 {
        self.items.last().map_or(0, |item| item.seq + 1)
    }
}

#[cfg(test)]
mod tests {
    use media::{Frame, Kind, Medium, PublicationId};

    use super::*;
    use crate::samples::{audio, key};

    fn items(bodies: impl IntoIterator<Item = (u64, Body)>) -> Vec<Arc<Item>> {
        bodies.into_iter().map(|(seq, body)| Arc::new(Item::new(seq, body))).collect()
    }

    #[test]
    fn it_is_put_together_once_for_all() {
        let group = Group::of(items([(7, audio(0)), (8, key(1)), (9, Body::Event(Event::MetadataCleared))])).unwrap();
        assert_eq!((group.first_seq(), group.next_seq(), group.frames()), (7, 10, 2));
        let first = group.wire(WireForm::Rtmp, |items| Bytes::from(vec![items.len() as u8])).clone();
        assert_eq!(group.wire(WireForm::Rtmp, |_| unreachable!("it is there")), &first);
    }

    #[test]
    fn what_each_reader_must_look_at_is_no_group() {
        let close = Body::Event(Event::Close { publication: PublicationId::from_bits(1) });
        let payload = Bytes::from(vec![0; GROUP_BYTES_MAX + 1]);
        let huge = Frame { medium: Medium::Video, kind: Kind::Key, track: 0, dts: 0, composition_ms: 0, payload };
        assert!(Group::of(Vec::new()).is_none());
        assert!(Group::of(items([(1, audio(0)), (3, audio(1))])).is_none());
        assert!(Group::of(items([(1, audio(0)), (2, close)])).is_none());
        assert!(Group::of(items([(1, Body::Frame(huge))])).is_none());
    }
}
