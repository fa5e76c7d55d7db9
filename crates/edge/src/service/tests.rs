use std::time::Duration;

use media::StreamName;
use rpc::{
    agent::Local,
    relay::{Client, PullFrom, PullRequest},
};
use rtmp_net::{Kind, Protocol};
use tokio::time::timeout;

use super::*;

/// Nothing that is awaited takes longer.
const SOON: Duration = Duration::from_secs(20);

/// An edge without a control plane on free ports, and its process.
fn config() -> (Config, Process<Config>) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config { control_plane: Vec::new(), ..Config::default() };
    config.rtmp.listen = vec![any];
    config.http.listen = vec![any];
    config.peer.listen = any;
    (config.clone(), Process::detached(config).unwrap())
}

/// One at work.
async fn started() -> (Running, Process<Config>) {
    let (config, process) = config();
    (start(config, &process).await.unwrap(), process)
}

/// One that is about to be.
fn parts() -> (Parts, Ports, Reload, Process<Config>) {
    let (config, process) = config();
    let reload = Reload::open(&config, false).unwrap();
    let threads = Threads::start().unwrap();
    let ports = Ports::bind(&config, &threads, process.admin.address()).unwrap();
    (Parts::new(config, None, threads, &reload), ports, reload, process)
}

#[tokio::test]
async fn an_edge_that_has_lost_a_task_drains_and_ends_with_an_error_that_names_it() {
    let losses: [fn(&mut Running); 2] =
        [|edge| edge.tasks.spawn("lost", async {}), |edge| edge.doors.spawn("lost", async {})];
    for lose in losses {
        let (mut edge, process) = started().await;
        lose(&mut edge);
        let error = timeout(SOON, edge.run(&process.shutdown)).await.expect("it ends in time").unwrap_err();
        assert!(matches!(error.downcast_ref::<TaskEnded>(), Some(TaskEnded::Returned("lost"))), "{error:#}");
        assert!(process.shutdown.has_begun());
    }
}

#[tokio::test]
async fn an_edge_that_is_told_to_end_ends_well() {
    let (edge, process) = started().await;
    process.shutdown.begin("test");
    timeout(SOON, edge.run(&process.shutdown)).await.expect("it ends in time").unwrap();
}

fn name(number: usize) -> StreamName {
    StreamName::from_app("_default", "live", &number.to_string()).unwrap()
}

#[tokio::test]
async fn calls_that_an_edge_refuses_are_on_its_metrics_page() {
    let (parts, ports, reload, process) = parts();
    let address = ports.bound.peer.to_string();
    let edge = Running::start(parts, ports, reload, &process).await;
    let client = Client::connect(&Target::new([address], None)).await.unwrap();
    let (stream, epoch) = (name(1), cluster::Epoch(0));
    let request = PullRequest { stream, from: PullFrom::Live, had_in: epoch, epoch, path: Vec::new(), via: false };
    assert!(client.pull(request).await.is_err(), "an edge is no origin");
    let page = process.metrics.render();
    assert!(page.contains("headwater_rpc_failed_total{"), "{page}");
    process.shutdown.begin("test");
    timeout(SOON, edge.run(&process.shutdown)).await.expect("it ends in time").unwrap();
}

/// With each looked for among all others it takes half a minute.
#[tokio::test]
async fn an_edge_of_many_encoders_reports_them_all_at_once() {
    const ENCODERS: usize = 20_000;
    let (parts, ports, reload, process) = parts();
    let bound = ports.bound;
    let node = parts.node(bound, parts.http(ports.http).stats(), &reload, &process);
    let peer = SocketAddr::from(([192, 0, 2, 1], 5000));
    let publish = |number| {
        let entry = parts.sessions.open(Protocol::Rtmp, peer);
        entry.set(Kind::Publish, name(number));
        entry
    };
    let _encoders: Vec<_> = (0..ENCODERS).map(publish).collect();
    let start = Instant::now();
    assert_eq!(Local::streams(&*node).len(), ENCODERS);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
