//! Streams shown to their viewers as their latency asks, and more at once when the time to send runs short.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hub::{Latency, Pace, Pacer};
use tokio::time::{Instant, sleep_until};

/// How late the tasks of a runtime are, and what is done about it: while there is more to send than there is time for,
/// more frames go out with each write. Where this process uses little of a core, others have made it late: merging would
/// save nothing then, and viewers wait no longer than they must. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Pressure {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lag_us: AtomicU64,
    /// The most that any row has said it took at least to write to all, since the last look.
    written_us: AtomicU64,
    widened_us: AtomicU64,
    widenings: AtomicU64,
}

impl Pressure {
    /// How late frames were last: those who wait for the runtime, or those who are the last of their row.
    pub fn lag(&self) -> Duration {
        Duration::from_micros(self.shared.lag_us.load(Ordering::Relaxed))
    }

    /// The time over which frames are merged at least; 0 while nothing is late.
    pub fn widened(&self) -> Duration {
        Duration::from_micros(self.shared.widened_us.load(Ordering::Relaxed))
    }

    /// Times that the bound was widened.
    pub fn widenings(&self) -> u64 {
        self.shared.widenings.load(Ordering::Relaxed)
    }

    /// It took no less than this to write something to all who sit in a row.
    pub(crate) fn on_written(&self, took: Duration) {
        self.shared.written_us.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
    }

    /// Looks again and again how late the runtime is on which this runs. Goes on until it is dropped.
    pub async fn watch(self) {
        let mut bound = Bound::default();
        let (mut looked, mut used) = (Instant::now(), telemetry::process::cpu_time());
        loop {
            let due = Instant::now() + LOOK_EVERY;
            sleep_until(due).await;
            let now = Instant::now();
            let written = Duration::from_micros(self.shared.written_us.swap(0, Ordering::Relaxed));
            let lag = written.max(now - due);
            let used_until_now = telemetry::process::cpu_time();
            let cores = used_until_now.saturating_sub(used).div_duration_f64(now - looked);
            (looked, used) = (now, used_until_now);
            let before = bound.widened;
            bound.handle_look(lag, cores, now.into_std());
            if bound.widened > before {
                self.shared.widenings.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    lag_ms = lag.as_millis() as u64,
                    bound_ms = bound.widened.as_millis() as u64,
                    "send.late"
                );
            }
            self.shared.lag_us.store(lag.as_micros() as u64, Ordering::Relaxed);
            self.shared.widened_us.store(bound.widened.as_micros() as u64, Ordering::Relaxed);
        }
    }
}

/// Shows a stream until it has ended.
pub async fn pace(mut pacer: Pacer, latency: Latency, pressure: Pressure) {
    let mut rule = Pace::new(latency);
    loop {
        let now = Instant::now();
        let news = pacer.look();
        rule.handle_news(&news, now.into_std());
        if news.ended {
            return;
        }
        match rule.poll_timeout(pressure.widened()).map(Instant::from_std) {
            None => pacer.committed().await,
            Some(due) if due <= now => {
                pacer.show();
                rule.on_shown();
            }
            Some(due) => {
                let timer = pin!(sleep_until(due));
                tokio::select! {
                    biased;
                    () = pacer.committed() => {}
                    () = timer => {}
                }
            }
        }
    }
}

/// How far the bound is widened. It has no clock: the time is handed in.
#[derive(Debug, Default)]
struct Bound {
    widened: Duration,
    /// How many cores this process used of late: groups come in bursts, and a look may fall between two of them.
    cores: f64,
    /// Looks in a row that were late.
    late: u32,
    calm_since: Option<std::time::Instant>,
}

/// How often the lag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Tasks that are later than this have not sent one video frame when the next one comes.
const LATE: Duration = Duration::from_millis(30);
/// One late look may be anything's fault.
const LATE_LOOKS: u32 = 3;
/// A process that uses less of a core than this is late because others use the machine.
const CORES_MIN: f64 = 0.25;
/// What the last look counts: half of it is forgotten after three.
const CORES_WEIGHT: f64 = 0.2;
/// The least that helps, and the most that a player's buffer hides.
const WIDENED_MIN: Duration = Duration::from_millis(50);
const WIDENED_MAX: Duration = Duration::from_millis(350);
/// Nothing was late for so long: the bound is halved.
const CALM: Duration = Duration::from_secs(5);

impl Bound {
    /// So late were frames, and so many cores did this process use, since the last look.
    fn handle_look(&mut self, lag: Duration, cores: f64, now: std::time::Instant) {
        self.cores += (cores - self.cores) * CORES_WEIGHT;
        if lag >= LATE && self.cores < CORES_MIN {
            // Not for want of our own time. What was widened stays so, since the process uses little because of it.
            (self.late, self.calm_since) = (0, None);
            return;
        }
        if lag < LATE {
            self.late = 0;
            let since = *self.calm_since.get_or_insert(now);
            if now - since >= CALM {
                self.calm_since = Some(now);
                self.widened = Some(self.widened / 2).filter(|half| *half >= WIDENED_MIN).unwrap_or_default();
            }
            return;
        }
        self.calm_since = None;
        self.late += 1;
        if self.late >= LATE_LOOKS {
            self.late = 0;
            self.widened = (self.widened * 2).clamp(WIDENED_MIN, WIDENED_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hub::{Body, Hub, Read, Reader, RingLimits, Start, Writer};
    use media::{DEFAULT_VHOST, Frame, Medium, StreamName};

    use super::*;

    #[test]
    fn the_bound_widens_while_tasks_are_late_and_narrows_once_they_are_not() {
        let start = std::time::Instant::now();
        let mut bound = Bound::default();
        let mut at = start;
        let mut look = |bound: &mut Bound, lag: u64| {
            at += LOOK_EVERY;
            bound.handle_look(Duration::from_millis(lag), 0.9, at);
            bound.widened.as_millis()
        };
        assert_eq!([40, 40, 5, 40, 40].map(|lag| look(&mut bound, lag)), [0; 5], "not three in a row");
        assert_eq!([40; 7].map(|lag| look(&mut bound, lag)), [50, 50, 50, 100, 100, 100, 200]);
        assert_eq!([40; 6].map(|lag| look(&mut bound, lag)), [200, 200, 350, 350, 350, 350]);
        let narrowed: Vec<_> = (0..210).map(|_| look(&mut bound, 5)).collect();
        assert_eq!([narrowed[49], narrowed[50], narrowed[100], narrowed[150]], [350, 175, 87, 0]);
    }

    #[test]
    fn a_machine_that_others_keep_busy_makes_no_viewer_wait() {
        let (start, mut bound) = (std::time::Instant::now(), Bound::default());
        for look in 1..100 {
            bound.handle_look(Duration::from_millis(90), 0.1, start + LOOK_EVERY * look);
        }
        assert_eq!(bound.widened, Duration::ZERO);
    }

    fn frame(medium: Medium, dts: u64) -> Body {
        let payload: &[u8] =
            if medium == Medium::Video { &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65] } else { &[0xaf, 1, 0x21] };
        Body::Frame(Frame::classify(medium, dts, Bytes::from_static(payload)))
    }

    struct Paced {
        _hub: Hub,
        writer: Option<Writer>,
        reader: Reader,
        pressure: Pressure,
    }

    impl Paced {
        /// A stream with one keyframe, which its reader has had.
        async fn start(latency: Latency) -> Self {
            let hub = Hub::new(RingLimits::default());
            let mut writer = hub.open(&StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()).unwrap();
            let pressure = Pressure::default();
            tokio::spawn(pace(writer.stream().pace(), latency, pressure.clone()));
            let reader = writer.stream().subscribe_paced(Start::LastKeyframe);
            push(&mut writer, frame(Medium::Video, 0));
            let mut paced = Self { _hub: hub, writer: Some(writer), reader, pressure };
            assert_eq!(paced.next().await.1, [1]);
            // The pacer has its turn.
            tokio::task::yield_now().await;
            paced
        }

        fn push(&mut self, medium: Medium) {
            push(self.writer.as_mut().unwrap(), frame(medium, 1));
        }

        /// How long it took for something to be shown, and what it was.
        async fn next(&mut self) -> (u128, Vec<u64>) {
            let asked = Instant::now();
            loop {
                self.reader.ready().await;
                let waited = asked.elapsed().as_millis();
                if let Some(group) = self.reader.read_group() {
                    return (waited, group.items().iter().map(|item| item.seq).collect());
                }
                let mut out = Vec::new();
                if self.reader.read(hub::Budget { items: 100, bytes: 1 << 20 }, &mut out) != Read::Empty {
                    return (waited, out.iter().map(|item| item.seq).collect());
                }
            }
        }
    }

    fn push(writer: &mut Writer, body: Body) {
        let seq = writer.append(body, None).seq;
        writer.commit_below(seq + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn audio_rides_with_the_next_video_frame() {
        let mut paced = Paced::start(Latency::Balanced).await;
        paced.push(Medium::Audio);
        tokio::time::sleep(Duration::from_millis(20)).await;
        paced.push(Medium::Audio);
        paced.push(Medium::Video);
        assert_eq!(paced.next().await, (0, vec![2, 3, 4]));
    }

    #[tokio::test(start_paused = true)]
    async fn audio_goes_alone_when_video_is_late() {
        let mut paced = Paced::start(Latency::Balanced).await;
        paced.push(Medium::Audio);
        let (waited, shown) = paced.next().await;
        assert!((35..40).contains(&waited) && shown == [2], "{shown:?} after {waited} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_merged_stream_is_shown_when_its_bound_is_over() {
        let mut paced = Paced::start(Latency::Merged(Duration::from_millis(200))).await;
        paced.push(Medium::Video);
        tokio::time::sleep(Duration::from_millis(50)).await;
        paced.push(Medium::Video);
        let (waited, shown) = paced.next().await;
        assert!((150..155).contains(&waited) && shown == [2, 3], "{shown:?} after {waited} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_not_waited_for() {
        let mut paced = Paced::start(Latency::THROUGHPUT).await;
        paced.push(Medium::Video);
        paced.writer = None;
        assert_eq!(paced.next().await, (0, vec![2]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_runtime_makes_video_wait_too() {
        let mut paced = Paced::start(Latency::Balanced).await;
        paced.pressure.shared.widened_us.store(80_000, Ordering::Relaxed);
        paced.push(Medium::Video);
        let (waited, shown) = paced.next().await;
        assert!((80..85).contains(&waited) && shown == [2], "{shown:?} after {waited} ms");
    }
}
