//! A made-up node behind the real service.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use media::StreamName;
use proto::node::v1::{self as pb, node_service_client::NodeServiceClient};

use super::*;
use crate::{
    auth::Caller,
    channel::Authorised,
    status::{Code, Failure},
    testing::{Served, serve},
};

struct Made;

impl Operated for Made {
    fn register(&self) -> &dyn SessionRegister {
        self
    }

    fn begin_drain(&self, _: Option<Duration>, _: &str) {}
}

impl SessionRegister for Made {
    fn sessions(&self) -> Vec<LocalSession> {
        vec![]
    }

    fn connected(&self) -> usize {
        7
    }

    fn kick_session(&self, session: &str, _: &str) -> bool {
        session == "01H"
    }
}

impl Node for Made {
    fn ping(&self) -> Ping {
        Ping {
            node: "origin-1".into(),
            kind: NodeKind::Origin,
            incarnation: "00ff".into(),
            role: Some(Role::Active),
            epoch: 7,
            uptime: Duration::from_millis(1500),
            load: Load { viewers: 3, ..Load::default() },
        }
    }

    fn status(&self) -> NodeStatus {
        NodeStatus {
            ping: self.ping(),
            version: "0.1.0".into(),
            pool: "main".into(),
            draining: false,
            control_connected: true,
            config_age: None,
            listeners: BTreeMap::from([("rtmp".into(), "127.0.0.1:1945".into())]),
            notes: vec![],
        }
    }

    fn streams(&self) -> Vec<LocalStream> {
        let stream = |name: &str| LocalStream {
            name: StreamName::from_app("_default", "live", name).unwrap(),
            publication: None,
            head: 5,
            head_dts: 40,
            epoch: 7,
            viewers: 1,
            bytes_received: 10,
            since: SystemTime::UNIX_EPOCH,
        };
        ["c", "a", "b"].map(stream).into()
    }

    fn set_log_level(&self, _: &str, _: &str, ttl: Duration) -> Result<SystemTime, Failure> {
        Ok(SystemTime::UNIX_EPOCH + ttl)
    }

    fn effective_config(&self) -> String {
        "rtmp:\n  listen: 127.0.0.1:1945\n".into()
    }
}

async fn made() -> (Served, NodeServiceClient<Authorised>) {
    let served = serve(|builder| builder.node(Arc::new(Made))).await;
    let client = NodeServiceClient::new(served.channel(Caller::Operator).await.service());
    (served, client)
}

#[tokio::test]
async fn every_request_works_empty_or_names_the_field() {
    let (_served, mut client) = made().await;
    let ping = client.ping(pb::PingRequest::default()).await.unwrap().into_inner();
    assert_eq!((ping.node.as_str(), ping.role(), ping.epoch), ("nodes/origin-1", pb::Role::Active, 7));
    let status = client.get_status(pb::GetStatusRequest::default()).await.unwrap().into_inner();
    assert_eq!((status.pool.as_str(), status.config_age), ("originPools/main", None));
    client.list_local_streams(pb::ListLocalStreamsRequest::default()).await.unwrap();
    client.list_local_sessions(pb::ListLocalSessionsRequest::default()).await.unwrap();
    client.drain(pb::DrainRequest::default()).await.unwrap();
    client.get_effective_config(pb::GetEffectiveConfigRequest::default()).await.unwrap();
    let failure = Failure::from(client.kick_session(pb::KickSessionRequest::default()).await.unwrap_err());
    assert_eq!(failure.fields[0].field, "name");
    let failure = Failure::from(client.set_log_level(pb::SetLogLevelRequest::default()).await.unwrap_err());
    assert_eq!(failure.fields[0].field, "level");
}

#[tokio::test]
async fn streams_come_in_pages_in_the_order_of_names() {
    let (_served, mut client) = made().await;
    let mut page = async |page_token: String| {
        let request = pb::ListLocalStreamsRequest { page_size: 2, page_token };
        client.list_local_streams(request).await.unwrap().into_inner()
    };
    let first = page(String::new()).await;
    let second = page(first.next_page_token.clone()).await;
    let names: Vec<_> = first.streams.iter().chain(&second.streams).map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"].map(|name| format!("streams/_default/live/_definst_/{name}")));
    assert_eq!(second.next_page_token, "");
}

#[tokio::test]
async fn kicking_nobody_is_not_found() {
    let (_served, mut client) = made().await;
    let mut kick = async |name: &str| {
        let request = pb::KickSessionRequest { name: name.to_owned(), reason: String::new() };
        client.kick_session(request).await.map(drop).map_err(Failure::from)
    };
    kick("sessions/01H").await.unwrap();
    let failure = kick("sessions/other").await.unwrap_err();
    assert_eq!((failure.code, failure.reason.as_str()), (Code::NotFound, "SESSION_NOT_FOUND"));
}

#[tokio::test]
async fn negative_and_endless_spans_are_refused() {
    let (_served, mut client) = made().await;
    let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for seconds in [-1, i64::MIN, i64::MAX] {
        let request = pb::DrainRequest { deadline: span(seconds), ..Default::default() };
        assert_eq!(Failure::from(client.drain(request).await.unwrap_err()).fields[0].field, "deadline");
    }
    for seconds in [-1, 0, 86_401, i64::MIN, i64::MAX] {
        let request = pb::SetLogLevelRequest { level: "debug".into(), ttl: span(seconds), ..Default::default() };
        assert_eq!(Failure::from(client.set_log_level(request).await.unwrap_err()).fields[0].field, "ttl");
    }
}

#[tokio::test]
async fn each_caller_gets_what_its_token_admits() {
    let (served, _) = made().await;
    let kick = pb::KickSessionRequest { name: "01H".into(), reason: String::new() };
    for caller in Caller::ALL {
        let mut client = NodeServiceClient::new(served.channel(caller).await.service());
        let may = matches!(caller, Caller::Operator | Caller::Control);
        let answer = client.kick_session(kick.clone()).await.map_err(Failure::from);
        assert_eq!(answer.is_ok(), may, "{caller}");
        if let Err(failure) = answer {
            assert_eq!((failure.code, failure.get("caller")), (Code::PermissionDenied, Some(caller.name())));
        }
    }
    let mut stranger = NodeServiceClient::new(served.stranger().await.service());
    let failure = Failure::from(stranger.ping(pb::PingRequest {}).await.unwrap_err());
    assert_eq!((failure.code, failure.reason.as_str()), (Code::Unauthenticated, "TOKEN_MISSING"));
}
