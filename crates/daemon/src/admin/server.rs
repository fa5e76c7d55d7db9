//! The HTTP server of the admin port.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State as Shared,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};

use super::State;

/// The most connections at once; for a further one the oldest goes. An answer takes milliseconds, so that the oldest is one that
/// asks nothing or reads nothing, and no flood of such keeps a balancer's check out.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take in all, until it has taken what it asked for. One connection brings one answer; monitors simply connect
/// again.
const CONNECTION_MAX: Duration = Duration::from_secs(10);

/// Policy of the status page: its own style sheet and nothing else, in no frame.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Answers on the admin port while [`Server::run`] is polled.
pub(crate) struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    pub(super) fn new(listener: TcpListener, state: Arc<State>) -> Self {
        let router = Router::new()
            .route("/", get(index))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/active", get(active))
            .route("/metrics", get(metrics))
            .route("/status", get(status))
            .route("/status.json", get(status_json))
            .route("/status.css", get(|| async { ([(header::CONTENT_TYPE, "text/css")], STYLE) }))
            .with_state(state);
        Self { listener, router }
    }

    /// Serves for ever; dropping it cuts all connections.
    pub(crate) async fn run(self) {
        let mut connections = JoinSet::new();
        let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    while connections.try_join_next().is_some() {}
                    by_age.retain(|connection| !connection.is_finished());
                    if by_age.len() >= CONNECTIONS_MAX
                        && let Some(oldest) = by_age.pop_front()
                    {
                        oldest.abort();
                    }
                    by_age.push_back(connections.spawn(connection(stream, self.router.clone())));
                }
                Err(error) => {
                    // Out of files, most likely: others close theirs.
                    tracing::warn!(%error, "admin.accept_failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let serve = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_MAX, serve).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::trace!(%error, "admin.connection_failed"),
        Err(_) => tracing::trace!("admin.connection_aged"),
    }
}

async fn index() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/status")]).into_response()
}

async fn ready(Shared(state): Shared<Arc<State>>) -> Response {
    let missing = state.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", missing.join("\n"))).into_response()
}

async fn active(Shared(state): Shared<Arc<State>>) -> Response {
    match state.active_epoch() {
        Some(epoch) => Json(serde_json::json!({ "epoch": epoch })).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "not active\n").into_response(),
    }
}

async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    ([(header::CONTENT_TYPE, telemetry::metrics::CONTENT_TYPE)], state.metrics.render()).into_response()
}

async fn status(Shared(state): Shared<Arc<State>>) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, state.status().html()).into_response()
}

async fn status_json(Shared(state): Shared<Arc<State>>) -> Response {
    Json(state.status()).into_response()
}

const STYLE: &str = "\
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #1b1f24; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.5em 0 .3em }
table { border-collapse: collapse } th, td { text-align: left; padding: .15em 1em .15em 0; vertical-align: top }
tr + tr { border-top: 1px solid #e3e6ea } table.facts th { font-weight: normal; color: #5a6572 }
@media (prefers-color-scheme: dark) { body { color: #d8dee6; background: #14181d } tr + tr { border-color: #2c333b } }
";
