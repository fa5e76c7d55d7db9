//! Whether the control plane is there, and how fresh its word is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use telemetry::metrics::Samples;
use tokio::sync::watch;

/// How a node stands with the control plane; cheap to clone, always current.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    connected: Arc<watch::Sender<bool>>,
    confirmed: Arc<Confirmed>,
}

/// When each watch last said that the copy is right: milliseconds since 1970, 0 for never.
#[derive(Debug, Default)]
struct Confirmed {
    from_disk: AtomicU64,
    routes: AtomicU64,
    pools: AtomicU64,
}

impl Standing {
    /// The conversation with the control plane stands.
    pub fn connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// The same, to be watched.
    pub fn watch_connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Since the control plane last confirmed all that the node knows; none when it never did.
    pub fn config_age(&self) -> Option<Duration> {
        let confirmed = self.confirmed_unix_ms();
        (confirmed > 0).then(|| Duration::from_millis(unix_ms().saturating_sub(confirmed)))
    }

    /// Shows it on a metrics page.
    pub fn sample(&self, samples: &mut Samples) {
        let connected = f64::from(u8::from(self.connected()));
        samples.gauge("control_connected", "1 while the control plane is heard.", &[], connected);
        if let Some(age) = self.config_age() {
            let help = "Since the control plane confirmed what is known.";
            samples.gauge("config_age_seconds", help, &[], age.as_secs_f64());
        }
    }

    pub(super) fn confirmed_unix_ms(&self) -> u64 {
        let Confirmed { from_disk, routes, pools } = &*self.confirmed;
        let heard = routes.load(Ordering::Relaxed).min(pools.load(Ordering::Relaxed));
        if heard > 0 { heard } else { from_disk.load(Ordering::Relaxed) }
    }

    pub(super) fn both_confirmed(&self) -> bool {
        let Confirmed { routes, pools, .. } = &*self.confirmed;
        routes.load(Ordering::Relaxed).min(pools.load(Ordering::Relaxed)) > 0
    }

    pub(super) fn confirmed_at(&self, at_unix_ms: u64) {
        self.confirmed.from_disk.store(at_unix_ms, Ordering::Relaxed);
    }

    pub(super) fn routes_confirmed(&self) {
        self.confirmed.routes.store(unix_ms(), Ordering::Relaxed);
    }

    pub(super) fn pools_confirmed(&self) {
        self.confirmed.pools.store(unix_ms(), Ordering::Relaxed);
    }

    pub(super) fn found(&self) {
        self.connected.send_replace(true);
    }

    /// The conversation has ended; returns whether it stood.
    pub(super) fn lost(&self) -> bool {
        self.connected.send_replace(false)
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
