//! Commands that come when they must not.

use super::*;

#[test]
fn nothing_but_connect_may_come_first() {
    for name in ["publish", "play", "createStream", "releaseStream", "nonsense"] {
        let mut peer = Peer::greeted(Config::default());
        peer.call(0, name, 1.0, Value::Null, vec!["foo".into()]);
        assert!(matches!(closed(&peer.events()), Closed::OutOfOrder(_)), "{name}");
        assert_eq!(peer.take_told(), [told(0, "_error", code::CALL_FAILED)]);
    }
    let mut peer = Peer::greeted(Config::default());
    peer.send(&message(type_id::VIDEO, 1, Bytes::from_static(b"\x17")));
    assert!(matches!(closed(&peer.events()), Closed::OutOfOrder(_)));
}

#[test]
fn a_second_connect_ends_the_connection() {
    let mut peer = Peer::connected();
    peer.call(0, "connect", 1.0, Value::object([("app", "other".into())]), vec![]);
    assert!(matches!(closed(&peer.events()), Closed::OutOfOrder(_)));
    assert_eq!(peer.take_told(), [told(0, "_error", code::CONNECT_REJECTED)]);
}

#[test]
fn what_comes_before_connect_is_decided_waits() {
    let mut peer = Peer::greeted(Config::default());
    peer.call(0, "connect", 1.0, Value::object([("app", "live".into())]), vec![]);
    peer.call(0, "createStream", 2.0, Value::Null, vec![]);
    let Some(Event::Connect(request)) = peer.session.poll_event() else { panic!("no connect") };
    assert!(peer.events().is_empty() && peer.told.is_empty());
    request.accept(&mut peer.session, peer.now).unwrap();
    assert!(peer.events().is_empty());
    assert_eq!(peer.take_told(), [told(0, "_result", code::CONNECT_SUCCESS), told(0, "_result", "")]);
}

#[test]
fn a_message_stream_has_one_use_at_a_time() {
    let mut publisher = Peer::publishing();
    publisher.notice(1, "play", ["foo".into()]);
    publisher.notice(1, "publish", ["bar".into()]);
    publisher.notice(1, "pause", [true.into()]);
    assert!(publisher.events().is_empty());
    assert_eq!(publisher.take_told(), [(); 3].map(|()| told(1, "onStatus", code::STREAM_FAILED)));
    publisher.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"\xaf\x01")));
    assert!(matches!(&publisher.events()[..], [Event::Media { .. }]), "the publish goes on");

    let mut player = Peer::playing();
    player.notice(1, "publish", ["bar".into()]);
    player.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"\xaf\x01")));
    assert!(player.events().is_empty());
    assert_eq!(player.take_told(), [told(1, "onStatus", code::STREAM_FAILED)]);
}

#[test]
fn message_streams_that_were_not_created_do_nothing() {
    let mut peer = Peer::with_streams(1);
    for (msid, name) in [(0, "publish"), (2, "publish"), (7, "play"), (1, "pause"), (1, "seek"), (u32::MAX, "play")] {
        peer.notice(msid, name, ["foo".into()]);
    }
    peer.notice(0, "deleteStream", [7.0.into()]);
    peer.notice(0, "deleteStream", [f64::NAN.into()]);
    peer.notice(0, "deleteStream", []);
    peer.notice(9, "closeStream", []);
    assert!(peer.events().is_empty());
    assert!(peer.take_told().iter().all(|(_, name, code)| name == "onStatus" && code == code::STREAM_FAILED));
}

#[test]
fn a_deleted_message_stream_is_gone() {
    let mut peer = Peer::with_streams(1);
    peer.notice(0, "deleteStream", [1.0.into()]);
    peer.notice(1, "publish", ["foo".into()]);
    assert!(peer.events().is_empty());
    assert_eq!(peer.take_told(), [told(1, "onStatus", code::STREAM_FAILED)]);
}

#[test]
fn message_streams_are_capped_and_given_back() {
    let max = Limits::default().message_streams_max;
    let mut peer = Peer::connected();
    for id in 0..=max {
        peer.call(0, "createStream", id as f64 + 1.0, Value::Null, vec![]);
    }
    assert!(peer.events().is_empty());
    let results = peer.told.iter().filter(|(_, command)| command.name == "_result").count();
    assert_eq!(results, max);
    peer.told.clear();
    peer.notice(0, "deleteStream", [3.0.into()]);
    peer.call(0, "createStream", 99.0, Value::Null, vec![]);
    assert!(peer.events().is_empty());
    assert_eq!(peer.told[0].1, Command::result(99.0, Value::Null, vec![(max as f64 + 1.0).into()]));
}
