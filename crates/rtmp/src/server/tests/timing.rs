//! Deadlines.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn due(peer: &Peer) -> Duration {
    peer.session.poll_timeout().unwrap() - peer.now
}

#[test]
fn the_handshake_has_five_seconds_in_all() {
    let mut peer = Peer::silent(Config::default());
    assert_eq!(due(&peer), 5 * SECOND);
    for byte in 0..4 {
        peer.session.handle_bytes(&[3 * u8::from(byte == 0)], peer.now);
        peer.pass(SECOND);
        assert!(peer.events().is_empty());
    }
    peer.pass(SECOND);
    assert!(matches!(closed(&peer.events()), Closed::HandshakeTimeout));
}

#[test]
fn connect_and_then_a_request_have_ten_seconds() {
    let mut peer = Peer::greeted(Config::default());
    assert_eq!(due(&peer), 10 * SECOND);
    peer.pass(10 * SECOND);
    assert!(matches!(closed(&peer.events()), Closed::RequestTimeout));

    let mut peer = Peer::with_streams(1);
    peer.pass(9 * SECOND);
    peer.notice(0, "_checkbw", []);
    peer.pass(SECOND);
    assert!(matches!(closed(&peer.events()), Closed::RequestTimeout), "talking is not enough");
}

#[test]
fn our_own_thinking_is_nobodys_fault() {
    let mut peer = Peer::with_streams(1);
    peer.notice(1, "play", ["foo".into()]);
    let Some(Event::Play(request)) = peer.session.poll_event() else { panic!("no play") };
    peer.pass(60 * SECOND);
    assert!(peer.events().is_empty());
    request.refuse(&mut peer.session, &Status::failed(code::PLAY_NOT_FOUND, "no"), peer.now).unwrap();
    peer.pass(9 * SECOND);
    assert!(peer.events().is_empty(), "time runs anew from the refusal");
    peer.pass(SECOND);
    assert!(matches!(closed(&peer.events()), Closed::RequestTimeout));
}

#[test]
fn a_publisher_must_send_media_soon_and_then_may_pause() {
    let mut peer = Peer::publishing();
    peer.pass(9 * SECOND);
    peer.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"\xaf\x01")));
    assert_eq!(peer.events().len(), 1);
    peer.pass(30 * SECOND);
    assert!(peer.events().is_empty());
    let mut peer = Peer::publishing();
    peer.pass(10 * SECOND);
    assert!(matches!(closed(&peer.events()), Closed::FirstMediaTimeout));
}

#[test]
fn a_silent_publisher_is_pinged_and_then_cut() {
    let mut peer = Peer::publishing();
    peer.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"\xaf\x01")));
    peer.events();
    peer.take_heard();
    let mut pings = 0;
    for _ in 0..59 {
        peer.pass(SECOND);
        assert!(peer.events().is_empty());
        let is_ping =
            |heard: &Message| matches!(Control::parse(heard), Ok(Some(Control::User(UserEvent::PingRequest(_)))));
        pings += peer.take_heard().iter().filter(|heard| is_ping(heard)).count();
    }
    assert_eq!(pings, 2);
    peer.pass(SECOND);
    assert!(matches!(closed(&peer.events()), Closed::Silent));
}

#[test]
fn a_player_may_be_silent_and_is_only_pinged() {
    let mut peer = Peer::playing();
    for _ in 0..100 {
        let step = due(&peer);
        assert_eq!(step, 20 * SECOND);
        peer.pass(step);
        assert!(peer.events().is_empty());
    }
}

#[test]
fn after_the_end_of_a_stream_time_runs_again() {
    let mut peer = Peer::playing();
    peer.pass(100 * SECOND);
    peer.notice(1, "closeStream", []);
    assert_eq!(peer.events().len(), 1);
    peer.pass(10 * SECOND);
    assert!(matches!(closed(&peer.events()), Closed::RequestTimeout));
}

#[test]
fn a_player_that_was_silent_has_time_after_the_end_of_its_stream() {
    let mut peer = Peer::playing();
    peer.now += 100 * SECOND;
    peer.session.end_play(1, peer.now);
    peer.pass(9 * SECOND);
    assert!(peer.events().is_empty());
    peer.pass(SECOND);
    assert!(matches!(closed(&peer.events()), Closed::RequestTimeout));
}

/// A message that asks nothing, in two parts of whole chunks.
fn parts(peer: &Peer) -> [Vec<u8>; 2] {
    let mut first = peer.chunks(&message(type_id::AUDIO, 1, vec![0; 60_000].into()));
    let second = first.split_off(12 + 128 + 200 * 129);
    [first, second]
}

#[test]
fn a_message_of_who_publishes_nothing_is_finished_in_time_or_never() {
    let mut peer = Peer::playing();
    peer.pass(100 * SECOND);
    for _ in 0..10 {
        let [first, second] = parts(&peer);
        peer.session.handle_bytes(&first, peer.now);
        assert!(peer.events().is_empty());
        peer.pass(6 * SECOND);
        peer.session.handle_bytes(&second, peer.now);
        assert!(peer.events().is_empty(), "each has its time");
    }
    let [first, _] = parts(&peer);
    peer.session.handle_bytes(&first, peer.now);
    let began = peer.now;
    let ended = loop {
        let events = peer.events();
        if !events.is_empty() {
            break events;
        }
        let step = due(&peer);
        peer.pass(step);
        // It talks on, in whole messages.
        peer.notice(0, "_checkbw", []);
    };
    assert!(matches!(closed(&ended), Closed::MessageTimeout));
    let took = peer.now - began;
    assert!((10 * SECOND..=20 * SECOND).contains(&took), "{took:?}");
}

#[test]
fn an_encoders_message_takes_the_time_that_it_takes() {
    let mut peer = Peer::publishing();
    peer.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"\xaf\x01")));
    let [first, _] = parts(&peer);
    peer.session.handle_bytes(&first, peer.now);
    for _ in 0..5 {
        assert!(peer.events().iter().all(|event| matches!(event, Event::Media { .. })));
        peer.pass(10 * SECOND);
    }

    let mut asks = Peer::with_streams(1);
    asks.notice(1, "publish", ["foo".into()]);
    let Some(Event::Publish(_undecided)) = asks.session.poll_event() else { panic!("no publish") };
    asks.session.handle_bytes(&first, asks.now);
    for _ in 0..5 {
        assert!(asks.events().is_empty());
        asks.pass(10 * SECOND);
    }
}
