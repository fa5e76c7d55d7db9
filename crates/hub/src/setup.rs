//! What a decoder must have before the first frame.

use bytes::Bytes;
use media::{
    Frame,
    tag::{ConfigSlot, classify, is_clear_metadata, is_metadata},
};

use crate::item::{Body, Event};

/// Metadata and the newest valid set-up of every track, in the order in which they first came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    metadata: Option<Frame>,
    configs: Vec<(ConfigSlot, Frame)>,
}

/// More tracks than this are relayed but not kept for late joiners.
const SLOTS_MAX: usize = 64;

impl Setup {
    /// The set-up that these frames make, as [`Setup::frames`] puts them out.
    pub(crate) fn of(frames: Vec<Frame>) -> Self {
        frames.iter().fold(Self::default(), |setup, frame| setup.after_frame(frame).unwrap_or(setup))
    }

    /// The set-up after this item, if the item changes it.
    pub(crate) fn after(&self, body: &Body) -> Option<Self> {
        match body {
            Body::Event(Event::Open { .. }) => Some(Self::default()),
            Body::Event(Event::MetadataCleared) => self.without_metadata(),
            Body::Event(Event::Close { .. } | Event::Skip { .. } | Event::Loss { .. }) => None,
            Body::Frame(frame) | Body::Setup(frame) => self.after_frame(frame),
        }
    }

    fn after_frame(&self, frame: &Frame) -> Option<Self> {
        match frame.kind {
            media::Kind::Data if is_metadata(&frame.payload) => self.with_metadata(frame),
            media::Kind::Data if is_clear_metadata(&frame.payload) => self.without_metadata(),
            media::Kind::Config => self.with_config(frame),
            _ => None,
        }
    }

    fn with_metadata(&self, frame: &Frame) -> Option<Self> {
        let is_held = self.metadata.as_ref().is_some_and(|held| held.payload == frame.payload);
        (!is_held).then(|| Self { metadata: Some(kept(frame)), configs: self.configs.clone() })
    }

    fn without_metadata(&self) -> Option<Self> {
        self.metadata.is_some().then(|| Self { metadata: None, configs: self.configs.clone() })
    }

    fn with_config(&self, frame: &Frame) -> Option<Self> {
        let slot = classify(frame.medium, &frame.payload).slot?;
        let mut next = self.clone();
        match next.configs.iter().position(|(held, _)| *held == slot) {
            Some(at) if next.configs[at].1.payload == frame.payload => return None,
            Some(at) => next.configs[at].1 = kept(frame),
            None if next.configs.len() < SLOTS_MAX => next.configs.push((slot, kept(frame))),
            None => return None,
        }
        Some(next)
    }

    /// What it takes in memory. Payloads that it shares with the set-up before it count again.
    pub(crate) fn bytes(&self) -> u64 {
        let payloads: usize = self.frames().map(|frame| frame.payload.len()).sum();
        (payloads + size_of_val(&self.configs[..])) as u64
    }

    /// Metadata first, then each track's set-up, as they came.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.metadata.iter().chain(self.configs.iter().map(|(_, frame)| frame))
    }

    /// Metadata first, then each track's set-up, stamped with the time of the first frame that follows. Metadata has the
    /// time 0: ffmpeg makes a subtitle stream of metadata that has another.
    pub(crate) fn frames_at(&self, dts: u64) -> impl Iterator<Item = Frame> + '_ {
        let metadata = self.metadata.iter().map(|frame| Frame { dts: 0, ..frame.clone() });
        metadata.chain(self.configs.iter().map(move |(_, frame)| Frame { dts, ..frame.clone() }))
    }
}

/// The frame in a buffer of its own, since set-up is kept for as long as the stream lives: whoever wrote it may have cut it
/// from a much longer one.
fn kept(frame: &Frame) -> Frame {
    Frame { payload: Bytes::copy_from_slice(&frame.payload), ..frame.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::samples;

    #[test]
    fn set_up_does_not_keep_what_came_with_it() {
        let Body::Frame(config) = samples::config() else { panic!("not a frame") };
        let metadata = Frame::classify(media::Medium::Data, 0, Bytes::from_static(b"\x02\0\x0aonMetaData"));
        for frame in [config, metadata] {
            let came_with = Arc::new([&frame.payload[..], &[0; 1000]].concat());
            let payload = Bytes::from_owner(Buffer(came_with.clone())).slice(..frame.payload.len());
            let setup = Setup::of(vec![Frame { payload, ..frame.clone() }]);
            assert!(setup.frames().eq([&frame]));
            assert_eq!(Arc::strong_count(&came_with), 1);
        }
    }

    /// What a frame in it holds on to.
    struct Buffer(Arc<Vec<u8>>);

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
}
