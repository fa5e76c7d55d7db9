//! Origins that the tests play by hand.

use std::sync::{Arc, Mutex};

use cluster::{Epoch, NodeId, Role, RouteConfig, RouteTable};
use dashmap::DashMap;
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use media::{DEFAULT_VHOST, StreamName};
use rpc::relay::{Flow, LinkDown, LinkHello, LinkUp, PullDown, PullRequest, PushDown, PushHello, PushUp, RelayError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    Directions, Upstream,
    origin::{Answer, Dial, Origin},
};

/// The addresses where somebody listens.
#[derive(Debug, Default)]
pub(crate) struct Net {
    listening: DashMap<String, mpsc::UnboundedSender<Asked>>,
    /// How often each address was connected to, whether or not somebody listened.
    dials: DashMap<String, usize>,
}

/// A call that came to an address.
pub(crate) enum Asked {
    Pull(PullRequest, Reply<PullDown>),
    Push(PushHello, BoxStream<'static, PushUp>, Reply<PushDown>),
    Link(LinkHello, BoxStream<'static, LinkUp>, Reply<LinkDown>),
}

/// The answer to a call, which is owed.
pub(crate) struct Reply<T>(oneshot::Sender<Result<Flow<T>, RelayError>>);

/// The answers of a call that was accepted. Dropped, the call ends in order.
pub(crate) type Down<T> = mpsc::UnboundedSender<Result<T, RelayError>>;

impl<T: Send + 'static> Reply<T> {
    pub(crate) fn accept(self) -> Down<T> {
        let (down, answers) = mpsc::unbounded_channel();
        let _gone = self.0.send(Ok(UnboundedReceiverStream::new(answers).boxed()));
        down
    }

    pub(crate) fn refuse(self, error: RelayError) {
        let _gone = self.0.send(Err(error));
    }
}

/// An origin at an address, played by a test. Dropped, nobody listens there any more.
pub(crate) struct Played {
    net: Arc<Net>,
    address: String,
    calls: mpsc::UnboundedReceiver<Asked>,
    links: Mutex<Vec<Down<LinkDown>>>,
}

impl Net {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn listen(self: &Arc<Self>, address: &str) -> Played {
        let (sender, calls) = mpsc::unbounded_channel();
        self.listening.insert(address.to_owned(), sender);
        Played { net: self.clone(), address: address.to_owned(), calls, links: Mutex::default() }
    }

    pub(crate) fn dials(&self, address: &str) -> usize {
        self.dials.get(address).map_or(0, |dials| *dials)
    }

    /// The way to what `routes` name in one line each, and the sender by which they change.
    pub(crate) fn upstream(self: &Arc<Self>, directions: Directions) -> (Upstream, watch::Sender<Directions>) {
        let (sender, directions) = watch::channel(directions);
        (Upstream::over(NodeId::new("edge-1").unwrap(), directions, self.clone()), sender)
    }
}

/// The directions that entries in JSON make.
pub(crate) fn directions(routes: &[&str]) -> Directions {
    let parse = |route: &&str| serde_json::from_str::<RouteConfig>(route).unwrap();
    let entries = RouteConfig::into_entries(routes.iter().map(parse).collect());
    Directions { routes: Arc::new(RouteTable::new(vec![], entries).unwrap()), pools: vec![] }
}

pub(crate) fn name() -> StreamName {
    StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()
}

impl Played {
    /// The next push or pull. Links stand meanwhile and are told nothing.
    pub(crate) async fn call(&mut self) -> Asked {
        loop {
            match self.calls.recv().await.expect("we hold the net, which holds the sender") {
                Asked::Link(_, _, reply) => self.links.get_mut().unwrap().push(reply.accept()),
                call => return call,
            }
        }
    }

    pub(crate) async fn pull(&mut self) -> (PullRequest, Reply<PullDown>) {
        match self.call().await {
            Asked::Pull(request, reply) => (request, reply),
            Asked::Push(..) | Asked::Link(..) => panic!("not a pull"),
        }
    }

    pub(crate) async fn push(&mut self) -> (PushHello, BoxStream<'static, PushUp>, Reply<PushDown>) {
        match self.call().await {
            Asked::Push(hello, up, reply) => (hello, up, reply),
            Asked::Pull(..) | Asked::Link(..) => panic!("not a push"),
        }
    }

    /// The next Link.
    pub(crate) async fn link(&mut self) -> (LinkHello, BoxStream<'static, LinkUp>, Down<LinkDown>) {
        match self.calls.recv().await.expect("we hold the net, which holds the sender") {
            Asked::Link(hello, up, reply) => (hello, up, reply.accept()),
            Asked::Pull(..) | Asked::Push(..) => panic!("not a Link"),
        }
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.net.listening.remove(&self.address);
    }
}

/// A beat on a Link.
pub(crate) fn beat(epoch: u64, role: Role) -> Result<LinkDown, RelayError> {
    Ok(LinkDown::Beat { epoch: Epoch(epoch), role, active: None })
}

impl Dial for Net {
    fn connect(&self, address: &str) -> Answer<Arc<dyn Origin>> {
        *self.dials.entry(address.to_owned()).or_default() += 1;
        let calls = self.listening.get(address).map(|calls| calls.clone());
        let refused = RelayError::Transport(format!("{address}: connection refused"));
        async move {
            // Others come meanwhile.
            tokio::task::yield_now().await;
            Ok(Arc::new(Wire(calls.ok_or(refused)?)) as Arc<dyn Origin>)
        }
        .boxed()
    }
}

/// A connection to a played origin.
struct Wire(mpsc::UnboundedSender<Asked>);

impl Wire {
    fn ask<T: Send + 'static>(&self, asked: impl FnOnce(Reply<T>) -> Asked) -> Answer<Flow<T>> {
        let (reply, answer) = oneshot::channel();
        let _gone = self.0.send(asked(Reply(reply)));
        let closed = |_| RelayError::Transport("connection reset".to_owned());
        async move { answer.await.map_err(closed)? }.boxed()
    }
}

impl Origin for Wire {
    fn pull(&self, request: PullRequest) -> Answer<Flow<PullDown>> {
        self.ask(|reply| Asked::Pull(request, reply))
    }

    fn push(&self, hello: PushHello, up: BoxStream<'static, PushUp>) -> Answer<Flow<PushDown>> {
        self.ask(|reply| Asked::Push(hello, up, reply))
    }

    fn link(&self, hello: LinkHello, up: BoxStream<'static, LinkUp>) -> Answer<Flow<LinkDown>> {
        self.ask(|reply| Asked::Link(hello, up, reply))
    }
}
