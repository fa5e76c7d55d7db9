use std::sync::atomic::Ordering;

use cluster::{NodeKind, RouteMatch};
use daemon::TaskEnded;
use rpc::{
    auth::Caller,
    control::{CreateRoute, Query, Watched},
    status::Code,
};
use telemetry::metrics::Registry;

use super::scene::{Scene, config, next, registration, soon};
use crate::{events::Draft, metrics::Metrics, plane::ControlPlane, store::tests::on_a_disk};

fn route(app: &str) -> CreateRoute {
    CreateRoute {
        id: None,
        matches: RouteMatch { app: app.parse().unwrap(), ..RouteMatch::any() },
        target: cluster::Target::Refuse,
        description: String::new(),
        validate_only: false,
        reason: String::new(),
        request_id: String::new(),
    }
}

#[tokio::test]
async fn a_full_disk_makes_it_read_only_and_nothing_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (store, contents, full) = on_a_disk();
    let metrics = Metrics::register(&Registry::new());
    let scene = Scene::run(ControlPlane::with(config(dir.path()), metrics, store, contents)).await;
    let client = scene.operator().await;
    client.create_route(route("a")).await.unwrap();
    full.store(true, Ordering::Relaxed);
    let refused = client.create_route(route("b")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "STORE_FAILED"));
    full.store(false, Ordering::Relaxed);
    let still = client.create_route(route("b")).await.unwrap_err();
    assert_eq!(still.reason, "STORE_FAILED", "a disk that failed once is not trusted");
    assert_eq!(client.routes(Query::default()).await.unwrap().items.len(), 1);
    let status = client.cluster_status().await.unwrap();
    assert!(status.store.error.is_some() && status.problems[0].contains("store"), "{status:?}");
    let mut watch = client.watch_routes(0).await.unwrap();
    assert!(matches!(next(&mut watch).await.event, Watched::Snapshot(_)), "what there is is still told");
    let edge = scene.edge("edge-1", 1).await;
    assert_eq!(client.nodes(Query::default()).await.unwrap().items.len(), 1, "nodes are still heard");
    edge.die().await;
}

#[tokio::test]
async fn a_control_plane_that_can_no_longer_store_events_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut contents, _full) = on_a_disk();
    // No number comes after this one: the next event to be stored makes it panic.
    contents.events.push(Draft::info("test", "cluster", "the last event that there can be").numbered(u64::MAX));
    let metrics = Metrics::register(&Registry::new());
    let scene = Scene::run(ControlPlane::with(config(dir.path()), metrics, store, contents)).await;
    let ended = scene.ends().await;
    assert!(matches!(&ended, TaskEnded::Failed("events", error) if error.is_panic()), "{ended}");
}

#[tokio::test]
async fn events_and_entries_outlive_a_restart_and_sequences_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    client.create_route(route("a")).await.unwrap();
    let before = client.events(Query::default()).await.unwrap().items;
    let last = before.last().unwrap().sequence;
    drop(client);
    soon(scene.stop()).await;

    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut watch = client.watch_events(last).await.unwrap();
    assert_eq!(next(&mut watch).await.event, Watched::Bookmark);
    let started = next(&mut watch).await;
    assert_eq!(started.revision, last + 1);
    let Watched::Put(event) = started.event else { panic!("an event") };
    assert_eq!(event.code, "control.started");
    let after = client.events(Query::default()).await.unwrap().items;
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(client.routes(Query::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn each_start_on_a_store_says_that_it_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    for _ in 0..2 {
        let scene = Scene::start(config(dir.path())).await;
        let edge = registration("edge-1", 1, NodeKind::Edge);
        let registered = scene.client(Caller::Edge).await.register(edge).await.unwrap();
        said.push((registered.store_id, registered.granter));
        soon(scene.stop()).await;
    }
    assert_eq!(said[0].0, said[1].0);
    assert_ne!(said[0].1, said[1].1);
}
