//! A case: what is done, what is promised of it, and where it is done.

use std::net::SocketAddr;

use tokio::runtime::{Builder, Runtime};

use super::{
    Form, Goal, Round, Row, Scene,
    row::Promise,
    scene::{EDGES, STREAM},
};
use crate::{
    Cluster,
    cluster::NODES,
    haproxy::Haproxy,
    network::Network,
    tools::{self, Tool},
};

/// One thing that is done to a cluster, again and again.
#[derive(Debug)]
pub struct Case {
    /// In a word; with its set's name it can be asked for.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What else is promised, or is to be known, for people.
    pub note: &'static str,
    /// What may not happen.
    pub promise: Promise,
    /// How long pauses may be on an idle machine.
    pub goals: &'static [Goal],
    /// What is done.
    pub act: Act,
}

/// How rounds are made.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// In a scene of this kind.
    In(Place, fn(&mut Scene) -> Vec<Round>),
    /// By itself.
    Alone(fn(Form) -> Vec<Round>),
}

/// Where a scene plays: which processes on which hosts, and where its encoder and viewers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Loopback; the encoder at `edge-1`, viewers on both edges.
    Loopback,
    /// Loopback; encoder and viewers at `edge-1`.
    OneEdge,
    /// Loopback, with `when_alone: stall`.
    Stall,
    /// Loopback; HAProxy before the origins, and the encoder at it.
    Vip,
    /// Loopback; the encoder at either edge.
    EitherEdge,
    /// A network of hosts; the encoder at `edge-1`, viewers on both edges.
    Hosts,
    /// A network of hosts; encoder and viewers at `edge-2`.
    HostsOtherEdge,
    /// A network of hosts with a third edge; the encoder at `edge-1`, viewers at the first two.
    ThreeEdges,
    /// Loopback with two more edges; encoder and viewers at the fourth.
    FourEdges,
    /// Loopback with a third origin.
    ThreeOrigins,
    /// Loopback; a member that dropped out comes back soon, but later each time.
    Flapping,
    /// Loopback; with no origin in sync left an operator decides.
    NeverUnclean,
}

impl Case {
    /// Where it is done, if it needs a scene.
    pub fn place(&self) -> Option<Place> {
        match self.act {
            Act::In(place, _) => Some(place),
            Act::Alone(_) => None,
        }
    }

    /// All that is promised, in a line.
    pub fn promised(&self) -> String {
        let goals: Vec<String> = self.goals.iter().map(Goal::to_string).collect();
        let parts = [self.note.to_owned(), goals.join(", ")];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }

    fn row(&'static self, scene: &mut Scene, rounds: fn(&mut Scene) -> Vec<Round>) -> Row {
        let own = if self.goals.iter().any(|goal| goal.needs_own()) { scene.own() } else { Vec::new() };
        Row::of(self, rounds(scene), own)
    }
}

/// Runs cases one after the other; those that follow each other in the same place share a scene. Each row is shown as soon as it is
/// there. Where the machine lacks something, says so and shows nothing.
pub fn run(cases: &'static [Case], form: Form, show: &mut (dyn FnMut(&Row) + Send)) {
    for stage in cases.chunk_by(|a, b| a.place() == b.place()) {
        let in_scene = |scene: &mut Scene| {
            for case in stage {
                if let Act::In(_, rounds) = case.act {
                    show(&case.row(scene, rounds));
                }
            }
        };
        match stage[0].place() {
            Some(place) => place.play(form, in_scene),
            None => alone(stage, form, show),
        }
    }
}

fn alone(cases: &'static [Case], form: Form, show: &mut (dyn FnMut(&Row) + Send)) {
    for case in cases {
        if let Act::Alone(rounds) = case.act {
            let rounds = runtime(|| ()).block_on(async { rounds(form) });
            // Without what it needs it has none, and has said so.
            if !rounds.is_empty() {
                show(&Row::of(case, rounds, Vec::new()));
            }
        }
    }
}

impl Place {
    /// Makes such a scene and plays in it. Where the machine lacks something, says so and plays nothing.
    pub fn play(self, form: Form, play: impl FnOnce(&mut Scene) + Send) {
        match self {
            Self::Loopback => on_loopback(&[], USUAL, |cluster| play(&mut Scene::at_an_edge(cluster, form))),
            Self::OneEdge => on_loopback(&[], USUAL, |cluster| play(&mut at_one_edge(cluster, form, "edge-1"))),
            Self::Stall => {
                let stall =
                    Manner { replication: "when_alone: stall, return_after: 500ms, return_after_max: 500ms", ..USUAL };
                on_loopback(&[], stall, |cluster| play(&mut Scene::at_an_edge(cluster, form)));
            }
            Self::Flapping => {
                let flapping = Manner { replication: "return_after: 200ms", ..USUAL };
                on_loopback(&[], flapping, |cluster| play(&mut Scene::at_an_edge(cluster, form)));
            }
            Self::NeverUnclean => {
                let never = Manner { roles: "unclean: never", ..USUAL };
                on_loopback(&[], never, |cluster| play(&mut Scene::at_an_edge(cluster, form)));
            }
            Self::ThreeOrigins => {
                on_loopback(&["origin-3"], USUAL, |cluster| play(&mut Scene::at_an_edge(cluster, form)));
            }
            Self::FourEdges => {
                let more = ["edge-3", "edge-4"];
                on_loopback(&more, USUAL, |cluster| play(&mut at_one_edge(cluster, form, "edge-4")));
            }
            Self::Vip if tools::has(&[Tool::Haproxy]) => on_loopback(&[], USUAL, |cluster| {
                let origin = |node| (cluster.address(node, "rtmp"), cluster.address(node, "admin"));
                let mut haproxy = Haproxy::start(&[origin("origin-1"), origin("origin-2")], cluster.scratch());
                haproxy.wait_serving();
                let ingest = [format!("rtmp://{}/{STREAM}", haproxy.vip)];
                play(&mut Scene::with(cluster, form, &ingest, &EDGES));
            }),
            Self::Vip => {}
            Self::EitherEdge => on_loopback(&[], USUAL, |cluster| {
                let ingest = EDGES.map(|edge| cluster.rtmp(edge, STREAM));
                play(&mut Scene::with(cluster, form, &ingest, &EDGES));
            }),
            Self::Hosts => on_hosts(&NODES, |cluster| play(&mut Scene::at_an_edge(cluster, form))),
            Self::HostsOtherEdge => on_hosts(&NODES, |cluster| play(&mut at_one_edge(cluster, form, "edge-2"))),
            Self::ThreeEdges => {
                let nodes = [&NODES[..], &["edge-3"]].concat();
                on_hosts(&nodes, |cluster| play(&mut Scene::at_an_edge(cluster, form)));
            }
        }
    }
}

fn at_one_edge(cluster: Cluster, form: Form, edge: &str) -> Scene {
    let ingest = [cluster.rtmp(edge, STREAM)];
    Scene::with(cluster, form, &ingest, &[edge])
}

/// Settings of a cluster in which much happens, on purpose.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// More of an origin's `replication`.
    replication: &'static str,
    /// More of the control plane's `roles`.
    roles: &'static str,
}

/// Members that dropped out come back soon, however often they do; roles move by themselves as often as they have to.
const USUAL: Manner = Manner { replication: "return_after: 500ms, return_after_max: 500ms", roles: "settle: 3s" };

/// A cluster of `headwater dev`, with these nodes more.
fn on_loopback(more: &[&str], manner: Manner, cases: impl FnOnce(Cluster)) {
    runtime(|| ()).block_on(async { cases(configured(Cluster::start().with(more), manner)) });
}

/// A cluster in a network of hosts, HAProxy before the origins.
fn on_hosts(hosts: &[&'static str], cases: impl FnOnce(Cluster) + Send) {
    if !tools::has(&[Tool::Haproxy]) || !Network::possible() {
        return;
    }
    // A thread of its own: whoever enters a network stays in it.
    let run = || {
        let network = Network::make(hosts);
        network.enter();
        let runtime = runtime(network.entrance());
        let vip = SocketAddr::from((network.rest(), 1935));
        let origin = |node| ((network.address(node), 1935).into(), (network.address(node), 9080).into());
        let dir = tempfile::tempdir().expect("a directory");
        let _haproxy = Haproxy::start_at(vip, &[origin("origin-1"), origin("origin-2")], dir.path());
        let cluster = configured(Cluster::start_on(network, vip), USUAL);
        runtime.block_on(async { cases(cluster) });
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn runtime(on_thread_start: impl Fn() + Send + Sync + 'static) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().on_thread_start(on_thread_start).build();
    runtime.expect("a runtime starts")
}

/// Lifts the limits on automatic moves, and says how else the cluster is to behave.
fn configured(cluster: Cluster, manner: Manner) -> Cluster {
    let Manner { replication, roles } = manner;
    for origin in cluster.origins() {
        cluster.configure(origin, &format!("replication: {{ {replication} }}\n"));
    }
    let moves = "{ silence_max: 1000, silence_apart: 0s }";
    cluster.configure("control-plane", &format!("roles: {{ {roles}, moves: {moves} }}\n"));
    cluster.restart("control-plane");
    cluster.wait_settled();
    for origin in cluster.origins() {
        cluster.restart(origin);
        cluster.wait_settled();
    }
    cluster
}
