//! Sets of cases that run one after the other in a cluster of their own.

use std::net::SocketAddr;

use tokio::runtime::{Builder, Runtime};

use super::{
    Form, Row, Scene, cases,
    cases::{control, crash, cuts, loss, planned, standby, vip},
    nginx,
    scene::{EDGES, STREAM},
};
use crate::{
    Cluster, cluster,
    haproxy::Haproxy,
    network::Network,
    tools::{self, Tool},
};

/// A set of cases.
pub struct Set {
    /// In a word.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    run: fn(Form, Show<'_>),
}

impl Set {
    /// Runs it; each row is shown as soon as it is there. Where the machine lacks something, says so and shows nothing.
    pub fn run(&self, form: Form, mut show: impl FnMut(&Row) + Send) {
        (self.run)(form, &mut show);
    }
}

/// Is given each row.
type Show<'a> = &'a mut (dyn FnMut(&Row) + Send);

/// All sets.
pub const ALL: &[Set] = &[
    Set { name: "crash", title: "The active origin dies", run: crash },
    Set { name: "freeze", title: "The active origin freezes", run: freeze },
    Set { name: "planned", title: "Operators move the role", run: planned },
    Set { name: "standby", title: "The standby dies or freezes", run: standby },
    Set { name: "control", title: "The control plane is gone", run: control },
    Set { name: "stall", title: "The control plane is gone, and the active waits", run: stall },
    Set { name: "vip", title: "The encoder publishes to the origins' virtual IP", run: vip },
    Set { name: "move", title: "The encoder moves while the active dies", run: encoder_moves },
    Set { name: "loss", title: "More is gone than one origin", run: loss },
    Set { name: "cables", title: "The active is cut off", run: cables },
    Set { name: "links", title: "Single cables of the active are cut", run: links },
    Set { name: "nginx", title: "Another server under the same drill", run: others },
];

fn crash(form: Form, show: Show<'_>) {
    on_loopback(|cluster| {
        let mut scene = Scene::at_an_edge(cluster, form);
        show(&cases::undisturbed(&mut scene));
        show(&crash::kill(&mut scene));
        show(&crash::kill_and_start_at_once(&mut scene));
    });
}

fn freeze(form: Form, show: Show<'_>) {
    on_loopback(|cluster| show(&crash::freeze(&mut Scene::at_an_edge(cluster, form))));
}

fn planned(form: Form, show: Show<'_>) {
    on_loopback(|cluster| {
        let mut scene = Scene::at_an_edge(cluster, form);
        show(&planned::promote(&mut scene));
        show(&planned::terminate(&mut scene));
        show(&planned::rolling_restart(&mut scene));
        show(&planned::two_operators(&mut scene));
        show(&planned::fail_back(&mut scene));
    });
}

fn standby(form: Form, show: Show<'_>) {
    on_loopback(|cluster| {
        let mut scene = Scene::at_an_edge(cluster, form);
        show(&standby::kill(&mut scene));
        show(&standby::freeze(&mut scene));
    });
}

fn control(form: Form, show: Show<'_>) {
    on_loopback(|cluster| {
        let ingest = [cluster.rtmp("edge-1", STREAM)];
        let mut scene = Scene::with(cluster, form, &ingest, &["edge-1"]);
        show(&control::dead(&mut scene));
        show(&control::dead_then_standby_dies(&mut scene));
        show(&control::dead_then_active_dies(&mut scene));
        show(&control::restored_from_an_old_copy(&mut scene));
    });
}

fn stall(form: Form, show: Show<'_>) {
    on_loopback(|cluster| {
        for origin in ["origin-1", "origin-2"] {
            cluster.reconfigure(origin, "when_alone: serve", "when_alone: stall");
            cluster.restart(origin);
            cluster.wait_settled();
        }
        show(&control::dead_then_standby_dies_stall(&mut Scene::at_an_edge(cluster, form)));
    });
}

fn vip(form: Form, show: Show<'_>) {
    if !tools::has(&[Tool::Haproxy]) {
        return;
    }
    on_loopback(|cluster| {
        let origin = |node| (cluster.address(node, "rtmp"), cluster.address(node, "admin"));
        let mut haproxy = Haproxy::start(&[origin("origin-1"), origin("origin-2")], cluster.scratch());
        haproxy.wait_serving();
        let ingest = [format!("rtmp://{}/{STREAM}", haproxy.vip)];
        show(&vip::kill(&mut Scene::with(cluster, form, &ingest, &EDGES)));
    });
}

fn encoder_moves(form: Form, show: Show<'_>) {
    on_loopback(|cluster| {
        let ingest = EDGES.map(|edge| cluster.rtmp(edge, STREAM));
        show(&vip::encoder_moves(&mut Scene::with(cluster, form, &ingest, &EDGES)));
    });
}

fn loss(form: Form, show: Show<'_>) {
    on_loopback(|cluster| {
        let mut scene = Scene::at_an_edge(cluster, form);
        show(&loss::none_in_sync(&mut scene));
        show(&loss::all_restart(&mut scene));
    });
}

fn cables(form: Form, show: Show<'_>) {
    on_hosts(|cluster, _vip| {
        let mut scene = Scene::at_an_edge(cluster, form);
        show(&cuts::active_off(&mut scene));
        show(&cuts::active_from_all_edges(&mut scene));
    });
    on_hosts(|cluster, _vip| {
        let ingest = [cluster.rtmp("edge-2", STREAM)];
        show(&cuts::active_with_a_minority(&mut Scene::with(cluster, form, &ingest, &["edge-2"])));
    });
}

fn links(form: Form, show: Show<'_>) {
    on_hosts(|cluster, _vip| {
        let mut scene = Scene::at_an_edge(cluster, form);
        show(&cuts::active_from_standby(&mut scene));
        show(&cuts::active_from_control_plane(&mut scene));
        show(&cuts::active_from_an_edge(&mut scene, "edge-1"));
        show(&cuts::active_from_an_edge(&mut scene, "edge-2"));
    });
}

fn others(form: Form, show: Show<'_>) {
    if !nginx::is_here() {
        return;
    }
    runtime(|| ()).block_on(async {
        show(&nginx::kill(form));
        show(&nginx::freeze(form));
    });
}

/// A cluster of `headwater dev`, whose roles may move as often as cases want.
fn on_loopback(cases: impl FnOnce(Cluster)) {
    runtime(|| ()).block_on(async { cases(patient(Cluster::start())) });
}

/// A cluster in a network of hosts, HAProxy before the origins.
fn on_hosts(cases: impl FnOnce(Cluster, SocketAddr) + Send) {
    if !tools::has(&[Tool::Haproxy]) || !Network::possible() {
        return;
    }
    // A thread of its own: whoever enters a network stays in it.
    let run = || {
        let network = Network::make(&cluster::NODES);
        network.enter();
        let runtime = runtime(network.entrance());
        let vip = SocketAddr::from((network.rest(), 1935));
        let origin = |node| ((network.address(node), 1935).into(), (network.address(node), 9080).into());
        let dir = tempfile::tempdir().expect("a directory");
        let _haproxy = Haproxy::start_at(vip, &[origin("origin-1"), origin("origin-2")], dir.path());
        let cluster = patient(Cluster::start_on(network, vip));
        runtime.block_on(async { cases(cluster, vip) });
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn runtime(on_thread_start: impl Fn() + Send + Sync + 'static) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().on_thread_start(on_thread_start).build();
    runtime.expect("a runtime starts")
}

/// Lifts the limits on automatic moves and on how often a member may drop out: the cases make many in a row, on purpose.
fn patient(cluster: Cluster) -> Cluster {
    for origin in ["origin-1", "origin-2"] {
        cluster.configure(origin, REPLICATION);
    }
    let moves = "{ silence_max: 1000, silence_apart: 0s }";
    cluster.configure("control-plane", &format!("roles: {{ moves: {moves} }}\n"));
    cluster.restart("control-plane");
    cluster.wait_settled();
    for origin in ["origin-1", "origin-2"] {
        cluster.restart(origin);
        cluster.wait_settled();
    }
    cluster
}

/// Members that dropped out come back soon, however often they do.
const REPLICATION: &str = "replication: { when_alone: serve, return_after: 500ms, return_after_max: 500ms }\n";
