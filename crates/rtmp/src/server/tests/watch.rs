//! Playing.

use media::Medium;

use super::*;

fn play(peer: &mut Peer, arguments: Vec<Value>) -> PlayRequest {
    peer.call(1, "play", 0.0, Value::Null, arguments);
    match peer.session.poll_event() {
        Some(Event::Play(request)) => request,
        other => panic!("no play: {other:?}"),
    }
}

#[test]
fn start_is_read_in_seconds_and_in_milliseconds() {
    for (start, meant) in [
        (None, PlayStart::LiveOrRecorded),
        (Some(-2.0), PlayStart::LiveOrRecorded),
        (Some(-2000.0), PlayStart::LiveOrRecorded),
        (Some(-1.0), PlayStart::LiveOnly),
        (Some(-1000.0), PlayStart::LiveOnly),
        (Some(0.0), PlayStart::At(0.0)),
        (Some(1500.0), PlayStart::At(1500.0)),
        (Some(f64::NAN), PlayStart::LiveOrRecorded),
    ] {
        let mut peer = Peer::with_streams(1);
        let mut arguments = vec![Value::from("foo")];
        arguments.extend(start.map(Value::from));
        assert_eq!(play(&mut peer, arguments).start, meant, "{start:?}");
    }
}

#[test]
fn a_play_is_answered_in_the_order_that_players_expect() {
    for (reset, codes) in [
        (None, vec![code::PLAY_RESET, code::PLAY_START]),
        (Some(Value::Bool(true)), vec![code::PLAY_RESET, code::PLAY_START]),
        (Some(Value::Number(0.0)), vec![code::PLAY_START]),
    ] {
        let mut peer = Peer::with_streams(1);
        peer.take_heard();
        let mut arguments = vec!["foo".into(), (-2000.0).into(), (-1.0).into()];
        arguments.extend(reset);
        play(&mut peer, arguments).accept(&mut peer.session).unwrap();
        let expected: Vec<_> = codes.iter().map(|code| told(1, "onStatus", code)).collect();
        assert_eq!(peer.take_told(), expected);
        let heard = peer.take_heard();
        assert_eq!(heard[0], Control::User(UserEvent::StreamBegin(1)).to_message());
        let access = amf0::encode_all(&["|RtmpSampleAccess".into(), true.into(), true.into()]);
        // Nothing else: ffmpeg shows any other data message before the metadata as a stream.
        assert_eq!(heard[1..], [message(type_id::DATA_AMF0, 1, access)]);
    }
}

#[test]
fn pause_receive_and_seek() {
    let mut peer = Peer::playing();
    peer.notice(1, "pause", [true.into(), 1000.0.into()]);
    peer.notice(1, "pause", [false.into(), 1000.0.into()]);
    peer.notice(1, "receiveAudio", [false.into()]);
    peer.notice(1, "receiveVideo", [true.into()]);
    peer.notice(1, "seek", [5000.0.into()]);
    assert!(matches!(
        &peer.events()[..],
        [
            Event::Paused { msid: 1, paused: true },
            Event::Paused { msid: 1, paused: false },
            Event::Receive { msid: 1, medium: Medium::Audio, wanted: false },
            Event::Receive { msid: 1, medium: Medium::Video, wanted: true },
        ]
    ));
    let codes = [code::PAUSED, code::UNPAUSED, code::SEEK_NOTIFY, code::PLAY_START, code::SEEK_FAILED];
    assert_eq!(peer.take_told(), codes.map(|code| told(1, "onStatus", code)));
}

/// As players do that do not wait for answers.
#[test]
fn what_is_asked_for_right_behind_a_play_holds_once_it_is_accepted() {
    let mut peer = Peer::with_streams(1);
    let request = play(&mut peer, vec!["foo".into()]);
    for paused in [true, false].repeat(Config::default().mistakes_max as usize) {
        peer.notice(1, "pause", [paused.into(), 0.0.into()]);
    }
    peer.notice(1, "receiveAudio", [true.into()]);
    peer.notice(1, "receiveVideo", [false.into()]);
    assert!(peer.events().is_empty());
    assert!(peer.take_told().is_empty());
    request.accept(&mut peer.session).unwrap();
    assert!(matches!(
        &peer.events()[..],
        [
            Event::Paused { msid: 1, paused: false },
            Event::Receive { msid: 1, medium: Medium::Audio, wanted: true },
            Event::Receive { msid: 1, medium: Medium::Video, wanted: false },
        ]
    ));
    let codes = [code::PLAY_RESET, code::PLAY_START, code::UNPAUSED, code::SEEK_NOTIFY, code::PLAY_START];
    assert_eq!(peer.take_told(), codes.map(|code| told(1, "onStatus", code)));
}

#[test]
fn what_is_asked_for_behind_a_play_that_is_refused_is_forgotten_with_it() {
    let mut peer = Peer::with_streams(1);
    let request = play(&mut peer, vec!["foo".into()]);
    peer.notice(1, "receiveVideo", [false.into()]);
    assert!(peer.events().is_empty());
    request.refuse(&mut peer.session, &Status::failed(code::PLAY_NOT_FOUND, "no"), peer.now).unwrap();
    assert_eq!(peer.take_told(), [told(1, "onStatus", code::PLAY_NOT_FOUND)]);
    play(&mut peer, vec!["bar".into()]).accept(&mut peer.session).unwrap();
    assert!(peer.events().is_empty());
}

#[test]
fn a_seek_is_refused_whether_the_play_is_decided_or_not() {
    let mut peer = Peer::with_streams(1);
    let request = play(&mut peer, vec!["foo".into()]);
    peer.notice(1, "seek", [0.0.into()]);
    assert!(peer.events().is_empty());
    assert_eq!(peer.take_told(), [told(1, "onStatus", code::SEEK_FAILED)]);
    request.accept(&mut peer.session).unwrap();
}

#[test]
fn a_play_replaces_the_one_before() {
    let mut peer = Peer::with_streams(1);
    let early = play(&mut peer, vec!["a".into()]);
    peer.notice(1, "play", ["b".into()]);
    let mut events = peer.events();
    let Some(Event::Play(late)) = events.pop() else { panic!("no play") };
    assert!(matches!(&events[..], [Event::PlayEnded { msid: 1 }]));
    assert_eq!(early.refuse(&mut peer.session, &Status::failed(code::PLAY_FAILED, ""), peer.now), Err(Gone));
    assert_eq!(late.name, "b");
    late.accept(&mut peer.session).unwrap();
}

#[test]
fn the_end_of_the_stream_is_told_and_another_may_be_played() {
    let mut peer = Peer::playing();
    peer.take_heard();
    peer.session.end_play(1, peer.now);
    peer.session.end_play(1, peer.now);
    assert_eq!(peer.take_told(), [told(1, "onStatus", code::PLAY_UNPUBLISHED)]);
    assert_eq!(peer.take_heard(), [Control::User(UserEvent::StreamEof(1)).to_message()]);
    play(&mut peer, vec!["bar".into()]).accept(&mut peer.session).unwrap();
}

#[test]
fn playing_false_ends_what_is_played() {
    let mut peer = Peer::playing();
    peer.notice(1, "play", [false.into()]);
    peer.notice(1, "play", [false.into()]);
    assert!(matches!(&peer.events()[..], [Event::PlayEnded { msid: 1 }]));
    assert_eq!(peer.take_told(), [told(1, "onStatus", code::PLAY_STOP)]);
    play(&mut peer, vec!["bar".into()]).accept(&mut peer.session).unwrap();
}

#[test]
fn a_play_that_ends_is_told_once() {
    let mut peer = Peer::playing();
    peer.notice(1, "closeStream", []);
    peer.notice(0, "deleteStream", [1.0.into()]);
    assert!(matches!(&peer.events()[..], [Event::PlayEnded { msid: 1 }]));
}
