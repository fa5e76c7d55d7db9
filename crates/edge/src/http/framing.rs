//! How a connection wraps the pieces of an FLV file, so that its reader finds their end.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hub::{Item, WireForm};

use super::{flv_file::tags, websocket};

/// One way to wrap what viewers are sent. All viewers of a way are sent the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Not at all: HTTP/1.0's body, which ends with the connection.
    Bare,
    /// Chunks of HTTP/1.1, so that the end is told from a broken connection.
    Chunks,
    /// Binary messages of a WebSocket.
    Messages,
}

const END_OF_CHUNK: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Framing {
    pub(super) const COUNT: usize = 3;
    pub(super) const ALL: [Self; Self::COUNT] = [Self::Bare, Self::Chunks, Self::Messages];

    /// The form in which a group is shared by all viewers of this way.
    pub(super) fn form(self) -> WireForm {
        match self {
            Self::Bare => WireForm::Flv,
            Self::Chunks => WireForm::FlvChunk,
            Self::Messages => WireForm::FlvMessage,
        }
    }

    /// What makes that form: tags one after the other, in one wrapping.
    pub(super) fn make(self) -> fn(&[Arc<Item>]) -> Bytes {
        match self {
            Self::Bare => tags,
            Self::Chunks => |items| Self::Chunks.wrapped(&tags(items)),
            Self::Messages => |items| Self::Messages.wrapped(&tags(items)),
        }
    }

    /// What stands before so many bytes.
    pub(super) fn head(self, bytes: usize) -> Option<Bytes> {
        match self {
            Self::Bare => None,
            Self::Chunks => Some(format!("{bytes:X}\r\n").into()),
            Self::Messages => Some(websocket::binary_head(bytes)),
        }
    }

    /// What stands behind them.
    pub(super) fn tail(self) -> Option<Bytes> {
        (self == Self::Chunks).then(|| Bytes::from_static(END_OF_CHUNK))
    }

    /// What says that nothing more comes.
    pub(super) fn end(self) -> Option<Bytes> {
        match self {
            Self::Bare => None,
            Self::Chunks => Some(Bytes::from_static(LAST_CHUNK)),
            Self::Messages => Some(websocket::end_of_stream()),
        }
    }

    /// Nothing stays nothing: a chunk without bytes would be the last.
    fn wrapped(self, bytes: &Bytes) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        let (head, tail) = (self.head(bytes.len()).unwrap_or_default(), self.tail().unwrap_or_default());
        let mut out = BytesMut::with_capacity(head.len() + bytes.len() + tail.len());
        for part in [&head, bytes, &tail] {
            out.extend_from_slice(part);
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_tells_where_a_piece_ends() {
        let piece = Bytes::from(vec![7; 300]);
        let wrapped = |framing: Framing| framing.wrapped(&piece);
        assert_eq!(wrapped(Framing::Bare), piece);
        assert_eq!(wrapped(Framing::Chunks), [b"12C\r\n", &piece[..], b"\r\n"].concat());
        assert_eq!(wrapped(Framing::Messages), [&[0x82, 126, 1, 44], &piece[..]].concat());
        for framing in Framing::ALL {
            assert!(framing.wrapped(&Bytes::new()).is_empty(), "{framing:?}");
        }
    }
}
