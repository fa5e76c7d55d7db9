//! Keeps one peer, or one fault, from filling the log.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The most keys that are remembered; beyond, all are forgotten and each may speak again.
const KEYS_MAX: usize = 4096;

/// Lets each key speak once in `every`, and says how often it was silenced in between.
///
/// ```
/// # let throttle = telemetry::Throttle::new(std::time::Duration::from_secs(10));
/// if let Some(silenced) = throttle.allow("192.0.2.7") {
///     tracing::warn!(silenced, "handshake.failed");
/// }
/// ```
#[derive(Debug)]
pub struct Throttle {
    every: Duration,
    keys: Mutex<HashMap<Box<str>, (Instant, u64)>>,
}

impl Throttle {
    /// A throttle that lets each key speak once in `every`.
    pub fn new(every: Duration) -> Self {
        Self { every, keys: Mutex::default() }
    }

    /// `Some` of the number of times that were silenced since the last one, or `None`: say nothing now.
    pub fn allow(&self, key: &str) -> Option<u64> {
        self.allow_at(key, Instant::now())
    }

    fn allow_at(&self, key: &str, now: Instant) -> Option<u64> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, silenced)) = keys.get_mut(key) {
            if now.saturating_duration_since(*since) < self.every {
                *silenced += 1;
                return None;
            }
            *since = now;
            return Some(std::mem::take(silenced));
        }
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(key.into(), (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_speaks_once_a_period_and_says_what_was_silenced() {
        let throttle = Throttle::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(throttle.allow_at("a", start), Some(0));
        assert_eq!(throttle.allow_at("a", start + Duration::from_secs(1)), None);
        assert_eq!(throttle.allow_at("b", start + Duration::from_secs(1)), Some(0));
        assert_eq!(throttle.allow_at("a", start + Duration::from_secs(10)), Some(1));
    }
}
