//! Where an item of a stream's log comes from.

use crate::PublicationId;

/// Which message of which publication an item was made of. Enough to go on with the publication, and with its clock,
/// from any place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// The encoder's session.
    pub publication: PublicationId,
    /// The number of the message in it; the last one that it stands for, if it stands for several. None: the item was
    /// not made of a message.
    pub number: Option<u64>,
    /// How the encoder's clock stood, for a coded frame.
    pub clock: Option<Clock>,
}

impl Provenance {
    /// Of an item that this publication brought, and that was made of no message.
    pub fn of(publication: PublicationId) -> Self {
        Self { publication, number: None, clock: None }
    }

    /// The same, made of the message with this number.
    pub fn numbered(self, number: u64) -> Self {
        Self { number: Some(number), ..self }
    }
}

/// How an encoder's clock is put on the stream's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Clock {
    /// The encoder's time in milliseconds, unwrapped.
    pub source_ms: i64,
    /// What is added to it, in milliseconds.
    pub offset_ms: i64,
}

impl Clock {
    /// The time on the stream's timeline in milliseconds; the timeline begins at 0.
    pub fn dts(self) -> u64 {
        u64::try_from(self.source_ms.saturating_add(self.offset_ms)).unwrap_or(0)
    }
}
