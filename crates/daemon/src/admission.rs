//! Whether an encoder may publish here: its key, and names that an operator has closed.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cluster::{Bans, PublishPolicy};
use media::StreamName;
use telemetry::Throttle;
use tokio::sync::watch;

/// The one place where publishing is decided, for pushes and for encoders at the public port alike.
#[derive(Debug)]
pub struct Admission {
    policy: watch::Receiver<PublishPolicy>,
    bans: Mutex<Bans>,
    denied: AtomicU64,
    /// Denials are told of one peer so often.
    complaints: Throttle,
}

const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

impl Admission {
    /// Decides by this policy, as it stands at each question.
    pub fn new(policy: watch::Receiver<PublishPolicy>) -> Self {
        Self { policy, bans: Mutex::default(), denied: AtomicU64::new(0), complaints: Throttle::new(COMPLAIN_EVERY) }
    }

    /// Whether the holder of this key may publish the stream now.
    pub fn admits(&self, name: &StreamName, key: Option<&str>, peer: &str) -> bool {
        let banned = self.bans.lock().unwrap_or_else(PoisonError::into_inner).is_banned(name, Instant::now());
        let admitted = !banned && self.policy.borrow().allows(name, key);
        if !admitted {
            self.denied.fetch_add(1, Ordering::Relaxed);
            if let Some(silenced) = self.complaints.allow_named_peer(peer) {
                tracing::warn!(stream = %name, peer, banned, silenced, "publish.denied");
            }
        }
        admitted
    }

    /// Refuses encoders on this name for so long.
    pub fn ban(&self, name: StreamName, ban_for: Duration) {
        self.bans.lock().unwrap_or_else(PoisonError::into_inner).ban(name, ban_for, Instant::now());
    }

    /// How often publishing was denied.
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }
}
