//! Why a connection ends.

use crate::{aggregate, command::CommandError, wire::WireError};

/// Why a session ended its connection.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The client's bytes are not RTMP.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A command cannot be read.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// An aggregate cannot be split.
    #[error(transparent)]
    Aggregate(#[from] aggregate::Error),
    /// Something came that must not come yet, or not again.
    #[error("out of order: {0}")]
    OutOfOrder(&'static str),
    /// More requests out of order, refused, or withdrawn before they were decided, than are forgiven.
    #[error("too many mistakes")]
    TooManyMistakes,
    /// The connect was refused, by the session itself or by its owner.
    #[error("connect was refused: {0}")]
    Rejected(String),
    /// The handshake took too long.
    #[error("the handshake took too long")]
    HandshakeTimeout,
    /// Nothing was published or played for too long.
    #[error("nothing was published or played for too long")]
    RequestTimeout,
    /// A client that publishes nothing did not finish a message.
    #[error("a message was begun and not finished for too long")]
    MessageTimeout,
    /// A publisher sent no media for too long after its start.
    #[error("the publisher never sent media")]
    FirstMediaTimeout,
    /// Nothing at all came from a publisher for too long.
    #[error("the publisher fell silent")]
    Silent,
}

impl Closed {
    /// One word, for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Wire(WireError::Handshake(_)) => "handshake",
            // A message that is too long is that wherever it lies.
            Self::Wire(WireError::Chunk(_)) | Self::Aggregate(aggregate::Error::TooLong(_)) => "chunk",
            Self::Wire(WireError::Control(_)) => "control",
            Self::Command(_) => "command",
            Self::Aggregate(_) => "aggregate",
            Self::OutOfOrder(_) => "out_of_order",
            Self::TooManyMistakes => "mistakes",
            Self::Rejected(_) => "rejected",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::MessageTimeout => "message_timeout",
            Self::FirstMediaTimeout => "first_media_timeout",
            Self::Silent => "silent",
        }
    }

    /// The limit that was reached, in a word for counting, where [`Closed::reason`] does not name it.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Wire(WireError::Chunk(error)) | Self::Aggregate(aggregate::Error::TooLong(error)) => error.limit(),
            Self::Aggregate(aggregate::Error::TooMany { .. }) => Some("aggregate_messages"),
            Self::Command(CommandError::Amf(error)) => error.limit(),
            _ => None,
        }
    }
}
