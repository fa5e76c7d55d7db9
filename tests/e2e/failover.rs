//! What faults cost: cases of [`tests::failover`] in their short form, several in one cluster.

use std::net::SocketAddr;

use tests::{
    Cluster, cluster,
    failover::{Form, Row, Scene, cases},
    haproxy::Haproxy,
    network::Network,
    tools::{self, Tool},
};
use tokio::runtime::Builder;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_undisturbed_stream_comes_whole_to_every_viewer() {
    let mut scene = Scene::at_an_edge(Cluster::start(), Form::SHORT);
    show(&cases::undisturbed(&mut scene)).assert_nobody_noticed();
}

/// Prints the row for whoever looks.
fn show(row: &Row) -> &Row {
    println!("{}", row.line());
    row
}

/// Runs a test in a network of hosts, HAProxy before the origins.
fn on_hosts(test: impl FnOnce(Cluster, SocketAddr) + Send + 'static) {
    if !Network::possible() || !tools::has(&[Tool::Haproxy]) {
        return;
    }
    let network = Network::make(&cluster::NODES);
    network.enter();
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().on_thread_start(network.entrance()).build();
    let runtime = runtime.expect("a runtime");
    let vip = SocketAddr::from((network.rest(), 1935));
    let origin = |node| ((network.address(node), 1935).into(), (network.address(node), 9080).into());
    let dir = tempfile::tempdir().expect("a directory");
    let _haproxy = Haproxy::start_at(vip, &[origin("origin-1"), origin("origin-2")], dir.path());
    let cluster = Cluster::start_on(network, vip);
    runtime.block_on(async { test(cluster, vip) });
}

#[test]
fn a_cluster_of_hosts_plays() {
    on_hosts(|cluster, _| {
        let mut scene = Scene::at_an_edge(cluster, Form::SHORT);
        show(&cases::undisturbed(&mut scene)).assert_nobody_noticed();
    });
}
