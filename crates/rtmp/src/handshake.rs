//! The handshake, for both roles: 3073 bytes each way, then chunks (RTMP 1.0, 5.2).

use bytes::Bytes;
use rml_rtmp::handshake::{Handshake as Machine, HandshakeProcessResult, PeerType};

/// A handshake in progress, as server or client.
///
/// A server hands everything it receives to [`Handshake::handle_bytes`]; a client first sends what
/// [`Handshake::client`] returned. Both send what each call gives them, until one says `done`.
/// A peer whose packet has a digest that verifies is answered with a digest, any other with its own packet.
/// What the peer echoes is not verified: real players get it wrong.
pub struct Handshake {
    stage: Stage,
    /// Bytes the peer has yet to send.
    left: usize,
}

enum Stage {
    /// What a server has of C0 and C1. Nothing is computed, or taken memory for, before a peer has sent both.
    Opening(Vec<u8>),
    /// A client that waits for its answer.
    Asking(Box<Machine>),
    /// A server that has answered. What the peer echoes is counted, and nothing is kept.
    Answered,
}

/// What a call of [`Handshake::handle_bytes`] led to.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What to send now; often empty.
    pub to_send: Bytes,
    /// Once the handshake is done: those of the given bytes that follow it, which are chunks.
    pub done: Option<&'a [u8]>,
}

impl Handshake {
    /// A server's.
    pub fn server() -> Self {
        Self { stage: Stage::Opening(Vec::new()), left: TOTAL_BYTES }
    }

    /// A client's, and the C0 and C1 to send first.
    pub fn client() -> (Self, Bytes) {
        let mut machine = Box::new(Machine::new(PeerType::Client));
        let hello = machine.generate_outbound_p0_and_p1().expect("making packets of random bytes cannot fail");
        (Self { stage: Stage::Asking(machine), left: TOTAL_BYTES }, hello.into())
    }

    /// Takes what the peer sent. Must not be called again once it was done or failed.
    pub fn handle_bytes<'a>(&mut self, data: &'a [u8]) -> Result<Progress<'a>, Error> {
        if let (TOTAL_BYTES, Some(version)) = (self.left, data.first()) {
            check_version(*version)?;
        }
        let (data, rest) = data.split_at(data.len().min(self.left));
        self.left -= data.len();
        let mut to_send = Vec::new();
        match &mut self.stage {
            Stage::Opening(opening) => {
                if let Some(opening) = gather(opening, data) {
                    feed(&mut Machine::new(PeerType::Server), &opening, &mut to_send)?;
                    self.stage = Stage::Answered;
                }
            }
            Stage::Asking(machine) => feed(machine, data, &mut to_send)?,
            Stage::Answered => {}
        }
        Ok(Progress { to_send: to_send.into(), done: (self.left == 0).then_some(rest) })
    }
}

/// C0 and C1, once they are whole. Until then what came is kept, in as little room as it needs.
fn gather(opening: &mut Vec<u8>, data: &[u8]) -> Option<Vec<u8>> {
    let data = &data[..data.len().min(OPENING_BYTES - opening.len())];
    let needed = opening.len() + data.len();
    if needed > opening.capacity() {
        opening.reserve_exact((needed * 2).min(OPENING_BYTES) - opening.len());
    }
    opening.extend_from_slice(data);
    (opening.len() == OPENING_BYTES).then(|| std::mem::take(opening))
}

fn check_version(version: u8) -> Result<(), Error> {
    match version {
        3 => Ok(()),
        6 => Err(Error::Encrypted),
        0x16 => Err(Error::Tls),
        b' '..=b'~' => Err(Error::Text),
        _ => Err(Error::Version(version)),
    }
}

fn feed(machine: &mut Machine, data: &[u8], to_send: &mut Vec<u8>) -> Result<(), Error> {
    if data.is_empty() {
        return Ok(());
    }
    match machine.process_bytes(data) {
        Ok(HandshakeProcessResult::InProgress { response_bytes })
        | Ok(HandshakeProcessResult::Completed { response_bytes, .. }) => to_send.extend(response_bytes),
        Err(_) => return Err(Error::Refused),
    }
    Ok(())
}

/// Why a peer's handshake failed. The peer's fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first byte is 6: RTMPE.
    #[error("encrypted RTMP (version 6) is not spoken here")]
    Encrypted,
    /// The first byte begins a TLS hello.
    #[error("this is a TLS hello, not RTMP")]
    Tls,
    /// The first byte begins a text, such as an HTTP request.
    #[error("this is text, perhaps HTTP, not RTMP")]
    Text,
    /// The first byte is another version than 3.
    #[error("RTMP version {0} is not spoken here")]
    Version(u8),
    /// A packet is not acceptable.
    #[error("a handshake packet is not acceptable")]
    Refused,
}

/// The length of C1, C2, S1 and S2.
const PACKET_BYTES: usize = 1536;
/// Version byte and first packet.
const OPENING_BYTES: usize = 1 + PACKET_BYTES;
/// What each side sends in all: version byte, first and second packet.
const TOTAL_BYTES: usize = 1 + 2 * PACKET_BYTES;

#[cfg(test)]
mod tests;
