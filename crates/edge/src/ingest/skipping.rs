//! What the log is told of messages that no origin takes.

use std::ops::Range;

/// Whether messages of a publication are being left out. That is told when it begins and when it is over, and not in between:
/// without video each message is a GOP by itself, and goes by itself.
#[derive(Debug, Default)]
pub(super) struct Skipping {
    underway: Option<Skipped>,
}

/// Messages that were left out, within these numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skipped {
    /// The first one's number.
    pub(super) from: u64,
    /// The last one's.
    pub(super) to: u64,
    /// How many.
    pub(super) messages: u64,
}

/// What is worth a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// From this number on messages are left out.
    Began(u64),
    /// An origin has what comes after these.
    Ended(Skipped),
}

impl Skipping {
    /// A message came, and for it these numbers were `skipped`. All below `acked_below` is committed by then.
    pub(super) fn note(&mut self, skipped: Range<u64>, acked_below: impl FnOnce() -> u64) -> Option<Turn> {
        let Range { start: from, end } = skipped;
        match &mut self.underway {
            None if from < end => {
                self.underway = Some(Skipped { from, to: end - 1, messages: end - from });
                Some(Turn::Began(from))
            }
            Some(sum) if from < end => {
                sum.to = end - 1;
                sum.messages += end - from;
                None
            }
            Some(sum) if acked_below() > sum.to => self.end(),
            Some(_) | None => None,
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) -> Option<Turn> {
        self.underway.take().map(Turn::Ended)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use carry::{Entry, Limits};
    use media::{MediaMessage, Medium};

    use super::*;
    use crate::ingest::replay_queue::{ReplayQueue, SharedBudget};

    /// 43 messages a second, for so long; the number of pushes that skipped something, and what is told of it.
    async fn radio(queue: &ReplayQueue, skipping: &mut Skipping, seconds: u32) -> (usize, Vec<Turn>) {
        let (mut skips, mut told) = (0, Vec::new());
        for _ in 0..43 * seconds {
            let payload = Bytes::from_static(&[0xaf, 1, 0x21]);
            let message = MediaMessage { medium: Medium::Audio, timestamp: 0, payload };
            let skipped = queue.push(Entry::Message(message)).await.unwrap();
            skips += usize::from(!skipped.is_empty());
            told.extend(skipping.note(skipped, || queue.acked_below()));
            tokio::time::advance(Duration::from_secs(1) / 43).await;
        }
        (skips, told)
    }

    #[tokio::test(start_paused = true)]
    async fn sound_that_no_origin_takes_is_told_when_it_begins_to_go_and_when_it_no_longer_does() {
        let limits = Limits { bytes: 1 << 20, duration: Duration::from_secs(10) };
        let queue = ReplayQueue::new(&SharedBudget::new(usize::MAX), limits);
        let mut skipping = Skipping::default();
        let (skips, told) = radio(&queue, &mut skipping, 20).await;
        assert!(skips > 400, "{skips}");
        assert_eq!(told, [Turn::Began(0)]);
        queue.ack_below(43 * 20);
        let (_, told) = radio(&queue, &mut skipping, 1).await;
        let messages = skips as u64;
        assert_eq!(told, [Turn::Ended(Skipped { from: 0, to: messages - 1, messages })]);
        assert_eq!(skipping.end(), None, "it is over");
    }

    #[test]
    fn what_is_left_out_until_the_encoder_leaves_is_told_then() {
        let mut skipping = Skipping::default();
        assert_eq!(skipping.note(5..7, || 0), Some(Turn::Began(5)));
        assert_eq!(skipping.note(7..9, || 0), None);
        assert_eq!(skipping.note(0..0, || 8), None, "the origin has not come past it");
        assert_eq!(skipping.end(), Some(Turn::Ended(Skipped { from: 5, to: 8, messages: 4 })));
    }
}
