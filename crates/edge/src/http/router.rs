//! `GET /app[/instance]/name.flv`: the stream as an endless FLV file, or over WebSocket as binary frames.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, UPGRADE,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use hub::Reader;
use media::{DEFAULT_VHOST, StreamName, UrlError, url};
use rtmp::server::PlayStart;
use rtmp_net::{Entry, Kind, Play, PlayRefusal, Protocol, Query, rows::Watching};

use super::{
    flv_file::FlvFile,
    playback::Playback,
    server::{Connection, Shared},
    stats::add,
    upgraded, websocket,
};

/// Requests for streams; whatever is not one finds nothing here.
pub(super) fn router<P: Playback>(shared: Arc<Shared<P>>) -> Router {
    let methods = get(play::<P>).head(probe::<P>).options(preflight);
    Router::new().route("/{*path}", methods).layer(middleware::from_fn(allow_any_origin)).with_state(shared)
}

async fn play<P: Playback>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Result<Response, Error> {
    let asked = asked(request.uri(), request.headers().get(HOST), &shared.config.vhosts);
    if !request.headers().get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        drop(request);
        let file = open(&shared, (connection.peer, connection.session), asked).await?;
        return Ok((flv_headers(), Body::from_stream(file.into_stream())).into_response());
    }
    let answer = websocket::handshake(&request);
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let session = Arc::new(shared.sessions.open(Protocol::WebSocketFlv, connection.peer));
        let file = open(&shared, (connection.peer, session.clone()), asked).await?;
        upgraded::serve(request, (file, session), &shared);
    }
    Ok(answer)
}

/// HEAD: what GET would answer, without the stream.
async fn probe<P: Playback>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Result<Response, Error> {
    let asked = asked(request.uri(), request.headers().get(HOST), &shared.config.vhosts);
    drop(request);
    open(&shared, (connection.peer, connection.session), asked).await?;
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

/// The stream that a request means, and its parameters: all that is held of it while its viewer waits.
pub(super) type Asked = Result<(StreamName, Query), UrlError>;

pub(super) fn asked(uri: &Uri, host: Option<&HeaderValue>, vhosts: &[String]) -> Asked {
    let query: Query = url::parse_query(uri.query().unwrap_or_default())?.into_iter().collect();
    let vhost = query.get("vhost").unwrap_or_else(|| vhost_of(host, vhosts));
    Ok((url::parse_flv_path(vhost, uri.path())?, query))
}

/// The viewer's file. Whoever asks is a session that plays from here on, also while it waits.
pub(super) async fn open<P: Playback>(
    shared: &Shared<P>,
    (peer, session): (SocketAddr, Arc<Entry>),
    asked: Asked,
) -> Result<FlvFile, Error> {
    match ask(shared, (peer, &session), asked).await {
        Ok(reader) => {
            add(&shared.common.stats.plays, 1);
            let watching = Watching::new(reader, shared.config.behind_max);
            Ok(FlvFile::new(watching, session, shared.common.clone()))
        }
        Err(error) => {
            add(&shared.common.stats.plays_refused, 1);
            session.set_idle();
            Err(error)
        }
    }
}

async fn ask<P: Playback>(
    shared: &Shared<P>,
    (peer, session): (SocketAddr, &Entry),
    asked: Asked,
) -> Result<Reader, Error> {
    let (stream, query) = asked?;
    session.set(Kind::Play, stream.clone());
    let request = Play { stream, query, start: PlayStart::LiveOrRecorded, peer, session: session.id() };
    tokio::select! {
        reader = shared.playback.play(request) => Ok(reader?),
        () = shared.common.stop.cancelled() => Err(Error::Stopping),
    }
}

/// The request's host where that is a vhost, else the default one.
fn vhost_of<'a>(host: Option<&HeaderValue>, vhosts: &'a [String]) -> &'a str {
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    vhosts.iter().find(|vhost| vhost.eq_ignore_ascii_case(name)).map_or(DEFAULT_VHOST, String::as_str)
}

/// What a stream is.
pub(super) const FLV_TYPE: &str = "video/x-flv";
/// How long anybody may keep it.
pub(super) const NO_STORE: &str = "no-store";

fn flv_headers() -> [(HeaderName, &'static str); 2] {
    [(CONTENT_TYPE, FLV_TYPE), (CACHE_CONTROL, NO_STORE)]
}

async fn allow_any_origin(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Why a request gets no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Name(#[from] UrlError),
    #[error(transparent)]
    Refused(#[from] PlayRefusal),
    #[error("this edge is being stopped")]
    Stopping,
}

impl Error {
    /// How HTTP says it.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Name(_) | Self::Refused(PlayRefusal::NotFound) => StatusCode::NOT_FOUND,
            Self::Refused(PlayRefusal::Denied) => StatusCode::FORBIDDEN,
            Self::Refused(PlayRefusal::Unavailable) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// After how many seconds to ask again, where that helps.
    pub(super) fn retry_after(&self) -> Option<&'static str> {
        (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some("1")
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}
