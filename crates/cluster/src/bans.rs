//! Names that nobody may publish on for a while.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use media::StreamName;

/// Streams that an operator ended, and until when encoders are refused on their names.
#[derive(Debug, Default)]
pub struct Bans {
    until: HashMap<StreamName, Instant>,
}

/// More names than this are not remembered: the bans that end first go first.
const BANS_MAX: usize = 10_000;

impl Bans {
    /// Refuses encoders on this name for so long.
    pub fn ban(&mut self, name: StreamName, ban_for: Duration, now: Instant) {
        self.until.retain(|_, until| *until > now);
        if ban_for.is_zero() {
            return;
        }
        let until = now.checked_add(ban_for).unwrap_or(now + Duration::from_secs(365 * 24 * 3600));
        self.until.insert(name, until);
        if self.until.len() > BANS_MAX
            && let Some(first) = self.until.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone())
        {
            self.until.remove(&first);
        }
    }

    /// Whether encoders are refused on this name.
    pub fn is_banned(&self, name: &StreamName, now: Instant) -> bool {
        self.until.get(name).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends_by_itself_and_no_time_means_none() {
        let name = StreamName::from_app("_default", "live", "a").unwrap();
        let (mut bans, t) = (Bans::default(), Instant::now());
        bans.ban(name.clone(), Duration::ZERO, t);
        assert!(!bans.is_banned(&name, t));
        bans.ban(name.clone(), Duration::from_secs(5), t);
        assert!(bans.is_banned(&name, t + Duration::from_secs(4)));
        assert!(!bans.is_banned(&name, t + Duration::from_secs(5)));
        bans.ban(name.clone(), Duration::MAX, t);
        assert!(bans.is_banned(&name, t + Duration::from_secs(5)));
    }
}
