//! The client's machine behind the handshake: whatever a server says, in order and bounded, and nothing follows its end.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use media::{MediaMessage, Medium};
use rtmp::client::{Config, Event, Purpose, Session};

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, piece], data)) = data.split_first_chunk() else { return };
    let mut owner = Owner::new(choice & 1 == 0);
    for part in data.chunks(usize::from(piece) + 1) {
        owner.hand_in(part);
        if choice & 2 != 0 {
            owner.on_deadline();
        }
    }
    owner.session.close();
    owner.assert_over();
});

/// Whoever owns the session, and what it has heard of it.
struct Owner {
    session: Session,
    now: Instant,
    started: bool,
    closed: bool,
    received: usize,
    sent: usize,
}

impl Owner {
    /// Behind the handshake: a server that answers with its echo.
    fn new(publishes: bool) -> Self {
        let name = "foo".to_owned();
        let purpose = if publishes { Purpose::Publish { name } } else { Purpose::Play { name, start: -2000.0 } };
        let now = Instant::now();
        let session = Session::new(Config::new("live", "rtmp://h/live", purpose), now);
        let mut this = Self { session, now, started: false, closed: false, received: 0, sent: 0 };
        let hello = this.session.poll_output().expect("a client speaks first");
        this.hand_in(&[&[3], &[0; 1536][..], &hello[1..]].concat());
        this
    }

    fn hand_in(&mut self, part: &[u8]) {
        self.now += Duration::from_millis(10);
        self.session.handle_bytes(part, self.now);
        self.received += part.len();
        self.drain();
        if self.started {
            let payload = Bytes::from_static(b"\xaf\x01x");
            self.session.send(&MediaMessage { medium: Medium::Audio, timestamp: 0, payload });
            self.drain();
        }
        assert!(self.sent <= SENT_BESIDE + SENT_FOR_EACH * self.received, "an answer to little is not much");
    }

    /// Events and output, in turns, until there is neither.
    fn drain(&mut self) {
        loop {
            while let Some(event) = self.session.poll_event() {
                self.on_event(event);
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

    fn on_event(&mut self, event: Event) {
        assert!(!self.closed, "{event:?} after the end");
        match event {
            Event::Started => assert!(!std::mem::replace(&mut self.started, true), "it starts once"),
            Event::Media(_) | Event::Ended => assert!(self.started, "nothing of the stream comes before its start"),
            Event::Status(_) => {}
            Event::Closed(_) => self.closed = true,
        }
    }

    /// Its deadline passes: afterwards it has none, or a later one.
    fn on_deadline(&mut self) {
        let Some(at) = self.session.poll_timeout() else { return };
        self.now = self.now.max(at);
        self.session.handle_timeout(self.now);
        self.drain();
        assert!(self.session.poll_timeout().is_none_or(|next| next > self.now), "it would be called for ever");
    }

    fn assert_over(&mut self) {
        self.session.handle_bytes(b"more", self.now);
        self.session.handle_timeout(self.now);
        assert!(self.session.poll_event().is_none() && self.session.poll_timeout().is_none(), "it is over");
    }
}

/// The handshake, and all that is asked.
const SENT_BESIDE: usize = 8 << 10;
/// A call by a server of a few bytes is answered with an error, and each part of its bytes with a frame.
const SENT_FOR_EACH: usize = 64;
