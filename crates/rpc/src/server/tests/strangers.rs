//! What whoever has no token can hold, and for how long.

use std::{future::pending, pin::Pin};

use http::HeaderMap;
use hyper::{body::Body as HttpBody, client::conn::http2::SendRequest};
use tokio::{
    io::DuplexStream,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::auth::{Token, Tokens};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECT: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// The request whose fields all have their defaults.
const EMPTY: &[u8] = &[0; 5];
/// Longer than a stranger's connection lasts: ten seconds, and one to end.
const TRIAL: Duration = Duration::from_secs(12);
const AT_ONCE: Duration = Duration::from_secs(1);

/// A server over these connections that knows one token, and the token.
async fn serve(connections: Vec<Connection>) -> (Token, AbortOnDropHandle<()>) {
    let token = Token::generate();
    let mut tokens = Tokens::default();
    tokens.add(Caller::Edge, &token);
    let server = Server::builder(Arc::new(Auth::new(tokens)), &Health::new().await).build().await;
    let connections = stream::iter(connections);
    let serving = tokio::spawn(async move { server.serve_connections(connections, pending()).await });
    (token, AbortOnDropHandle::new(serving))
}

/// A connection to be accepted, and the client's end of it.
fn connection() -> (DuplexStream, Connection) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    (ours, Connection::new(theirs, SocketAddr::from(([192, 0, 2, 1], 1))))
}

/// The connection with a pass of its acceptor, and whether that has been given back.
fn on_trial(connection: Connection) -> (Connection, impl Fn() -> bool) {
    let pass = Arc::new(());
    let held = Arc::downgrade(&pass);
    let connection = connection.on_trial(async move {
        let _pass = pass;
        pending().await
    });
    (connection, move || held.strong_count() == 0)
}

async fn client(io: DuplexStream) -> SendRequest<Body> {
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// The status with which a call ends; none, if the connection does first.
async fn call(client: &mut SendRequest<Body>, path: &str, token: Option<&Token>, body: Body) -> Option<String> {
    let mut request = Request::post(format!("http://x{path}")).header("content-type", "application/grpc");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.secret()));
    }
    let answer = client.send_request(request.body(body).unwrap()).await.ok()?;
    let status = |end: &HeaderMap| end.get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    if let Some(status) = status(answer.headers()) {
        return Some(status);
    }
    let mut body = answer.into_body();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Some(trailers) = frame.ok()?.trailers_ref() {
            return status(trailers);
        }
    }
    None
}

fn whole(message: &'static [u8]) -> Body {
    Body::new(Once(Some(Bytes::from_static(message))))
}

/// A body of which no more than this comes.
fn begun(message: &'static [u8]) -> Body {
    Body::new(Begun(Once(Some(Bytes::from_static(message)))))
}

struct Begun(Once);

impl HttpBody for Begun {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<HttpFrame<Bytes>, tonic::Status>>> {
        match Pin::new(&mut self.0).poll_frame(cx) {
            std::task::Poll::Ready(None) => std::task::Poll::Pending,
            first => first,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_message_to_an_open_service_is_refused_when_it_is_announced() {
    let (io, accepted) = connection();
    let (_, _serving) = serve(vec![accepted]).await;
    let mut client = client(io).await;
    for path in [CHECK, REFLECT[0], REFLECT[1]] {
        let ended = timeout(AT_ONCE, call(&mut client, path, None, begun(&[0, 0, 0, 0x10, 1]))).await;
        // Reflection ends its answer in order whatever it was sent.
        let status = ended.unwrap_or_else(|_| panic!("{path} waits for it"));
        assert_eq!(status.as_deref(), Some(if path == CHECK { "11" } else { "0" }), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_ends_is_not_waited_for() {
    for path in [CHECK, REFLECT[0], REFLECT[1]] {
        let (io, accepted) = connection();
        let (_, _serving) = serve(vec![accepted]).await;
        let mut client = client(io).await;
        let cut = timeout(TRIAL, call(&mut client, path, None, begun(&[0, 0, 0, 0x10, 0, 1]))).await;
        assert!(cut.is_ok(), "{path} waits for it");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_anybody_can_make_end_no_trial() {
    let (io, accepted) = connection();
    let (accepted, passed) = on_trial(accepted);
    let (_, serving) = serve(vec![accepted]).await;
    let mut client = client(io).await;
    let refused = call(&mut client, "/headwater.node.v1.NodeService/Ping", None, whole(EMPTY)).await;
    assert_eq!(refused.as_deref(), Some("12"));
    let asking = async {
        while call(&mut client, CHECK, None, whole(EMPTY)).await.is_some() {
            assert!(!passed(), "it has its pass no longer");
            tokio::time::sleep(AT_ONCE).await;
        }
        serving.await.unwrap();
    };
    timeout(TRIAL, asking).await.expect("it is closed");
    assert!(passed());
}

#[tokio::test(start_paused = true)]
async fn a_known_caller_ends_the_trial() {
    let (io, accepted) = connection();
    let (accepted, passed) = on_trial(accepted);
    let (token, _serving) = serve(vec![accepted]).await;
    let mut client = client(io).await;
    assert_eq!(call(&mut client, CHECK, Some(&token), whole(EMPTY)).await.as_deref(), Some("0"));
    assert!(passed(), "it has its pass still");
    let watch = call(&mut client, WATCH, None, whole(EMPTY));
    assert!(timeout(Duration::from_secs(60), watch).await.is_err(), "it is cut");
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_stranger_is_ended_with_advice() {
    let (io, accepted) = connection();
    let (_, serving) = serve(vec![accepted]).await;
    let mut client = client(io).await;
    let start = Instant::now();
    let ended = timeout(TRIAL, call(&mut client, WATCH, None, whole(EMPTY))).await.expect("it ends");
    assert_eq!((ended.as_deref(), start.elapsed().as_secs()), (Some("14"), 10));
    serving.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10, "the connection is closed in order");
}

#[tokio::test(start_paused = true)]
async fn a_known_caller_gets_in_however_many_strangers_there_are() {
    let (strangers, accepted): (Vec<_>, Vec<_>) = (0..2 * serve::CONNECTIONS_MAX).map(|_| connection()).unzip();
    let (io, honest) = connection();
    let (token, _serving) = serve(accepted.into_iter().chain([honest]).collect()).await;
    let answered = timeout(AT_ONCE, async {
        let mut client = client(io).await;
        call(&mut client, CHECK, Some(&token), whole(EMPTY)).await
    });
    assert_eq!(answered.await.expect("it waits for a place").as_deref(), Some("0"));
    drop(strangers);
}

#[tokio::test]
async fn a_port_for_strangers_tells_nothing_of_its_services() {
    let served = crate::testing::serve(Builder::without_reflection).await;
    let channel = served.channel(Caller::Operator).await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.service());
    let refused = client.server_reflection_info(stream::iter([])).await.expect_err("there is none");
    assert_eq!(Failure::from(refused).reason, "METHOD_UNKNOWN");
}
