//! Who feeds a stream: open, lost, back, taken over, ended.

mod replay;

use std::time::{Duration, Instant};

use media::{Frame, MediaMessage, Provenance, PublicationId};

use crate::timeline::Timeline;

pub use replay::Logged;

/// How long a stream waits for its encoder, and who may take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long viewers stay after the encoder's connection was lost.
    pub grace: Duration,
    /// How long an encoder that is still connected must have been silent before another may take over.
    pub silence: Duration,
    /// When another encoder may take over one that is still connected.
    pub take_over: TakeOver,
}

impl Default for Config {
    /// 15 s of grace; taken over after 3 s of silence.
    fn default() -> Self {
        Self { grace: Duration::from_secs(15), silence: Duration::from_secs(3), take_over: TakeOver::AfterSilence }
    }
}

/// When another encoder may take over one that is still connected. One that was lost always yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOver {
    /// Once it has been silent for a while.
    AfterSilence,
    /// Never: the second is refused until the first has gone.
    Never,
    /// Whenever another comes.
    Always,
}

/// The life of one live stream, from its first publication to its end.
#[derive(Debug)]
pub struct Splice {
    config: Config,
    feed: Feed,
    timeline: Timeline,
}

/// The publication that feeds the stream, or was the last to.
#[derive(Debug)]
struct Feed {
    publication: PublicationId,
    next_number: u64,
    heard_at: Instant,
    state: PublicationState,
}

/// How the publication that feeds a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PublicationState {
    /// Its encoder is connected.
    Connected,
    /// It fed the stream at another origin, and its edge may bring it here. Until then it yields to nobody.
    Awaited {
        /// When it counts as lost.
        until: Instant,
    },
    /// Its connection was lost: the stream is in its grace.
    Lost {
        /// Since when.
        since: Instant,
    },
    /// It has ended, and the stream with it.
    Ended,
}

/// How a publication came to feed the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It takes the place of this one, whose messages are refused from now on.
    TookOver(PublicationId),
    /// It fed the stream before and goes on; this is the next number that has not been heard.
    Resumed {
        /// The first number that is new.
        next_number: u64,
    },
}

/// What became of a message.
#[derive(Debug, PartialEq)]
pub enum Accepted {
    /// It is new and has its place on the timeline; with what the log is to say of it.
    Frame(Frame, Provenance),
    /// It was heard before.
    Repeated,
}

impl Splice {
    /// A stream that this publication opens.
    pub fn open(config: Config, publication: PublicationId, now: Instant) -> Self {
        Self { config, feed: Feed::new(publication, now), timeline: Timeline::default() }
    }

    /// Another publication, or the same one on another connection, asks to feed the stream.
    pub fn publish(&mut self, publication: PublicationId, now: Instant) -> Result<Opened, Taken> {
        if self.feed.publication == publication {
            return self.resume(now);
        }
        if !self.yields(now) {
            return Err(Taken::Busy);
        }
        Ok(Opened::TookOver(self.change_feed(publication, now)))
    }

    /// Another publication feeds the stream from now on. Returns the one that it replaces.
    fn change_feed(&mut self, publication: PublicationId, now: Instant) -> PublicationId {
        self.timeline.change_source();
        std::mem::replace(&mut self.feed, Feed::new(publication, now)).publication
    }

    fn resume(&mut self, now: Instant) -> Result<Opened, Taken> {
        if self.feed.state == PublicationState::Ended {
            return Err(Taken::Gone);
        }
        self.feed.state = PublicationState::Connected;
        self.feed.heard_at = now;
        Ok(Opened::Resumed { next_number: self.feed.next_number })
    }

    fn yields(&self, now: Instant) -> bool {
        match self.feed.state {
            PublicationState::Lost { .. } | PublicationState::Ended => return true,
            PublicationState::Awaited { until } => return until <= now,
            PublicationState::Connected => {}
        }
        match self.config.take_over {
            TakeOver::Always => true,
            TakeOver::Never => false,
            TakeOver::AfterSilence => now.saturating_duration_since(self.feed.heard_at) >= self.config.silence,
        }
    }

    /// Takes the message with this number of a publication.
    pub fn handle_message(
        &mut self,
        publication: PublicationId,
        number: u64,
        message: MediaMessage,
        now: Instant,
    ) -> Result<Accepted, Gone> {
        if !self.hear(publication, number, now)? {
            return Ok(Accepted::Repeated);
        }
        let (frame, clock) = self.timeline.place(message, now);
        Ok(Accepted::Frame(frame, Provenance { publication, number: Some(number), clock }))
    }

    /// Notes a numbered event of a publication that is no message. None: it was heard before.
    pub fn handle_event(
        &mut self,
        publication: PublicationId,
        number: u64,
        now: Instant,
    ) -> Result<Option<Provenance>, Gone> {
        let new = self.hear(publication, number, now)?;
        Ok(new.then_some(Provenance::of(publication).numbered(number)))
    }

    /// The messages from one number to another, both included, will not come: all up to the last of them counts as
    /// heard. None: it was heard before, or there are no such messages.
    pub fn handle_skip(
        &mut self,
        publication: PublicationId,
        from: u64,
        to: u64,
        now: Instant,
    ) -> Result<Option<Provenance>, Gone> {
        if from > to {
            return Ok(None);
        }
        self.handle_event(publication, to, now)
    }

    fn hear(&mut self, publication: PublicationId, number: u64, now: Instant) -> Result<bool, Gone> {
        if self.feed.publication != publication || self.feed.state == PublicationState::Ended {
            return Err(Gone);
        }
        self.feed.heard_at = now;
        self.feed.state = PublicationState::Connected;
        Ok(self.feed.note(number))
    }

    /// This origin has become active, and the publication's edge has not come yet: it may resume until then.
    pub fn await_resume(&mut self, until: Instant) {
        if self.feed.state != PublicationState::Ended {
            self.feed.state = PublicationState::Awaited { until };
        }
    }

    /// The connection of a publication was lost: its grace begins. Of one that no longer feeds the stream: nothing.
    pub fn handle_lost(&mut self, publication: PublicationId, now: Instant) {
        if self.feed.publication == publication && self.feed.state == PublicationState::Connected {
            self.feed.state = PublicationState::Lost { since: now };
        }
    }

    /// A publication ends cleanly. True: the stream ends with it.
    pub fn handle_close(&mut self, publication: PublicationId) -> bool {
        let ends = self.feed.publication == publication && self.feed.state != PublicationState::Ended;
        if ends {
            self.feed.state = PublicationState::Ended;
        }
        ends
    }

    /// When [`Splice::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.feed.state {
            PublicationState::Awaited { until } => Some(until),
            PublicationState::Lost { since } => Some(since + self.config.grace),
            PublicationState::Connected | PublicationState::Ended => None,
        }
    }

    /// True: the grace is over and the stream ends.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if let PublicationState::Awaited { until } = self.feed.state
            && until <= now
        {
            self.feed.state = PublicationState::Lost { since: until };
        }
        let grace = self.config.grace;
        let over = matches!(self.feed.state, PublicationState::Lost { since } if since + grace <= now);
        if over {
            self.feed.state = PublicationState::Ended;
        }
        over
    }

    /// The publication that feeds the stream, or was the last to.
    pub fn publication(&self) -> PublicationId {
        self.feed.publication
    }

    /// The first number of it that has not been heard.
    pub fn next_number(&self) -> u64 {
        self.feed.next_number
    }

    /// Whether its encoder is connected now.
    pub fn is_connected(&self) -> bool {
        self.feed.state == PublicationState::Connected
    }

    /// Whether the stream has ended.
    pub fn has_ended(&self) -> bool {
        self.feed.state == PublicationState::Ended
    }

    /// How often the encoder's clock jumped and the timeline went on as if it had not.
    pub fn jumps(&self) -> u64 {
        self.timeline.jumps()
    }
}

impl Feed {
    fn new(publication: PublicationId, now: Instant) -> Self {
        Self { publication, next_number: 0, heard_at: now, state: PublicationState::Connected }
    }

    /// All up to this number has been heard. False: it had been before.
    fn note(&mut self, number: u64) -> bool {
        let new = number >= self.next_number;
        if new {
            self.next_number = number.saturating_add(1);
        }
        new
    }
}

/// Why a publication may not feed the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// Another encoder feeds it and does not yield.
    #[error("another encoder is publishing this stream")]
    Busy,
    /// This publication has ended.
    #[error("this publication has ended")]
    Gone,
}

/// The publication does not feed the stream any more: it ended, or another took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this publication no longer feeds the stream")]
pub struct Gone;

#[cfg(test)]
mod tests;
