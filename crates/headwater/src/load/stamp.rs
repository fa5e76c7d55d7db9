//! What each frame of a measured stream says of itself: its publication, its number, and when it was sent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Video or audio: each is numbered for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// H.264.
    Video,
    /// AAC.
    Audio,
}

/// Both lanes, in the order of their index.
pub(super) const LANES: [Lane; 2] = [Lane::Video, Lane::Audio];

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The publisher's start, in seconds since 1970: a later publisher's is higher.
    pub run: u32,
    /// Counted from 0 in each lane.
    pub number: u32,
    /// When it was handed to the publisher's socket, in microseconds since 1970.
    pub sent_us: u64,
}

/// The bytes of a stamp: a mark and twenty digits.
pub(super) const STAMP_BYTES: usize = MARK.len() + RUN_DIGITS + NUMBER_DIGITS + TIME_DIGITS;
/// Behind tag header (5), length (4) and type (1) of the NAL unit.
pub(super) const VIDEO_AT: usize = 10;
/// Behind tag header (2) and the first byte of the AAC frame.
pub(super) const AUDIO_AT: usize = 3;

/// What stands in front; no byte of it or of a digit is 0, so that no start code can come of them.
const MARK: [u8; 4] = *b"HWld";
const RUN_DIGITS: usize = 5;
const NUMBER_DIGITS: usize = 5;
const TIME_DIGITS: usize = 10;

impl Lane {
    /// Its place in arrays.
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// The lane of an RTMP message type or FLV tag type, and where its stamps stand.
    fn of(kind: u8) -> Option<(Self, usize)> {
        match kind {
            8 => Some((Self::Audio, AUDIO_AT)),
            9 => Some((Self::Video, VIDEO_AT)),
            _ => None,
        }
    }
}

impl Stamp {
    /// Appends it.
    pub(super) fn write(self, payload: &mut Vec<u8>) {
        payload.extend(MARK);
        put(payload, u64::from(self.run), RUN_DIGITS);
        put(payload, u64::from(self.number), NUMBER_DIGITS);
        put(payload, self.sent_us, TIME_DIGITS);
    }

    /// Reads it from the beginning of a message of this type; `None` for what has none, such as decoder set-up.
    pub(super) fn read(kind: u8, start: &[u8]) -> Option<(Lane, Self)> {
        let (lane, at) = Lane::of(kind)?;
        let digits = start.get(at..at + STAMP_BYTES)?.strip_prefix(&MARK)?;
        let (run, digits) = digits.split_at(RUN_DIGITS);
        let (number, time) = digits.split_at(NUMBER_DIGITS);
        // Truncation happens to what no publisher of ours wrote.
        Some((lane, Self { run: take(run) as u32, number: take(number) as u32, sent_us: take(time) }))
    }
}

/// The system's clock in microseconds since 1970. Publisher and viewers of one process, or of one machine, read the same.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // 64 bits of microseconds are half a million years.
    since.as_micros() as u64
}

/// Seven bits a byte, the highest first.
fn put(payload: &mut Vec<u8>, value: u64, digits: usize) {
    payload.extend((0..digits).rev().map(|digit| 0x80 | value.checked_shr(7 * digit as u32).unwrap_or(0) as u8));
}

fn take(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, digit| value << 7 | u64::from(digit & 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back_and_hold_no_zero() {
        for (run, number, sent_us) in [(0, 0, 0), (1, 128, 1_800_000_000_000_000), (u32::MAX, u32::MAX, u64::MAX)] {
            let stamp = Stamp { run, number, sent_us };
            for (kind, lane, at) in [(9, Lane::Video, VIDEO_AT), (8, Lane::Audio, AUDIO_AT)] {
                let mut payload = vec![1; at];
                stamp.write(&mut payload);
                assert_eq!(payload.len(), at + STAMP_BYTES);
                assert!(payload.iter().all(|byte| *byte != 0));
                assert_eq!(Stamp::read(kind, &payload), Some((lane, stamp)));
                assert_eq!(Stamp::read(kind, &payload[..payload.len() - 1]), None);
                assert_eq!(Stamp::read(18, &payload), None);
            }
        }
    }
}
