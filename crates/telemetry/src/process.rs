//! What a process says about itself: build, age, memory, files, panics, and how late its own tasks run.

use std::{
    fs, panic,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike},
};

use crate::metrics::{Buckets, Histogram, Registry, Samples};

/// How often the scheduler's delay is measured.
const LAG_PERIOD: Duration = Duration::from_millis(100);

static PANICS: AtomicU64 = AtomicU64::new(0);

/// What the binary was built from, as `build_info` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The version of the package.
    pub version: &'static str,
    /// The commit, or `unknown`.
    pub commit: &'static str,
}

/// The process group of metrics; made once a process.
#[derive(Debug)]
pub struct Process {
    lag: Histogram,
}

impl Process {
    /// Registers the metrics and begins to count panics.
    pub fn register(registry: &Registry, build: Build) -> Self {
        count_panics();
        let started = Instant::now();
        let info = registry.gauges("build_info", "What this binary was built from; always 1.", ["version", "commit"]);
        info.with([build.version, build.commit]).set(1.0);
        registry.collect(move |samples| describe(samples, started));
        let buckets = Buckets::Seconds;
        Self { lag: registry.histogram("task_lag_seconds", "How late a timer of this process fires.", buckets) }
    }

    /// Measures the lateness of timers for ever; drop it to stop.
    pub async fn watch_lag(&self) {
        loop {
            let due = tokio::time::Instant::now() + LAG_PERIOD;
            tokio::time::sleep_until(due).await;
            self.lag.observe_duration(due.elapsed());
        }
    }
}

/// How many panics this process has had since it began to count.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// The CPU time that this process has used, in user and system mode, all its threads together.
pub fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own usage");
    let time = |time: TimeVal| Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or_default());
    time(usage.user_time()) + time(usage.system_time())
}

/// Counts each panic and logs it as an event, before it is caught or ends its thread.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, "process.panicked");
            before(info);
        }));
    });
}

fn describe(samples: &mut Samples, started: Instant) {
    samples.gauge("uptime_seconds", "Age of this process.", &[], started.elapsed().as_secs_f64());
    samples.gauge("cpu_seconds", "CPU time used since the start.", &[], cpu_time().as_secs_f64());
    samples.counter("panics_caught_total", "Panics; each is a bug.", &[], panics());
    if let Some(bytes) = rss_bytes() {
        samples.gauge("rss_bytes", "Resident memory.", &[], bytes as f64);
    }
    if let Some(count) = fd_count() {
        samples.gauge("fds", "Open file descriptors.", &[], count as f64);
    }
}

/// Resident memory, where `/proc` tells it.
fn rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Open descriptors, where `/proc` tells them; without the one that counts.
fn fd_count() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    Some((entries.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_metrics_are_shown_and_a_panic_is_counted() {
        let registry = Registry::new();
        let _process = Process::register(&registry, Build { version: "1.2.3", commit: "abc" });
        let before = panics();
        let caught = std::thread::spawn(|| panic!("on purpose, to be counted")).join();
        assert!(caught.is_err());
        assert!(panics() > before);
        let page = registry.render();
        assert!(page.contains("headwater_build_info{version=\"1.2.3\",commit=\"abc\"} 1"), "{page}");
        for name in
            ["uptime_seconds", "cpu_seconds", "panics_caught_total", "rss_bytes", "fds", "task_lag_seconds_count"]
        {
            assert!(page.contains(&format!("\nheadwater_{name} ")), "{name} is missing: {page}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lag_is_measured_ten_times_a_second() {
        let registry = Registry::new();
        let process = Process::register(&registry, Build { version: "0", commit: "0" });
        let _ = tokio::time::timeout(Duration::from_millis(1050), process.watch_lag()).await;
        assert!(registry.render().contains("headwater_task_lag_seconds_count 10\n"), "{}", registry.render());
    }
}
