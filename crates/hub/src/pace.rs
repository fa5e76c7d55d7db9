//! When what was committed is shown.

use std::time::{Duration, Instant};

use crate::pacer::News;

/// What counts more for those who watch a stream: that each frame comes at once, or that few writes bring many frames. The
/// price of sending to many is the number of writes, whatever they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// Each message goes out at once.
    Lowest,
    /// Video goes out at once, and audio with it: it waits for the next video frame at most 35 ms. A stream without video
    /// goes out every 100 ms.
    Balanced,
    /// All that comes within this time goes out together.
    Merged(Duration),
}

impl Latency {
    /// Merged for as long as players that buffer a second do not notice.
    pub const THROUGHPUT: Self = Self::Merged(Duration::from_millis(350));
}

/// The rule by which a [`crate::Pacer`] shows a stream. It has no clock: the time is handed in.
#[derive(Debug)]
pub struct Pace {
    latency: Latency,
    waiting: Option<Waiting>,
    video_at: Option<Instant>,
}

/// What was committed and not shown.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    bytes: usize,
    video: bool,
    event: bool,
}

/// Audio waits so long for the video frame that it is to go out with.
const AUDIO_WAIT: Duration = Duration::from_millis(35);
/// Audio that no video goes with is merged over so long.
const AUDIO_ALONE_WAIT: Duration = Duration::from_millis(100);
/// Video that was last seen before so long is not waited for.
const VIDEO_GONE: Duration = Duration::from_secs(1);
/// So much is enough for one write: more would fill sockets, and spare little.
const WAITING_BYTES_MAX: usize = 512 << 10;

impl Pace {
    /// Nothing waits yet.
    pub fn new(latency: Latency) -> Self {
        Self { latency, waiting: None, video_at: None }
    }

    /// Takes note of what was committed.
    pub fn handle_news(&mut self, news: &News, now: Instant) {
        if news.video {
            self.video_at = Some(now);
        }
        if news.items == 0 {
            return;
        }
        let waiting = self.waiting.get_or_insert(Waiting { since: now, bytes: 0, video: false, event: false });
        waiting.bytes += news.bytes;
        waiting.video |= news.video;
        waiting.event |= news.event;
    }

    /// When to show what waits; it may be in the past. Whoever is short of time to send has the bound widened to
    /// `at_least`.
    pub fn poll_timeout(&self, at_least: Duration) -> Option<Instant> {
        let waiting = self.waiting.as_ref()?;
        let bound = match self.latency {
            _ if waiting.event || waiting.bytes >= WAITING_BYTES_MAX => Duration::ZERO,
            Latency::Lowest => Duration::ZERO,
            Latency::Balanced if waiting.video => at_least,
            Latency::Balanced if self.video_is_due(waiting.since) => at_least.max(AUDIO_WAIT),
            Latency::Balanced => at_least.max(AUDIO_ALONE_WAIT),
            Latency::Merged(bound) => at_least.max(bound),
        };
        Some(waiting.since + bound)
    }

    /// All that waited was shown.
    pub fn on_shown(&mut self) {
        self.waiting = None;
    }

    fn video_is_due(&self, since: Instant) -> bool {
        self.video_at.is_some_and(|at| since.saturating_duration_since(at) < VIDEO_GONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn audio() -> News {
        News { items: 1, bytes: 300, ..News::default() }
    }

    fn video() -> News {
        News { items: 1, bytes: 10_000, video: true, ..News::default() }
    }

    /// How long what comes last waits, counted from the first of the group it is in.
    fn wait(latency: Latency, news: &[(u32, News)], at_least: Duration) -> Option<Duration> {
        let start = Instant::now();
        let mut pace = Pace::new(latency);
        for (at, news) in news {
            let now = start + MS * *at;
            if pace.poll_timeout(at_least).is_some_and(|due| due <= now) {
                pace.on_shown();
            }
            pace.handle_news(news, now);
        }
        let since = pace.waiting.as_ref()?.since;
        pace.poll_timeout(at_least).map(|due| due - since)
    }

    #[test]
    fn balanced_lets_audio_wait_for_video_and_video_for_nothing() {
        let balanced = |news: &[_]| wait(Latency::Balanced, news, Duration::ZERO);
        assert_eq!(balanced(&[]), None);
        assert_eq!(balanced(&[(0, video())]), Some(Duration::ZERO));
        assert_eq!(balanced(&[(0, video()), (5, audio())]), Some(35 * MS));
        assert_eq!(balanced(&[(0, video()), (5, audio()), (28, audio())]), Some(35 * MS), "counted from the oldest");
        assert_eq!(balanced(&[(0, video()), (5, audio()), (28, audio()), (33, video())]), Some(Duration::ZERO));
    }

    #[test]
    fn balanced_merges_audio_alone() {
        let balanced = |news: &[_]| wait(Latency::Balanced, news, Duration::ZERO);
        assert_eq!(balanced(&[(0, audio()), (23, audio())]), Some(100 * MS));
        assert_eq!(balanced(&[(0, video()), (900, audio())]), Some(35 * MS));
        assert_eq!(balanced(&[(0, video()), (1100, audio())]), Some(100 * MS), "the camera is off");
    }

    #[test]
    fn the_others_go_by_one_bound() {
        let lowest = |news: &[_]| wait(Latency::Lowest, news, 50 * MS);
        assert_eq!((lowest(&[(0, audio())]), lowest(&[(0, video())])), (Some(Duration::ZERO), Some(Duration::ZERO)));
        let merged = |at_least| wait(Latency::THROUGHPUT, &[(0, video()), (5, audio()), (33, video())], at_least);
        assert_eq!((merged(Duration::ZERO), merged(400 * MS)), (Some(350 * MS), Some(400 * MS)));
    }

    #[test]
    fn who_is_short_of_time_merges_video_as_well() {
        let news = [(0, video()), (33, video())];
        assert_eq!(wait(Latency::Balanced, &news, 80 * MS), Some(80 * MS));
        assert_eq!(wait(Latency::Balanced, &[(0, audio())], 80 * MS), Some(100 * MS));
    }

    #[test]
    fn events_and_much_at_once_wait_for_nothing() {
        let event = News { items: 1, event: true, ..News::default() };
        let much = News { bytes: WAITING_BYTES_MAX, ..video() };
        for news in [event, much] {
            assert_eq!(wait(Latency::THROUGHPUT, &[(0, audio()), (1, news)], Duration::ZERO), Some(Duration::ZERO));
        }
    }
}
