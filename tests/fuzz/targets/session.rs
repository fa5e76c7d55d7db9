//! The server's machine behind the handshake: commands in any order; time that passes; requests that are accepted or refused, at once
//! or later. What it says is in order and bounded, and nothing follows its end.
#![no_main]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use media::Medium;
use rtmp::{
    Limits,
    command::status::Status,
    server::{Config, ConnectRequest, Event, Gone, PlayRequest, PublishRequest, Session},
};

fuzz_target!(|data: &[u8]| {
    let Some((&[piece, steps], rest)) = data.split_first_chunk() else { return };
    let Some((steps, bytes)) = rest.split_at_checked(steps.into()) else { return };
    let mut owner = Owner::new();
    owner.hand_in(&[&[3; 1], &[0; 3072][..]].concat(), Step(0));
    let steps = if steps.is_empty() { &[0] } else { steps };
    for (part, step) in bytes.chunks(usize::from(piece) + 1).zip(steps.iter().cycle()) {
        owner.step(part, Step(*step));
    }
    owner.session.close(&Status::failed("NetConnection.Connect.Closed", "done"));
    owner.assert_over();
});

/// What the owner does with a part of the bytes: eight bits.
#[derive(Clone, Copy)]
struct Step(u8);

impl Step {
    /// How long it comes after the last: up to three minutes.
    fn pause(self) -> Duration {
        Duration::from_millis(10 << (2 * (self.0 >> 5)))
    }
}

/// A request that waits for its decision, by its number.
enum Request {
    Connect(ConnectRequest),
    Publish(PublishRequest, u32),
    Play(PlayRequest, u32),
}

/// What a message stream is used for, since which request, and whether that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    publishes: bool,
    request: u32,
    accepted: bool,
}

/// Whoever owns the session, and what it has heard of it.
struct Owner {
    session: Session,
    now: Instant,
    uses: BTreeMap<u32, Use>,
    waiting: VecDeque<Request>,
    requests: u32,
    closed: bool,
    received: usize,
    media: usize,
    sent: usize,
}

impl Owner {
    fn new() -> Self {
        // Small, so that its bounds are within reach.
        let limits = Limits { pre_auth_bytes_max: 4 << 10, partial_bytes_max: 64 << 10, ..Limits::default() };
        let now = Instant::now();
        let session = Session::new(Arc::new(Config { limits, ..Config::default() }), now);
        let (uses, waiting) = (BTreeMap::new(), VecDeque::new());
        Self { session, now, uses, waiting, requests: 0, closed: false, received: 0, media: 0, sent: 0 }
    }

    fn step(&mut self, part: &[u8], step: Step) {
        self.now += step.pause();
        self.hand_in(part, step);
        match step.0 >> 2 & 7 {
            4 => self.on_deadline(step),
            5 => self.decide_oldest(true),
            6 => self.decide_oldest(false),
            7 => self.end_all(),
            _ => {}
        }
        self.drain(step);
        assert!(self.media <= self.received, "more media than came");
        assert!(self.sent <= SENT_BESIDE + SENT_FOR_EACH * self.received, "an answer to little is not much");
    }

    fn hand_in(&mut self, part: &[u8], step: Step) {
        self.session.handle_bytes(part, self.now);
        self.received += part.len();
        self.drain(step);
        while !self.closed && !self.session.wants_input() {
            assert!(!self.waiting.is_empty(), "whoever has decided all and taken all may hand in more");
            self.decide_oldest(true);
            self.drain(step);
        }
        assert!(self.closed || self.session.bytes_received() == self.received as u64);
    }

    /// Events and output, in turns, until there is neither.
    fn drain(&mut self, step: Step) {
        loop {
            while let Some(event) = self.session.poll_event() {
                self.on_event(event, step);
            }
            let before = self.sent;
            self.sent += std::iter::from_fn(|| self.session.poll_output()).map(|bytes| bytes.len()).sum::<usize>();
            if self.sent == before {
                break;
            }
        }
        if self.closed {
            self.assert_over();
        }
    }

    fn assert_over(&mut self) {
        let count = self.session.bytes_received();
        self.session.handle_bytes(b"more", self.now);
        self.session.handle_timeout(self.now);
        assert!(self.session.poll_event().is_none() && self.session.poll_timeout().is_none(), "it is over");
        assert_eq!(self.session.bytes_received(), count, "nothing is read after the end");
    }

    fn on_event(&mut self, event: Event, step: Step) {
        assert!(!self.closed, "{event:?} after the end");
        let accepted = |owner: &Self, msid: u32, publishes: bool| {
            let used = owner.uses.get(&msid).copied();
            assert!(used.is_some_and(|used| used.accepted && used.publishes == publishes), "{msid} is {used:?}");
        };
        match event {
            Event::Connect(request) => self.on_request(Request::Connect(request), step),
            Event::Publish(request) => {
                let number = self.begin(request.msid, true);
                self.on_request(Request::Publish(request, number), step);
            }
            Event::Play(request) => {
                let number = self.begin(request.msid, false);
                self.on_request(Request::Play(request, number), step);
            }
            Event::Media { msid, message } => {
                accepted(self, msid, true);
                // Data may have become longer: it may have been AMF3.
                self.media += if message.medium == Medium::Data { 0 } else { message.payload.len() };
            }
            Event::MetadataCleared { msid } => accepted(self, msid, true),
            Event::Paused { msid, .. } | Event::Receive { msid, .. } => accepted(self, msid, false),
            Event::Unpublished { msid } => assert!(self.uses.remove(&msid).is_some_and(|used| used.publishes)),
            Event::PlayEnded { msid } => assert!(self.uses.remove(&msid).is_some_and(|used| !used.publishes)),
            Event::Closed(_) => self.closed = true,
        }
    }

    fn begin(&mut self, msid: u32, publishes: bool) -> u32 {
        self.requests += 1;
        let used = Use { publishes, request: self.requests, accepted: false };
        assert_eq!(self.uses.insert(msid, used), None, "a message stream has one use at a time");
        self.requests
    }

    fn on_request(&mut self, request: Request, step: Step) {
        match step.0 & 3 {
            1 => self.decide(request, false),
            2 => self.waiting.push_back(request),
            _ => self.decide(request, true),
        }
    }

    fn decide_oldest(&mut self, accept: bool) {
        if let Some(request) = self.waiting.pop_front() {
            self.decide(request, accept);
        }
    }

    /// It counts exactly if the client has not gone back on it.
    fn decide(&mut self, request: Request, accept: bool) {
        let (session, now) = (&mut self.session, self.now);
        let refusal = Status::failed("NetStream.Failed", "no");
        let (msid, number, counted) = match (request, accept) {
            (Request::Connect(request), true) => {
                return assert_eq!(request.accept(session, now).is_err(), self.closed);
            }
            (Request::Connect(request), false) => return request.reject(session, &refusal),
            (Request::Publish(request, number), true) => (request.msid, number, request.accept(session, now)),
            (Request::Publish(request, number), false) => {
                (request.msid, number, request.refuse(session, &refusal, now))
            }
            (Request::Play(request, number), true) => (request.msid, number, request.accept(session)),
            (Request::Play(request, number), false) => (request.msid, number, request.refuse(session, &refusal, now)),
        };
        let stands = self.uses.get_mut(&msid).filter(|used| used.request == number && !self.closed);
        assert_eq!(counted, if stands.is_some() { Ok(()) } else { Err(Gone) });
        match (stands, accept) {
            (Some(used), true) => used.accepted = true,
            (Some(_), false) => _ = self.uses.remove(&msid),
            (None, _) => {}
        }
    }

    /// Its deadline passes: afterwards it has none, or a later one.
    fn on_deadline(&mut self, step: Step) {
        let Some(at) = self.session.poll_timeout() else { return };
        self.now = self.now.max(at);
        self.session.handle_timeout(self.now);
        self.drain(step);
        assert!(self.session.poll_timeout().is_none_or(|next| next > self.now), "it would be called for ever");
    }

    fn end_all(&mut self) {
        let (session, now) = (&mut self.session, self.now);
        let status = Status::ok("NetStream.Unpublish.Success", "over");
        for (msid, used) in self.uses.extract_if(.., |_, used| used.accepted) {
            match used.publishes {
                true => session.end_publish(msid, &status, now),
                false => session.end_play(msid, now),
            }
        }
    }
}

/// The handshake, and what a connect is answered with.
const SENT_BESIDE: usize = 8 << 10;
/// A play of a few bytes is answered with three messages.
const SENT_FOR_EACH: usize = 64;
