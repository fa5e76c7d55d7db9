//! What an encoder has sent and the origin has not acknowledged.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use media::MediaMessage;
use tokio::sync::Notify;

use super::setup::Setup;

/// The numbered messages of one publication between its encoder and the active origin.
///
/// They stay until they are acked, so that they can be sent again to whoever is active next. When it is full, the
/// encoder waits: its socket is not read.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes_max: usize,
    queue: Mutex<Queue>,
    /// Something came in, or the end.
    filled: Notify,
    /// Something was acked, or the sender has given up.
    drained: Notify,
}

/// One numbered thing of a publication.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    /// A message.
    Message(MediaMessage),
    /// The encoder withdrew its metadata.
    MetadataCleared,
}

impl Entry {
    fn bytes(&self) -> usize {
        /// What an entry costs beside its payload, so that empty messages are bounded too.
        const OVERHEAD: usize = 64;
        match self {
            Self::Message(message) => message.payload.len() + OVERHEAD,
            Self::MetadataCleared => OVERHEAD,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// All below this number is acked; above the last entry's once the end is.
    acked_below: u64,
    /// What a decoder must have, of what is acked and gone.
    setup: Setup,
    bytes: usize,
    end: Option<End>,
    given_up: bool,
}

/// How a publication ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The encoder said so.
    Closed,
    /// Its connection was lost.
    Lost,
}

/// What is to be sent next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Entries from this number on.
    Entries(u64, Vec<Entry>),
    /// All was sent; the next number, and how the publication ends.
    End(u64, End),
}

/// The origin does not take this publication any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenUp;

impl Outbox {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, queue: Mutex::default(), filled: Notify::new(), drained: Notify::new() }
    }

    /// Adds an entry, after waiting for room. Safe to drop at the await: then the entry was not added.
    pub(crate) async fn push(&self, entry: Entry) -> Result<(), GivenUp> {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            {
                let mut queue = self.lock();
                if queue.given_up {
                    return Err(GivenUp);
                }
                if queue.bytes < self.bytes_max {
                    queue.bytes += entry.bytes();
                    queue.entries.push_back(entry);
                    self.filled.notify_waiters();
                    return Ok(());
                }
            }
            drained.await;
        }
    }

    /// No more entries come.
    pub(crate) fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.filled.notify_waiters();
    }

    /// Nothing more is taken or sent; whoever waits for room is told.
    pub(crate) fn give_up(&self) {
        self.lock().given_up = true;
        self.drained.notify_waiters();
    }

    /// What comes at `number` and after, up to `bytes_max` of it; waits until there is something. Safe to drop at the
    /// await.
    pub(crate) async fn next(&self, number: u64, bytes_max: usize) -> Next {
        loop {
            let filled = self.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            if let Some(next) = self.lock().next(number, bytes_max) {
                return next;
            }
            filled.await;
        }
    }

    /// Lets go of all entries below `number`: the origin has them.
    pub(crate) fn ack_below(&self, number: u64) {
        let mut queue = self.lock();
        queue.acked_below = queue.acked_below.max(number);
        while queue.first < number {
            let Some(entry) = queue.entries.pop_front() else { break };
            queue.first += 1;
            queue.bytes -= entry.bytes();
            queue.setup.keep(entry);
        }
        drop(queue);
        self.drained.notify_waiters();
    }

    /// The first number that is not acked.
    pub(crate) fn first(&self) -> u64 {
        self.lock().first
    }

    /// True once no more entries come.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// True once the publication has ended and all of it is acked, a clean end included.
    pub(crate) fn is_done(&self) -> bool {
        let queue = self.lock();
        let after_last = queue.first + queue.entries.len() as u64;
        match queue.end {
            Some(End::Closed) => queue.acked_below > after_last,
            Some(End::Lost) => queue.entries.is_empty(),
            None => false,
        }
    }

    /// Metadata and decoder set-up that an origin without memory of this publication needs before what is unacked.
    pub(crate) fn setup(&self) -> Vec<MediaMessage> {
        self.lock().setup.messages()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn next(&self, number: u64, bytes_max: usize) -> Option<Next> {
        let number = number.max(self.first);
        let at = usize::try_from(number - self.first).unwrap_or(usize::MAX).min(self.entries.len());
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.entries.range(at..) {
            if bytes >= bytes_max {
                break;
            }
            bytes += entry.bytes();
            entries.push(entry.clone());
        }
        match self.end {
            _ if !entries.is_empty() => Some(Next::Entries(number, entries)),
            Some(end) => Some(Next::End(self.first + self.entries.len() as u64, end)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::Medium;

    use super::*;

    fn message(size: usize) -> Entry {
        let payload = Bytes::from(vec![0xaf; size]);
        Entry::Message(MediaMessage { medium: Medium::Audio, timestamp: 0, payload })
    }

    #[tokio::test]
    async fn entries_stay_until_they_are_acked() {
        let outbox = Outbox::new(1 << 20);
        for _ in 0..3 {
            outbox.push(message(10)).await.unwrap();
        }
        assert_eq!(outbox.next(0, 1 << 20).await, Next::Entries(0, vec![message(10); 3]));
        outbox.ack_below(2);
        assert_eq!(outbox.first(), 2);
        assert_eq!(outbox.next(0, 1 << 20).await, Next::Entries(2, vec![message(10)]), "again, from the first unacked");
        outbox.end(End::Closed);
        assert_eq!(outbox.next(3, 1 << 20).await, Next::End(3, End::Closed));
        outbox.ack_below(3);
        assert!(!outbox.is_done(), "the origin has all messages and does not know yet that they were the last");
        outbox.ack_below(4);
        assert!(outbox.is_done());
    }

    #[tokio::test]
    async fn a_full_outbox_makes_the_encoder_wait() {
        let outbox = Outbox::new(100);
        outbox.push(message(100)).await.unwrap();
        let wait = outbox.push(message(1));
        tokio::pin!(wait);
        assert!(futures_util::poll!(&mut wait).is_pending());
        outbox.ack_below(1);
        assert!(futures_util::poll!(&mut wait).is_ready());
        outbox.give_up();
        assert_eq!(outbox.push(message(1)).await, Err(GivenUp));
    }

    #[tokio::test]
    async fn batches_are_bounded_and_the_sender_waits_when_there_is_nothing() {
        let outbox = Outbox::new(1 << 20);
        {
            let next = outbox.next(0, 100);
            tokio::pin!(next);
            assert!(futures_util::poll!(&mut next).is_pending());
            outbox.push(message(100)).await.unwrap();
            outbox.push(message(100)).await.unwrap();
            assert_eq!(next.await, Next::Entries(0, vec![message(100)]));
        }
        assert_eq!(outbox.next(1, 100).await, Next::Entries(1, vec![message(100)]));
    }
}
