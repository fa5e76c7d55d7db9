//! An agent and a control plane without rules, over loopback.

mod fake;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use cluster::{
    Address, Epoch, Incarnation, Load, Member, NodeAddresses, NodeId, NodeKind, PoolId, PoolViewMember, Role,
    RouteMatch,
};
use media::StreamName;
use tokio::sync::mpsc;

use super::*;
use crate::{
    auth::Caller,
    control::{Command, CommandResult, FromControl, FromNode, SessionsReport, StreamsReport},
    node::{LocalSession, SessionKind, SessionRegister},
    testing::{Served, serve, serve_at},
};
use fake::{Fake, Heard, fake};

/// A node that notes what it is told.
#[derive(Default)]
struct Node {
    grants: Mutex<Vec<Grant>>,
    commands: Mutex<Vec<Command>>,
    requests: Mutex<VecDeque<FromNode>>,
    notices: Mutex<Vec<(u64, Notice)>>,
    /// It has a fault: its next beat panics.
    faulty: AtomicBool,
}

impl Operated for Node {
    fn register(&self) -> &dyn SessionRegister {
        self
    }

    fn begin_drain(&self, deadline: Option<Duration>, reason: &str) {
        self.commands.lock().unwrap().push(Command::Drain { deadline, reason: reason.to_owned() });
    }
}

impl SessionRegister for Node {
    fn sessions(&self) -> Vec<LocalSession> {
        vec![LocalSession {
            id: "17".into(),
            kind: SessionKind::Play,
            protocol: "rtmp".into(),
            stream: StreamName::from_app("_default", "live", "foo").unwrap(),
            peer: "192.0.2.1:5000".into(),
            since: std::time::SystemTime::UNIX_EPOCH,
            bytes_received: 1,
            bytes_sent: 2,
        }]
    }

    fn connected(&self) -> usize {
        7
    }

    fn kick_session(&self, session: &str, reason: &str) -> bool {
        let kick = Command::KickSession { session: session.to_owned(), reason: reason.to_owned() };
        self.commands.lock().unwrap().push(kick);
        true
    }
}

impl Local for Node {
    fn beat(&self) -> Beat {
        assert!(!self.faulty.load(Ordering::Relaxed), "a fault of the node");
        let load = Load { viewers: 3, ..Load::default() };
        Beat { load, role: Some(Role::Standby), highest_epoch: Epoch(4), ..Beat::default() }
    }

    fn streams(&self) -> Vec<StreamReport> {
        vec![]
    }

    fn role(&self, grant: Grant) {
        self.grants.lock().unwrap().push(grant);
    }

    fn poll_request(&self) -> Option<FromNode> {
        self.requests.lock().unwrap().pop_front()
    }

    fn notices_after(&self, number: u64) -> Vec<(u64, Notice)> {
        self.notices.lock().unwrap().iter().filter(|(known, _)| *known > number).cloned().collect()
    }

    fn notices_kept(&self, through: u64) {
        self.notices.lock().unwrap().retain(|(number, _)| *number > through);
    }

    fn kick_stream(&self, name: &StreamName, reason: &str, ban_for: Duration) -> u32 {
        let kick = Command::KickStream { stream: name.clone(), reason: reason.to_owned(), ban_for };
        self.commands.lock().unwrap().push(kick);
        3
    }
}

fn member() -> Member {
    Member { node: NodeId::new("origin-1").unwrap(), incarnation: Incarnation::from_bits(7) }
}

fn address(port: u16) -> Address {
    format!("127.0.0.1:{port}").parse().unwrap()
}

fn registration() -> Registration {
    Registration {
        member: member(),
        kind: NodeKind::Origin,
        pool: Some(PoolId::main()),
        addresses: NodeAddresses { public: Some(address(1945)), peer: Some(address(9001)), ..NodeAddresses::default() },
        labels: BTreeMap::new(),
        version: "0.1.0".into(),
        capabilities: vec![],
        highest_epoch: Epoch(4),
        serving: None,
    }
}

fn route(id: &str) -> RouteEntry {
    let matches = RouteMatch { app: id.parse().unwrap(), ..RouteMatch::any() };
    RouteEntry { id: cluster::RouteId::new(id).unwrap(), matches, target: PoolId::main().into() }
}

fn pool(epoch: u64) -> PoolView {
    let active = PoolViewMember {
        member: member(),
        role: Role::Active,
        in_sync: true,
        public: address(1945),
        peer: address(9001),
    };
    PoolView {
        id: PoolId::main(),
        version: epoch,
        written_by: String::new(),
        epoch: Epoch(epoch),
        loss_epoch: Epoch(0),
        active: Some(member().node),
        members: vec![active],
    }
}

fn grant(incarnation: u64) -> Grant {
    Grant {
        pool: PoolId::main(),
        member: Member { incarnation: Incarnation::from_bits(incarnation), ..member() },
        role: Role::Active,
        epoch: Epoch(5),
        version: 2,
        written_by: String::new(),
        loss_epoch: Epoch(0),
        active: Some(member()),
        in_sync: BTreeSet::from([member()]),
        fenced: BTreeSet::new(),
        yields: false,
        store: "store".into(),
    }
}

async fn served(fake: &Arc<Fake>) -> Served {
    serve(|builder| builder.control(fake.clone())).await
}

fn config(served: &Served, snapshot_file: Option<&Path>) -> Config {
    let target = served.target(Caller::Origin);
    let snapshot_file = snapshot_file.map(Path::to_owned);
    Config { target, registration: registration(), snapshot_file, urgent: Arc::default() }
}

async fn start(served: &Served) -> (Agent, Arc<Node>) {
    let node = Arc::new(Node::default());
    (Agent::start(config(served, None), node.clone()).await, node)
}

/// The ids of the routes, once `enough` is true of them.
async fn routes_when(agent: &Agent, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    let ids = |snapshot: &Snapshot| snapshot.routes.iter().map(|route| route.id.to_string()).collect::<Vec<_>>();
    let mut watch = agent.snapshot();
    let waiting = watch.wait_for(|snapshot| snapshot.known != Known::Nothing && enough(&ids(snapshot)));
    ids(&in_a_while(waiting).await.unwrap())
}

/// What the control plane is told next that `wanted` picks.
async fn heard<T>(hearing: &mut mpsc::UnboundedReceiver<Heard>, wanted: impl Fn(Heard) -> Option<T>) -> T {
    in_a_while(async {
        loop {
            if let Some(found) = wanted(hearing.recv().await.unwrap()) {
                return found;
            }
        }
    })
    .await
}

async fn in_a_while<T>(event: impl Future<Output = T>) -> T {
    time::timeout(Duration::from_secs(20), event).await.expect("it happens in time")
}

#[tokio::test]
async fn a_node_makes_itself_known_then_beats_and_reports() {
    let (fake, mut hearing) = fake();
    let served = served(&fake).await;
    let (agent, _) = start(&served).await;
    let known = heard(&mut hearing, Some).await;
    assert_eq!(known, Heard::Registration(Caller::Origin, Box::new(registration())));
    let beat = heard(&mut hearing, |heard| match heard {
        Heard::Said(FromNode::Beat { number: 3, beat }) => Some(*beat),
        _ => None,
    });
    let beat = beat.await;
    // How late it was itself depends on the machine.
    let load = Load { task_lag: Duration::ZERO, ..beat.load };
    assert_eq!(Beat { load, ..beat }, Node::default().beat());
    assert!(agent.standing().connected());
}

#[tokio::test]
async fn a_notice_is_said_once_in_a_conversation_and_again_in_the_next_until_it_is_kept() {
    let (fake, mut hearing) = fake();
    let served = served(&fake).await;
    let node = Arc::new(Node::default());
    let stream = StreamName::from_app("_default", "live", "foo").unwrap();
    let notice = |from| Notice { stream: stream.clone(), what: cluster::Mishap::Lost { from } };
    node.notices.lock().unwrap().extend([(1, notice(10)), (2, notice(20))]);
    let _agent = Agent::start(config(&served, None), node.clone()).await;
    let said = |heard: Heard| match heard {
        Heard::Said(FromNode::Notice { number, .. }) => Some(number),
        _ => None,
    };
    assert_eq!((heard(&mut hearing, said).await, heard(&mut hearing, said).await), (1, 2));
    fake.commands.send(FromControl::NoticesKept { through: 1 }).await.unwrap();
    let address = served.address.clone();
    // Three beats later nothing of it was said again.
    for _ in 0..3 {
        heard(&mut hearing, |heard| match heard {
            Heard::Said(FromNode::Notice { number, .. }) => panic!("{number} is said again"),
            Heard::Said(FromNode::Beat { .. }) => Some(()),
            _ => None,
        })
        .await;
    }
    served.kill().await;
    let _after = serve_at(&address, |builder| builder.control(fake.clone())).await;
    assert_eq!(heard(&mut hearing, said).await, 2, "the first is kept");
}

#[tokio::test]
async fn what_is_urgent_goes_out_at_once_with_a_beat_behind_it() {
    let (fake, mut hearing) = fake();
    fake.beat_ms.store(5_000, Ordering::Relaxed);
    let served = served(&fake).await;
    let node = Arc::new(Node::default());
    let config = config(&served, None);
    let urgent = config.urgent.clone();
    let _agent = Agent::start(config, node.clone()).await;
    heard(&mut hearing, |heard| matches!(heard, Heard::Said(FromNode::Beat { number: 1, .. })).then_some(())).await;
    let asked = [FromNode::Yielded { epoch: Epoch(5) }, FromNode::HandOver { reason: "it ends".into() }];
    node.requests.lock().unwrap().extend(asked.clone());
    urgent.notify_one();
    // The next beat of its own accord is five seconds away.
    let said = time::timeout(Duration::from_secs(4), async {
        let mut said = Vec::new();
        loop {
            match hearing.recv().await.unwrap() {
                Heard::Said(FromNode::Streams(_) | FromNode::Sessions(_)) => {}
                Heard::Said(FromNode::Beat { number, .. }) => return (number, said),
                Heard::Said(request) => said.push(request),
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(said.await.expect("at once"), (2, asked.to_vec()));
}

#[tokio::test]
async fn the_first_report_replaces_what_was_known_even_by_nothing() {
    let (fake, mut hearing) = fake();
    let served = served(&fake).await;
    let _running = start(&served).await;
    let streams = heard(&mut hearing, |heard| match heard {
        Heard::Said(FromNode::Streams(report)) => Some(report),
        _ => None,
    });
    assert_eq!(streams.await, StreamsReport { replace: true, ..StreamsReport::default() });
    let sessions = heard(&mut hearing, |heard| match heard {
        Heard::Said(FromNode::Sessions(report)) => Some(report),
        _ => None,
    });
    let expected = SessionsReport { replace: true, put: Node::default().sessions(), removed: vec![] };
    assert_eq!(sessions.await, expected);
}

#[tokio::test]
async fn routes_and_pools_follow_the_control_plane() {
    let (fake, _hearing) = fake();
    fake.put_route(route("a"));
    fake.put_pool(pool(1));
    let served = served(&fake).await;
    let (agent, _) = start(&served).await;
    assert_eq!(routes_when(&agent, |ids| !ids.is_empty()).await, ["a"]);
    fake.put_route(route("b"));
    fake.delete_route("a");
    assert_eq!(routes_when(&agent, |ids| !ids.contains(&"a".to_owned())).await, ["b"]);
    fake.put_pool(pool(2));
    let mut watch = agent.snapshot();
    let moved = watch.wait_for(|snapshot| snapshot.pools.first().is_some_and(|pool| pool.epoch == Epoch(2)));
    assert_eq!(in_a_while(moved).await.unwrap().known, Known::FromControlPlane);
    assert!(agent.standing().config_age().is_some());
}

#[tokio::test]
async fn roles_and_commands_reach_the_node_and_are_answered() {
    let (fake, mut hearing) = fake();
    let served = served(&fake).await;
    let (_agent, node) = start(&served).await;
    let kick = Command::KickSession { session: "17".into(), reason: "test".into() };
    let stream = StreamName::from_app("_default", "live", "foo").unwrap();
    let end = Command::KickStream { stream, reason: "test".into(), ban_for: Duration::from_secs(5) };
    let drain = Command::Drain { deadline: None, reason: "test".into() };
    for said in [
        FromControl::Role(grant(8)),
        FromControl::Role(grant(7)),
        FromControl::Command { id: "1".into(), command: kick.clone() },
        FromControl::Command { id: "2".into(), command: end.clone() },
        FromControl::Command { id: "3".into(), command: drain.clone() },
    ] {
        fake.commands.send(said).await.unwrap();
    }
    let mut result = async || {
        heard(&mut hearing, |heard| match heard {
            Heard::Said(FromNode::Result(result)) => Some(result),
            _ => None,
        })
        .await
    };
    for (id, affected) in [("1", 1), ("2", 3), ("3", 7)] {
        assert_eq!(result().await, CommandResult { command_id: id.into(), affected, error: None });
    }
    assert_eq!(*node.grants.lock().unwrap(), [grant(7)], "the other was meant for another start of the node");
    assert_eq!(*node.commands.lock().unwrap(), [kick, end, drain]);
}

#[tokio::test]
async fn what_was_known_stays_while_the_control_plane_restarts() {
    let (first, mut hearing) = fake();
    first.put_route(route("a"));
    first.put_route(route("b"));
    first.put_pool(pool(1));
    let before = served(&first).await;
    let (agent, _) = start(&before).await;
    routes_when(&agent, |ids| ids.len() == 2).await;
    heard(&mut hearing, |heard| matches!(heard, Heard::Registration(..)).then_some(())).await;

    let address = before.address.clone();
    before.kill().await;
    let mut connected = agent.standing().watch_connected();
    in_a_while(connected.wait_for(|connected| !connected)).await.unwrap();
    assert_eq!(routes_when(&agent, |_| true).await, ["a", "b"]);

    // Another store: its revisions are lower, and it has only one of the routes.
    let (second, mut hearing) = fake();
    second.put_route(route("b"));
    second.put_pool(pool(2));
    let mut watch = agent.snapshot();
    watch.mark_unchanged();
    let _after = serve_at(&address, |builder| builder.control(second.clone())).await;
    let changed = in_a_while(async {
        watch.changed().await.unwrap();
        watch.borrow_and_update().clone()
    });
    let snapshot = changed.await;
    assert!(!snapshot.routes.is_empty() && !snapshot.pools.is_empty(), "never empty before there is content");
    assert_eq!(routes_when(&agent, |ids| ids.len() == 1).await, ["b"]);
    let known = heard(&mut hearing, Some).await;
    assert!(matches!(known, Heard::Registration(..)), "it makes itself known again: {known:?}");
}

#[tokio::test]
async fn a_store_that_went_on_from_an_older_copy_is_asked_for_all() {
    let (first, _hearing) = fake();
    ["a", "b"].iter().for_each(|id| first.put_route(route(id)));
    let before = served(&first).await;
    let (agent, _) = start(&before).await;
    routes_when(&agent, |ids| ids.len() == 2).await;
    let address = before.address.clone();
    before.kill().await;

    // By now it has given the revision that the node has to another change.
    let (second, _hearing) = fake();
    ["b", "c", "d"].iter().for_each(|id| second.put_route(route(id)));
    let _after = serve_at(&address, |builder| builder.control(second.clone())).await;
    assert_eq!(routes_when(&agent, |ids| ids.contains(&"d".to_owned())).await, ["b", "c", "d"]);
}

#[tokio::test]
async fn a_node_that_starts_while_the_control_plane_is_away_has_its_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.json");
    let (fake, _hearing) = fake();
    fake.put_route(route("a"));
    fake.put_pool(pool(3));
    let served = served(&fake).await;
    let config = config(&served, Some(&file));

    let agent = Agent::start(config.clone(), Arc::new(Node::default())).await;
    let mut connected = agent.standing().watch_connected();
    in_a_while(connected.wait_for(|connected| *connected)).await.unwrap();
    in_a_while(async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let known = agent.snapshot().borrow().clone();
    drop(agent);
    served.kill().await;

    let agent = Agent::start(config, Arc::new(Node::default())).await;
    let restored = agent.snapshot().borrow().clone();
    assert_eq!(restored, Snapshot { known: Known::FromDisk, ..known });
    assert!(agent.standing().config_age().is_some() && !agent.standing().connected());
}

#[tokio::test]
async fn a_control_plane_that_falls_silent_is_asked_anew() {
    let (fake, mut hearing) = fake();
    fake.mute.store(true, Ordering::Relaxed);
    let served = served(&fake).await;
    let _running = start(&served).await;
    for _ in 0..2 {
        heard(&mut hearing, |heard| matches!(heard, Heard::Registration(..)).then_some(())).await;
    }
}

#[tokio::test]
async fn a_node_that_leaves_says_so() {
    let (fake, mut hearing) = fake();
    let served = served(&fake).await;
    let (agent, _) = start(&served).await;
    let mut connected = agent.standing().watch_connected();
    in_a_while(connected.wait_for(|connected| *connected)).await.unwrap();
    agent.leave().await;
    let left = heard(&mut hearing, |heard| match heard {
        Heard::Left(request) => Some(request),
        _ => None,
    });
    assert_eq!(left.await.incarnation, Some(member().incarnation));
}

#[tokio::test]
async fn leaving_does_not_wait_for_a_control_plane_that_is_away() {
    let (fake, _hearing) = fake();
    let served = served(&fake).await;
    let config = config(&served, None);
    served.kill().await;
    let agent = Agent::start(config, Arc::new(Node::default())).await;
    in_a_while(agent.leave()).await;
}

#[tokio::test]
async fn a_conversation_whose_task_panics_is_over() {
    let (fake, _hearing) = fake();
    let served = served(&fake).await;
    let (agent, node) = start(&served).await;
    let mut connected = agent.standing().watch_connected();
    in_a_while(connected.wait_for(|connected| *connected)).await.unwrap();
    assert!(time::timeout(Duration::ZERO, agent.ended()).await.is_err());
    node.faulty.store(true, Ordering::Relaxed);
    in_a_while(agent.ended()).await;
    // Nobody is left who could say so.
    in_a_while(agent.leave()).await;
}
