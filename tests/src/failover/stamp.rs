//! Frames that carry their number: 30 video frames a second with a keyframe each second, and audio beside.

use std::time::Duration;

use bytes::Bytes;

use crate::{flv::Tag, synthetic};

/// Video or audio: each is numbered for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// H.264.
    Video,
    /// AAC.
    Audio,
}

/// Both lanes, in the order of their index.
pub const LANES: [Lane; 2] = [Lane::Video, Lane::Audio];
/// Every so many video frames is a keyframe.
pub const GOP: u32 = 30;

/// What stands in front of the number; no byte of it or of the number is 0, so that no start code can come of them.
const MARK: [u8; 4] = *b"HWst";

impl Lane {
    /// Its place in arrays.
    pub fn index(self) -> usize {
        self as usize
    }

    /// When the frame of this number is due, from the first one on.
    pub fn due(self, number: u32) -> Duration {
        let number = u64::from(number);
        match self {
            Self::Video => Duration::from_micros(number * 1_000_000 / 30),
            Self::Audio => Duration::from_micros(number * 1024 * 1_000_000 / 44_100),
        }
    }
}

/// The decoder set-ups of both lanes.
pub fn configs(timestamp: u32) -> [Tag; 2] {
    let video = Tag { timestamp, ..synthetic::config() };
    let audio = Tag { type_id: 8, timestamp, payload: Bytes::from_static(&[0xaf, 0, 0x12, 0x10]) };
    [video, audio]
}

/// A video frame.
pub fn video(number: u32, timestamp: u32, key: bool) -> Tag {
    let size: u32 = if key { 3000 } else { 600 };
    let mut payload = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    payload.extend(size.to_be_bytes());
    payload.push(if key { 0x65 } else { 0x41 });
    stamp(&mut payload, number);
    payload.resize(9 + size as usize, 0xa5);
    Tag { type_id: 9, timestamp, payload: payload.into() }
}

/// An audio frame.
pub fn audio(number: u32, timestamp: u32) -> Tag {
    let mut payload = vec![0xaf, 1, 0x21];
    stamp(&mut payload, number);
    payload.resize(180, 0xa5);
    Tag { type_id: 8, timestamp, payload: payload.into() }
}

/// The lane and number of a frame made here; `None` for everything else.
pub fn read(tag: &Tag) -> Option<(Lane, u32)> {
    let (lane, at) = match tag.type_id {
        9 => (Lane::Video, 10),
        8 => (Lane::Audio, 3),
        _ => return None,
    };
    let digits = tag.payload.get(at..at + 9)?.strip_prefix(&MARK)?;
    let number = digits.iter().fold(0u64, |number, digit| number << 7 | u64::from(digit & 0x7f));
    Some((lane, u32::try_from(number).ok()?))
}

fn stamp(payload: &mut Vec<u8>, number: u32) {
    payload.extend(MARK);
    payload.extend((0..5).rev().map(|digit| 0x80 | (number >> (7 * digit)) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_frames_and_never_make_a_start_code() {
        for number in [0, 1, 127, 128, 0x0001_0000, u32::MAX] {
            for (lane, tag) in [(Lane::Video, video(number, 7, true)), (Lane::Audio, audio(number, 7))] {
                assert_eq!(read(&tag), Some((lane, number)));
                assert!(tag.is_coded() && tag.is_key() == (lane == Lane::Video));
                assert!(!tag.payload[9..].windows(2).any(|pair| pair == [0, 0]));
            }
        }
        assert!(configs(0).iter().all(|tag| tag.is_config() && read(tag).is_none()));
    }

    #[test]
    fn thirty_video_frames_and_their_audio_fill_a_second() {
        assert_eq!(Lane::Video.due(30), Duration::from_secs(1));
        assert_eq!(Lane::Audio.due(44_100), Duration::from_secs(1024));
    }
}
