//! What a session tells its owner.

use media::{MediaMessage, Medium};

use super::{Closed, ConnectRequest, PlayRequest, PublishRequest};

/// Something that the client wants or did.
#[derive(Debug)]
pub enum Event {
    /// It wants to connect.
    Connect(ConnectRequest),
    /// It wants to publish.
    Publish(PublishRequest),
    /// It wants to play.
    Play(PlayRequest),
    /// A message of an accepted publish.
    Media {
        /// The message stream.
        msid: u32,
        /// The message: aggregates are split, `@setDataFrame` is stripped, AMF3 data is AMF0.
        message: MediaMessage,
    },
    /// An accepted publish withdrew its metadata.
    MetadataCleared {
        /// The message stream.
        msid: u32,
    },
    /// A publish, accepted or not yet, ended by the client's word.
    Unpublished {
        /// The message stream.
        msid: u32,
    },
    /// A play, accepted or not yet, ended by the client's word.
    PlayEnded {
        /// The message stream.
        msid: u32,
    },
    /// An accepted play is to stop for a while, or to go on.
    Paused {
        /// The message stream.
        msid: u32,
        /// Whether it is to stop.
        paused: bool,
    },
    /// An accepted play is to be without audio or video from now on, or with it again.
    Receive {
        /// The message stream.
        msid: u32,
        /// Audio or video.
        medium: Medium,
        /// Whether it is wanted.
        wanted: bool,
    },
    /// The connection must be closed; nothing comes after this.
    Closed(Closed),
}
