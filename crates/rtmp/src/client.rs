//! The client's side of a connection: it connects, then publishes or plays one stream.

mod answers;
mod config;
mod frames;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use media::MediaMessage;

pub use config::{Config, Purpose};

use crate::{
    command::{Command, CommandError, status::Status},
    message::{Control, UserEvent},
    wire::{Input, Wire, WireError},
};

/// One connection to a server, from its first byte to its last.
///
/// The order of calls is that of [`crate::server::Session`]; there is output to begin with. After [`Event::Started`] a
/// publisher calls [`Session::send`]. [`Event::Closed`] is the last event.
pub struct Session {
    config: Config,
    wire: Wire,
    step: Step,
    step_since: Instant,
    msid: u32,
    events: VecDeque<Event>,
}

/// What the client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Handshake,
    Connect,
    CreateStream,
    Start,
    /// For nothing: the stream is published or played.
    Run,
    Closed,
}

/// What a client's session tells its owner.
#[derive(Debug)]
pub enum Event {
    /// The server has accepted the publish or play.
    Started,
    /// A message of the stream that is played.
    Media(MediaMessage),
    /// Something else that the server has to say.
    Status(Status),
    /// The stream that is played has ended.
    Ended,
    /// The connection must be closed; nothing comes after this.
    Closed(Closed),
}

/// Why a client's connection ends.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The server's bytes are not RTMP.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A command of the server cannot be read.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The server does not want it.
    #[error("the server refused it: {} ({})", .0.code, .0.description)]
    Refused(Status),
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    Timeout,
}

/// Transaction ids: one for each question that is asked.
mod transaction {
    pub(super) const CONNECT: f64 = 1.0;
    pub(super) const RELEASE: f64 = 2.0;
    pub(super) const FC_PUBLISH: f64 = 3.0;
    pub(super) const CREATE_STREAM: f64 = 4.0;
    pub(super) const START: f64 = 5.0;
}

impl Session {
    /// A connection that was made just now.
    pub fn new(config: Config, now: Instant) -> Self {
        let wire = Wire::client(&config.limits, now);
        Self { config, wire, step: Step::Handshake, step_since: now, msid: 0, events: VecDeque::new() }
    }

    /// Takes bytes that the server sent.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if self.step == Step::Closed {
            return;
        }
        if let Err(error) = self.wire.handle_bytes(bytes, now) {
            return self.fail(error.into());
        }
        if self.step == Step::Handshake && self.wire.is_open() {
            self.enter(Step::Connect, now);
            let command = Command::call("connect", transaction::CONNECT, self.config.connect_object(), vec![]);
            self.wire.send_command(0, &command);
        }
        // Answers move the conversation on at once; media waits for whoever polls.
        while self.step != Step::Run && self.step != Step::Closed {
            match self.step(now) {
                Ok(true) => {}
                Ok(false) => break,
                Err(closed) => self.fail(closed),
            }
        }
    }

    /// The next thing that happened. `None`: more bytes or time is needed.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.step != Step::Run {
                return None;
            }
            match self.step(self.step_since) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(closed) => self.fail(closed),
            }
        }
    }

    /// The next bytes to send.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        self.wire.poll_output()
    }

    /// When to call [`Session::handle_timeout`], unless something happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.step {
            Step::Run => Some(self.wire.quiet_since().1 + self.config.ping_after),
            Step::Closed => None,
            Step::Handshake | Step::Connect | Step::CreateStream | Step::Start => {
                Some(self.step_since + self.config.step_timeout)
            }
        }
    }

    /// Looks at the time: a server that does not answer is given up, a quiet one pinged.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        match self.step {
            Step::Run => self.wire.ping(now),
            _ => self.fail(Closed::Timeout),
        }
    }

    /// All bytes received so far.
    pub fn bytes_received(&self) -> u64 {
        self.wire.received()
    }

    /// Ends what was asked for, in order; the bytes are in [`Session::poll_output`].
    pub fn close(&mut self) {
        if self.step == Step::Run {
            if let Purpose::Publish { name } = &self.config.purpose {
                self.wire.send_command(0, &Command::notice("FCUnpublish", vec![name.as_str().into()]));
            }
            self.wire.send_command(0, &Command::notice("deleteStream", vec![self.msid.into()]));
        }
        self.step = Step::Closed;
        self.events.clear();
    }

    fn enter(&mut self, step: Step, now: Instant) {
        self.step = step;
        self.step_since = now;
    }

    fn fail(&mut self, closed: Closed) {
        self.step = Step::Closed;
        self.events.push_back(Event::Closed(closed));
    }

    /// Takes one message, if one is whole.
    fn step(&mut self, now: Instant) -> Result<bool, Closed> {
        match self.wire.poll_input()? {
            None => return Ok(false),
            Some(Input::User(UserEvent::StreamEof(msid))) if msid == self.msid && self.step == Step::Run => {
                self.events.push_back(Event::Ended);
            }
            Some(Input::User(_)) => {}
            Some(Input::Message(message)) => self.on_message(message, now)?,
        }
        Ok(true)
    }

    fn send_buffer_length(&mut self) {
        let event = UserEvent::SetBufferLength { msid: self.msid, ms: self.config.buffer_ms };
        self.wire.send_control(Control::User(event));
    }
}
