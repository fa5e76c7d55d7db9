//! What a server asks of the service that it stands in front of.

use std::{future::Future, net::SocketAddr, sync::Arc};

use media::{MediaMessage, StreamName};
use rtmp::{
    command::status::{Status, code},
    server::{PlayStart, PublishKind},
};

use crate::{sessions::SessionId, target::Query};

/// Decides who may publish and play, and where that goes.
pub trait Service: Send + Sync + 'static {
    /// Where an accepted publisher's messages go.
    type Ingest: Ingest;

    /// Someone wants to publish. Until this is decided the encoder waits, and is held to no deadline.
    fn publish(&self, request: Publish) -> impl Future<Output = Result<Self::Ingest, PublishRefusal>> + Send;

    /// Someone wants to play. This may wait for the stream as long as the service likes; it is dropped when the
    /// player leaves. How far the player may be behind is for the service to say
    /// ([`with_lag_bytes_max`](hub::Reader::with_lag_bytes_max)): nobody else bounds it.
    fn play(&self, request: Play) -> impl Future<Output = Result<hub::Reader, PlayRefusal>> + Send;
}

impl<S: Service> Service for Arc<S> {
    type Ingest = S::Ingest;

    fn publish(&self, request: Publish) -> impl Future<Output = Result<Self::Ingest, PublishRefusal>> + Send {
        S::publish(self, request)
    }

    fn play(&self, request: Play) -> impl Future<Output = Result<hub::Reader, PlayRefusal>> + Send {
        S::play(self, request)
    }
}

/// One publication on its way in. Dropping it means that the encoder's connection was lost.
pub trait Ingest: Send + 'static {
    /// The next message. While this waits, nothing is read from the encoder. When it is dropped, nothing but the ingest's
    /// end follows.
    fn message(&mut self, message: MediaMessage) -> impl Future<Output = Result<(), IngestEnded>> + Send;

    /// The encoder withdrew its metadata.
    fn metadata_cleared(&mut self) -> impl Future<Output = Result<(), IngestEnded>> + Send;

    /// The encoder, or an operator, ended the publication.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A request to publish.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The stream.
    pub stream: StreamName,
    /// The parameters that came with it.
    pub query: Query,
    /// What is to become of it.
    pub kind: PublishKind,
    /// Who asks.
    pub peer: SocketAddr,
    /// The asking connection.
    pub session: SessionId,
}

/// A request to play.
#[derive(Debug, Clone)]
pub struct Play {
    /// The stream.
    pub stream: StreamName,
    /// The parameters that came with it.
    pub query: Query,
    /// Where to begin. Some players say 0 and mean live.
    pub start: PlayStart,
    /// Who asks.
    pub peer: SocketAddr,
    /// The asking connection.
    pub session: SessionId,
}

/// Why a publish is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefusal {
    /// Somebody else publishes the stream.
    #[error("the stream is published already")]
    Taken,
    /// The key is wrong, or no route leads anywhere.
    #[error("this may not be published here")]
    Denied,
    /// Nobody who could take it can be reached.
    #[error("nobody can take the stream now")]
    Unavailable,
}

/// Why a play is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlayRefusal {
    /// There is no such stream, or it did not come in time.
    #[error("there is no such stream")]
    NotFound,
    /// It may not be played.
    #[error("this may not be played here")]
    Denied,
    /// Nobody who could have it can be reached.
    #[error("nobody can give the stream now")]
    Unavailable,
}

/// Why a publication ends although its encoder goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IngestEnded {
    /// Another encoder has taken the stream over.
    #[error("another encoder has taken the stream over")]
    TakenOver,
    /// The publication is not welcome any more.
    #[error("the publication was refused")]
    Refused(#[from] PublishRefusal),
    /// Nobody takes it.
    #[error("nobody takes the stream any more")]
    Gone,
    /// This process serves it no more, and another does: the connection is reset, so that the encoder comes again at once.
    #[error("the stream is served elsewhere from now on")]
    CalledOff,
}

impl PublishRefusal {
    /// What the encoder is told.
    pub(crate) fn status(self) -> Status {
        let code = match self {
            Self::Taken => code::PUBLISH_BAD_NAME,
            Self::Denied => code::PUBLISH_DENIED,
            Self::Unavailable => code::PUBLISH_REJECTED,
        };
        Status::failed(code, self.to_string())
    }
}

impl PlayRefusal {
    /// What the player is told.
    pub(crate) fn status(self) -> Status {
        let code = match self {
            Self::NotFound => code::PLAY_NOT_FOUND,
            Self::Denied | Self::Unavailable => code::PLAY_FAILED,
        };
        Status::failed(code, self.to_string())
    }
}

impl IngestEnded {
    /// What the encoder is told.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::TakenOver => Status::failed(code::PUBLISH_BAD_NAME, self.to_string()),
            Self::Refused(refusal) => refusal.status(),
            Self::Gone | Self::CalledOff => Status::failed(code::PUBLISH_REJECTED, self.to_string()),
        }
    }
}
