//! Connections to origins, shared by the calls of all streams.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Weak},
};

use dashmap::DashMap;
use rpc::relay::RelayError;

use super::origin::{Answer, Dial, Origin};

/// Open connections by address. One stays open as long as there is a [`Lease`] of it.
#[derive(Debug)]
pub(super) struct Channels {
    dial: Arc<dyn Dial>,
    open: DashMap<String, Vec<Slot>>,
    /// For leases, which tell when the last one is over.
    this: Weak<Channels>,
}

#[derive(Clone)]
struct Slot {
    origin: Arc<dyn Origin>,
    /// One more than the calls on this connection.
    calls: Arc<()>,
}

/// A call's share of a connection.
pub(super) struct Lease {
    channels: Weak<Channels>,
    address: String,
    slot: Slot,
}

/// An origin admits 256 calls on one connection; above this many we open another.
const CALLS_MAX: usize = 200;

impl Channels {
    pub(super) fn new(dial: Arc<dyn Dial>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { dial, open: DashMap::new(), this: this.clone() })
    }

    /// A share of a connection to this address; connects if there is none with room.
    pub(super) async fn lease(&self, address: &str) -> Result<Lease, RelayError> {
        if let Some(slot) = self.open.get(address).and_then(|slots| with_room(&slots)) {
            return Ok(self.lease_of(address, slot));
        }
        let origin = self.connect(address).await?;
        let mut slots = self.open.entry(address.to_owned()).or_default();
        // Whoever asked at the same time may have connected first: one connection is better than two.
        if let Some(slot) = with_room(&slots) {
            return Ok(self.lease_of(address, slot));
        }
        let slot = Slot { origin, calls: Arc::new(()) };
        slots.push(slot.clone());
        Ok(self.lease_of(address, slot))
    }

    /// A connection that is not shared: beats must not wait behind media.
    pub(super) fn connect(&self, address: &str) -> Answer<Arc<dyn Origin>> {
        self.dial.connect(address)
    }

    /// Connections to this address are no longer used for new calls.
    pub(super) fn forget(&self, address: &str) {
        self.open.remove(address);
    }

    fn lease_of(&self, address: &str, slot: Slot) -> Lease {
        Lease { channels: self.this.clone(), address: address.to_owned(), slot }
    }

    /// Closes the connections to this address that have no calls any more.
    fn release(&self, address: &str) {
        self.open.remove_if_mut(address, |_, slots| {
            slots.retain(|slot| Arc::strong_count(&slot.calls) > 1);
            slots.is_empty()
        });
    }
}

fn with_room(slots: &[Slot]) -> Option<Slot> {
    slots.iter().find(|slot| Arc::strong_count(&slot.calls) <= CALLS_MAX).cloned()
}

impl Deref for Lease {
    type Target = dyn Origin;

    fn deref(&self) -> &Self::Target {
        self.slot.origin.as_ref()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Given up first, so that the last one finds the connection without calls.
        self.slot.calls = Arc::new(());
        if let Some(channels) = self.channels.upgrade() {
            channels.release(&self.address);
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("calls", &(Arc::strong_count(&self.calls) - 1)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::{super::testing::Net, *};

    fn channels(net: &Arc<Net>) -> Arc<Channels> {
        Channels::new(net.clone())
    }

    fn connections(channels: &Channels) -> usize {
        channels.open.iter().map(|slots| slots.len()).sum()
    }

    #[tokio::test]
    async fn calls_share_a_connection_until_it_is_full() {
        let net = Net::new();
        let _origin = net.listen("a:1");
        let channels = channels(&net);
        let leases = join_all((0..CALLS_MAX + 1).map(|_| channels.lease("a:1"))).await;
        assert!(leases.iter().all(Result::is_ok));
        assert_eq!(connections(&channels), 2);
    }

    #[tokio::test]
    async fn a_connection_closes_with_its_last_call() {
        let net = Net::new();
        let _origin = net.listen("a:1");
        let channels = channels(&net);
        let (first, second) = (channels.lease("a:1").await, channels.lease("a:1").await);
        drop(first);
        assert_eq!(connections(&channels), 1);
        drop(second);
        assert!(channels.open.is_empty(), "nothing is kept of the address either");
    }

    #[tokio::test]
    async fn a_forgotten_connection_takes_no_new_calls() {
        let net = Net::new();
        let _origin = net.listen("a:1");
        let channels = channels(&net);
        let old = channels.lease("a:1").await.ok().unwrap();
        channels.forget("a:1");
        let new = channels.lease("a:1").await.ok().unwrap();
        assert!(!Arc::ptr_eq(&old.slot.origin, &new.slot.origin));
        drop(old);
        assert_eq!(connections(&channels), 1);
    }
}
