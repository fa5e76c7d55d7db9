use cluster::NodeKind;
use proto::relay::v1 as pb;

use super::{super::wire::link as wire, *};

fn hello(kind: NodeKind) -> LinkHello {
    LinkHello { node: NodeId::new("edge-1").unwrap(), kind, epoch: Epoch(6) }
}

#[tokio::test]
async fn both_sides_of_a_link_hear_each_other() {
    let mut made = made().await;
    let beat = |epoch, hears| LinkUp::Beat { epoch, hears };
    let said = [beat(Epoch(6), false), beat(EPOCH, true), LinkUp::Leave { epoch: EPOCH }];
    let up = stream::iter(said).chain(stream::pending());
    let down = made.client.link(hello(NodeKind::Edge), up).await.unwrap();
    let told: Vec<_> = down.take(3).map(Result::unwrap).collect().await;
    let beat = |role, active: Option<&str>| LinkDown::Beat { epoch: EPOCH, role, active: active.map(str::to_owned) };
    let standby = beat(Role::Standby, Some("127.0.0.1:9001"));
    assert_eq!(told, [standby, beat(Role::Active, None), beat(Role::Fenced, None)]);
    assert_eq!(made.followed.recv().await.unwrap(), Followed::LinkHello(hello(NodeKind::Edge)));
    for said in said {
        assert_eq!(made.followed.recv().await.unwrap(), Followed::LinkUp(Ok(said)));
    }
    let ended = made.followed.recv().await.unwrap();
    assert!(matches!(ended, Followed::End | Followed::LinkUp(Err(_))), "{ended:?}");
}

#[tokio::test]
async fn a_token_links_nodes_of_its_own_kind_only() {
    let made = made().await;
    let refused = made.client.link(hello(NodeKind::Origin), stream::pending()).await.map(drop);
    assert!(matches!(refused, Err(RelayError::NotAdmitted(_))), "{refused:?}");
    let origin = Client::connect(&made.served.target(Caller::Origin)).await.unwrap();
    assert!(origin.link(hello(NodeKind::Origin), stream::pending()).await.is_ok());
    let operator = Client::connect(&made.served.target(Caller::Operator)).await.unwrap();
    let refused = operator.link(hello(NodeKind::Edge), stream::pending()).await.map(drop);
    assert!(matches!(refused, Err(RelayError::NotAdmitted(_))), "{refused:?}");
}

#[test]
fn link_messages_that_make_no_sense_are_refused() {
    use pb::link_request::Body;
    let high = Epoch::MAX.0 + 1;
    let request = |epoch, body| pb::LinkRequest { epoch, body };
    let hello = |node: &str, kind| Some(Body::Hello(pb::LinkHello { node: node.into(), kind }));
    assert!(wire::hello_in(request(1, hello("edge-1", 2))).is_ok());
    for wrong in [
        request(1, None),
        request(1, Some(Body::Beat(pb::LinkBeat::default()))),
        request(1, hello("edge-1", 0)),
        request(1, hello("edge-1", 9)),
        request(1, hello("", 2)),
        request(high, hello("edge-1", 2)),
    ] {
        assert!(matches!(wire::hello_in(wrong.clone()), Err(RelayError::Invalid(_))), "{wrong:?}");
    }
    for wrong in
        [request(1, None), request(1, hello("edge-1", 2)), request(high, Some(Body::Beat(pb::LinkBeat::default())))]
    {
        assert!(matches!(wire::up_in(wrong.clone()), Err(RelayError::Invalid(_))), "{wrong:?}");
    }
    let response = |epoch, role, active: &str| pb::LinkResponse { epoch, role, active: active.into() };
    assert!(wire::down_in(response(1, 1, "o1:9001")).is_ok());
    for wrong in [response(high, 1, ""), response(1, 0, ""), response(1, 9, ""), response(1, 1, "no address\n")] {
        assert!(matches!(wire::down_in(wrong.clone()), Err(RelayError::Invalid(_))), "{wrong:?}");
    }
}
