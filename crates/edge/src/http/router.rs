//! `GET /app[/instance]/name.flv`: the stream as an endless FLV file, or over WebSocket as binary frames.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, UPGRADE,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use media::{DEFAULT_VHOST, url};

use super::{
    feed::Feed,
    playback::{Play, Playback, Refusal},
    server::{Connection, Shared},
    websocket,
};

/// Requests for streams; whatever is not one finds nothing here.
pub(super) fn router<P: Playback>(shared: Arc<Shared<P>>) -> Router {
    let methods = get(play::<P>).head(probe::<P>).options(preflight);
    Router::new().route("/{*path}", methods).layer(middleware::from_fn(allow_any_origin)).with_state(shared)
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn play<P: Playback>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Error> {
    let feed = open(&shared, &connection, &uri, &headers).await?;
    if !headers.contains_key(UPGRADE) {
        return Ok((flv_headers(), Body::from_stream(feed.into_stream())).into_response());
    }
    Ok(match upgrade {
        Ok(upgrade) => websocket::serve(upgrade, feed, connection, &shared.tasks),
        Err(rejection) => rejection.into_response(),
    })
}

/// HEAD: what GET would answer, without the stream.
async fn probe<P: Playback>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Error> {
    open(&shared, &connection, &uri, &headers).await?;
    Ok(flv_headers().into_response())
}

/// OPTIONS: what a browser asks before it plays from another site.
async fn preflight() -> impl IntoResponse {
    let allowed = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, allowed)
}

async fn open<P: Playback>(
    shared: &Shared<P>,
    connection: &Connection,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Feed, Error> {
    let query = url::parse_query(uri.query().unwrap_or_default());
    let stream = url::parse_flv_path(vhost(&query, headers, &shared.config.vhosts), uri.path())?;
    let request = Play { stream, query, peer: connection.peer };
    let reader = tokio::select! {
        reader = shared.playback.play(request) => reader?,
        () = shared.stop.cancelled() => return Err(Error::Stopping),
    };
    let reader = reader.with_lag_bytes_max(shared.config.lag_bytes_max);
    Ok(Feed::new(reader, shared.stop.clone()))
}

/// The vhost that `?vhost=` names, else the request's host where that is one, else the default one.
fn vhost<'a>(query: &'a [(String, String)], headers: &'a HeaderMap, vhosts: &BTreeSet<String>) -> &'a str {
    if let Some((_, vhost)) = query.iter().find(|(key, _)| key == "vhost") {
        return vhost;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    if vhosts.contains(name) { name } else { DEFAULT_VHOST }
}

fn flv_headers() -> [(HeaderName, &'static str); 2] {
    [(CONTENT_TYPE, "video/x-flv"), (CACHE_CONTROL, "no-store")]
}

async fn allow_any_origin(request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Why a request gets no stream.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Name(#[from] url::UrlError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("this edge is being stopped")]
    Stopping,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Name(_) | Self::Refused(Refusal::NotFound) => StatusCode::NOT_FOUND,
            Self::Refused(Refusal::Denied) => StatusCode::FORBIDDEN,
            Self::Refused(Refusal::Unreachable) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = (status, format!("{self}\n")).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
