//! What a viewer saw. No clock: the time of each arrival comes in.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use media::{Kind, MediaMessage, Medium, tag};
use serde::Serialize;

/// A pause between two frames that counts as a gap.
const GAP: Duration = Duration::from_millis(500);

/// Counts what comes.
#[derive(Debug)]
pub(crate) struct Report {
    asked: Instant,
    first: Option<Duration>,
    last: Option<Instant>,
    gaps: u64,
    longest_gap: Duration,
    bytes: u64,
    keyframes: u64,
    video: Track,
    audio: Track,
    data: u64,
}

#[derive(Debug, Default)]
struct Track {
    frames: u64,
    last: Option<u32>,
    falls: u64,
    longest_step_ms: u32,
}

/// The result, as `--json` prints it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// How playing ended: `stream_ended`, `time_is_up`, `interrupted`.
    pub ended: &'static str,
    /// From asking to the first audio or video frame.
    pub first_frame_ms: Option<u64>,
    /// From asking to now.
    pub total_ms: u64,
    /// Video messages, headers too.
    pub video: u64,
    /// Audio messages, headers too.
    pub audio: u64,
    /// Data messages.
    pub data: u64,
    /// Video keyframes.
    pub keyframes: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Pauses of more than half a second.
    pub gaps: u64,
    /// The longest pause between two frames.
    pub longest_gap_ms: u64,
    /// How often a timestamp was lower than the one before, of video or of audio.
    pub timestamp_falls: u64,
    /// The largest step forward of video timestamps.
    pub longest_video_step_ms: u32,
    /// The largest step forward of audio timestamps.
    pub longest_audio_step_ms: u32,
}

impl Report {
    /// A viewer that asks for the stream now.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            asked: now,
            first: None,
            last: None,
            gaps: 0,
            longest_gap: Duration::ZERO,
            bytes: 0,
            keyframes: 0,
            video: Track::default(),
            audio: Track::default(),
            data: 0,
        }
    }

    /// Counts a message that came now.
    pub(crate) fn on_message(&mut self, message: &MediaMessage, now: Instant) {
        self.bytes += message.payload.len() as u64;
        match message.medium {
            Medium::Video => self.video.on_frame(message.timestamp),
            Medium::Audio => self.audio.on_frame(message.timestamp),
            Medium::Data => {
                self.data += 1;
                return;
            }
        }
        let kind = tag::classify(message.medium, &message.payload).kind;
        self.keyframes += u64::from(kind == Kind::Key);
        self.first.get_or_insert_with(|| now.saturating_duration_since(self.asked));
        if let Some(last) = self.last.replace(now) {
            let pause = now.saturating_duration_since(last);
            self.gaps += u64::from(pause > GAP);
            self.longest_gap = self.longest_gap.max(pause);
        }
    }

    /// True once a frame has come.
    pub(crate) fn has_frames(&self) -> bool {
        self.first.is_some()
    }

    /// One line that can be written over the last one.
    pub(crate) fn progress(&self, now: Instant) -> String {
        let seconds = now.saturating_duration_since(self.asked).as_secs_f64();
        let rate = self.bytes as f64 * 8.0 / 1e6 / seconds.max(0.001);
        let mut line = format!(
            "{seconds:6.1} s  video {}  audio {}  data {}  {rate:.2} Mb/s  gaps {}",
            self.video.frames, self.audio.frames, self.data, self.gaps
        );
        let falls = self.video.falls + self.audio.falls;
        if falls > 0 {
            let _ = write!(line, "  timestamps fell {falls} times");
        }
        line
    }

    /// The result.
    pub(crate) fn summary(&self, ended: &'static str, now: Instant) -> Summary {
        let ms = |time: Duration| time.as_millis() as u64;
        Summary {
            ended,
            first_frame_ms: self.first.map(ms),
            total_ms: ms(now.saturating_duration_since(self.asked)),
            video: self.video.frames,
            audio: self.audio.frames,
            data: self.data,
            keyframes: self.keyframes,
            bytes: self.bytes,
            gaps: self.gaps,
            longest_gap_ms: ms(self.longest_gap),
            timestamp_falls: self.video.falls + self.audio.falls,
            longest_video_step_ms: self.video.longest_step_ms,
            longest_audio_step_ms: self.audio.longest_step_ms,
        }
    }
}

impl Track {
    /// Timestamps wrap at 2^32: whether one is lower is told by the sign of the difference (RFC 1982).
    fn on_frame(&mut self, timestamp: u32) {
        self.frames += 1;
        if let Some(last) = self.last.replace(timestamp) {
            match u32::try_from(timestamp.wrapping_sub(last) as i32) {
                Ok(step) => self.longest_step_ms = self.longest_step_ms.max(step),
                Err(_) => self.falls += 1,
            }
        }
    }
}

impl Summary {
    /// The result for people.
    pub(crate) fn text(&self) -> String {
        let Self { video, audio, data, keyframes, bytes, gaps, longest_gap_ms, timestamp_falls, .. } = self;
        let first = self.first_frame_ms.map_or("never".to_owned(), |ms| format!("after {ms} ms"));
        let falls = match timestamp_falls {
            0 => "never fell".to_owned(),
            n => format!("FELL {n} times"),
        };
        format!(
            "\
ended        {} after {:.1} s
first frame  {first}
frames       video {video} ({keyframes} keyframes), audio {audio}, data {data}; {bytes} bytes
gaps         {gaps} longer than {} ms; the longest {longest_gap_ms} ms
timestamps   {falls}; longest step: video {} ms, audio {} ms
",
            self.ended.replace('_', " "),
            self.total_ms as f64 / 1000.0,
            GAP.as_millis(),
            self.longest_video_step_ms,
            self.longest_audio_step_ms,
        )
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 9];
    const AAC: &[u8] = &[0xaf, 1, 9];

    /// Plays messages of (arrival in ms, medium, timestamp, payload).
    fn played(messages: &[(u64, Medium, u32, &'static [u8])]) -> Summary {
        let start = Instant::now();
        let mut report = Report::new(start);
        for &(at, medium, timestamp, payload) in messages {
            let message = MediaMessage { medium, timestamp, payload: Bytes::from_static(payload) };
            report.on_message(&message, start + Duration::from_millis(at));
        }
        report.summary("stream_ended", start + Duration::from_millis(10_000))
    }

    #[test]
    fn first_frame_is_no_data_message_and_gaps_are_counted() {
        let summary = played(&[
            (20, Medium::Data, 0, b"\x02\0\x0aonMetaData"),
            (50, Medium::Video, 0, KEY),
            (90, Medium::Audio, 10, AAC),
            (900, Medium::Video, 40, KEY),
        ]);
        assert_eq!(summary.first_frame_ms, Some(50));
        assert_eq!((summary.gaps, summary.longest_gap_ms), (1, 810));
        assert_eq!((summary.video, summary.audio, summary.data, summary.keyframes), (2, 1, 1, 2));
    }

    #[test]
    fn timestamps_that_wrap_do_not_fall_and_those_that_fall_do() {
        let summary = played(&[
            (0, Medium::Video, u32::MAX - 19, KEY),
            (1, Medium::Video, 20, KEY),
            (2, Medium::Audio, 5, AAC),
            (3, Medium::Audio, 4, AAC),
        ]);
        assert_eq!((summary.timestamp_falls, summary.longest_video_step_ms), (1, 40));
    }

    #[test]
    fn stream_without_frames_has_no_first_one() {
        assert_eq!(played(&[]).first_frame_ms, None);
    }
}
