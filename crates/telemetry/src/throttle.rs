//! Keeps one peer, or one fault, from filling the log.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So often all keys together may speak in a period: whoever has many addresses does not fill the log either.
const LINES_MAX: usize = 100;
/// At so many keys those are forgotten that may speak again, which are all but the last two periods' lines.
const KEYS_MAX: usize = 4096;

/// Lets each key speak once in `every`, and all together a hundred times, and says how often they were silenced in
/// between.
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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each spoke last, and how often it was silenced since.
    keys: HashMap<Box<str>, (Instant, u64)>,
    /// When the period began, and the lines in it.
    period: Option<(Instant, usize)>,
    /// Silenced of keys that are not among those: the next line tells of them.
    others_silenced: u64,
}

impl Throttle {
    /// A throttle that lets each key speak once in `every`.
    pub fn new(every: Duration) -> Self {
        Self { every, state: Mutex::default() }
    }

    /// `Some` of the number of times that were silenced since the last one, or `None`: say nothing now.
    pub fn allow(&self, key: &str) -> Option<u64> {
        self.allow_at(key, Instant::now())
    }

    /// The same for what an address has done: an IPv6 one counts as its /64, of whose addresses a host has as many as it
    /// likes.
    pub fn allow_peer(&self, peer: IpAddr) -> Option<u64> {
        self.allow(&network(peer).to_string())
    }

    /// The same for a peer that another node has told of: `address:port`, where the address alone counts, since each try
    /// comes from another port. What is no address counts as it stands.
    pub fn allow_named_peer(&self, peer: &str) -> Option<u64> {
        match peer.parse::<SocketAddr>() {
            Ok(peer) => self.allow_peer(peer.ip()),
            Err(_) => self.allow(peer),
        }
    }

    fn allow_at(&self, key: &str, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, silenced)) = state.keys.get_mut(key)
            && now.saturating_duration_since(*since) < self.every
        {
            *silenced += 1;
            return None;
        }
        if !state.has_line(self.every, now) {
            state.others_silenced += 1;
            return None;
        }
        state.make_room(self.every, now);
        let before = state.keys.insert(key.into(), (now, 0));
        let others = std::mem::take(&mut state.others_silenced);
        Some(before.map_or(0, |(_, silenced)| silenced) + others)
    }
}

impl State {
    /// Takes one of the period's lines, if one is left.
    fn has_line(&mut self, every: Duration, now: Instant) -> bool {
        let running = self.period.filter(|(began, _)| now.saturating_duration_since(*began) < every);
        let (began, lines) = running.unwrap_or((now, 0));
        self.period = Some((began, (lines + 1).min(LINES_MAX)));
        lines < LINES_MAX
    }

    fn make_room(&mut self, every: Duration, now: Instant) {
        if self.keys.len() < KEYS_MAX {
            return;
        }
        let others_silenced = &mut self.others_silenced;
        self.keys.retain(|_, (since, silenced)| {
            let is_silent = now.saturating_duration_since(*since) < every;
            if !is_silent {
                *others_silenced += *silenced;
            }
            is_silent
        });
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    #[test]
    fn key_speaks_once_a_period_and_says_what_was_silenced() {
        let throttle = Throttle::new(EVERY);
        let start = Instant::now();
        assert_eq!(throttle.allow_at("a", start), Some(0));
        assert_eq!(throttle.allow_at("a", start + Duration::from_secs(1)), None);
        assert_eq!(throttle.allow_at("b", start + Duration::from_secs(1)), Some(0));
        assert_eq!(throttle.allow_at("a", start + Duration::from_secs(10)), Some(1));
    }

    #[test]
    fn whoever_has_many_names_does_not_fill_the_log() {
        let throttle = Throttle::new(EVERY);
        let start = Instant::now();
        let lines =
            |from: usize, now| (from..from + 1000).filter_map(|key| throttle.allow_at(&key.to_string(), now)).count();
        assert_eq!(lines(0, start), LINES_MAX);
        assert_eq!(lines(1000, start + EVERY / 2), 0);
        assert_eq!(throttle.allow_at("x", start + EVERY), Some(2000 - LINES_MAX as u64));
        assert_eq!(lines(2000, start + EVERY), LINES_MAX - 1);
    }

    #[test]
    fn whoever_has_spoken_is_remembered_however_many_come_and_its_silence_is_told() {
        let throttle = Throttle::new(EVERY);
        let mut now = Instant::now();
        throttle.allow_at("early", now);
        assert_eq!(throttle.allow_at("early", now), None);
        let mut told = 0;
        for period in 0..2 * KEYS_MAX / LINES_MAX {
            now += EVERY;
            assert_eq!(throttle.allow_at("now and then", now).map(|silenced| silenced > 0), Some(period > 0));
            for key in 1..LINES_MAX {
                told += throttle.allow_at(&format!("{period} {key}"), now).unwrap();
            }
            assert_eq!(throttle.allow_at("now and then", now), None);
        }
        assert_eq!(told, 1, "that of the key that is forgotten");
        assert!(throttle.state.lock().unwrap().keys.len() < KEYS_MAX);
    }

    #[test]
    fn an_ipv6_host_is_one_whatever_addresses_it_takes() {
        let throttle = Throttle::new(Duration::from_secs(3600));
        let allow = |peer: &str| throttle.allow_peer(peer.parse().unwrap());
        assert_eq!(allow("2001:db8::1"), Some(0));
        assert_eq!(allow("2001:db8::ffff:1"), None);
        assert_eq!(allow("2001:db8:0:1::1"), Some(0));
        assert_eq!(allow("192.0.2.1"), Some(0));
        assert_eq!(allow("::ffff:192.0.2.1"), None);
        assert_eq!(allow("192.0.2.2"), Some(0));
    }

    #[test]
    fn a_peer_that_is_told_of_is_its_address_from_whatever_port() {
        let throttle = Throttle::new(Duration::from_secs(3600));
        assert_eq!(throttle.allow_named_peer("192.0.2.1:5000"), Some(0));
        assert_eq!(throttle.allow_named_peer("192.0.2.1:5001"), None);
        assert_eq!(throttle.allow_peer("192.0.2.1".parse().unwrap()), None);
        assert_eq!(throttle.allow_named_peer("[2001:db8::1]:5000"), Some(0));
        assert_eq!(throttle.allow_named_peer("[2001:db8::2]:5000"), None);
        assert_eq!(throttle.allow_named_peer("a socket file"), Some(0));
        assert_eq!(throttle.allow_named_peer("a socket file"), None);
    }
}
