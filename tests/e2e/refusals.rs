//! Who is turned away, how, and how soon.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{
    Cluster,
    grpc::Grpc,
    http,
    rtmp::{Event, Recorder, Viewer},
    synthetic::Feed,
    tools::{self, Tool::Grpcurl},
    wait::SOON,
};

/// How long an edge waits for a publisher by default, and the longest that a test grants it.
const PATIENCE: std::ops::Range<Duration> = Duration::from_secs(9)..Duration::from_secs(25);
/// What counts as at once, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_of_a_stream_without_a_publisher_wait_and_are_told_that_it_is_not_there() {
    let cluster = Cluster::start();
    let edge = cluster.address("edge-1", "http");
    let over_http = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        (http::get(edge, "/live/none.flv").expect("an answer").status, start.elapsed())
    });
    let (code, waited) = refusal(&cluster.rtmp("edge-2", "live/none")).await;
    assert_eq!(code, "NetStream.Play.StreamNotFound");
    assert!(PATIENCE.contains(&waited), "told after {waited:?}");
    let (status, waited) = over_http.await.expect("no panic");
    assert_eq!(status, 404);
    assert!(PATIENCE.contains(&waited), "told after {waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_without_a_reachable_origin_wait_and_are_told_that_it_failed() {
    let cluster = Cluster::start();
    cluster.kill("origin-1");
    cluster.kill("origin-2");
    let edge = cluster.address("edge-1", "http");
    let over_http = tokio::task::spawn_blocking(move || http::get(edge, "/live/none.flv").expect("an answer").status);
    let (code, waited) = refusal(&cluster.rtmp("edge-2", "live/none")).await;
    assert_eq!(code, "NetStream.Play.Failed");
    assert!(PATIENCE.contains(&waited), "told after {waited:?}");
    assert_eq!(over_http.await.expect("no panic"), 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn players_without_a_route_are_told_at_once() {
    if !tools::has(&[Grpcurl]) {
        return;
    }
    let cluster = Cluster::start();
    let entry = json!({"match": {"app": "shut"}, "target": {"refuse": true}});
    let request = json!({"route_entry_id": "shut", "route_entry": entry});
    cluster.operator().ok("headwater.control.v1.RouteEntryService/CreateRouteEntry", request);
    let edge = cluster.address("edge-1", "http");
    let end = Instant::now() + SOON;
    // The entry reaches the edge a moment later; from then on the answer comes at once.
    loop {
        let (code, waited) = refusal(&cluster.rtmp("edge-1", "shut/x")).await;
        assert_eq!(code, "NetStream.Play.StreamNotFound");
        if waited < AT_ONCE {
            break;
        }
        assert!(Instant::now() < end, "told only after {waited:?}");
    }
    let start = Instant::now();
    assert_eq!(http::get(edge, "/shut/x.flv").expect("an answer").status, 404);
    assert!(start.elapsed() < AT_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_edge_can_neither_promote_nor_kick_nor_change_routes() {
    if !tools::has(&[Grpcurl]) {
        return;
    }
    let cluster = Cluster::start();
    let feed = Feed::start(&cluster.rtmp("edge-1", "live/kept")).await;
    let standby = if cluster.active() == "origin-1" { "nodes/origin-2" } else { "nodes/origin-1" };
    let control = cluster.address("control-plane", "grpc");
    let calls = [
        (
            "OriginPoolService/PromoteMember",
            json!({"name": "originPools/main", "member": standby, "expected_epoch": "1"}),
        ),
        ("SessionService/KickSession", json!({"name": "sessions/edge-1.1"})),
        ("StreamDirectoryService/KickStream", json!({"name": "streams/_default/live/_definst_/kept"})),
        (
            "RouteEntryService/CreateRouteEntry",
            json!({"route_entry_id": "a", "route_entry": {"target": {"refuse": true}}}),
        ),
        ("MembershipService/DrainNode", json!({"name": "nodes/origin-1"})),
    ];
    for (caller, code) in
        [("edge", "PermissionDenied"), ("origin", "PermissionDenied"), ("viewer-ops", "PermissionDenied")]
    {
        for (method, request) in &calls {
            let refusal = cluster
                .grpc_as("control-plane", caller)
                .refused(&format!("headwater.control.v1.{method}"), request.clone());
            assert_eq!(refusal.code, code, "{caller} calls {method}: {}", refusal.text);
        }
    }
    let nobody =
        Grpc::new(control, Some("not-a-token")).refused("headwater.control.v1.SessionService/ListSessions", json!({}));
    assert_eq!(nobody.code, "Unauthenticated", "{}", nobody.text);
    feed.assert_running();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_operator_ends_a_stream_and_its_viewers_are_told() {
    if !tools::has(&[Grpcurl]) {
        return;
    }
    let cluster = Cluster::start();
    let feed = Feed::start(&cluster.rtmp("edge-1", "live/kicked")).await;
    let viewer = Recorder::start(&cluster.rtmp("edge-2", "live/kicked"));
    viewer.wait_frames(5, SOON);
    let kick = || {
        let request = json!({"name": "streams/_default/live/_definst_/kicked", "reason": "test"});
        cluster.operator().call("headwater.control.v1.StreamDirectoryService/KickStream", &request).ok()
    };
    tests::until("the stream to be known and ended", SOON, kick);
    viewer.wait_end(SOON);
    tests::until("the encoder to be cut", SOON, || feed.is_cut().then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_process_tells_grpcurl_what_it_can_do() {
    if !tools::has(&[Grpcurl]) {
        return;
    }
    let cluster = Cluster::start();
    for node in tests::cluster::NODES {
        let grpc = cluster.grpc_as(node, "operator");
        let services = grpc.list(None);
        assert!(services.iter().any(|service| service == "headwater.node.v1.NodeService"), "{node}: {services:?}");
        assert!(services.iter().any(|service| service.starts_with("grpc.health.v1")), "{node}: {services:?}");
        let health = grpc.ok("grpc.health.v1.Health/Check", json!({"service": ""}));
        assert_eq!(health["status"], "SERVING", "{node}");
        let ping = grpc.ok("headwater.node.v1.NodeService/Ping", json!({}));
        assert_eq!(ping["node"], format!("nodes/{node}"), "{ping}");
    }
}

/// Plays until refused: the code, and how long that took.
async fn refusal(url: &str) -> (String, Duration) {
    let start = Instant::now();
    let mut viewer = Viewer::join(url).await.expect("a connection");
    loop {
        match viewer.next().await.expect("an answer") {
            Event::Status(status) if status.level == "error" => return (status.code, start.elapsed()),
            Event::Status(_) => {}
            other => panic!("{other:?} before a refusal"),
        }
    }
}
