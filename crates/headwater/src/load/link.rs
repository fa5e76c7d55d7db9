//! A viewer's socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use media::Scheme;
use rtmp_net::client::{self, Io, Options};
use tokio::{
    io::{AsyncRead, AsyncWriteExt as _, ReadBuf},
    net::{TcpSocket, TcpStream},
};

use super::crowd::Target;

/// TCP, or TLS over it.
pub(super) enum Link {
    /// RTMP and HTTP-FLV.
    Plain(TcpStream),
    /// RTMPS.
    Secure(Box<dyn Io>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// TCP.
    #[error("{}", .0.kind())]
    Io(#[from] io::Error),
    /// TLS.
    #[error(transparent)]
    Client(#[from] client::Error),
}

impl Link {
    /// Connects, from this address if one is given.
    pub(super) async fn connect(target: &Target, options: &Options, from: Option<IpAddr>) -> Result<Self, Error> {
        let socket = if target.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(target.address).await?;
        stream.set_nodelay(true)?;
        match target.url.scheme {
            Scheme::Rtmps => Ok(Self::Secure(client::secure(stream, &target.url, options).await?)),
            Scheme::Rtmp | Scheme::Http => Ok(Self::Plain(stream)),
        }
    }

    /// Writes all of it; there is little to write.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Secure(stream) => stream.write_all(bytes).await,
        }
    }

    /// What has befallen the connection, without reading; what lies under TLS is not seen.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Plain(stream) => stream.take_error().ok().flatten(),
            Self::Secure(_) => None,
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}
