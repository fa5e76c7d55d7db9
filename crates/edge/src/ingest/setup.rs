//! What a decoder must have, kept after the origin has acknowledged it.

use media::{
    MediaMessage, Medium,
    tag::{ConfigSlot, classify, is_clear_metadata, is_metadata},
};

use super::outbox::Entry;

/// The metadata and the newest set-up of each track that an encoder has sent: an origin that comes in without memory of
/// the publication gets them again.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    metadata: Option<MediaMessage>,
    configs: Vec<(ConfigSlot, MediaMessage)>,
}

/// More tracks than this are sent on, but not kept.
const SLOTS_MAX: usize = 64;

impl Setup {
    /// Keeps an entry, if it is set-up.
    pub(crate) fn keep(&mut self, entry: Entry) {
        match entry {
            Entry::MetadataCleared => self.metadata = None,
            Entry::Message(message) if message.medium == Medium::Data => {
                if is_metadata(&message.payload) {
                    self.metadata = Some(message);
                } else if is_clear_metadata(&message.payload) {
                    self.metadata = None;
                }
            }
            Entry::Message(message) => {
                if let Some(slot) = classify(message.medium, &message.payload).slot {
                    self.keep_config(slot, message);
                }
            }
        }
    }

    fn keep_config(&mut self, slot: ConfigSlot, message: MediaMessage) {
        match self.configs.iter().position(|(held, _)| *held == slot) {
            Some(at) => self.configs[at].1 = message,
            None if self.configs.len() < SLOTS_MAX => self.configs.push((slot, message)),
            None => {}
        }
    }

    /// Metadata first.
    pub(crate) fn messages(&self) -> Vec<MediaMessage> {
        let configs = self.configs.iter().map(|(_, message)| message.clone());
        self.metadata.iter().cloned().chain(configs).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_newest_set_up_is_kept_and_nothing_else() {
        let mut setup = Setup::default();
        let audio = |payload: &'static [u8]| {
            let payload = Bytes::from_static(payload);
            Entry::Message(MediaMessage { medium: Medium::Audio, timestamp: 7, payload })
        };
        for payload in [&[0xaf, 0, 0x12, 0x10][..], &[0xaf, 1, 0x21], &[0xaf, 0, 0x11, 0x90]] {
            setup.keep(audio(payload));
        }
        let kept: Vec<_> = setup.messages().into_iter().map(|message| message.payload).collect();
        assert_eq!(kept, [Bytes::from_static(&[0xaf, 0, 0x11, 0x90])]);
    }
}
