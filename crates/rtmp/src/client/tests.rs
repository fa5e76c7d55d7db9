//! The client's machine against the server's.

use std::{sync::Arc, time::Duration};

use media::Medium;

use super::*;
use crate::{command::status::code, server};

/// A client and a server with nothing between them.
struct Both {
    client: Session,
    server: server::Session,
    now: Instant,
}

impl Both {
    fn new(purpose: Purpose) -> Self {
        let now = Instant::now();
        let client = Session::new(Config::new("live", "rtmp://h/live", purpose), now);
        Self { client, server: server::Session::new(Arc::default(), now), now }
    }

    fn publish() -> Self {
        Self::new(Purpose::Publish { name: "foo?key=1".to_owned() })
    }

    fn play() -> Self {
        Self::new(Purpose::Play { name: "foo".to_owned(), start: -2000.0 })
    }

    /// Moves bytes until all is said; connects are accepted, and all other events returned.
    fn exchange(&mut self) -> (Vec<Event>, Vec<server::Event>) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        loop {
            let mut quiet = true;
            while let Some(bytes) = self.client.poll_output() {
                quiet = false;
                self.server.handle_bytes(&bytes, self.now);
            }
            while let Some(event) = self.server.poll_event() {
                match event {
                    server::Event::Connect(request) => request.accept(&mut self.server, self.now).unwrap(),
                    event => theirs.push(event),
                }
            }
            while let Some(bytes) = self.server.poll_output() {
                quiet = false;
                self.client.handle_bytes(&bytes, self.now);
            }
            ours.extend(std::iter::from_fn(|| self.client.poll_event()));
            if quiet {
                return (ours, theirs);
            }
        }
    }
}

fn frame(medium: Medium, timestamp: u32, payload: &[u8]) -> MediaMessage {
    MediaMessage { medium, timestamp, payload: Bytes::copy_from_slice(payload) }
}

#[test]
fn it_publishes_and_ends_cleanly() {
    let mut both = Both::publish();
    let (_, mut theirs) = both.exchange();
    let Some(server::Event::Publish(request)) = theirs.pop() else { panic!("no publish: {theirs:?}") };
    assert_eq!(request.name, "foo?key=1");
    request.accept(&mut both.server, both.now).unwrap();
    assert!(matches!(&both.exchange().0[..], [Event::Started]));

    let frames = [
        frame(Medium::Data, 0, b"\x02\0\x0aonMetaData\x05"),
        frame(Medium::Video, 0xFF_FFFF, &[0x17; 200_000]),
        frame(Medium::Audio, u32::MAX, b"\xaf\x01"),
        frame(Medium::Audio, 3, b""),
    ];
    for frame in &frames {
        both.client.send(frame);
    }
    let (_, theirs) = both.exchange();
    let seen: Vec<_> = theirs
        .into_iter()
        .map(|event| match event {
            server::Event::Media { msid: 1, message } => message,
            other => panic!("not media: {other:?}"),
        })
        .collect();
    assert_eq!(seen, frames);
    both.client.close();
    assert!(matches!(&both.exchange().1[..], [server::Event::Unpublished { msid: 1 }]));
}

#[test]
fn it_plays_until_the_stream_ends() {
    let mut both = Both::play();
    let (_, mut theirs) = both.exchange();
    let Some(server::Event::Play(request)) = theirs.pop() else { panic!("no play: {theirs:?}") };
    request.accept(&mut both.server).unwrap();
    assert!(matches!(&both.exchange().0[..], [Event::Status(reset), Event::Started] if reset.code == code::PLAY_RESET));
    let header = crate::chunk::media_header(9, 7, 3, 1);
    both.client.handle_bytes(&[&header[..], b"\x27\x01v"].concat(), both.now);
    assert!(
        matches!(&both.exchange().0[..], [Event::Media(message)] if *message == frame(Medium::Video, 7, b"\x27\x01v"))
    );
    both.server.end_play(1, both.now);
    assert!(matches!(&both.exchange().0[..], [Event::Ended, Event::Ended]));
}

#[test]
fn a_refusal_is_the_end() {
    let mut both = Both::publish();
    let (_, mut theirs) = both.exchange();
    let Some(server::Event::Publish(request)) = theirs.pop() else { panic!("no publish: {theirs:?}") };
    let status = Status::failed(code::PUBLISH_BAD_NAME, "taken");
    request.refuse(&mut both.server, &status, both.now).unwrap();
    let (ours, _) = both.exchange();
    assert!(matches!(&ours[..], [Event::Closed(Closed::Refused(told))] if *told == status));
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut both = Both::play();
    let at = both.client.poll_timeout().unwrap();
    both.client.handle_timeout(at - Duration::from_millis(1));
    assert!(both.client.poll_event().is_none());
    both.client.handle_timeout(at);
    assert!(matches!(both.client.poll_event(), Some(Event::Closed(Closed::Timeout))));
    assert_eq!(both.client.poll_timeout(), None);
}
