//! A detour: calls of edges that cannot reach the active origin are passed on to it (REPLICATION L3).

use std::{
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use cluster::NodeId;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use rpc::{
    channel::Target,
    relay::{Client, Flow, PullDown, PullRequest, PushDown, PushHello, PushUp, RelayError},
};
use telemetry::Throttle;
use tokio::sync::OnceCell;

use super::{Relay, not_active};

/// Connections to active origins, each shared by the calls of one asker that are passed on to them: a cut makes a detour of
/// many streams at once. Askers share none, since one that does not read would hold up the others.
#[derive(Debug)]
pub(crate) struct Detours {
    open: Mutex<Vec<Weak<Detour>>>,
    /// Viewers choose the names: that calls are passed on is told so often of each kind, and not of each name.
    pub(super) news: Throttle,
}

/// One connection. Each of its calls holds it, and it closes with the last.
#[derive(Debug)]
struct Detour {
    address: String,
    /// Who asked first: the first node of a call's path.
    asker: Option<NodeId>,
    /// Connected by the first call that comes.
    client: OnceCell<Client>,
}

/// An origin admits 256 calls on one connection; above this many we open another.
const CALLS_MAX: usize = 200;
const TELL_EVERY: Duration = Duration::from_secs(10);

impl Default for Detours {
    fn default() -> Self {
        Self { open: Mutex::default(), news: Throttle::new(TELL_EVERY) }
    }
}

impl Detours {
    /// One to this address that has room for a call more of this asker.
    fn to(&self, address: &str, asker: Option<&NodeId>) -> Arc<Detour> {
        // A panic while the lock was held left all of them usable.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|detour| detour.strong_count() > 0);
        // The call that asks is counted by then.
        let has_room = |detour: &Arc<Detour>| {
            let fits = detour.address == address && detour.asker.as_ref() == asker;
            fits && Arc::strong_count(detour) <= CALLS_MAX
        };
        if let Some(detour) = open.iter().filter_map(Weak::upgrade).find(has_room) {
            return detour;
        }
        let (address, asker) = (address.to_owned(), asker.cloned());
        let new = Arc::new(Detour { address, asker, client: OnceCell::new() });
        open.push(Arc::downgrade(&new));
        new
    }
}

/// A call that has come through so many nodes is passed on no further; the protocol lets a message name more.
const DETOUR_NODES_MAX: usize = 4;

/// Passes a push on to the active origin.
pub(super) async fn push(relay: &Relay, hello: PushHello, up: Flow<PushUp>) -> Result<Flow<PushDown>, RelayError> {
    relay.hear(hello.epoch);
    let path = lengthened(relay, &hello.path)?;
    let (detour, active) = connect(relay, path.first()).await?;
    relay.stats.passed_on.fetch_add(1, Ordering::Relaxed);
    if let Some(silenced) = relay.detours.news.allow("push.passed_on") {
        let (stream, edge) = (&hello.stream, &hello.edge);
        tracing::info!(%stream, %edge, active = active.address(), silenced, "push.passed_on");
    }
    // An error in what the edge says ends what we say: the active origin sees a lost edge, as it should.
    let up = up.take_while(|said| std::future::ready(said.is_ok())).filter_map(|said| std::future::ready(said.ok()));
    Ok(held(detour, active.push(PushHello { via: false, path, ..hello }, up).await?))
}

/// Passes a pull on to the active origin.
pub(super) async fn pull(relay: &Relay, request: PullRequest) -> Result<Flow<PullDown>, RelayError> {
    relay.hear(request.epoch);
    let path = lengthened(relay, &request.path)?;
    let (detour, active) = connect(relay, path.first()).await?;
    relay.stats.passed_on.fetch_add(1, Ordering::Relaxed);
    if let Some(silenced) = relay.detours.news.allow("pull.passed_on") {
        tracing::info!(stream = %request.stream, active = active.address(), silenced, "pull.passed_on");
    }
    Ok(held(detour, active.pull(PullRequest { via: false, path, ..request }).await?))
}

/// The path with this node at its end, where it has not come through before.
fn lengthened(relay: &Relay, path: &[NodeId]) -> Result<Vec<NodeId>, RelayError> {
    if path.len() >= DETOUR_NODES_MAX {
        return Err(RelayError::Loop);
    }
    Ok(path.iter().chain([&relay.node]).cloned().collect())
}

/// A connection to the active origin: what each call is to hold, and by what it is made.
///
/// Boxed: inside another future the compiler cannot see that it is Send.
fn connect(relay: &Relay, asker: Option<&NodeId>) -> BoxFuture<'static, Result<(Arc<Detour>, Client), RelayError>> {
    let (duty, token, detours) = (relay.duty.borrow().clone(), relay.token.clone(), relay.detours.clone());
    let asker = asker.cloned();
    async move {
        let Some(address) = duty.active_at.clone() else { return Err(not_active(&duty)) };
        let detour = detours.to(&address, asker.as_ref());
        let connecting = async move { Client::connect(&Target::new([address], token)).await }.boxed();
        let client = detour.client.get_or_try_init(|| connecting).await?.clone();
        Ok((detour, client))
    }
    .boxed()
}

/// The answers to a call, with what it holds.
fn held<T: 'static>(detour: Arc<Detour>, down: Flow<T>) -> Flow<T> {
    down.inspect(move |_| {
        let _held = &detour;
    })
    .boxed()
}
