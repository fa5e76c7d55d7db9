//! An encoder: numbered messages at a steady rate.

use bytes::Bytes;
use media::{MediaMessage, Medium, PublicationId, StreamName};

/// One encoder's session after another, each with a publication of its own.
#[derive(Debug, Clone)]
pub struct Encoder {
    pub name: StreamName,
    pub publication: PublicationId,
    /// The number of its next message.
    pub next: u64,
    pub begins: u64,
    period: u64,
}

/// Messages from one keyframe to the next; every other one is sound.
const GOP: u64 = 8;
/// The first keyframe comes behind the set-up of video and of audio.
const FIRST_KEY: u64 = 2;

impl Encoder {
    /// Begins at a time in microseconds; a message each `period`.
    pub fn new(name: StreamName, id: u128, begins: u64, period: u64) -> Self {
        Self { name, publication: PublicationId::from_bits(id << 16), next: 0, begins, period }
    }

    /// The same encoder, with a session of its own.
    pub fn begin_again(&mut self) {
        self.begins += self.next * self.period;
        self.publication = PublicationId::from_bits(self.publication.bits() + 1);
        self.next = 0;
    }

    pub fn has_begun(&self, now: u64) -> bool {
        now >= self.begins
    }

    /// The next message, if it is due.
    pub fn poll(&mut self, now: u64) -> Option<(u64, MediaMessage)> {
        let number = self.next;
        if now < self.begins + number * self.period {
            return None;
        }
        self.next += 1;
        let (medium, first, packet) = match number {
            0 => (Medium::Video, 0x17, 0),
            1 => (Medium::Audio, 0xaf, 0),
            _ if number % 2 == 1 => (Medium::Audio, 0xaf, 1),
            _ if number % GOP == FIRST_KEY => (Medium::Video, 0x17, 1),
            _ => (Medium::Video, 0x27, 1),
        };
        let mut payload = vec![first, packet, 0, 0, 0];
        payload.extend(self.publication.bits().to_be_bytes());
        payload.extend(number.to_be_bytes());
        let timestamp = u32::try_from(number * self.period / 1000).expect("short streams");
        Some((number, MediaMessage { medium, timestamp, payload: Bytes::from(payload) }))
    }
}

/// Publication and number that a payload carries.
pub fn stamp(payload: &[u8]) -> Option<(PublicationId, u64)> {
    let id = u128::from_be_bytes(payload.get(5..21)?.try_into().ok()?);
    let number = u64::from_be_bytes(payload.get(21..29)?.try_into().ok()?);
    Some((PublicationId::from_bits(id), number))
}
