//! Connections to origins, shared by the calls of all streams.

use std::sync::Arc;

use dashmap::DashMap;
use futures_util::{
    future::{BoxFuture, FutureExt},
    stream::BoxStream,
};
use rpc::{
    auth::Token,
    channel::Target,
    relay::{Client, PullDown, PullRequest, PushDown, PushHello, PushUp, RelayError, Stream},
};

/// Open connections by address.
#[derive(Debug)]
pub(super) struct Channels {
    token: Option<Token>,
    open: DashMap<String, Vec<Slot>>,
}

#[derive(Debug, Clone)]
struct Slot {
    client: Client,
    /// One more than the calls on this connection.
    calls: Arc<()>,
}

/// A call's share of a connection.
#[derive(Debug)]
pub(super) struct Lease {
    slot: Slot,
}

/// An origin admits 256 calls on one connection; above this many we open another.
const CALLS_MAX: usize = 200;

impl Channels {
    pub(super) fn new(token: Option<Token>) -> Self {
        Self { token, open: DashMap::new() }
    }

    /// A share of a connection to this address; connects if there is none with room.
    pub(super) async fn lease(&self, address: &str) -> Result<Lease, RelayError> {
        if let Some(lease) = self.open.get(address).and_then(|slots| with_room(&slots)) {
            return Ok(lease);
        }
        let client = connect(Target::new([address], self.token.clone())).await?;
        let mut slots = self.open.entry(address.to_owned()).or_default();
        // Whoever asked at the same time may have connected first: one connection is better than two.
        if let Some(lease) = with_room(&slots) {
            return Ok(lease);
        }
        let slot = Slot { client, calls: Arc::new(()) };
        let lease = Lease { slot: slot.clone() };
        slots.push(slot);
        Ok(lease)
    }

    /// Connections to this address are no longer used for new calls.
    pub(super) fn forget(&self, address: &str) {
        self.open.remove(address);
    }
}

/// Boxed: inside another future the compiler cannot see that it is Send.
fn connect(target: Target) -> BoxFuture<'static, Result<Client, RelayError>> {
    async move { Client::connect(&target).await }.boxed()
}

fn with_room(slots: &[Slot]) -> Option<Lease> {
    let slot = slots.iter().find(|slot| Arc::strong_count(&slot.calls) <= CALLS_MAX)?;
    Some(Lease { slot: slot.clone() })
}

impl Lease {
    /// Boxed, as [`connect`] is.
    pub(super) fn pull(&self, request: PullRequest) -> BoxFuture<'static, Result<Stream<PullDown>, RelayError>> {
        let client = self.slot.client.clone();
        async move { client.pull(request).await }.boxed()
    }

    /// Boxed, as [`connect`] is.
    pub(super) fn push(
        &self,
        hello: PushHello,
        up: BoxStream<'static, PushUp>,
    ) -> BoxFuture<'static, Result<Stream<PushDown>, RelayError>> {
        let client = self.slot.client.clone();
        async move { client.push(hello, up).await }.boxed()
    }
}
