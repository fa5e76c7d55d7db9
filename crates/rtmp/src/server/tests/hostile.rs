//! Input that means harm.

use proptest::prelude::*;

use super::*;

#[test]
fn ten_thousand_streams_are_not_created() {
    let mut peer = Peer::connected();
    for id in 0..10_000 {
        peer.call(0, "createStream", f64::from(id) + 1.0, Value::Null, vec![]);
    }
    assert!(matches!(closed(&peer.events()), Closed::TooManyMistakes));
    assert!(peer.told.len() < 100);
}

#[test]
fn refusals_one_after_the_other_end_the_connection() {
    let mut peer = Peer::with_streams(1);
    for _ in 0..=Config::default().mistakes_max {
        peer.notice(1, "play", ["foo".into()]);
        let Some(Event::Play(request)) = peer.session.poll_event() else { panic!("no play") };
        request.refuse(&mut peer.session, &Status::failed(code::PLAY_NOT_FOUND, "no"), peer.now).unwrap();
    }
    assert!(matches!(closed(&peer.events()), Closed::TooManyMistakes));
}

/// Publishes and ends it, so often at once. How many of these were taken; the others are told why not.
fn taken(peer: &mut Peer, publishes: usize) -> usize {
    let mut taken = 0;
    for _ in 0..publishes {
        peer.notice(1, "publish", ["foo".into()]);
        let Some(Event::Publish(request)) = peer.session.poll_event() else {
            assert_eq!(peer.take_told(), [told(1, "onStatus", code::STREAM_FAILED)]);
            continue;
        };
        request.accept(&mut peer.session, peer.now).unwrap();
        peer.notice(1, "closeStream", []);
        assert!(matches!(&peer.events()[..], [Event::Unpublished { msid: 1 }]));
        peer.take_told();
        taken += 1;
    }
    taken
}

#[test]
fn publishes_that_end_at_once_are_taken_once_a_second_in_the_end() {
    let mut peer = Peer::with_streams(1);
    assert_eq!(taken(&mut peer, 30), Limits::default().message_streams_max);
    peer.pass(Duration::from_millis(2500));
    assert_eq!(taken(&mut peer, 30), 2);
    for _ in 0..Config::default().mistakes_max {
        peer.notice(1, "publish", ["foo".into()]);
    }
    assert!(matches!(closed(&peer.events()), Closed::TooManyMistakes));
}

/// Sixteen plays that nobody decides, each withdrawn in time by what this sends on its message stream.
fn asks_for_ever(withdraw: impl Fn(&mut Peer, u32)) {
    let streams = Limits::default().message_streams_max as u32;
    let mut peer = Peer::with_streams(streams);
    let (mut asked, mut first) = (0, 1);
    let ended = loop {
        for msid in first..first + streams {
            peer.notice(msid, "play", ["absent".into()]);
        }
        let events = peer.events();
        asked += events.iter().filter(|event| matches!(event, Event::Play(_))).count();
        if matches!(events.last(), Some(Event::Closed(_))) {
            break events;
        }
        peer.pass(Duration::from_secs(9));
        (first..first + streams).for_each(|msid| withdraw(&mut peer, msid));
        first = peer.session.streams.iter().map(|stream| stream.msid).min().unwrap_or(first);
        assert!(asked < 100, "it goes on");
    };
    assert!(matches!(closed(&ended), Closed::TooManyMistakes));
}

#[test]
fn plays_withdrawn_before_they_are_decided_end_the_connection() {
    asks_for_ever(|_, _| {});
    asks_for_ever(|peer, msid| peer.notice(msid, "closeStream", []));
    asks_for_ever(|peer, msid| {
        peer.notice(0, "deleteStream", [msid.into()]);
        peer.notice(0, "createStream", []);
    });
}

#[test]
fn a_player_that_changes_its_mind_now_and_then_is_served() {
    let mut peer = Peer::with_streams(1);
    for _ in 0..3 {
        for _ in 0..Config::default().mistakes_max {
            peer.notice(1, "play", ["foo".into()]);
        }
        let Some(Event::Play(request)) = peer.events().pop() else { panic!("no play") };
        request.accept(&mut peer.session).unwrap();
    }
}

#[test]
fn connects_without_an_application_are_refused() {
    let object = |fields: Vec<(&str, Value)>| Value::object(fields);
    for fields in [
        object(vec![]),
        object(vec![("app", "".into())]),
        object(vec![("app", "/?token=1".into())]),
        object(vec![("app", 5.0.into())]),
        Value::Null,
        Value::StrictArray(vec![]),
    ] {
        let mut peer = Peer::greeted(Config::default());
        peer.call(0, "connect", 1.0, fields, vec![]);
        assert!(matches!(closed(&peer.events()), Closed::Rejected(_)));
        assert_eq!(peer.take_told(), [told(0, "_error", code::CONNECT_INVALID_APP)]);
    }
}

#[test]
fn odd_connects_do_no_harm() {
    let mut peer = Peer::greeted(Config::default());
    let url = "::::////???%%%\0\u{7f}";
    peer.call(0, "connect", 0.0, Value::object([("app", url.into()), ("tcUrl", url.into())]), vec![]);
    assert!(matches!(&peer.events()[..], [Event::Connect(_)]));

    let mut peer = Peer::greeted(Config::default());
    let long = "x".repeat(65_535);
    peer.call(0, "connect", 1.0, Value::object([("app", "live".into()), ("flashVer", long.into())]), vec![]);
    assert!(matches!(closed(&peer.events()), Closed::Wire(_) | Closed::Command(_)), "longer than a command may be");
}

#[test]
fn commands_that_cannot_be_read_end_the_connection() {
    for body in [&b""[..], b"\x05", b"\x02\xff\xffpublish", b"\x02\0\x01x\0\0", b"\x02\0\x01x\x0c\xff\xff\xff\xff"] {
        let mut peer = Peer::connected();
        peer.send(&message(type_id::COMMAND_AMF0, 0, Bytes::copy_from_slice(body)));
        assert!(matches!(closed(&peer.events()), Closed::Command(_)), "{body:?}");
    }
}

#[test]
fn aggregates_that_lie_end_the_connection() {
    let mut peer = Peer::publishing();
    peer.send(&message(type_id::AGGREGATE, 1, Bytes::from_static(b"\x09\xff\xff\xff\0\0\0\0\0\0\0v")));
    assert!(matches!(closed(&peer.events()), Closed::Aggregate(_)));
}

#[test]
fn a_message_in_an_aggregate_that_is_too_long_ends_the_connection_as_one_by_itself_does() {
    let length = Limits::default().audio_bytes_max + 1;
    let long = vec![0xaf; length];
    let tag = [&[type_id::AUDIO], &length.to_be_bytes()[5..], &[0; 7], &long].concat();
    let ends = [(type_id::AUDIO, long), (type_id::AGGREGATE, tag)].map(|(type_id, payload)| {
        let mut peer = Peer::publishing();
        peer.send(&message(type_id, 1, payload.into()));
        let events = peer.events();
        assert_eq!(events.len(), 1);
        let closed = closed(&events);
        (closed.to_string(), closed.reason())
    });
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn control_messages_cut_short_end_the_connection_and_user_events_do_not() {
    let mut peer = Peer::connected();
    peer.send(&message(type_id::WINDOW_ACK_SIZE, 0, Bytes::from_static(b"\0\0")));
    assert!(matches!(closed(&peer.events()), Closed::Wire(_)));
}

#[test]
fn windows_of_nothing_do_not_make_us_talk_without_end() {
    let mut peer = Peer::publishing();
    peer.control(Control::WindowAckSize(0));
    peer.events();
    peer.take_heard();
    for _ in 0..100 {
        peer.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"\xaf\x01")));
    }
    peer.events();
    assert!(peer.take_heard().len() <= 1);
}

#[test]
fn whoever_asks_without_listening_gets_few_answers_at_a_time() {
    let mut peer = Peer::connected();
    peer.take_heard();
    let ping = peer.chunks(&Control::User(UserEvent::PingRequest(7)).to_message());
    peer.session.handle_bytes(&ping.repeat(20_000), peer.now);
    assert!(peer.session.poll_event().is_none());
    assert!(!peer.session.wants_input());
    let mut answers = 0;
    loop {
        peer.events();
        let heard = peer.take_heard().len();
        assert!(heard <= 512, "{heard} answers at once");
        if heard == 0 {
            break;
        }
        answers += heard;
    }
    assert_eq!(answers, 20_000);
    assert!(peer.session.wants_input());
}

#[test]
fn a_conversation_is_the_same_byte_by_byte() {
    let mut whole = Peer::greeted(Config::default());
    let command = |msid, name: &str, object, arguments| {
        whole.chunks(&message(type_id::COMMAND_AMF0, msid, Command::call(name, 1.0, object, arguments).encode()))
    };
    let conversation = [
        command(0, "connect", Value::object([("app", "live".into())]), vec![]),
        command(0, "createStream", Value::Null, vec![]),
        command(1, "publish", Value::Null, vec!["foo".into()]),
        whole.chunks(&message(type_id::VIDEO, 1, vec![0x17; 1000].into())),
        command(0, "FCUnpublish", Value::Null, vec!["foo".into()]),
    ]
    .concat();
    let run = |peer: &mut Peer, step: usize| {
        let mut seen = Vec::new();
        for bytes in conversation.chunks(step) {
            peer.session.handle_bytes(bytes, peer.now);
            while let Some(event) = peer.session.poll_event() {
                match event {
                    Event::Connect(request) => request.accept(&mut peer.session, peer.now).unwrap(),
                    Event::Publish(request) => request.accept(&mut peer.session, peer.now).unwrap(),
                    event => seen.push(format!("{event:?}")),
                }
            }
        }
        (seen, peer.take_told())
    };
    let expected = run(&mut whole, usize::MAX);
    assert_eq!(expected.0.len(), 2);
    for step in [1, 2, 7, 128] {
        assert_eq!(run(&mut Peer::greeted(Config::default()), step), expected);
    }
}

/// Decides at random and hears everything.
fn answer(peer: &mut Peer, yes: bool) {
    let now = peer.now;
    while let Some(event) = peer.session.poll_event() {
        let no = Status::failed(code::PLAY_FAILED, "no");
        match event {
            Event::Connect(request) => request.accept(&mut peer.session, now).unwrap(),
            Event::Publish(request) if yes => request.accept(&mut peer.session, now).unwrap_or(()),
            Event::Publish(request) => request.refuse(&mut peer.session, &no, now).unwrap_or(()),
            Event::Play(request) if yes => request.accept(&mut peer.session).unwrap_or(()),
            Event::Play(request) => request.refuse(&mut peer.session, &no, now).unwrap_or(()),
            _ => {}
        }
    }
    peer.hear();
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096), greeted in any::<bool>()) {
        let mut peer = if greeted { Peer::greeted(Config::default()) } else { Peer::silent(Config::default()) };
        peer.session.handle_bytes(&bytes, peer.now);
        if !greeted {
            // Its answer is a handshake, not messages.
            while peer.session.poll_output().is_some() {}
        }
        answer(&mut peer, true);
    }

    #[test]
    fn no_order_of_commands_makes_it_panic(
        steps in proptest::collection::vec((0..16usize, 0..4u32, any::<bool>(), -3.0..5.0f64), 0..60),
    ) {
        let names = [
            "connect", "createStream", "publish", "play", "pause", "seek", "receiveVideo", "FCUnpublish",
            "closeStream", "deleteStream", "releaseStream", "video", "aggregate", "data", "time", "",
        ];
        let mut peer = Peer::connected();
        for (name, msid, yes, number) in steps {
            match names[name] {
                "video" => peer.send(&message(type_id::VIDEO, msid, Bytes::from_static(b"\x17\0"))),
                "aggregate" => peer.send(&message(type_id::AGGREGATE, msid, Bytes::from_static(b"\x17\0"))),
                "data" => peer.send(&message(type_id::DATA_AMF3, msid, Bytes::from_static(b"\0\x02\0\x01x"))),
                "time" => peer.pass(Duration::from_secs(msid.into())),
                name => peer.call(msid, name, number, Value::Null, vec!["foo".into(), number.into()]),
            }
            answer(&mut peer, yes);
            peer.told.clear();
            peer.heard.clear();
        }
    }
}
