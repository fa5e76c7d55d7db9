//! A control plane without rules: it tells what the test puts in, and the test sees what it is told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use cluster::{Beat, Liveness, Member, Mode, NodeId, PoolId, PoolView, Registration, RouteEntry, RouteId};
use futures_util::{StreamExt, stream};
use media::StreamName;
use tokio::{
    select,
    sync::{Mutex, mpsc, watch},
    time,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    auth::Caller,
    control::*,
    status::{Code, Failure},
};

/// Put in by the test.
pub(super) struct Fake {
    pub(super) routes: watch::Sender<Vec<Watched<RouteInfo>>>,
    pub(super) pools: watch::Sender<Vec<Watched<PoolInfo>>>,
    /// Sent on the conversation that is open.
    pub(super) commands: mpsc::Sender<FromControl>,
    unsent: Arc<Mutex<mpsc::Receiver<FromControl>>>,
    /// No beats from now on.
    pub(super) mute: AtomicBool,
    /// How often both sides beat.
    pub(super) beat_ms: AtomicU64,
    /// Which start of which store it is.
    granter: String,
    heard: mpsc::UnboundedSender<Heard>,
}

/// What the control plane was told.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Registration(Caller, Box<Registration>),
    Said(FromNode),
    Left(Deregister),
}

pub(super) fn fake() -> (Arc<Fake>, mpsc::UnboundedReceiver<Heard>) {
    let (heard, hearing) = mpsc::unbounded_channel();
    let (commands, unsent) = mpsc::channel(8);
    let fake = Fake {
        routes: watch::Sender::default(),
        pools: watch::Sender::default(),
        commands,
        unsent: Arc::new(Mutex::new(unsent)),
        mute: AtomicBool::new(false),
        beat_ms: AtomicU64::new(20),
        granter: format!("store.{:016x}", rand::random::<u64>()),
        heard,
    };
    (Arc::new(fake), hearing)
}

impl Fake {
    fn beat(&self) -> Duration {
        Duration::from_millis(self.beat_ms.load(Ordering::Relaxed))
    }

    pub(super) fn put_route(&self, entry: RouteEntry) {
        let now = SystemTime::UNIX_EPOCH;
        let text = String::new;
        let info = RouteInfo {
            entry,
            etag: "1".into(),
            description: text(),
            created: now,
            updated: now,
            author: text(),
            reason: text(),
        };
        self.routes.send_modify(|log| log.push(Watched::Put(info)));
    }

    pub(super) fn delete_route(&self, id: &str) {
        let name = RouteId::new(id).unwrap().resource();
        self.routes.send_modify(|log| log.push(Watched::Deleted(name)));
    }

    pub(super) fn put_pool(&self, view: PoolView) {
        let info = PoolInfo {
            view,
            active_incarnation: None,
            mode: Mode::default(),
            hold_until: None,
            last_change: None,
            store_id: "store".into(),
            heard: BTreeMap::new(),
        };
        self.pools.send_modify(|log| log.push(Watched::Put(info)));
    }
}

/// The watch over a log, whose revisions are its lengths.
fn watch<T>(log: &watch::Sender<Vec<Watched<T>>>, from: u64, name: fn(&T) -> String) -> Result<Steps<T>, Failure>
where
    T: Clone + Send + Sync + 'static,
{
    let mut changes = log.subscribe();
    let now = changes.borrow_and_update().clone();
    let revision = now.len() as u64;
    if from > revision {
        return Err(Failure::new(Code::OutOfRange, "REVISION_COMPACTED", "from another store"));
    }
    let mut head = Vec::new();
    if from == 0 {
        let mut items = BTreeMap::new();
        for change in now {
            match change {
                Watched::Put(item) => drop(items.insert(name(&item), item)),
                Watched::Deleted(name) => drop(items.remove(&name)),
                _ => {}
            }
        }
        head.extend(items.into_values().map(Watched::Snapshot));
    }
    head.push(Watched::Bookmark);
    let begin = if from == 0 { revision } else { from };
    let head = head.into_iter().map(move |event| Ok(Step { revision: begin, event }));
    let tail = stream::unfold((changes, begin), |(mut changes, told)| async move {
        changes.wait_for(|log| log.len() as u64 > told).await.ok()?;
        let event = changes.borrow()[told as usize].clone();
        Some((Ok(Step { revision: told + 1, event }), (changes, told + 1)))
    });
    Ok(stream::iter(head).chain(tail).boxed())
}

impl Members for Fake {
    async fn register(&self, caller: Caller, registration: Registration) -> Result<Registered, Failure> {
        self.heard.send(Heard::Registration(caller, Box::new(registration.clone()))).unwrap();
        let now = SystemTime::UNIX_EPOCH;
        let (liveness, beat) = (Liveness::Alive, Beat::default());
        Ok(Registered {
            node: NodeInfo { registration, liveness, beat, registered: now, heard: now },
            beat_interval: self.beat(),
            silence_max: 4 * self.beat(),
            route_revision: 0,
            store_id: "store".into(),
            granter: self.granter.clone(),
        })
    }

    fn converse(&self, _: Caller, _: Member, mut node: FromNodeStream) -> Result<FromControlStream, Failure> {
        let (down, told) = mpsc::channel(8);
        let beat = self.beat();
        let welcome = Welcome { beat_interval: beat, silence_max: 4 * beat, store_id: "store".into() };
        let (heard, unsent, muted) = (self.heard.clone(), self.unsent.clone(), self.mute.load(Ordering::Relaxed));
        tokio::spawn(async move {
            let mut unsent = unsent.lock().await;
            let mut beats = time::interval(beat);
            let mut number = 0;
            let mut next = FromControl::Welcome(welcome);
            // Until the node or the connection has gone.
            while down.send(Ok(next)).await.is_ok() {
                next = loop {
                    select! {
                        said = node.next() => match said {
                            Some(Ok(said)) => drop(heard.send(Heard::Said(said))),
                            _ => return,
                        },
                        Some(command) = unsent.recv() => break command,
                        _ = beats.tick(), if !muted => {
                            number += 1;
                            break FromControl::Beat { number, route_revision: 0 };
                        }
                    }
                };
            }
        });
        Ok(ReceiverStream::new(told).boxed())
    }

    async fn deregister(&self, _: Caller, request: Deregister) -> Result<(), Failure> {
        self.heard.send(Heard::Left(request)).unwrap();
        Ok(())
    }

    async fn drain_node(&self, _: Caller, _: Drain) -> Result<NodeInfo, Failure> {
        Err(not_here())
    }

    fn node(&self, _: &NodeId) -> Option<NodeInfo> {
        None
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        vec![]
    }

    fn watch_nodes(&self, _: u64) -> Result<Steps<NodeInfo>, Failure> {
        Err(not_here())
    }
}

impl Routes for Fake {
    async fn create_route(&self, _: Caller, _: CreateRoute) -> Result<RouteInfo, Failure> {
        Err(not_here())
    }

    async fn update_route(&self, _: Caller, _: UpdateRoute) -> Result<RouteInfo, Failure> {
        Err(not_here())
    }

    async fn delete_route(&self, _: Caller, _: DeleteRoute) -> Result<u64, Failure> {
        Err(not_here())
    }

    fn route(&self, _: &RouteId) -> Option<RouteInfo> {
        None
    }

    fn routes(&self) -> (Vec<RouteInfo>, u64) {
        (vec![], 0)
    }

    fn watch_routes(&self, from: u64) -> Result<Steps<RouteInfo>, Failure> {
        watch(&self.routes, from, |route| route.entry.id.resource())
    }

    fn resolve_route(&self, _: &StreamName) -> Resolution {
        Resolution { route: None, refused: false, addresses: vec![], trace: vec![] }
    }
}

impl Pools for Fake {
    fn pool(&self, _: &PoolId) -> Option<PoolInfo> {
        None
    }

    fn pools(&self) -> Vec<PoolInfo> {
        vec![]
    }

    fn watch_pools(&self, from: u64) -> Result<Steps<PoolInfo>, Failure> {
        watch(&self.pools, from, |pool| pool.view.id.resource())
    }

    async fn promote(&self, _: Caller, _: Promote) -> Result<PoolInfo, Failure> {
        Err(not_here())
    }

    async fn fail_back(&self, _: Caller, _: FailBack) -> Result<PoolInfo, Failure> {
        Err(not_here())
    }

    async fn hold_pool(&self, _: Caller, _: HoldPool) -> Result<PoolInfo, Failure> {
        Err(not_here())
    }

    async fn release_pool(&self, _: Caller, _: ReleasePool) -> Result<PoolInfo, Failure> {
        Err(not_here())
    }

    async fn fence_member(&self, _: Caller, _: FenceMember) -> Result<PoolInfo, Failure> {
        Err(not_here())
    }

    async fn unfence_member(&self, _: Caller, _: FenceMember) -> Result<PoolInfo, Failure> {
        Err(not_here())
    }
}

impl Streams for Fake {
    fn stream(&self, _: &StreamName) -> Option<StreamInfo> {
        None
    }

    fn streams(&self) -> Vec<StreamInfo> {
        vec![]
    }

    fn locate(&self, _: &StreamName) -> Option<Located> {
        None
    }

    fn watch_streams(&self, _: u64) -> Result<Steps<StreamInfo>, Failure> {
        Err(not_here())
    }

    async fn kick_stream(&self, _: Caller, _: KickStream) -> Result<u32, Failure> {
        Err(not_here())
    }
}

impl Sessions for Fake {
    fn session(&self, _: &str) -> Option<SessionInfo> {
        None
    }

    fn sessions(&self) -> Vec<SessionInfo> {
        vec![]
    }

    async fn kick_session(&self, _: Caller, _: KickSession) -> Result<SessionInfo, Failure> {
        Err(not_here())
    }
}

impl EventLog for Fake {
    fn events(&self) -> Vec<Event> {
        vec![]
    }

    fn watch_events(&self, _: u64) -> Result<Steps<Event>, Failure> {
        Err(not_here())
    }
}

impl Cluster for Fake {
    fn cluster_status(&self) -> ClusterStatus {
        unreachable!("no test asks for it")
    }
}

fn not_here() -> Failure {
    Failure::new(Code::Unimplemented, "NOT_HERE", "this control plane has no rules")
}
