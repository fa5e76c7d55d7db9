//! Where a player's messages come from: RTMP or HTTP-FLV.

use std::time::Duration;

use anyhow::{Context as _, bail};
use media::{MediaMessage, Scheme, StreamUrl, flv};
use rtmp_net::client::{self, Options, Player};
use tokio::{net::TcpStream, time::timeout};

use crate::http::Body;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an edge may wait for a publisher before it answers; more than it does by default.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// An open stream.
pub(super) enum Source {
    /// Over RTMP or RTMPS.
    Rtmp(Box<Player>),
    /// Over HTTP-FLV.
    Http(Body, flv::Reader),
}

impl Source {
    /// Asks for the stream and waits until it is granted.
    pub(super) async fn open(url: &StreamUrl) -> anyhow::Result<Self> {
        if url.scheme != Scheme::Http {
            return Ok(Self::Rtmp(Box::new(client::play(url, &Options::default()).await?)));
        }
        let connect = TcpStream::connect((url.host.as_str(), url.port));
        let stream = timeout(CONNECT_TIMEOUT, connect).await.context("no connection in time")??;
        stream.set_nodelay(true)?;
        let (host, target) = (url.authority(), url.http_target());
        let request = Body::request(stream, &host, &target);
        let body = timeout(ANSWER_TIMEOUT, request).await.context("no answer in time")??;
        match body.status {
            200 => Ok(Self::Http(body, flv::Reader::new(flv::Limits::default()))),
            404 => bail!("there is no such stream (HTTP status 404)"),
            503 => bail!("the edge cannot reach an origin (HTTP status 503)"),
            status => bail!("HTTP status {status}"),
        }
    }

    /// The next message; `None` when the stream has ended. May be dropped at any time.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<MediaMessage>> {
        let (body, reader) = match self {
            Self::Rtmp(player) => return Ok(player.next().await?),
            Self::Http(body, reader) => (body, reader),
        };
        loop {
            if let Some(message) = reader.poll_tag()? {
                return Ok(Some(message));
            }
            match body.next().await? {
                Some(bytes) => reader.handle_bytes(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// Leaves in good order, as far as the server lets it.
    pub(super) async fn close(self) {
        if let Self::Rtmp(player) = self
            && let Err(error) = player.close().await
        {
            tracing::debug!(%error, "play.not_closed");
        }
    }
}
