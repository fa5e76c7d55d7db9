//! What every server does, whatever it serves.

mod strangers;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use hyper::body::Frame as HttpFrame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tonic_reflection::pb::{v1, v1alpha};

use super::*;
use crate::{
    auth::Caller,
    status::Failure,
    testing::{Served, serve},
};

async fn bare() -> Served {
    serve(|builder| builder).await
}

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn probes_need_no_token_and_see_readiness_and_role() {
    let served = bare().await;
    let mut probe = HealthClient::new(served.stranger().await.service());
    let mut status = async |name| probe.check(check(name)).await.map(|answer| answer.into_inner().status);
    assert_eq!(status("").await.unwrap(), ServingStatus::Serving as i32);
    assert_eq!(status("readiness").await.unwrap(), ServingStatus::NotServing as i32);
    served.health.set_ready(true).await;
    served.health.set_active(true).await;
    assert_eq!(status("readiness").await.unwrap(), ServingStatus::Serving as i32);
    assert_eq!(status("active").await.unwrap(), ServingStatus::Serving as i32);
    assert_eq!(status("nothing").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn both_versions_of_reflection_tell_the_services_and_the_details_of_errors() {
    let served = bare().await;
    let channel = served.stranger().await;

    use v1::server_reflection_request::MessageRequest;
    let ask = |message| v1::ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".into()),
        MessageRequest::FileContainingSymbol("headwater.node.v1.NodeService".into()),
    ];
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.service());
    let mut answers = client.server_reflection_info(stream::iter(questions.map(ask))).await.unwrap().into_inner();
    use v1::server_reflection_response::MessageResponse;
    let services = match answers.message().await.unwrap().unwrap().message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => list.service,
        other => panic!("{other:?}"),
    };
    assert!(services.iter().any(|service| service.name == "grpc.health.v1.Health"), "{services:?}");
    for _ in 0..2 {
        let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{answer:?}");
    }

    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let ask = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel.service());
    let mut answers = client.server_reflection_info(stream::iter([ask])).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
}

#[tokio::test]
async fn shutdown_ends_open_answers_and_says_so() {
    let served = bare().await;
    let mut probe = HealthClient::new(served.stranger().await.service());
    let mut watch = probe.watch(check("readiness")).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    served.stop().await;
    let failure = Failure::from(watch.message().await.unwrap_err());
    assert_eq!(failure.reason, "SHUTTING_DOWN");
}

#[tokio::test]
async fn a_peer_that_never_closes_is_cut_at_the_deadline() {
    let served = bare().await;
    let mut silent = TcpStream::connect(&served.address).await.unwrap();
    silent.write_all(PREFACE).await.unwrap();
    silent.read_u8().await.expect("the server's settings");
    served.stop().await;
    let mut rest = Vec::new();
    // A reset counts as an end too.
    let _ = silent.read_to_end(&mut rest).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_is_closed() {
    let health = Health::new().await;
    let server = Server::builder(Default::default(), &health).build().await;
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let connection = Connection::new(theirs, SocketAddr::from(([127, 0, 0, 1], 1)));
    let begun = tokio::time::Instant::now();
    let serving = server.serve_connections(stream::iter([connection]), std::future::pending());
    let mut sent = Vec::new();
    let (_, read) = tokio::join!(serving, ours.read_to_end(&mut sent));
    read.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 11, "ten seconds, and one to end");
}

#[tokio::test]
async fn connections_accepted_elsewhere_are_served() {
    let health = Health::new().await;
    let server = Server::builder(Default::default(), &health).build().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepted = Box::pin(stream::once(async move {
        let (stream, peer) = listener.accept().await.unwrap();
        Connection::new(stream, peer)
    }));
    let serving = tokio::spawn(async move { server.serve_connections(accepted, std::future::pending()).await });
    let target = crate::channel::Target::new([address], None);
    let channel = crate::channel::Channel::connect(&target).await.unwrap();
    let mut probe = HealthClient::new(channel.service());
    probe.check(check("")).await.unwrap();
    drop((probe, channel));
    tokio::time::timeout(Duration::from_secs(5), serving).await.expect("it ends with its last connection").unwrap();
}

#[tokio::test]
async fn refusals_carry_their_reason() {
    use proto::node::v1::{PingRequest, node_service_client::NodeServiceClient};
    let served = bare().await;
    let mut not_served = NodeServiceClient::new(served.channel(Caller::Operator).await.service());
    let failure = Failure::from(not_served.ping(PingRequest {}).await.unwrap_err());
    assert_eq!((failure.code, failure.reason.as_str()), (crate::status::Code::Unimplemented, "METHOD_UNKNOWN"));
    assert_eq!(failure.get("method"), Some("/headwater.node.v1.NodeService/Ping"));
}

#[tokio::test]
async fn lengths_of_four_gigabytes_are_refused_and_others_do_not_notice() {
    let served = bare().await;
    let mut innocent = HealthClient::new(served.stranger().await.service());
    for hostile in
        [&[0, 0xff, 0xff, 0xff, 0xff][..], &[0, 0x7f, 0xff, 0xff, 0xff], &[1, 0, 0, 0, 4, 1, 2, 3, 4], &[7; 64]]
    {
        let status = raw_call(&served.address, Bytes::from_static(hostile)).await;
        assert!(!matches!(status.as_str(), "0" | ""), "{hostile:?} got {status}");
        innocent.check(check("")).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_http2_is_closed() {
    let served = bare().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"\x03\0\0\0\0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff",
    ] {
        let mut peer = TcpStream::connect(&served.address).await.unwrap();
        peer.write_all(garbage).await.unwrap();
        peer.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A reset counts as an end too.
        let _ = tokio::time::timeout(Duration::from_secs(5), peer.read_to_end(&mut answer)).await.expect("closed");
    }
    served.stop().await;
}

/// The gRPC status that a health check with this body gets.
async fn raw_call(address: &str, body: Bytes) -> String {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method("POST")
        .uri(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let body = tonic::body::Body::new(Once(Some(body)));
    let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let status = answer.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
    connection.abort();
    status.unwrap_or_default()
}

/// A body of one piece.
struct Once(Option<Bytes>);

impl hyper::body::Body for Once {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<HttpFrame<Bytes>, tonic::Status>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(HttpFrame::data(bytes))))
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
