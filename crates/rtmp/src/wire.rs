//! What both machines stand on: handshake, then messages in both directions, with the control messages answered.

use std::{collections::VecDeque, time::Instant};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    chunk,
    command::Command,
    handshake::{self, Handshake},
    limits::Limits,
    message::{Control, Message, TruncatedControl, UserEvent, type_id},
};

/// One connection below the level of commands.
pub(crate) struct Wire {
    /// Until the handshake is done.
    handshake: Option<Box<Handshake>>,
    reader: chunk::Reader,
    writer: chunk::Writer,
    /// Whether the peer's publish or play was accepted.
    authorised: bool,
    /// A message that was whole as it came, before what lies in `input`.
    early: Option<Result<Message, chunk::Error>>,
    /// What came after the handshake and is not read yet.
    input: BytesMut,
    out: VecDeque<Bytes>,
    started_at: Instant,
    heard_at: Instant,
    pinged_at: Instant,
    /// All bytes that came, the handshake included.
    received: u64,
    /// The last number that was acknowledged to the peer.
    reported: u64,
    /// The peer wants an acknowledgement each time so many bytes came.
    report_every: u64,
    /// The window last announced to the peer.
    announced: u32,
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Input {
    Message(Message),
    User(UserEvent),
}

/// Acknowledgements are sent so often until the peer names its own window.
const WINDOW: u32 = 2_500_000;
/// A peer that names a smaller window than this gets acknowledgements as if it had named this.
const WINDOW_MIN: u32 = 4096;
/// Messages are not read while so many parts wait to be sent; an answer is two of them, or a few.
const OUT_PARTS_MAX: usize = 512;

impl Wire {
    pub(crate) fn server(limits: &Limits, now: Instant) -> Self {
        Self::new(Handshake::server(), chunk::Reader::before_auth(limits), now)
    }

    pub(crate) fn client(limits: &Limits, now: Instant) -> Self {
        let (handshake, hello) = Handshake::client();
        let mut wire = Self::new(handshake, chunk::Reader::new(limits), now);
        wire.out.push_back(hello);
        wire
    }

    fn new(handshake: Handshake, reader: chunk::Reader, now: Instant) -> Self {
        Self {
            handshake: Some(Box::new(handshake)),
            reader,
            writer: chunk::Writer::new(),
            authorised: false,
            early: None,
            input: BytesMut::new(),
            out: VecDeque::new(),
            started_at: now,
            heard_at: now,
            pinged_at: now,
            received: 0,
            reported: 0,
            report_every: WINDOW.into(),
            announced: 0,
        }
    }

    /// Takes bytes off the network; messages in them wait for [`Wire::poll_input`].
    pub(crate) fn handle_bytes(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), WireError> {
        self.heard_at = now;
        self.received += bytes.len() as u64;
        if let Some(handshake) = &mut self.handshake {
            let progress = handshake.handle_bytes(bytes)?;
            if !progress.to_send.is_empty() {
                self.out.push_back(progress.to_send);
            }
            let Some(rest) = progress.done else { return Ok(()) };
            bytes = rest;
            self.handshake = None;
        }
        // What an encoder sends is one message, or part of one, most of the time: it need not lie in `input` first.
        // Before a request is accepted nothing may be read that waits for the decision: the room for it is not known.
        if self.authorised && self.early.is_none() && self.input.is_empty() {
            self.early = self.reader.poll_message(&mut bytes).transpose();
        }
        self.input.extend_from_slice(bytes);
        self.acknowledge();
        Ok(())
    }

    /// The next message that is not answered here. `None`, too, while so much waits to be sent that it is to be taken
    /// first: a peer that asks without listening gets no more answers than that.
    pub(crate) fn poll_input(&mut self) -> Result<Option<Input>, WireError> {
        while self.out.len() < OUT_PARTS_MAX
            && let Some(message) = self.poll_message()?
        {
            match Control::parse(&message)? {
                None => return Ok(Some(Input::Message(message))),
                Some(Control::User(UserEvent::PingRequest(time))) => {
                    self.send_control(Control::User(UserEvent::PingResponse(time)));
                }
                Some(Control::User(event)) => return Ok(Some(Input::User(event))),
                Some(Control::WindowAckSize(window)) => self.report_every = window.max(WINDOW_MIN).into(),
                Some(Control::SetPeerBandwidth { window, .. }) => self.on_peer_bandwidth(window),
                // The chunk reader has obeyed the first two. The third is a sign of life and no more: peers differ
                // too much in when they send it for anything to wait for it.
                Some(Control::SetChunkSize(_) | Control::Abort { .. } | Control::Acknowledgement(_)) => {}
            }
        }
        Ok(None)
    }

    fn poll_message(&mut self) -> Result<Option<Message>, WireError> {
        if let Some(early) = self.early.take() {
            return Ok(Some(early?));
        }
        let mut rest = &self.input[..];
        let message = self.reader.poll_message(&mut rest)?;
        let taken = self.input.len() - rest.len();
        self.input.advance(taken);
        if taken > 0 && self.input.is_empty() {
            // What was read no longer counts in its capacity, and is still memory that it holds.
            self.input = BytesMut::new();
        }
        Ok(message)
    }

    /// RTMP 1.0, 5.4.5: answer with the window unless it is the one announced last.
    fn on_peer_bandwidth(&mut self, window: u32) {
        if window != self.announced {
            self.announce_window(window);
        }
    }

    pub(crate) fn announce_window(&mut self, window: u32) {
        self.announced = window;
        self.send_control(Control::WindowAckSize(window));
    }

    /// RTMP 1.0, 5.4.3: the number is that of all bytes so far.
    fn acknowledge(&mut self) {
        if self.received - self.reported >= self.report_every {
            self.reported = self.received;
            self.send_control(Control::Acknowledgement(self.received as u32));
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Bytes> {
        let bytes = self.out.pop_front();
        if self.out.is_empty() && self.out.capacity() > 0 {
            // Most connections have nothing more to say for minutes.
            self.out = VecDeque::new();
        }
        bytes
    }

    pub(crate) fn set_chunk_size(&mut self, size: u32) {
        self.writer.set_chunk_size(size, &mut self.out);
    }

    pub(crate) fn send(&mut self, message: &Message) {
        self.writer.write(message, &mut self.out);
    }

    pub(crate) fn send_control(&mut self, control: Control) {
        self.send(&control.to_message());
    }

    pub(crate) fn send_command(&mut self, msid: u32, command: &Command) {
        self.send(&Message { type_id: type_id::COMMAND_AMF0, timestamp: 0, msid, payload: command.encode() });
    }

    pub(crate) fn ping(&mut self, now: Instant) {
        self.pinged_at = now;
        let time = now.saturating_duration_since(self.started_at).as_millis() as u32;
        self.send_control(Control::User(UserEvent::PingRequest(time)));
    }

    pub(crate) fn is_open(&self) -> bool {
        self.handshake.is_none()
    }

    /// The peer has shown what it wants, and may: its messages may be as long as their types allow.
    pub(crate) fn set_authorised(&mut self) {
        self.authorised = true;
        self.reader.lift_pre_auth();
    }

    /// Nothing was taken from the peer until now, and that was not its choice.
    pub(crate) fn excuse_silence(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Bytes that came and are not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.input.len()
    }

    /// Whether a part of a message is held.
    pub(crate) fn has_parts(&self) -> bool {
        self.reader.bytes_held() > 0
    }

    /// As [`chunk::Reader::mark_parts`].
    pub(crate) fn mark_parts(&mut self) -> bool {
        self.reader.mark_parts()
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// When the peer was last heard, and when it was last heard or asked for a sign of life.
    pub(crate) fn quiet_since(&self) -> (Instant, Instant) {
        (self.heard_at, self.heard_at.max(self.pinged_at))
    }
}

/// The peer does not speak RTMP as it should.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// In the handshake.
    #[error(transparent)]
    Handshake(#[from] handshake::Error),
    /// In its chunks.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// In a control message.
    #[error(transparent)]
    Control(#[from] TruncatedControl),
}

#[cfg(test)]
mod tests;
