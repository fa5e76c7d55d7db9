use std::time::SystemTime;

use cluster::{Epoch, Liveness, Load, NodeKind};
use media::StreamName;
use rpc::{
    auth::Caller,
    control::{Deregister, FromNode, Holding, NodeInfo, Query, SessionsReport, StreamReport, StreamsReport, Watched},
    node::{LocalSession, SessionKind},
};

use super::scene::{Scene, Talking, config, next, node, registration, soon, until};

pub(super) fn report(holding: Holding) -> StreamReport {
    StreamReport {
        name: StreamName::from_app("_default", "live", "foo").unwrap(),
        holding,
        publication: None,
        publisher_session: (holding == Holding::Ingest).then(|| "5".to_owned()),
        ingest_node: None,
        live: true,
        head: 10,
        head_timestamp_ms: 400,
        epoch: Epoch(1),
        viewers: 3,
        bits_per_second: 1000,
        codecs: vec!["avc".into()],
        since: SystemTime::UNIX_EPOCH,
    }
}

fn playing() -> FromNode {
    let session = LocalSession {
        id: "5".into(),
        kind: SessionKind::Play,
        protocol: "rtmp".into(),
        stream: StreamName::from_app("_default", "live", "foo").unwrap(),
        peer: "10.0.0.1:5".into(),
        since: SystemTime::UNIX_EPOCH,
        bytes_received: 1,
        bytes_sent: 2,
    };
    FromNode::Sessions(SessionsReport { replace: true, put: vec![session], removed: vec![] })
}

fn full(put: Vec<StreamReport>) -> FromNode {
    FromNode::Streams(StreamsReport { replace: true, put, removed: vec![] })
}

#[tokio::test]
async fn a_node_is_alive_silent_alive_and_gone_as_it_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut watch = client.watch_nodes(0).await.unwrap();
    let mut events = client.watch_events(0).await.unwrap();
    let edge = scene.edge("edge-1", 1).await;
    let is = |liveness| move |node: &NodeInfo| node.liveness == liveness;
    until(&mut watch, is(Liveness::Alive)).await;
    edge.quiet(true);
    until(&mut watch, is(Liveness::Silent)).await;
    edge.quiet(false);
    until(&mut watch, is(Liveness::Alive)).await;
    edge.die().await;
    until(&mut watch, is(Liveness::Gone)).await;
    let told = until(&mut events, |event| event.code == "node.gone").await;
    assert_eq!(told.subject, "nodes/edge-1");
    let problems = client.cluster_status().await.unwrap().problems;
    assert_eq!(problems, ["nodes/edge-1 is gone"]);
}

#[tokio::test]
async fn a_second_session_of_a_node_ends_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let first = scene.edge("edge-1", 1).await;
    let second = scene.edge("edge-1", 1).await;
    assert_eq!(first.ended().await.unwrap().reason, "SESSION_REPLACED");
    let client = scene.operator().await;
    let list = client.nodes(Query { filter: "state=alive AND kind=edge".into(), ..Query::default() }).await.unwrap();
    assert_eq!(list.items.len(), 1);
    second.die().await;
}

#[tokio::test]
async fn a_session_needs_a_registered_node() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.client(Caller::Edge).await;
    let member = registration("edge-1", 1, NodeKind::Edge).member;
    let refused = Talking::resume(&client, member, Default::default()).await;
    assert_eq!(refused.err().unwrap().reason, "NODE_NOT_REGISTERED");
}

#[tokio::test]
async fn a_start_that_was_replaced_is_refused_after_a_restart_too_and_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (first, second) = (scene.origin("o1", 1).await, scene.origin("o2", 1).await);
    first.die().await;
    let again = scene.origin("o1", 2).await;
    soon(scene.stop()).await;
    assert!(again.ended().await.is_some() && second.ended().await.is_some());

    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut events = client.watch_events(0).await.unwrap();
    // The first start of o1 was frozen and wakes up before anybody else has come; o2 has restarted meanwhile.
    let nodes = scene.client(Caller::Origin).await;
    for _ in 0..3 {
        let refused = Talking::begin(&nodes, registration("o1", 1, NodeKind::Origin)).await.err().unwrap();
        assert_eq!(refused.reason, "INCARNATION_REPLACED");
        assert!(refused.message.contains("nodes/o1: this start of the node was replaced"), "{}", refused.message);
    }
    scene.origin("o2", 2).await;
    let late = Talking::begin(&nodes, registration("o2", 1, NodeKind::Origin)).await;
    assert_eq!(late.err().unwrap().reason, "INCARNATION_REPLACED", "its successor came to the new control plane");
    scene.origin("o1", 2).await;
    until(&mut events, |event| event.code == "node.refused" && event.subject == "nodes/o2").await;
    let query = Query { filter: "code=node.refused".into(), ..Query::default() };
    let told = client.events(query).await.unwrap().items;
    assert_eq!(told.len(), 2, "once for each start: {told:?}");
    assert_eq!(told[0].details["replaced_by"], "0000000000000002");
}

#[tokio::test]
async fn a_node_that_never_came_back_can_be_taken_out_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let mut watch = scene.operator().await.watch_pools(0).await.unwrap();
    let (first, second) = (scene.origin("o1", 1).await, scene.origin("o2", 1).await);
    let edge = scene.edge("edge-1", 1).await;
    until(&mut watch, |pool| pool.view.members.len() == 2 && pool.view.active_member().is_some()).await;
    drop(watch);
    soon(scene.stop()).await;
    drop((first, second, edge));

    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let take_out =
        |id: &str| Deregister { node: node(id), incarnation: None, validate_only: false, reason: String::new() };
    assert_eq!(client.deregister(take_out("o1")).await.unwrap_err().reason, "NODE_IS_ACTIVE");
    client.deregister(take_out("o2")).await.unwrap();
    client.deregister(take_out("edge-1")).await.unwrap();
    assert_eq!(client.deregister(take_out("edge-1")).await.unwrap_err().reason, "NODE_NOT_FOUND");
    let pool = client.pools(Query::default()).await.unwrap().items.remove(0);
    assert_eq!(pool.view.members.len(), 1);
}

#[tokio::test]
async fn streams_are_listed_located_watched_and_gone_with_their_last_holder() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut watch = client.watch_streams(0).await.unwrap();
    assert_eq!(next(&mut watch).await.event, Watched::Bookmark);
    let (origin, edge) = (scene.origin("o1", 1).await, scene.edge("edge-1", 1).await);
    origin.up.send(full(vec![report(Holding::Origin)])).await.unwrap();
    edge.up.send(full(vec![report(Holding::Ingest)])).await.unwrap();
    let stream = until(&mut watch, |stream| stream.holders.len() == 2).await;
    assert_eq!((stream.origin, stream.ingest_node), (Some(node("o1")), Some(node("edge-1"))));
    assert_eq!(stream.publisher_session.as_deref(), Some("sessions/edge-1.5"));

    let located = client.locate("live/foo").await.unwrap();
    assert_eq!((located.stream.viewers(), located.stream.live), (3, true));
    let by = |filter: &str| Query { filter: filter.into(), ..Query::default() };
    assert_eq!(client.streams(by("path=live/* AND node=edge-1")).await.unwrap().items.len(), 1);
    assert_eq!(client.streams(by("state=grace")).await.unwrap().items.len(), 0);

    edge.up.send(full(vec![])).await.unwrap();
    until(&mut watch, |stream| stream.holders.len() == 1).await;
    origin.die().await;
    assert_eq!(next(&mut watch).await.event, Watched::Deleted("streams/_default/live/_definst_/foo".into()));
    assert_eq!(client.locate("live/foo").await.unwrap_err().reason, "STREAM_NOT_FOUND");
    edge.die().await;
}

#[tokio::test]
async fn the_streams_and_sessions_of_a_node_that_was_taken_out_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut watch = client.watch_streams(0).await.unwrap();
    let deleted = Watched::Deleted("streams/_default/live/_definst_/foo".into());
    assert_eq!(next(&mut watch).await.event, Watched::Bookmark);
    let edge = scene.edge("edge-1", 1).await;
    // It leaves in good order: it beats no more, and its conversation stands for a while yet.
    edge.quiet(true);
    edge.up.send(playing()).await.unwrap();
    edge.up.send(full(vec![report(Holding::Pull)])).await.unwrap();
    until(&mut watch, |stream| stream.holders.len() == 1).await;
    assert_eq!(client.sessions(Query::default()).await.unwrap().items.len(), 1);
    let incarnation = Some(registration("edge-1", 1, NodeKind::Edge).member.incarnation);
    let leave = Deregister { node: node("edge-1"), incarnation, validate_only: false, reason: String::new() };
    scene.client(Caller::Edge).await.deregister(leave).await.unwrap();
    assert_eq!(next(&mut watch).await.event, deleted);
    assert!(client.sessions(Query::default()).await.unwrap().items.is_empty());

    // What it still had to say is forgotten with the conversation.
    edge.up.send(full(vec![report(Holding::Pull)])).await.unwrap();
    until(&mut watch, |stream| stream.holders.len() == 1).await;
    edge.die().await;
    assert_eq!(next(&mut watch).await.event, deleted);
}

#[tokio::test]
async fn a_snapshot_shows_nodes_and_streams_as_they_are_now() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut watch = client.watch_streams(0).await.unwrap();
    let origin = scene.origin("o1", 1).await;
    origin.up.send(full(vec![report(Holding::Origin)])).await.unwrap();
    until(&mut watch, |stream| stream.head == 10).await;

    // Neither a new head nor a new load is told to watchers; a beat after it says that the report was read.
    let ahead = StreamReport { head: 99, ..report(Holding::Origin) };
    origin.up.send(full(vec![ahead])).await.unwrap();
    origin.carries(Load { sessions: 7, ..Load::default() });
    let listed = soon(async {
        loop {
            let node = client.nodes(Query::default()).await.unwrap().items.remove(0);
            if node.beat.load.sessions == 7 {
                return node;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let Watched::Snapshot(stream) = next(&mut client.watch_streams(0).await.unwrap()).await.event else { panic!() };
    assert_eq!(stream.head, 99);
    let Watched::Snapshot(node) = next(&mut client.watch_nodes(0).await.unwrap()).await.event else { panic!() };
    assert_eq!(node.beat.load.sessions, 7);
    assert!(node.heard >= listed.heard, "{:?} is older than {:?}", node.heard, listed.heard);
    origin.die().await;
}

#[tokio::test]
async fn a_control_plane_that_ends_tells_of_no_node_that_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut events = client.watch_events(0).await.unwrap();
    let (origin, edge) = (scene.origin("o1", 1).await, scene.edge("edge-1", 1).await);
    until(&mut events, |event| event.code == "node.alive" && event.subject == "nodes/edge-1").await;
    drop((events, client));
    soon(scene.stop()).await;
    origin.die().await;
    edge.die().await;

    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let told = client.events(Query::default()).await.unwrap().items;
    let codes: Vec<_> = told.iter().map(|event| event.code.as_str()).collect();
    assert!(codes.contains(&"node.alive"), "{codes:?}");
    assert!(!codes.contains(&"node.gone") && !codes.contains(&"node.silent"), "{codes:?}");
}

#[tokio::test]
async fn the_watches_of_a_control_plane_that_ends_end_too() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut watch = client.watch_nodes(0).await.unwrap();
    assert_eq!(next(&mut watch).await.event, Watched::Bookmark);
    soon(scene.stop()).await;
    use futures_util::StreamExt;
    while let Some(step) = soon(watch.next()).await {
        if step.is_err() {
            return;
        }
    }
}
