//! WebSocket-FLV: the bytes of HTTP-FLV as binary messages (RFC 6455).
//!
//! The web server reads the request and makes the handshake. From then on the connection is a viewer like any other: what it
//! is sent is wrapped once for all, and what it says is listened to for pings and its close.

use std::io::Cursor;

use axum::{
    body::Body,
    extract::Request,
    http::{StatusCode, header::SEC_WEBSOCKET_VERSION},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tungstenite::{
    error::{Error, ProtocolError},
    handshake::server::create_response_with_body,
    protocol::frame::{
        CloseFrame, Frame, FrameHeader,
        coding::{CloseCode, Control, Data, OpCode},
    },
};

/// The answer: `101 Switching Protocols`, or why this is no WebSocket.
pub(super) fn handshake(request: &Request) -> Response {
    create_response_with_body(request, Body::empty).unwrap_or_else(|error| {
        let status = match error {
            Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, [(SEC_WEBSOCKET_VERSION, "13")], format!("{error}\n")).into_response()
    })
}

/// What stands before so many bytes that are a message.
pub(super) fn binary_head(bytes: usize) -> Bytes {
    let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
    let mut head = Vec::with_capacity(header.len(bytes as u64));
    header.format(bytes as u64, &mut head).expect("memory takes what is written to it");
    head.into()
}

/// Tells the viewer that it has had all.
pub(super) fn end_of_stream() -> Bytes {
    close(Some(CloseCode::Normal), "the stream has ended")
}

fn close(code: Option<CloseCode>, reason: &'static str) -> Bytes {
    bytes(Frame::close(code.map(|code| CloseFrame { code, reason: reason.into() })))
}

fn bytes(frame: Frame) -> Bytes {
    let mut out = Vec::with_capacity(frame.len());
    frame.format(&mut out).expect("memory takes what is written to it");
    out.into()
}

/// What a viewer has said. Of its messages nothing is kept: viewers have nothing to say but ping, pong and close.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Of a frame that has not come whole: never more than a control frame and what came with its last byte.
    unread: Vec<u8>,
    /// So many bytes of a payload are still to come, and are for nobody.
    skip: u64,
    /// The answer to the last ping: earlier ones need none any more (section 5.5.3).
    pong: Option<Bytes>,
    /// Whatever is said after a close is not heard.
    closed: bool,
}

/// What asks for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// The inbox has it.
    Ping,
    /// It is the last thing to be sent.
    Close(Bytes),
}

/// Section 5.5: a control frame's payload is no longer.
const CONTROL_BYTES_MAX: u64 = 125;

impl Inbox {
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.unread.extend_from_slice(bytes);
        }
    }

    /// The next thing said that asks for an answer.
    pub(super) fn poll_said(&mut self) -> Option<Said> {
        while !self.unread.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(self.unread.len() as u64);
                self.skip -= skipped;
                self.take(skipped as usize);
                continue;
            }
            let mut cursor = Cursor::new(&self.unread[..]);
            let (header, len) = match FrameHeader::parse(&mut cursor) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => return None,
                Err(_) => return Some(self.close(Some(CloseCode::Protocol))),
            };
            let at = cursor.position() as usize;
            let Some(mask) = header.mask.filter(|_| is_in_order(&header, len)) else {
                return Some(self.close(Some(CloseCode::Protocol)));
            };
            let OpCode::Control(control @ (Control::Ping | Control::Close)) = header.opcode else {
                self.take(at);
                self.skip = len;
                continue;
            };
            let end = at + len as usize;
            if self.unread.len() < end {
                return None;
            }
            let payload: Vec<u8> =
                self.unread[at..end].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            self.take(end);
            if control == Control::Ping {
                self.pong = Some(bytes(Frame::pong(payload)));
                return Some(Said::Ping);
            }
            return Some(self.close(answer_to_close(&payload)));
        }
        None
    }

    /// The answer to the last ping, if that was not taken yet.
    pub(super) fn take_pong(&mut self) -> Option<Bytes> {
        self.pong.take()
    }

    fn take(&mut self, count: usize) {
        self.unread.drain(..count);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
    }

    fn close(&mut self, code: Option<CloseCode>) -> Said {
        *self = Self { closed: true, ..Self::default() };
        Said::Close(close(code, ""))
    }
}

/// Sections 5.2 and 5.5: no extension was agreed on, and control frames are short and whole.
fn is_in_order(header: &FrameHeader, len: u64) -> bool {
    let plain = !(header.rsv1 || header.rsv2 || header.rsv3);
    let control = matches!(header.opcode, OpCode::Control(_));
    plain && (!control || header.is_final && len <= CONTROL_BYTES_MAX)
}

/// Section 5.5.1: the same code, if there is one and it may be sent.
fn answer_to_close(payload: &[u8]) -> Option<CloseCode> {
    match *payload {
        [] => None,
        [high, low, ..] => {
            let code = CloseCode::from(u16::from_be_bytes([high, low]));
            Some(if code.is_allowed() { code } else { CloseCode::Protocol })
        }
        [_] => Some(CloseCode::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a client sends it: masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let len = match payload.len() {
            len @ 0..=125 => vec![0x80 | len as u8],
            len => [&[0x80 | 126][..], &(len as u16).to_be_bytes()].concat(),
        };
        [vec![first], len, mask.to_vec(), masked.collect()].concat()
    }

    /// What is heard of bytes that come one at a time, and the last pong.
    fn heard(bytes: &[u8]) -> (Vec<Said>, Option<Bytes>) {
        let mut inbox = Inbox::default();
        let said = |byte: &u8| {
            inbox.handle_bytes(&[*byte]);
            assert!(inbox.unread.len() < 14 + CONTROL_BYTES_MAX as usize);
            inbox.poll_said()
        };
        let all = bytes.iter().filter_map(said).collect();
        (all, inbox.take_pong())
    }

    #[test]
    fn a_ping_is_answered_with_what_it_brought_and_only_the_last_one() {
        let bytes = [frame(0x89, b"one"), frame(0x82, &[9; 300]), frame(0x8a, b"pong"), frame(0x89, b"two")].concat();
        assert_eq!(heard(&bytes), (vec![Said::Ping, Said::Ping], Some(Bytes::from_static(b"\x8a\x03two"))));
        let mut inbox = Inbox::default();
        inbox.handle_bytes(&bytes);
        assert_eq!(
            (inbox.poll_said(), inbox.poll_said(), inbox.poll_said()),
            (Some(Said::Ping), Some(Said::Ping), None)
        );
    }

    #[test]
    fn a_close_is_answered_with_its_code_and_nothing_after_it_is_heard() {
        let closed = |payload: &[u8]| heard(&[frame(0x88, payload), frame(0x89, b"more")].concat());
        let answer = |bytes: &'static [u8]| (vec![Said::Close(Bytes::from_static(bytes))], None);
        assert_eq!(closed(b""), answer(b"\x88\x00"));
        assert_eq!(closed(b"\x03\xe9going away"), answer(b"\x88\x02\x03\xe9"));
        assert_eq!(closed(b"\x03\xee"), answer(b"\x88\x02\x03\xea"), "1006 is never sent");
        assert_eq!(closed(b"\x03"), answer(b"\x88\x02\x03\xea"));
    }

    #[test]
    fn what_breaks_the_protocol_closes_it() {
        let long_ping = frame(0x89, &[0; 126]);
        for wrong in [&[0x89, 0][..], &frame(0xc9, b""), &frame(0x09, b""), &frame(0x83, b""), &long_ping] {
            let (said, pong) = heard(wrong);
            assert_eq!((said, pong), (vec![Said::Close(Bytes::from_static(b"\x88\x02\x03\xea"))], None), "{wrong:x?}");
        }
    }

    #[test]
    fn what_is_sent_has_no_mask_and_the_shortest_length() {
        assert_eq!(binary_head(125), &[0x82, 125][..]);
        assert_eq!(binary_head(126), &[0x82, 126, 0, 126][..]);
        assert_eq!(binary_head(65_536), &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..]);
    }
}
