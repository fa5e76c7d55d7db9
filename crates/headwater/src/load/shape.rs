//! The measured stream: how large its frames are, and when each is due.

use std::time::Duration;

use bytes::Bytes;
use media::{MediaMessage, Medium};

use super::stamp::{AUDIO_AT, LANES, Lane, STAMP_BYTES, Stamp, VIDEO_AT};

/// A stream of H.264 and AAC, or of AAC alone, in its outer form: what a decoder would make of it does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// None: a stream of sound alone.
    video: Option<Video>,
    audio_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Video {
    key_bytes: usize,
    delta_bytes: usize,
}

/// Video frames a second.
const FRAME_RATE: u64 = 30;
/// A keyframe each two seconds.
const GOP: u32 = 60;
/// A keyframe is as long as so many others.
const KEY_RATIO: usize = 8;
/// What AAC at 44.1 kHz has: a frame each 1024 samples.
const SAMPLE_RATE: u64 = 44_100;
const FRAME_SAMPLES: u64 = 1024;
/// Sound beside video takes so much of the bitrate.
const AUDIO_KBIT: usize = 128;
/// Fills frames; not 0, for no start code is to come of it.
const FILLER: u8 = 0xa5;

impl Shape {
    /// Video with sound, at this bitrate in all.
    pub(super) fn video(kbit: usize) -> Self {
        let frame_bytes = kbit.saturating_sub(AUDIO_KBIT) * 1000 / 8 / FRAME_RATE as usize;
        let delta_bytes = frame_bytes * GOP as usize / (GOP as usize - 1 + KEY_RATIO);
        let video = Video { key_bytes: delta_bytes * KEY_RATIO, delta_bytes };
        Self { video: Some(video), ..Self::audio(AUDIO_KBIT) }
    }

    /// Sound alone.
    pub(super) fn audio(kbit: usize) -> Self {
        let bits = kbit as u64 * 1000 * FRAME_SAMPLES / SAMPLE_RATE;
        Self { video: None, audio_bytes: (bits / 8) as usize }
    }

    /// The lanes that it has.
    pub(super) fn lanes(&self) -> &'static [Lane] {
        if self.video.is_some() { &LANES } else { &LANES[1..] }
    }

    /// Decoder set-up: one parameter set of each kind for H.264, and AAC-LC.
    pub(super) fn configs(&self) -> Vec<MediaMessage> {
        const AVC: &[u8] = &[
            0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x0a, 0xff, 0xe1, 0, 8, 0x67, 0x42, 0xc0, 0x0a, 0xda, 0x0a, 0x0b, 0x59, 1,
            0, 4, 0x68, 0xce, 0x3c, 0x80,
        ];
        const AAC: &[u8] = &[0xaf, 0, 0x12, 0x10];
        let config = |lane: &Lane| match lane {
            Lane::Video => message(Medium::Video, 0, Bytes::from_static(AVC)),
            Lane::Audio => message(Medium::Audio, 0, Bytes::from_static(AAC)),
        };
        self.lanes().iter().map(config).collect()
    }

    /// A frame with its stamp in it.
    pub(super) fn frame(&self, lane: Lane, stamp: Stamp, timestamp: u32) -> MediaMessage {
        let (medium, len, mut payload) = match (lane, self.video) {
            (Lane::Video, Some(video)) => {
                let key = stamp.number.is_multiple_of(GOP);
                let len = if key { video.key_bytes } else { video.delta_bytes }.max(VIDEO_AT + STAMP_BYTES);
                let mut payload = Vec::with_capacity(len);
                payload.extend([if key { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
                payload.extend((len as u32 - VIDEO_AT as u32 + 1).to_be_bytes());
                payload.push(if key { 0x65 } else { 0x41 });
                (Medium::Video, len, payload)
            }
            _ => {
                let len = self.audio_bytes.max(AUDIO_AT + STAMP_BYTES);
                let mut payload = Vec::with_capacity(len);
                payload.extend([0xaf, 1, 0x21]);
                (Medium::Audio, len, payload)
            }
        };
        stamp.write(&mut payload);
        payload.resize(len, FILLER);
        message(medium, timestamp, payload.into())
    }
}

/// When the frame of this number is due, from the first one on.
pub(super) fn due(lane: Lane, number: u32) -> Duration {
    let number = u64::from(number);
    match lane {
        Lane::Video => Duration::from_micros(number * 1_000_000 / FRAME_RATE),
        Lane::Audio => Duration::from_micros(number * FRAME_SAMPLES * 1_000_000 / SAMPLE_RATE),
    }
}

fn message(medium: Medium, timestamp: u32, payload: Bytes) -> MediaMessage {
    MediaMessage { medium, timestamp, payload }
}

#[cfg(test)]
mod tests {
    use media::{Kind, tag};

    use super::*;

    /// Bits of the frames that are due in a minute.
    fn bits(shape: Shape) -> usize {
        let minute = Duration::from_secs(60);
        let frames = shape.lanes().iter().flat_map(|lane| {
            (0..).take_while(|number| due(*lane, *number) < minute).map(|number| shape.frame(*lane, stamp(number), 0))
        });
        frames.map(|frame| frame.payload.len() * 8).sum()
    }

    fn stamp(number: u32) -> Stamp {
        Stamp { run: 7, number, sent_us: 9 }
    }

    #[test]
    fn frames_of_a_minute_have_the_bitrate() {
        for (shape, kbit) in [(Shape::video(2650), 2650), (Shape::audio(64), 64)] {
            let share = bits(shape) as f64 / (60_000.0 * kbit as f64);
            assert!((0.98..1.01).contains(&share), "{kbit}: {share}");
        }
    }

    #[test]
    fn thirty_video_and_forty_three_audio_frames_fill_a_second() {
        assert_eq!(due(Lane::Video, 30), Duration::from_secs(1));
        assert!(due(Lane::Audio, 43) < Duration::from_secs(1) && due(Lane::Audio, 44) > Duration::from_secs(1));
    }

    #[test]
    fn keyframe_comes_each_two_seconds_and_every_frame_has_its_stamp() {
        let shape = Shape::video(2650);
        for (number, kind) in [(0, Kind::Key), (1, Kind::Delta), (59, Kind::Delta), (60, Kind::Key)] {
            let frame = shape.frame(Lane::Video, stamp(number), 33);
            assert_eq!(tag::classify(Medium::Video, &frame.payload).kind, kind);
            assert_eq!(Stamp::read(9, &frame.payload), Some((Lane::Video, stamp(number))));
        }
        let frame = shape.frame(Lane::Audio, stamp(3), 33);
        assert_eq!(Stamp::read(8, &frame.payload), Some((Lane::Audio, stamp(3))));
        let configs = shape.configs();
        assert!(configs.iter().all(|config| tag::classify(config.medium, &config.payload).kind == Kind::Config));
    }

    #[test]
    fn tiny_bitrates_still_carry_stamps() {
        for lane in LANES {
            let frame = Shape::video(1).frame(lane, stamp(5), 0);
            assert!(Stamp::read(frame.medium.type_id(), &frame.payload).is_some());
        }
    }
}
