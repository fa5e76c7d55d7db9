//! Who feeds a stream: open, lost, back, taken over, ended.

use std::time::{Duration, Instant};

use media::{Frame, MediaMessage, PublicationId};

use crate::timeline::Timeline;

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
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connected,
    Lost { since: Instant },
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
    /// It is new and has its place on the timeline.
    Frame(Frame),
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
        if self.feed.state == State::Connected && !self.yields(now) {
            return Err(Taken::Busy);
        }
        let old = std::mem::replace(&mut self.feed, Feed::new(publication, now));
        self.timeline.change_source();
        Ok(Opened::TookOver(old.publication))
    }

    fn resume(&mut self, now: Instant) -> Result<Opened, Taken> {
        if self.feed.state == State::Ended {
            return Err(Taken::Gone);
        }
        self.feed.state = State::Connected;
        self.feed.heard_at = now;
        Ok(Opened::Resumed { next_number: self.feed.next_number })
    }

    fn yields(&self, now: Instant) -> bool {
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
        Ok(Accepted::Frame(self.timeline.place(message, now)))
    }

    /// Notes a numbered event of a publication that is no message. False: it was heard before.
    pub fn handle_event(&mut self, publication: PublicationId, number: u64, now: Instant) -> Result<bool, Gone> {
        self.hear(publication, number, now)
    }

    fn hear(&mut self, publication: PublicationId, number: u64, now: Instant) -> Result<bool, Gone> {
        if self.feed.publication != publication || self.feed.state == State::Ended {
            return Err(Gone);
        }
        self.feed.heard_at = now;
        self.feed.state = State::Connected;
        if number < self.feed.next_number {
            return Ok(false);
        }
        self.feed.next_number = number + 1;
        Ok(true)
    }

    /// The connection of a publication was lost: its grace begins. Of one that no longer feeds the stream: nothing.
    pub fn handle_lost(&mut self, publication: PublicationId, now: Instant) {
        if self.feed.publication == publication && self.feed.state == State::Connected {
            self.feed.state = State::Lost { since: now };
        }
    }

    /// A publication ends cleanly. True: the stream ends with it.
    pub fn handle_close(&mut self, publication: PublicationId) -> bool {
        let ends = self.feed.publication == publication && self.feed.state != State::Ended;
        if ends {
            self.feed.state = State::Ended;
        }
        ends
    }

    /// When [`Splice::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.feed.state {
            State::Lost { since } => Some(since + self.config.grace),
            State::Connected | State::Ended => None,
        }
    }

    /// True: the grace is over and the stream ends.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let over = self.poll_timeout().is_some_and(|at| at <= now);
        if over {
            self.feed.state = State::Ended;
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
        self.feed.state == State::Connected
    }

    /// How often the encoder's clock jumped and the timeline went on as if it had not.
    pub fn jumps(&self) -> u64 {
        self.timeline.jumps()
    }
}

impl Feed {
    fn new(publication: PublicationId, now: Instant) -> Self {
        Self { publication, next_number: 0, heard_at: now, state: State::Connected }
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
mod tests {
    use bytes::Bytes;
    use media::Medium;

    use super::*;

    const A: PublicationId = PublicationId::from_bits(0xa);
    const B: PublicationId = PublicationId::from_bits(0xb);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn video(timestamp: u32) -> MediaMessage {
        MediaMessage { medium: Medium::Video, timestamp, payload: Bytes::from_static(&[0x27, 1, 0, 0, 0]) }
    }

    fn dts(accepted: Result<Accepted, Gone>) -> u64 {
        match accepted {
            Ok(Accepted::Frame(frame)) => frame.dts,
            other => panic!("not a frame: {other:?}"),
        }
    }

    #[test]
    fn a_live_encoder_is_not_pushed_out() {
        let t = Instant::now();
        let mut splice = Splice::open(Config::default(), A, t);
        assert_eq!(splice.publish(B, t + seconds(2)), Err(Taken::Busy));
        splice.handle_message(A, 0, video(0), t + seconds(2)).unwrap();
        assert_eq!(splice.publish(B, t + seconds(4)), Err(Taken::Busy));
        assert_eq!(splice.publish(B, t + seconds(5)), Ok(Opened::TookOver(A)));
    }

    #[test]
    fn take_over_never_and_always_mean_what_they_say() {
        let t = Instant::now();
        let with = |take_over| Splice::open(Config { take_over, ..Config::default() }, A, t);
        assert_eq!(with(TakeOver::Never).publish(B, t + seconds(60)), Err(Taken::Busy));
        assert_eq!(with(TakeOver::Always).publish(B, t), Ok(Opened::TookOver(A)));
    }

    #[test]
    fn a_lost_encoder_yields_at_once_and_its_messages_are_gone() {
        let t = Instant::now();
        let mut splice = Splice::open(Config { take_over: TakeOver::Never, ..Config::default() }, A, t);
        splice.handle_lost(A, t);
        assert_eq!(splice.publish(B, t), Ok(Opened::TookOver(A)));
        assert_eq!(splice.handle_message(A, 0, video(0), t), Err(Gone));
        splice.handle_lost(A, t);
        assert!(splice.is_connected(), "the loss of the old one does not touch the new one");
        assert!(!splice.handle_close(A));
    }

    #[test]
    fn the_grace_ends_the_stream_unless_the_encoder_is_back() {
        let t = Instant::now();
        let mut splice = Splice::open(Config::default(), A, t);
        assert_eq!(splice.poll_timeout(), None);
        splice.handle_lost(A, t);
        assert_eq!(splice.poll_timeout(), Some(t + seconds(15)));
        assert!(!splice.handle_timeout(t + seconds(14)));
        assert_eq!(splice.publish(A, t + seconds(14)), Ok(Opened::Resumed { next_number: 0 }));
        assert!(!splice.handle_timeout(t + seconds(20)));
        splice.handle_lost(A, t + seconds(20));
        assert!(splice.handle_timeout(t + seconds(35)));
        assert_eq!(splice.publish(A, t + seconds(35)), Err(Taken::Gone));
    }

    #[test]
    fn whoever_is_heard_is_not_lost() {
        let t = Instant::now();
        let mut splice = Splice::open(Config::default(), A, t);
        splice.handle_lost(A, t);
        dts(splice.handle_message(A, 0, video(0), t + seconds(1)));
        assert!(splice.is_connected() && !splice.handle_timeout(t + seconds(60)));
    }

    #[test]
    fn what_was_heard_is_not_taken_twice() {
        let t = Instant::now();
        let mut splice = Splice::open(Config::default(), A, t);
        dts(splice.handle_message(A, 0, video(0), t));
        dts(splice.handle_message(A, 1, video(40), t));
        splice.handle_lost(A, t);
        assert_eq!(splice.publish(A, t), Ok(Opened::Resumed { next_number: 2 }));
        assert_eq!(splice.handle_message(A, 1, video(40), t), Ok(Accepted::Repeated));
        assert_eq!(splice.handle_event(A, 2, t), Ok(true));
        assert_eq!(splice.handle_event(A, 2, t), Ok(false));
    }

    #[test]
    fn the_next_encoder_goes_on_where_the_last_one_stopped() {
        let t = Instant::now();
        let mut splice = Splice::open(Config::default(), A, t);
        for n in 0..10 {
            splice.handle_message(A, n, video(5000 + 40 * n as u32), t).unwrap();
        }
        splice.handle_lost(A, t);
        splice.publish(B, t + seconds(5)).unwrap();
        assert_eq!(dts(splice.handle_message(B, 0, video(0), t + seconds(5))), 5000 + 360 + 40);
        assert_eq!(dts(splice.handle_message(B, 1, video(40), t + seconds(5))), 5000 + 360 + 80);
    }
}
