//! Bounded waits for a condition.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a condition that needs no time of its own may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The condition's value as soon as it has one; panics with `what` when the time is up.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    maybe(limit, condition).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// The condition's value as soon as it has one, or `None` when the time is up.
pub fn maybe<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(LOOK);
    }
}
