//! Why connections end.

use std::io;

use rtmp::server::Closed;

use crate::service::IngestEnded;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The client closed it.
    #[error("the client left")]
    Left,
    /// The network failed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The client broke the protocol or a deadline.
    #[error(transparent)]
    Session(#[from] Closed),
    /// TLS could not be set up.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    /// A viewer took nothing for too long.
    #[error("the viewer took nothing for too long")]
    Stalled,
    /// A viewer never caught up.
    #[error("the viewer was too slow for too long")]
    Behind,
    /// The publication ended on our side.
    #[error("the publication ended: {0}")]
    Ingest(#[from] IngestEnded),
    /// An operator ended it.
    #[error("ended by an operator: {0}")]
    Kicked(String),
    /// The process is about to end, and the time to leave is over.
    #[error("the service shuts down")]
    Drained,
    /// The process serves this role no more.
    #[error("the service was called off")]
    Reset,
}

impl Ended {
    /// One word, for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Left => "left",
            // The kernel's word for a peer that acknowledges nothing.
            Self::Io(error) if error.kind() == io::ErrorKind::TimedOut => "stalled",
            Self::Io(_) => "io",
            Self::Session(closed) => closed.reason(),
            Self::Tls(_) => "tls",
            Self::Stalled => "stalled",
            Self::Behind => "behind",
            Self::Ingest(IngestEnded::TakenOver) => "taken_over",
            Self::Ingest(IngestEnded::CalledOff) => "reset",
            Self::Ingest(_) => "ingest",
            Self::Kicked(_) => "kicked",
            Self::Drained => "drained",
            Self::Reset => "reset",
        }
    }

    /// The limit that a client reached, in a word for counting, where the reason does not name it.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Session(closed) => closed.limit(),
            _ => None,
        }
    }

    /// Whether there is nobody left to say goodbye to, or no time.
    pub(crate) fn is_abrupt(&self) -> bool {
        let called_off = matches!(self, Self::Reset | Self::Ingest(IngestEnded::CalledOff));
        called_off || matches!(self, Self::Io(_) | Self::Tls(_) | Self::Stalled | Self::Behind)
    }
}
