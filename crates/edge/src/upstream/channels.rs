//! Connections to origins, shared by the calls of all streams.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use futures_util::future::{FutureExt, Shared};
use rpc::relay::RelayError;

use super::origin::{Answer, Dial, Origin};

/// Open connections by address. One stays open as long as there is a [`Lease`] of it.
#[derive(Debug)]
pub(super) struct Channels {
    dial: Arc<dyn Dial>,
    open: DashMap<String, Vec<Slot>>,
    /// How many were begun, of all addresses.
    begun: AtomicU64,
    /// For leases, which tell when the last one is over.
    this: Weak<Channels>,
}

#[derive(Clone)]
struct Slot {
    /// Connects when it is first waited for; all who wait share what comes of it.
    origin: Shared<Answer<Arc<dyn Origin>>>,
    /// So many were begun with it.
    number: u64,
    /// One more than the calls on this connection.
    calls: Arc<()>,
}

/// A call's share of a connection.
pub(super) struct Lease {
    channels: Weak<Channels>,
    address: String,
    slot: Slot,
    /// So many were begun when it was taken.
    begun: u64,
}

/// An origin admits 256 calls on one connection; above this many we open another.
const CALLS_MAX: usize = 200;

impl Channels {
    pub(super) fn new(dial: Arc<dyn Dial>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { dial, open: DashMap::new(), begun: AtomicU64::new(0), this: this.clone() })
    }

    /// A share of a connection to this address, which is begun if there is none with room. Whoever asks while it is not there
    /// yet counts as well: a pool that moves makes for no more connections than its calls need.
    pub(super) fn lease(&self, address: &str) -> Lease {
        let mut slots = self.open.entry(address.to_owned()).or_default();
        let slot = slots.iter().find(|slot| slot.has_room()).cloned().unwrap_or_else(|| {
            let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
            let slot = Slot { origin: self.connect(address).shared(), number, calls: Arc::new(()) };
            slots.push(slot.clone());
            slot
        });
        let begun = self.begun.load(Ordering::Relaxed);
        Lease { channels: self.this.clone(), address: address.to_owned(), slot, begun }
    }

    /// A connection that is not shared: beats must not wait behind media.
    pub(super) fn connect(&self, address: &str) -> Answer<Arc<dyn Origin>> {
        self.dial.connect(address)
    }

    /// A call by this lease has failed: the connections to its address are no longer used for new calls, but for those that were
    /// begun since. Many calls fail with one connection, and the last to find out is not to undo what the first has begun.
    pub(super) fn forget(&self, lease: &Lease) {
        self.open.remove_if_mut(&lease.address, |_, slots| {
            slots.retain(|slot| slot.number > lease.begun);
            slots.is_empty()
        });
    }

    /// Closes the connections to this address that have no calls any more.
    fn release(&self, address: &str) {
        self.open.remove_if_mut(address, |_, slots| {
            slots.retain(|slot| Arc::strong_count(&slot.calls) > 1);
            slots.is_empty()
        });
    }
}

impl Slot {
    /// Whether one more call may be made on it; on one that could not be connected none can.
    fn has_room(&self) -> bool {
        !matches!(self.origin.peek(), Some(Err(_))) && Arc::strong_count(&self.calls) <= CALLS_MAX
    }
}

impl Lease {
    /// The connection, once it is there. Safe to drop at the await: whoever else waits for it goes on.
    pub(super) async fn origin(&self) -> Result<Arc<dyn Origin>, RelayError> {
        self.slot.origin.clone().await
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

    /// So many calls at once, each with its connection or the reason why there is none.
    async fn calls(channels: &Channels, count: usize) -> Vec<(Lease, Result<Arc<dyn Origin>, RelayError>)> {
        let leases: Vec<_> = (0..count).map(|_| channels.lease("a:1")).collect();
        join_all(leases.into_iter().map(async |lease| {
            let origin = lease.origin().await;
            (lease, origin)
        }))
        .await
    }

    #[tokio::test]
    async fn calls_share_a_connection_until_it_is_full() {
        let net = Net::new();
        let _origin = net.listen("a:1");
        let channels = channels(&net);
        let calls = calls(&channels, CALLS_MAX + 1).await;
        assert!(calls.iter().all(|(_, origin)| origin.is_ok()));
        assert_eq!(connections(&channels), 2);
    }

    #[tokio::test]
    async fn calls_that_come_at_once_connect_no_more_often_than_they_need() {
        let net = Net::new();
        let _origin = net.listen("a:1");
        let channels = channels(&net);
        let calls = calls(&channels, 2500).await;
        assert!(calls.iter().all(|(_, origin)| origin.is_ok()));
        assert_eq!((net.dials("a:1"), connections(&channels)), (13, 13));
    }

    #[tokio::test]
    async fn who_waits_for_a_connection_that_fails_is_told_and_the_next_connects_anew() {
        let net = Net::new();
        let channels = channels(&net);
        let failed = calls(&channels, CALLS_MAX).await;
        assert!(failed.iter().all(|(_, origin)| origin.is_err()));
        assert_eq!(net.dials("a:1"), 1);
        let _origin = net.listen("a:1");
        let again = calls(&channels, 1).await;
        assert!(again[0].1.is_ok(), "although those who were told hold theirs");
        drop((failed, again));
        assert!(channels.open.is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_a_connection_goes_on_when_the_one_that_began_it_gives_up() {
        let net = Net::new();
        let _origin = net.listen("a:1");
        let channels = channels(&net);
        let (first, second) = (channels.lease("a:1"), channels.lease("a:1"));
        assert!(first.origin().now_or_never().is_none(), "it takes its time");
        drop(first);
        assert!(second.origin().await.is_ok());
        assert_eq!(net.dials("a:1"), 1);
    }

    #[tokio::test]
    async fn a_connection_closes_with_its_last_call() {
        let net = Net::new();
        let _origin = net.listen("a:1");
        let channels = channels(&net);
        let (first, second) = (channels.lease("a:1"), channels.lease("a:1"));
        drop(first);
        assert_eq!(connections(&channels), 1);
        drop(second);
        assert!(channels.open.is_empty(), "nothing is kept of the address either");
    }

    #[tokio::test]
    async fn a_forgotten_connection_takes_no_new_calls_and_is_forgotten_once() {
        let net = Net::new();
        let _origin = net.listen("a:1");
        let channels = channels(&net);
        let (old, other) = (channels.lease("a:1"), channels.lease("a:1"));
        channels.forget(&old);
        let new = channels.lease("a:1");
        assert_ne!(old.slot.number, new.slot.number);
        channels.forget(&other);
        assert_eq!(channels.lease("a:1").slot.number, new.slot.number, "it has failed with the old one");
        drop((old, other));
        assert_eq!(connections(&channels), 1);
    }
}
