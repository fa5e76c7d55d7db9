//! What a stream's log is made of.

use std::sync::OnceLock;

use bytes::Bytes;
use media::{Frame, Provenance, PublicationId};

/// One entry of a stream's log, shared by all who read it.
#[derive(Debug)]
pub struct Item {
    /// Its position. A [`Body::Setup`] has none of its own: it carries that of the frame it prepares for.
    pub seq: u64,
    /// What stands there.
    pub body: Body,
    /// What it was made of, as far as the log's keeper knows.
    pub provenance: Option<Provenance>,
    wire: [OnceLock<Bytes>; WireForm::COUNT],
}

impl Item {
    /// An item at a position, of which it is not known what it was made of.
    pub fn new(seq: u64, body: Body) -> Self {
        Self { seq, body, provenance: None, wire: Default::default() }
    }

    /// The item with what it was made of.
    pub fn with_provenance(self, provenance: Option<Provenance>) -> Self {
        Self { provenance, ..self }
    }

    /// It, on its way to another log.
    pub fn placed(&self) -> Placed {
        Placed { seq: self.seq, body: self.body.clone() }
    }

    /// The frame that viewers are to get, if this is one.
    pub fn frame(&self) -> Option<&Frame> {
        match &self.body {
            Body::Frame(frame) | Body::Setup(frame) => Some(frame),
            Body::Event(_) => None,
        }
    }

    /// The header that goes before the frame's payload in this form: made by whoever asks first, shared by the rest.
    pub fn wire(&self, form: WireForm, make: impl FnOnce(&Frame) -> Bytes) -> Option<&Bytes> {
        let frame = self.frame()?;
        Some(self.wire[form as usize].get_or_init(|| make(frame)))
    }
}

impl PartialEq for Item {
    /// Headers are made of the rest: whether they have been made yet does not count.
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq && self.body == other.body && self.provenance == other.provenance
    }
}

/// One entry of a stream's log on its way from one log to another: as a value, without what readers share.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Its position; a [`Body::Setup`] carries that of the frame it prepares for.
    pub seq: u64,
    /// What stands there.
    pub body: Body,
}

/// What stands at a position.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// An audio, video or data message.
    Frame(Frame),
    /// Something that happened to the stream.
    Event(Event),
    /// Metadata or decoder set-up in force where a reader starts; made for that reader, never in a log.
    Setup(Frame),
}

/// What happens to a stream besides frames. Events take positions like frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A publication begins to feed the stream, the first or the next one.
    Open {
        /// Which one.
        publication: PublicationId,
    },
    /// The stream ends: its encoder said so, or did not come back in time.
    Close {
        /// The last one that fed it.
        publication: PublicationId,
    },
    /// The encoder withdrew its metadata.
    MetadataCleared,
    /// The publication's edge could not keep these messages until an origin took them.
    Skip {
        /// Which publication.
        publication: PublicationId,
        /// The number of the first message that is missing.
        from: u64,
        /// The number of the last one.
        to: u64,
    },
    /// Positions that may have been seen, and that this log lacks: an origin without them had to become active.
    Loss {
        /// The epoch that begins without them.
        epoch: u64,
        /// The first position that is missing.
        from: u64,
        /// The last one; not known before the origin that held them is heard of again.
        to: Option<u64>,
    },
}

/// The protocols that put a header before an untouched payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireForm {
    /// A chunk header of RTMP.
    Rtmp,
    /// A tag header of FLV.
    Flv,
    /// The same in a chunk of HTTP.
    FlvChunk,
    /// The same in a message of a WebSocket.
    FlvMessage,
}

impl WireForm {
    pub(crate) const COUNT: usize = 4;
}
