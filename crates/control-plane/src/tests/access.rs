use std::time::Duration;

use cluster::{Epoch, NodeKind, PoolId};
use rpc::{
    auth::Caller,
    control::{Client, Deregister, Drain, KickSession, KickStream, Promote, PromoteMode, Query},
    status::Code,
};

use super::scene::{Scene, Talking, config, node, reason, registration};

fn kick() -> KickSession {
    KickSession { id: "edge-1.5".into(), validate_only: false, reason: String::new() }
}

fn promote() -> Promote {
    Promote {
        pool: PoolId::main(),
        member: node("o2"),
        mode: PromoteMode::Graceful,
        expected_epoch: Epoch(1),
        validate_only: false,
        reason: String::new(),
    }
}

#[tokio::test]
async fn the_token_of_an_edge_or_an_origin_cannot_kick_promote_drain_or_look_at_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let stream = media::StreamName::from_app("_default", "live", "foo").unwrap();
    let kick_stream = KickStream { name: stream, ban_for: Duration::ZERO, validate_only: false, reason: String::new() };
    let drain = Drain { node: node("edge-1"), deadline: None, validate_only: false, reason: String::new() };
    for caller in [Caller::Edge, Caller::Origin, Caller::ViewerOps, Caller::PublisherTool] {
        let client = scene.client(caller).await;
        let refused = [
            client.kick_session(kick()).await.err(),
            client.kick_stream(kick_stream.clone()).await.err(),
            client.promote(promote()).await.err(),
            client.drain_node(drain.clone()).await.err(),
        ];
        for failure in refused {
            let failure = failure.expect("it is refused");
            assert_eq!((failure.code, failure.reason.as_str()), (Code::PermissionDenied, "CALLER_NOT_ALLOWED"));
        }
    }
    let edge = scene.client(Caller::Edge).await;
    assert_eq!(reason(edge.sessions(Query::default()).await), "CALLER_NOT_ALLOWED");
    let viewer = scene.client(Caller::ViewerOps).await;
    assert!(viewer.sessions(Query::default()).await.is_ok(), "who may look may look");
    assert!(viewer.cluster_status().await.is_ok());
}

#[tokio::test]
async fn without_a_token_nothing_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = Client::new(scene.channel(None).await);
    assert_eq!(client.kick_session(kick()).await.unwrap_err().code, Code::Unauthenticated);
    assert_eq!(client.routes(Query::default()).await.unwrap_err().code, Code::Unauthenticated);
}

#[tokio::test]
async fn an_edge_cannot_pass_for_an_origin_nor_speak_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let edge = scene.client(Caller::Edge).await;
    let origin = registration("o1", 1, NodeKind::Origin);
    assert_eq!(reason(edge.register(origin.clone()).await), "CALLER_NOT_ALLOWED");
    let talking = scene.origin("o1", 1).await;
    let stolen = Talking::resume(&edge, origin.member.clone(), Default::default()).await;
    assert_eq!(reason(stolen), "CALLER_NOT_ALLOWED");
    let deregister = Deregister {
        node: origin.member.node,
        incarnation: Some(origin.member.incarnation),
        validate_only: false,
        reason: String::new(),
    };
    assert_eq!(reason(edge.deregister(deregister).await), "CALLER_NOT_ALLOWED");
    talking.die().await;
}
