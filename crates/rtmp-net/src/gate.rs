//! How many connections may be in the handshake.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Counts unfinished handshakes, all together and by address.
#[derive(Debug)]
pub(crate) struct Gate {
    all_max: usize,
    each_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// Too many connections are in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many connections are in the handshake")]
pub struct TooMany;

/// One unfinished handshake; dropping it is how it ends.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
}

impl Gate {
    pub(crate) fn new(all_max: usize, each_max: usize) -> Self {
        Self { all_max, each_max, open: Mutex::default() }
    }

    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Pass, TooMany> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.all_max {
            return Err(TooMany);
        }
        let address = counted_as(peer);
        if let Some(address) = address {
            let count = open.each.entry(address).or_default();
            if *count >= self.each_max {
                return Err(TooMany);
            }
            *count += 1;
        }
        open.all += 1;
        Ok(Pass { gate: self.clone(), address })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(count) = open.each.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.each.remove(&address);
            }
        }
    }
}

/// An IPv4 address in whatever clothes counts as itself, an IPv6 one as its /64. Loopback is not counted.
fn counted_as(peer: IpAddr) -> Option<IpAddr> {
    match peer.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
        address => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(gate: &Arc<Gate>, peer: &str) -> Result<Pass, TooMany> {
        gate.enter(peer.parse().unwrap())
    }

    #[test]
    fn addresses_are_counted_whatever_they_wear() {
        let gate = Arc::new(Gate::new(100, 2));
        let first = enter(&gate, "192.0.2.1").unwrap();
        let _mapped = enter(&gate, "::ffff:192.0.2.1").unwrap();
        assert_eq!(enter(&gate, "192.0.2.1").err(), Some(TooMany));
        let _other = enter(&gate, "192.0.2.2").unwrap();
        drop(first);
        let _again = enter(&gate, "192.0.2.1").unwrap();

        let _six = [enter(&gate, "2001:db8::1").unwrap(), enter(&gate, "2001:db8::ffff:1").unwrap()];
        assert!(enter(&gate, "2001:db8::2").is_err());
        assert!(enter(&gate, "2001:db8:0:1::2").is_ok());
    }

    #[test]
    fn loopback_is_bounded_only_together_with_all() {
        let gate = Arc::new(Gate::new(3, 1));
        let passes = [(); 3].map(|()| enter(&gate, "127.0.0.1").unwrap());
        assert!(enter(&gate, "127.0.0.1").is_err());
        drop(passes);
        assert!(enter(&gate, "::1").is_ok());
        assert!(gate.open.lock().unwrap().each.is_empty());
    }
}
