//! The server's side of a connection.

mod close;
mod commands;
mod config;
mod event;
mod ingest;
mod request;
mod streams;
mod timing;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;

pub use close::Closed;
pub use config::Config;
pub use event::Event;
pub use request::{ConnectRequest, Gone, PlayRequest, PlayStart, PublishKind, PublishRequest};

use self::streams::Streams;
use crate::{
    command::status::Status,
    message::{Control, Message, UserEvent},
    wire::{Input, Wire},
};

/// One client's connection, from its first byte to its last.
///
/// The order of calls: [`Session::handle_bytes`] with what came, then [`Session::poll_event`] until it says `None`,
/// then [`Session::poll_output`] until it says `None`, and if there was output, events again once it is on its way.
/// Then wait until [`Session::poll_timeout`] or the next bytes.
/// Requests among the events are accepted or refused, now or later; until then the session holds back what depends
/// on them, and [`Session::wants_input`] says when to stop reading. [`Event::Closed`] is the last event; what
/// [`Session::poll_output`] still has then is worth sending.
///
/// Media to viewers does not pass through the session: it is [`crate::chunk::media_header`] and the payload, sent
/// between two calls of [`Session::poll_output`]. That is right because every message has a full header and is one
/// chunk: whoever sends it leaves out what is longer than [`crate::chunk::OUT_CHUNK_SIZE`].
pub struct Session {
    config: Arc<Config>,
    wire: Wire,
    phase: Phase,
    streams: Streams,
    events: VecDeque<Event>,
    /// A message that waits for a decision.
    held: Option<Message>,
    now: Instant,
    /// Since when nothing is published or played or asked for.
    idle_since: Instant,
    /// When to look next whether a message that had begun at the last look is whole.
    parts_look_at: Instant,
    mistakes: u32,
    /// When all its publishes would have come, one in each [`Config::publish_every`].
    publishes_until: Instant,
    stats: Stats,
}

/// How far the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    /// Nothing but connect may come.
    Greeting,
    /// Connect is to be decided.
    Deciding,
    Connected,
    Closed,
}

/// What a session has seen, for whoever keeps count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Audio, video and data messages on message streams that nothing is published on.
    pub stray_media: u64,
    /// Data messages that could not be read, or would be too long as AMF0.
    pub damaged_data: u64,
    /// Commands that nobody here knows.
    pub unknown_commands: u64,
}

impl Session {
    /// A connection that was accepted just now.
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self {
            wire: Wire::server(&config.limits, now),
            streams: Streams::new(config.limits.message_streams_max),
            config,
            phase: Phase::Handshake,
            events: VecDeque::new(),
            held: None,
            now,
            idle_since: now,
            parts_look_at: now,
            mistakes: 0,
            publishes_until: now,
            stats: Stats::default(),
        }
    }

    /// Takes bytes that the client sent.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        if self.phase == Phase::Closed {
            return;
        }
        if let Err(error) = self.wire.handle_bytes(bytes, now) {
            self.fail(error.into());
        } else if self.phase == Phase::Handshake && self.wire.is_open() {
            self.phase = Phase::Greeting;
            self.idle_since = now;
        }
    }

    /// The next thing that happened. `None`: more bytes, a decision or time is needed, or output is to be taken first.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.next_event();
        if event.is_none() && self.events.capacity() > 0 {
            // A viewer's last event is its play, most of the time.
            self.events = VecDeque::new();
        }
        event
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.phase == Phase::Closed {
                return None;
            }
            let outcome = match self.next_input() {
                Ok(None) => return None,
                Ok(Some(input)) => self.on_input(input),
                Err(closed) => Err(closed),
            };
            if let Err(closed) = outcome {
                self.fail(closed);
            }
        }
    }

    /// The next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.wire.poll_output()
    }

    /// Whether bytes may be handed in. Otherwise enough of them wait, for a decision or for output to be taken: leave
    /// them in the socket.
    pub fn wants_input(&self) -> bool {
        self.wire.unread() < self.config.limits.pre_auth_bytes_max
    }

    /// Whether the handshake is behind it.
    pub fn is_open(&self) -> bool {
        self.wire.is_open()
    }

    /// All bytes received so far.
    pub fn bytes_received(&self) -> u64 {
        self.wire.received()
    }

    /// What it has seen so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Tells the client that the connection ends, and why; the bytes are in [`Session::poll_output`]. The session is
    /// closed then, without an [`Event::Closed`].
    pub fn close(&mut self, status: &Status) {
        if matches!(self.phase, Phase::Deciding | Phase::Connected) {
            self.wire.send_command(0, &status.command());
        }
        self.phase = Phase::Closed;
        self.events.clear();
    }

    fn fail(&mut self, closed: Closed) {
        self.phase = Phase::Closed;
        self.events.push_back(Event::Closed(closed));
    }

    fn next_input(&mut self) -> Result<Option<Input>, Closed> {
        match self.held.take() {
            Some(message) if self.must_wait(&message) => {
                self.held = Some(message);
                Ok(None)
            }
            Some(message) => Ok(Some(Input::Message(message))),
            None => Ok(self.wire.poll_input()?),
        }
    }

    fn on_input(&mut self, input: Input) -> Result<(), Closed> {
        match input {
            Input::User(_) => Ok(()),
            Input::Message(message) if self.must_wait(&message) => {
                self.held = Some(message);
                Ok(())
            }
            Input::Message(message) => self.on_message(message),
        }
    }

    /// Whether the message makes no sense before a decision is known: everything after connect, media after publish.
    fn must_wait(&self, message: &Message) -> bool {
        self.phase == Phase::Deciding || (is_media(message) && self.streams.is_publish_undecided(message.msid))
    }

    fn on_message(&mut self, message: Message) -> Result<(), Closed> {
        use crate::message::type_id as id;
        match message.type_id {
            id::COMMAND_AMF0 | id::COMMAND_AMF3 => self.on_command(&message),
            _ if self.phase == Phase::Greeting => Err(Closed::OutOfOrder("a message before connect")),
            _ if is_media(&message) => self.on_media(message),
            // Shared objects, and whatever nobody here knows.
            _ => Ok(()),
        }
    }

    fn send_user(&mut self, event: UserEvent) {
        self.wire.send_control(Control::User(event));
    }

    fn send_status(&mut self, msid: u32, status: &Status) {
        self.wire.send_command(msid, &status.command());
    }

    /// Counts something that no orderly client does. It is forgiven until there are too many.
    fn on_mistake(&mut self) -> Result<(), Closed> {
        self.mistakes += 1;
        if self.mistakes > self.config.mistakes_max { Err(Closed::TooManyMistakes) } else { Ok(()) }
    }
}

fn is_media(message: &Message) -> bool {
    use crate::message::type_id as id;
    matches!(message.type_id, id::AUDIO | id::VIDEO | id::DATA_AMF0 | id::DATA_AMF3 | id::AGGREGATE)
}
