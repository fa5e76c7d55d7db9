//! How fast a count grows.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Turns a total that only grows into a rate a second, over the last second or more.
#[derive(Debug, Default)]
pub struct Rate {
    window: Mutex<Option<Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    begin: Instant,
    total: u64,
    per_second: f64,
}

/// Shorter windows jump with every frame.
const WINDOW_MIN: Duration = Duration::from_secs(1);

impl Rate {
    /// The rate, given the total now. May be asked as often as one likes.
    pub fn sample(&self, total: u64, now: Instant) -> f64 {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = *window else {
            *window = Some(Window { begin: now, total, per_second: 0.0 });
            return 0.0;
        };
        let passed = now.saturating_duration_since(last.begin);
        if passed < WINDOW_MIN {
            return last.per_second;
        }
        let per_second = total.saturating_sub(last.total) as f64 / passed.as_secs_f64();
        *window = Some(Window { begin: now, total, per_second });
        per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_whole_second() {
        let (rate, t) = (Rate::default(), Instant::now());
        assert_eq!(rate.sample(1000, t), 0.0);
        assert_eq!(rate.sample(2000, t + Duration::from_millis(500)), 0.0);
        assert_eq!(rate.sample(3000, t + Duration::from_secs(2)), 1000.0);
        assert_eq!(rate.sample(9000, t + Duration::from_millis(2500)), 1000.0);
    }
}
