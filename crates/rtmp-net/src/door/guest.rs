//! A client that was let in.

use std::{io, net::SocketAddr};

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout_at};

use super::{
    Pass, TooMany, TurnedAway,
    proxy_header::{self, HEADER_BYTES_MAX, Malformed, Progress, Told},
};

/// A client that was let in and has not finished its handshake.
#[derive(Debug)]
pub struct Guest {
    /// Its connection, of which nothing has been read but what a proxy said.
    pub stream: TcpStream,
    /// Who it is; before [`Guest::introduced`] perhaps its proxy.
    pub peer: SocketAddr,
    /// Held until its handshake is finished.
    pub pass: Pass,
}

impl Guest {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, pass: Pass) -> Self {
        // Frames go out when they are due, not when there is more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "door.nodelay_failed");
        }
        Self { stream, peer, pass }
    }

    /// The client as its proxy introduces it, if it came by a trusted one; any other as it is. Its task does this, not the
    /// door's.
    ///
    /// A trusted proxy must say for whom it comes. Were a connection without a header taken as the proxy's own, whoever
    /// gets bytes through a proxy that adds none could write a header and be anybody.
    pub async fn introduced(mut self) -> Result<Self, NotIntroduced> {
        if !self.pass.gate().is_proxy(self.peer.ip()) {
            return Ok(self);
        }
        match self.hear_proxy().await {
            Ok(Told::Client(client)) => self.peer = client,
            Ok(Told::Itself) => {}
            Err(error) => {
                self.pass.gate().count(TurnedAway::NotIntroduced);
                tracing::debug!(proxy = %self.peer, %error, "door.not_introduced");
                return Err(error);
            }
        }
        Ok(self)
    }

    async fn hear_proxy(&mut self) -> Result<Told, NotIntroduced> {
        let told = timeout_at(self.pass.deadline(), read_header(&mut self.stream));
        let told = told.await.map_err(|_| NotIntroduced::Slow)??;
        if let Told::Client(client) = told {
            self.pass.introduce(client)?;
        }
        Ok(told)
    }
}

/// Reads a header and not one byte more.
async fn read_header(stream: &mut TcpStream) -> Result<Told, NotIntroduced> {
    let mut header = Vec::new();
    loop {
        match proxy_header::parse(&header)? {
            Progress::Whole(told) => return Ok(told),
            Progress::Missing(count) => {
                let have = header.len();
                header.resize((have + count).min(HEADER_BYTES_MAX), 0);
                stream.read_exact(&mut header[have..]).await?;
            }
        }
    }
}

/// Closes a client's connection, with a reset: of whoever comes too often nothing is to be remembered.
pub(super) fn turn_away(stream: &TcpStream, peer: SocketAddr, why: &TooMany) {
    tracing::debug!(%peer, error = %why, "door.turned_away");
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%peer, %error, "door.reset_failed");
    }
}

/// Why a trusted proxy's connection is refused.
#[derive(Debug, thiserror::Error)]
pub enum NotIntroduced {
    /// It begins with no PROXY header, or with a damaged one.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It ended or broke within the header.
    #[error("the proxy's connection ended: {0}")]
    Broken(#[from] io::Error),
    /// The header did not come in time.
    #[error("the proxy did not say in time for whom it comes")]
    Slow,
    /// The client that it brings has too many unfinished handshakes.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}
