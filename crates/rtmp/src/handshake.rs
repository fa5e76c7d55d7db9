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
    /// What a server has of C0 and C1. Nothing is computed for a peer that has not sent both.
    opening: Vec<u8>,
    machine: Option<Box<Machine>>,
    /// Bytes the peer has yet to send.
    left: usize,
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
        Self { opening: Vec::new(), machine: None, left: TOTAL_BYTES }
    }

    /// A client's, and the C0 and C1 to send first.
    pub fn client() -> (Self, Bytes) {
        let mut machine = Box::new(Machine::new(PeerType::Client));
        let hello = machine.generate_outbound_p0_and_p1().expect("making packets of random bytes cannot fail");
        (Self { opening: Vec::new(), machine: Some(machine), left: TOTAL_BYTES }, hello.into())
    }

    /// Takes what the peer sent. Must not be called again once it was done or failed.
    pub fn handle_bytes<'a>(&mut self, data: &'a [u8]) -> Result<Progress<'a>, Error> {
        if let (TOTAL_BYTES, Some(version)) = (self.left, data.first()) {
            check_version(*version)?;
        }
        let (data, rest) = data.split_at(data.len().min(self.left));
        self.left -= data.len();
        let mut to_send = Vec::new();
        match &mut self.machine {
            Some(machine) => feed(machine, data, &mut to_send)?,
            None => self.handle_opening(data, &mut to_send)?,
        }
        Ok(Progress { to_send: to_send.into(), done: (self.left == 0).then_some(rest) })
    }

    fn handle_opening(&mut self, data: &[u8], to_send: &mut Vec<u8>) -> Result<(), Error> {
        let (opening, rest) = data.split_at(data.len().min(1 + PACKET_BYTES - self.opening.len()));
        self.opening.extend_from_slice(opening);
        if self.opening.len() <= PACKET_BYTES {
            return Ok(());
        }
        let opening = std::mem::take(&mut self.opening);
        let mut machine = Box::new(Machine::new(PeerType::Server));
        // C0 on its own: the machine's buffer has room for one packet and need not grow.
        for part in [&opening[..1], &opening[1..], rest] {
            feed(&mut machine, part, to_send)?;
        }
        self.machine = Some(machine);
        Ok(())
    }
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
/// What each side sends in all: version byte, first and second packet.
const TOTAL_BYTES: usize = 1 + 2 * PACKET_BYTES;

#[cfg(test)]
mod tests;
