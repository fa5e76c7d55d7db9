//! The result, as it is printed.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;

use super::{
    crowd::{Outcome, Sum},
    ledger::Count,
    source,
    spread::Summary,
    usage::{Cpu, Usage},
};

/// What the numbers stood at when the measurement began, or ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// When.
    pub at: Instant,
    /// The viewers.
    pub sum: Sum,
    /// This process.
    pub own: Cpu,
    /// The server's processes, where they were named.
    pub server: Option<Usage>,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Every viewer was granted the stream and kept it, and every frame came once and in order.
    pub whole: bool,
    /// How long it was measured; times, latencies and bytes are of this window alone.
    pub seconds: f64,
    /// Viewers.
    pub viewers: Viewers,
    /// From connecting to the first frame, over all joins.
    pub first_frame_ms: Option<Summary>,
    /// From the publisher's socket to a whole frame at a viewer.
    pub latency_ms: Lanes<Option<Summary>>,
    /// From first to last, of all viewers.
    pub frames: Lanes<Frames>,
    /// Frames that had not come ten seconds after the last was sent.
    pub missing: u64,
    /// Received by all viewers.
    pub bytes: u64,
    /// The same as a rate.
    pub mbit_per_s: f64,
    /// Connections that ended before all was over, by reason.
    pub ended: BTreeMap<String, u64>,
    /// Viewers that stopped reading.
    pub stalled: Stalled,
    /// What was published by this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher: Option<source::Summary>,
    /// What this process itself used: near 1 core a thread, it is what is measured.
    pub own_cpu: CpuUse,
    /// What the processes named with `--pid` used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

/// Of video and of audio.
#[derive(Debug, Serialize)]
pub(super) struct Lanes<T> {
    /// Video.
    pub video: T,
    /// Audio.
    pub audio: T,
}

/// How many viewers there were.
#[derive(Debug, Serialize)]
pub(super) struct Viewers {
    /// Asked for.
    pub asked: usize,
    /// Connected when the measurement ended.
    pub up: u64,
    /// Joins, those of viewers who came back too.
    pub joins: u64,
}

/// What became of the frames.
#[derive(Debug, Serialize)]
pub(super) struct Frames {
    /// Between each viewer's first and last.
    pub expected: u64,
    /// Of these.
    pub received: u64,
    /// Of these.
    pub lost: u64,
    /// Came after a later one.
    pub out_of_order: u64,
    /// Came again.
    pub repeated: u64,
}

/// Viewers that stopped reading.
#[derive(Debug, Serialize)]
pub(super) struct Stalled {
    /// So many did.
    pub viewers: u64,
    /// Of those that were cut: how long after.
    pub cut_after_ms: Option<Summary>,
}

/// CPU time.
#[derive(Debug, Serialize)]
pub(super) struct CpuUse {
    /// In the program.
    pub user_s: f64,
    /// In the kernel for it.
    pub system_s: f64,
    /// Cores kept busy.
    pub cores: f64,
}

/// What a server used.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    /// CPU time.
    #[serde(flatten)]
    pub cpu: CpuUse,
    /// CPU time for 10^9 bytes received by viewers.
    pub s_per_gb: f64,
    /// Memory before the first viewer.
    pub resident_kb_before: u64,
    /// Memory when the measurement ended.
    pub resident_kb: u64,
}

impl Report {
    /// Puts together what was found between two marks, and what came of it.
    pub(super) fn new(
        asked: usize,
        resident_kb_before: u64,
        [begin, end]: [&Mark; 2],
        outcome: &Outcome,
        publisher: Option<source::Summary>,
    ) -> Self {
        let seconds = end.at.saturating_duration_since(begin.at).as_secs_f64();
        let bytes = end.sum.bytes - begin.sum.bytes;
        let cpu = |cpu: Cpu| CpuUse {
            user_s: cpu.user.as_secs_f64(),
            system_s: cpu.system.as_secs_f64(),
            cores: cpu.seconds() / seconds.max(f64::MIN_POSITIVE),
        };
        let server = begin.server.zip(end.server).map(|(begin, end)| Server {
            cpu: cpu(end.cpu - begin.cpu),
            s_per_gb: (end.cpu - begin.cpu).seconds() / (bytes as f64 / 1e9).max(f64::MIN_POSITIVE),
            resident_kb_before,
            resident_kb: end.resident_kb,
        });
        let [video, audio] = outcome.counts;
        let [video_latency, audio_latency] = &outcome.latencies;
        let clean = |count: &Count| count.lost + count.late + count.repeated == 0;
        let first_frame_ms = outcome.first.summary();
        let whole = outcome.counts.iter().all(clean)
            && outcome.missing == 0
            && outcome.ended.is_empty()
            && first_frame_ms.is_none_or(|first| first.count >= asked as u64)
            && (asked == 0 || first_frame_ms.is_some());
        Self {
            whole,
            seconds,
            viewers: Viewers { asked, up: end.sum.up, joins: end.sum.joins },
            first_frame_ms,
            latency_ms: Lanes { video: video_latency.summary(), audio: audio_latency.summary() },
            frames: Lanes { video: Frames::from(video), audio: Frames::from(audio) },
            missing: outcome.missing,
            bytes,
            mbit_per_s: bytes as f64 * 8.0 / 1e6 / seconds.max(f64::MIN_POSITIVE),
            ended: outcome.ended.clone(),
            stalled: Stalled { viewers: outcome.stalled, cut_after_ms: outcome.cut.summary() },
            publisher,
            own_cpu: cpu(end.own - begin.own),
            server,
        }
    }
}

impl From<Count> for Frames {
    fn from(count: Count) -> Self {
        Self {
            expected: count.received + count.lost,
            received: count.received,
            lost: count.lost,
            out_of_order: count.late,
            repeated: count.repeated,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn marks() -> [Mark; 2] {
        let at = Instant::now();
        let usage = |ms: u64| {
            Some(Usage { cpu: Cpu { user: Duration::from_millis(ms), system: Duration::ZERO }, resident_kb: 9 })
        };
        let begin = Mark { at, sum: Sum::default(), own: Cpu::default(), server: usage(100) };
        let sum = Sum { bytes: 2_000_000_000, up: 2, ..Sum::default() };
        let end = Mark { at: at + Duration::from_secs(4), sum, own: Cpu::default(), server: usage(1100) };
        [begin, end]
    }

    fn outcome() -> Outcome {
        let mut outcome = Outcome::new();
        (0..2).for_each(|_| outcome.first.record(5000));
        outcome.counts[0].received = 7;
        outcome
    }

    fn report(outcome: &Outcome) -> Report {
        let [begin, end] = &marks();
        Report::new(2, 3, [begin, end], outcome, None)
    }

    #[test]
    fn rates_are_those_of_the_window() {
        let report = report(&outcome());
        assert!(report.whole);
        assert_eq!((report.seconds, report.mbit_per_s), (4.0, 4000.0));
        let server = report.server.expect("it was named");
        assert_eq!((server.s_per_gb, server.cpu.cores, server.resident_kb_before), (0.5, 0.25, 3));
    }

    #[test]
    fn anything_lost_late_repeated_missing_or_cut_is_not_whole() {
        let spoils: [fn(&mut Outcome); 6] = [
            |outcome| outcome.counts[0].lost = 1,
            |outcome| outcome.counts[1].late = 1,
            |outcome| outcome.counts[1].repeated = 1,
            |outcome| outcome.missing = 1,
            |outcome| outcome.ended = [("closed".to_owned(), 1)].into(),
            |outcome| outcome.first = super::super::spread::Spread::new(),
        ];
        for spoil in spoils {
            let mut outcome = outcome();
            spoil(&mut outcome);
            assert!(!report(&outcome).whole, "{outcome:?}");
        }
    }
}
