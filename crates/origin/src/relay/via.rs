//! A detour: calls of edges that cannot reach the active origin are passed on to it (REPLICATION L3).

use std::sync::atomic::Ordering;

use cluster::NodeId;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use rpc::{
    channel::Target,
    relay::{Client, PullDown, PullRequest, PushDown, PushHello, PushUp, RelayError, Stream},
};

use super::{Relay, not_active};

/// Nodes that a call may come through.
const PATH_MAX: usize = 4;

/// Passes a push on to the active origin.
pub(super) async fn push(relay: &Relay, hello: PushHello, up: Stream<PushUp>) -> Result<Stream<PushDown>, RelayError> {
    relay.hear(hello.epoch);
    let path = lengthened(relay, &hello.path)?;
    let active = connect(relay).await?;
    relay.stats.passed_on.fetch_add(1, Ordering::Relaxed);
    tracing::info!(stream = %hello.stream, edge = %hello.edge, active = active.address(), "push.passed_on");
    // An error in what the edge says ends what we say: the active origin sees a lost edge, as it should.
    let up = up.take_while(|said| std::future::ready(said.is_ok())).filter_map(|said| std::future::ready(said.ok()));
    active.push(PushHello { via: false, path, ..hello }, up).await
}

/// Passes a pull on to the active origin.
pub(super) async fn pull(relay: &Relay, request: PullRequest) -> Result<Stream<PullDown>, RelayError> {
    relay.hear(request.epoch);
    let path = lengthened(relay, &request.path)?;
    let active = connect(relay).await?;
    relay.stats.passed_on.fetch_add(1, Ordering::Relaxed);
    tracing::info!(stream = %request.stream, active = active.address(), "pull.passed_on");
    active.pull(PullRequest { via: false, path, ..request }).await
}

/// The path with this node at its end, where it has not come through before.
fn lengthened(relay: &Relay, path: &[NodeId]) -> Result<Vec<NodeId>, RelayError> {
    if path.len() >= PATH_MAX {
        return Err(RelayError::Loop);
    }
    Ok(path.iter().chain([&relay.node]).cloned().collect())
}

/// A connection of its own for each call: detours are rare, and end with the cut that made them.
///
/// Boxed: inside another future the compiler cannot see that it is Send.
fn connect(relay: &Relay) -> BoxFuture<'static, Result<Client, RelayError>> {
    let (term, token) = (relay.term.borrow().clone(), relay.token.clone());
    async move {
        let Some(address) = term.active_at.clone() else { return Err(not_active(&term)) };
        Client::connect(&Target::new([address], token)).await
    }
    .boxed()
}
