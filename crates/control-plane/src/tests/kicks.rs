use std::time::{Duration, SystemTime};

use media::StreamName;
use rpc::{
    control::{
        Client, Command, FromNode, Holding, KickSession, KickStream, Query, SessionInfo, SessionsReport, StreamsReport,
    },
    node::{LocalSession, SessionKind},
    status::{Code, Failure},
};

use super::{
    nodes::report,
    scene::{Scene, Talking, config, reason, soon, until},
};

/// An edge with one encoder's session, and that session as the control plane lists it.
async fn edge_with_a_session(scene: &Scene, client: &Client) -> Talking {
    let edge = scene.edge("edge-1", 1).await;
    let session = LocalSession {
        id: "5".into(),
        kind: SessionKind::Publish,
        protocol: "rtmp".into(),
        stream: StreamName::from_app("_default", "live", "foo").unwrap(),
        peer: "10.0.0.1:5".into(),
        since: SystemTime::UNIX_EPOCH,
        bytes_received: 1,
        bytes_sent: 2,
    };
    let mut watch = client.watch_streams(0).await.unwrap();
    let sessions = SessionsReport { replace: true, put: vec![session], removed: vec![] };
    edge.up.send(FromNode::Sessions(sessions)).await.unwrap();
    let streams = StreamsReport { replace: true, put: vec![report(Holding::Ingest)], removed: vec![] };
    edge.up.send(FromNode::Streams(streams)).await.unwrap();
    until(&mut watch, |_| true).await;
    edge
}

async fn kick(client: &Client, id: &str, validate_only: bool) -> Result<SessionInfo, Failure> {
    soon(client.kick_session(KickSession { id: id.into(), validate_only, reason: "test".into() })).await
}

#[tokio::test]
async fn a_kicked_session_is_ended_by_its_node_before_the_call_returns() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut edge = edge_with_a_session(&scene, &client).await;
    edge.answers(1, None);
    let listed = client.sessions(Query { filter: "kind=publish".into(), ..Query::default() }).await.unwrap().items;
    assert_eq!(listed[0].id(), "edge-1.5");
    let mut events = client.watch_events(0).await.unwrap();
    assert_eq!(kick(&client, "edge-1.5", true).await.unwrap(), listed[0], "validated only");
    assert_eq!(kick(&client, "edge-1.5", false).await.unwrap(), listed[0]);
    let told = Command::KickSession { session: "5".into(), reason: "test".into() };
    assert_eq!(edge.command().await, told);
    let event = until(&mut events, |event| event.code == "session.kicked").await;
    assert_eq!((event.author.as_str(), event.subject.as_str()), ("operator", "sessions/edge-1.5"));
    for unknown in ["edge-1.6", "edge-2.5", "nothing"] {
        assert_eq!(reason(kick(&client, unknown, false).await), "SESSION_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_kick_that_is_not_carried_out_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.command_wait = Duration::from_millis(100).into();
    let scene = Scene::start(config).await;
    let client = scene.operator().await;
    let edge = edge_with_a_session(&scene, &client).await;
    let silent = kick(&client, "edge-1.5", false).await.unwrap_err();
    assert_eq!((silent.code, silent.reason.as_str()), (Code::DeadlineExceeded, "COMMAND_NOT_ANSWERED"));
    edge.answers(0, Some("no such thing"));
    let failed = kick(&client, "edge-1.5", false).await.unwrap_err();
    assert_eq!((failed.reason.as_str(), failed.get("error")), ("COMMAND_FAILED", Some("no such thing")));
    edge.answers(0, None);
    assert_eq!(reason(kick(&client, "edge-1.5", false).await), "SESSION_NOT_FOUND", "it had ended just then");
}

#[tokio::test]
async fn a_kicked_stream_is_ended_where_its_encoder_is_and_banned_at_the_origins() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut edge = edge_with_a_session(&scene, &client).await;
    let mut origin = scene.origin("o1", 1).await;
    edge.answers(1, None);
    origin.answers(0, None);
    let stream = StreamName::from_app("_default", "live", "foo").unwrap();
    let request = |ban_for| KickStream { name: stream.clone(), ban_for, validate_only: false, reason: "test".into() };
    assert_eq!(soon(client.kick_stream(request(Duration::ZERO))).await.unwrap(), 1);
    assert!(matches!(edge.command().await, Command::KickStream { ban_for: Duration::ZERO, .. }));
    assert!(matches!(origin.command().await, Command::KickStream { ban_for: Duration::ZERO, .. }));
    let ban = Duration::from_secs(60);
    assert_eq!(soon(client.kick_stream(request(ban))).await.unwrap(), 1);
    let Command::KickStream { stream: told, ban_for, .. } = origin.command().await else { panic!("a kick") };
    assert_eq!((&told, ban_for), (&stream, ban));
    let other =
        KickStream { name: StreamName::from_app("_default", "live", "bar").unwrap(), ..request(Duration::ZERO) };
    assert_eq!(reason(client.kick_stream(other).await), "STREAM_NOT_FOUND");
}

#[tokio::test]
async fn a_stream_of_which_only_viewers_are_reported_yet_is_ended_at_the_origins() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let edge = edge_with_a_session(&scene, &client).await;
    let origin = scene.origin("o1", 1).await;
    edge.answers(0, None);
    origin.answers(1, None);
    let name = StreamName::from_app("_default", "live", "foo").unwrap();
    let request = KickStream { name, ban_for: Duration::ZERO, validate_only: false, reason: "test".into() };
    assert_eq!(soon(client.kick_stream(request.clone())).await.unwrap(), 1);
    origin.answers(0, None);
    assert_eq!(reason(client.kick_stream(request).await), "STREAM_NOT_FOUND", "nobody has ended anything");
}
