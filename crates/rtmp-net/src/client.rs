//! RTMP clients: one that publishes, one that plays.

mod link;

use std::{io, time::Duration};

use media::{MediaMessage, Scheme, StreamUrl};
use rtmp::client::{Closed, Config, Event, Purpose};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use self::link::Link;
use crate::tls::{self, Trust};

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whom it trusts where the URL says `rtmps`; nothing means whom the system trusts.
    pub trust: Option<Trust>,
    /// How long TCP and TLS may take together.
    pub connect_timeout: Duration,
    /// What a player asks for: -1000 is live only, -2000 live or recorded, from 0 on milliseconds.
    pub start: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { trust: None, connect_timeout: Duration::from_secs(10), start: -2000.0 }
    }
}

/// Any byte stream that RTMP can run over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Publishes a stream: connects, and returns once the server has accepted it.
pub async fn publish(url: &StreamUrl, options: &Options) -> Result<Publisher, Error> {
    let io = connect(url, options).await?;
    publish_over(io, url).await
}

/// Plays a stream: connects, and returns once the server has accepted it.
pub async fn play(url: &StreamUrl, options: &Options) -> Result<Player, Error> {
    let io = connect(url, options).await?;
    play_over(io, url, options.start).await
}

/// The same over a connection that is there already.
pub async fn publish_over(io: impl Io + 'static, url: &StreamUrl) -> Result<Publisher, Error> {
    let purpose = Purpose::Publish { name: url.name_and_query() };
    Link::start(Box::new(io), Config::new(url.app(), url.tc_url(), purpose)).await.map(|link| Publisher { link })
}

/// The same over a connection that is there already.
pub async fn play_over(io: impl Io + 'static, url: &StreamUrl, start: f64) -> Result<Player, Error> {
    let purpose = Purpose::Play { name: url.name_and_query(), start };
    Link::start(Box::new(io), Config::new(url.app(), url.tc_url(), purpose)).await.map(|link| Player { link })
}

/// A stream that is published. Dropping it leaves the server with a lost connection.
pub struct Publisher {
    link: Link,
}

impl Publisher {
    /// Sends a message, and waits until the socket has it. Not to be dropped half-way: the message may be torn.
    pub async fn send(&mut self, message: &MediaMessage) -> Result<(), Error> {
        self.link.session.send(message);
        self.link.flush().await?;
        self.link.listen().await
    }

    /// Waits for the server to end it, and answers its pings. Safe to drop at any await.
    pub async fn ended(&mut self) -> Error {
        loop {
            if let Err(error) = self.link.event().await {
                return error;
            }
        }
    }

    /// Ends the stream in good order.
    pub async fn close(mut self) -> Result<(), Error> {
        self.link.close().await
    }
}

/// A stream that is played.
pub struct Player {
    link: Link,
}

impl Player {
    /// The next message; `None` once the stream has ended. Safe to drop at any await.
    pub async fn next(&mut self) -> Result<Option<MediaMessage>, Error> {
        loop {
            match self.link.event().await? {
                Event::Media(message) => return Ok(Some(message)),
                Event::Ended => return Ok(None),
                Event::Started | Event::Status(_) | Event::Closed(_) => {}
            }
        }
    }

    /// All bytes received so far.
    pub fn bytes_received(&self) -> u64 {
        self.link.session.bytes_received()
    }

    /// Stops playing in good order.
    pub async fn close(mut self) -> Result<(), Error> {
        self.link.close().await
    }
}

async fn connect(url: &StreamUrl, options: &Options) -> Result<Box<dyn Io>, Error> {
    let connecting = async {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        stream.set_nodelay(true)?;
        match url.scheme {
            Scheme::Rtmp => Ok(Box::new(stream) as Box<dyn Io>),
            Scheme::Http => Err(Error::NotRtmp),
            Scheme::Rtmps => secure(stream, url, options).await,
        }
    };
    timeout(options.connect_timeout, connecting).await.unwrap_or(Err(Error::ConnectTimeout))
}

/// TLS over a connection that is there already, with the URL's host at its other end.
pub async fn secure(stream: TcpStream, url: &StreamUrl, options: &Options) -> Result<Box<dyn Io>, Error> {
    let trust = options.trust.clone().map_or_else(Trust::system, Ok)?;
    let name = ServerName::try_from(url.host.clone()).map_err(|_| Error::NotAHost)?;
    Ok(Box::new(TlsConnector::from(trust).connect(name, stream).await?))
}

/// Why a client's stream does not begin, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Nobody answered at that address in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Left,
    /// The server refused it, or does not speak as it should.
    #[error(transparent)]
    Session(#[from] Closed),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The URL's host cannot have a certificate.
    #[error("the URL's host is no name that a certificate could have")]
    NotAHost,
    /// The URL is that of HTTP-FLV.
    #[error("the URL is not one of RTMP: rtmp:// or rtmps://")]
    NotRtmp,
}
