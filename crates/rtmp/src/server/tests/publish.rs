//! Publishing.

use media::Medium;

use super::*;

fn media(events: Vec<Event>) -> Vec<(u32, MediaMessage)> {
    let media = events.into_iter().map(|event| match event {
        Event::Media { msid, message } => (msid, message),
        other => panic!("not media: {other:?}"),
    });
    media.collect()
}

fn flv_tag(kind: u8, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend(&timestamp.to_be_bytes()[1..]);
    out.extend([0, 0, 0, 0]);
    out.extend(body);
    out.extend((body.len() as u32 + 11).to_be_bytes());
    out
}

#[test]
fn publish_starts_on_its_message_stream() {
    let mut peer = Peer::with_streams(2);
    peer.heard.clear();
    peer.notice(2, "publish", ["foo?key=1".into(), "LIVE".into()]);
    let Some(Event::Publish(request)) = peer.session.poll_event() else { panic!("no publish") };
    assert_eq!((request.msid, request.name.as_str(), request.kind), (2, "foo?key=1", PublishKind::Live));
    assert!(!format!("{request:?}").contains("key"));
    request.accept(&mut peer.session, peer.now).unwrap();
    assert_eq!(peer.take_told(), [told(2, "onStatus", code::PUBLISH_START)]);
    assert_eq!(peer.take_heard(), [Control::User(UserEvent::StreamBegin(2)).to_message()]);
}

#[test]
fn publish_types_are_read_whatever_their_case() {
    for (arguments, kind) in [
        (vec!["foo".into()], PublishKind::Live),
        (vec!["foo".into(), "Record".into()], PublishKind::Record),
        (vec!["foo".into(), "append".into()], PublishKind::Append),
        (vec!["foo".into(), "appendWithGap".into()], PublishKind::Append),
        (vec!["foo".into(), "".into()], PublishKind::Live),
    ] {
        let mut peer = Peer::with_streams(1);
        peer.call(1, "publish", 5.0, Value::Null, arguments);
        assert!(matches!(&peer.events()[..], [Event::Publish(request)] if request.kind == kind));
    }
}

#[test]
fn messages_come_as_viewers_are_to_get_them() {
    let mut peer = Peer::publishing();
    let metadata: [Value; 2] = ["onMetaData".into(), Value::EcmaArray(vec![("width".into(), 640.0.into())])];
    let set = [&["@setDataFrame".into()][..], &metadata].concat();
    let plain = amf0::encode_all(&metadata);
    peer.send(&message(type_id::DATA_AMF0, 1, amf0::encode_all(&set)));
    peer.send(&message(type_id::DATA_AMF3, 1, [&[0][..], &amf0::encode_all(&set)].concat().into()));
    let tags = [flv_tag(8, 100, b"\xaf\x01a"), flv_tag(9, 110, b"\x27\x01v")].concat();
    peer.send(&Message { timestamp: 5000, ..message(type_id::AGGREGATE, 1, tags.into()) });
    peer.send(&message(type_id::AUDIO, 1, Bytes::new()));
    peer.send(&Message { timestamp: u32::MAX, ..message(type_id::VIDEO, 1, Bytes::from_static(b"\x17\x01k")) });
    let seen: Vec<_> = media(peer.events()).into_iter().map(|(_, m)| (m.medium, m.timestamp, m.payload)).collect();
    assert_eq!(
        seen,
        [
            (Medium::Data, 0, plain.clone()),
            (Medium::Data, 0, plain),
            (Medium::Audio, 5000, Bytes::from_static(b"\xaf\x01a")),
            (Medium::Video, 5010, Bytes::from_static(b"\x27\x01v")),
            (Medium::Audio, 0, Bytes::new()),
            (Medium::Video, u32::MAX, Bytes::from_static(b"\x17\x01k")),
        ]
    );
}

#[test]
fn metadata_can_be_cleared_and_damaged_data_is_left_out() {
    let mut peer = Peer::publishing();
    peer.send(&message(type_id::DATA_AMF0, 1, amf0::encode_all(&["@clearDataFrame".into(), "onMetaData".into()])));
    peer.send(&message(type_id::DATA_AMF3, 1, Bytes::from_static(b"\0\x11\x09\xff\xff\xff\xff")));
    assert!(matches!(&peer.events()[..], [Event::MetadataCleared { msid: 1 }]));
    assert_eq!(peer.session.stats().damaged_data, 1);
}

/// Messages of type 15 that are short and become long ones of type 18.
#[test]
fn data_that_grows_beyond_what_data_may_be_is_left_out() {
    let of = |amf3: &[u8]| [&[0, 2, 0, 1, b'x', 0x11][..], amf3].concat();
    let strings = [&[9, 0x81, 0x49, 1][..], &[6, 0].repeat(100)].concat();
    let long = [&[6, 0x81, 0x49][..], &[b'x'; 100]].concat();
    let references = of(&[&[9, 0x81, 0x4D, 1][..], &long, &strings, &[9, 2].repeat(100)].concat());
    let numbers = of(&[&[9, 0x83, 0xF4, 0x01, 1][..], &[4, 0].repeat(32_000)].concat());
    for payload in [references, numbers] {
        let mut peer = Peer::publishing();
        peer.send(&message(type_id::DATA_AMF3, 1, payload.into()));
        assert!(peer.events().is_empty());
        assert_eq!(peer.session.stats().damaged_data, 1);
    }
}

#[test]
fn two_streams_on_one_connection_are_kept_apart() {
    let mut peer = Peer::with_streams(2);
    for (msid, name) in [(1, "a"), (2, "b")] {
        peer.notice(msid, "publish", [name.into()]);
        let Some(Event::Publish(request)) = peer.session.poll_event() else { panic!("no publish") };
        request.accept(&mut peer.session, peer.now).unwrap();
    }
    for msid in [2, 1, 2] {
        peer.send(&message(type_id::AUDIO, msid, Bytes::from_static(b"\xaf\x01")));
    }
    assert_eq!(media(peer.events()).iter().map(|(msid, _)| *msid).collect::<Vec<_>>(), [2, 1, 2]);
    peer.notice(0, "FCUnpublish", ["a".into()]);
    peer.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"\xaf\x01")));
    peer.send(&message(type_id::AUDIO, 2, Bytes::from_static(b"\xaf\x01")));
    assert!(matches!(&peer.events()[..], [Event::Unpublished { msid: 1 }, Event::Media { msid: 2, .. }]));
}

#[test]
fn media_waits_for_the_decision_and_is_bounded() {
    let mut peer = Peer::with_streams(1);
    peer.notice(1, "publish", ["foo".into()]);
    let Some(Event::Publish(request)) = peer.session.poll_event() else { panic!("no publish") };
    let mut sent = 0;
    while peer.session.wants_input() {
        peer.send(&message(type_id::VIDEO, 1, vec![sent as u8; 1000].into()));
        sent += 1;
        assert!(peer.session.poll_event().is_none());
        assert!(sent < 400, "nothing stops a client that does not wait");
    }
    request.accept(&mut peer.session, peer.now).unwrap();
    assert_eq!(media(peer.events()).len(), sent);
    assert!(peer.session.wants_input());
}

#[test]
fn refused_publishes_are_told_why_and_may_be_followed_by_better_ones() {
    let mut peer = Peer::with_streams(1);
    for status in [code::PUBLISH_BAD_NAME, code::PUBLISH_DENIED] {
        peer.notice(1, "publish", ["foo".into()]);
        let Some(Event::Publish(request)) = peer.session.poll_event() else { panic!("no publish") };
        request.refuse(&mut peer.session, &Status::failed(status, "no"), peer.now).unwrap();
        assert_eq!(peer.take_told(), [told(1, "onStatus", status)]);
    }
    peer.send(&message(type_id::VIDEO, 1, Bytes::from_static(b"\x17")));
    assert!(peer.events().is_empty());
    assert_eq!(peer.session.stats().stray_media, 1);
}

#[test]
fn every_clean_end_is_told_once() {
    for ending in [("FCUnpublish", 0, "foo".into()), ("closeStream", 1, Value::Null), ("deleteStream", 0, 1.0.into())] {
        let (name, msid, argument) = ending;
        let mut peer = Peer::publishing();
        peer.notice(msid, name, [argument]);
        peer.send(&message(type_id::VIDEO, 1, Bytes::from_static(b"\x17")));
        peer.notice(0, "FCUnpublish", ["foo".into()]);
        peer.notice(0, "deleteStream", [1.0.into()]);
        assert!(matches!(&peer.events()[..], [Event::Unpublished { msid: 1 }]), "{name}");
    }
}

#[test]
fn publishing_false_ends_what_is_published() {
    let mut peer = Peer::publishing();
    for _ in 0..2 * Config::default().mistakes_max {
        peer.notice(1, "publish", [false.into()]);
    }
    assert!(matches!(&peer.events()[..], [Event::Unpublished { msid: 1 }]));
    assert_eq!(peer.take_told(), [told(1, "onStatus", code::UNPUBLISH_SUCCESS)]);
    peer.notice(1, "publish", ["bar".into()]);
    let Some(Event::Publish(undecided)) = peer.session.poll_event() else { panic!("no publish") };
    peer.notice(1, "publish", [false.into()]);
    assert!(matches!(&peer.events()[..], [Event::Unpublished { msid: 1 }]));
    assert_eq!(undecided.accept(&mut peer.session, peer.now), Err(Gone));
    assert!(peer.take_told().is_empty());
}

#[test]
fn false_in_place_of_a_name_ends_nothing_of_the_other_kind() {
    for (mut peer, name) in [(Peer::publishing(), "play"), (Peer::playing(), "publish")] {
        peer.notice(1, name, [false.into()]);
        assert!(peer.events().is_empty() && peer.take_told().is_empty(), "{name}");
    }
}

#[test]
fn a_decision_that_comes_after_the_client_left_changes_nothing() {
    let mut peer = Peer::with_streams(1);
    peer.notice(1, "publish", ["foo".into()]);
    let Some(Event::Publish(early)) = peer.session.poll_event() else { panic!("no publish") };
    peer.notice(1, "closeStream", []);
    peer.notice(1, "publish", ["bar".into()]);
    let mut events = peer.events();
    let Some(Event::Publish(late)) = events.pop() else { panic!("no publish") };
    assert!(matches!(&events[..], [Event::Unpublished { msid: 1 }]));
    assert_eq!(early.accept(&mut peer.session, peer.now), Err(Gone));
    assert!(peer.take_told().is_empty());
    assert_eq!(late.accept(&mut peer.session, peer.now), Ok(()));
}

#[test]
fn our_own_end_of_a_publish_is_told_on_its_message_stream() {
    let mut peer = Peer::publishing();
    peer.session.end_publish(1, &Status::failed(code::PUBLISH_BAD_NAME, "taken over"), peer.now);
    assert_eq!(peer.take_told(), [told(1, "onStatus", code::PUBLISH_BAD_NAME)]);
    peer.send(&message(type_id::VIDEO, 1, Bytes::from_static(b"\x17")));
    assert!(peer.events().is_empty());
}

#[test]
fn amf3_commands_are_as_good_as_amf0_ones() {
    let mut peer = Peer::connected();
    let amf3_string = |text: &str| [&[0x11, 0x06, (text.len() as u8) << 1 | 1][..], text.as_bytes()].concat();
    let create = [&b"\0\x02\0\x0ccreateStream\0\x40\0\0\0\0\0\0\0\x11\x01"[..]].concat();
    let publish =
        [&b"\0\x02\0\x07publish\0\0\0\0\0\0\0\0\0\x05"[..], &amf3_string("foo"), &amf3_string("live")].concat();
    peer.send(&message(type_id::COMMAND_AMF3, 0, create.into()));
    peer.send(&message(type_id::COMMAND_AMF3, 1, publish.into()));
    assert!(matches!(&peer.events()[..], [Event::Publish(request)] if request.name == "foo"));
}

#[test]
fn what_an_encoder_sends_is_read_where_it_lies() {
    let mut peer = Peer::publishing();
    let chunks = peer.chunks(&message(type_id::VIDEO, 1, vec![0x27; 100_000].into()));
    for part in chunks.chunks(40_000) {
        peer.session.handle_bytes(part, peer.now);
        assert_eq!(peer.session.wire.unread(), 0);
    }
    let [Event::Media { message: first, .. }] = &peer.events()[..] else { panic!("not one message") };
    assert_eq!(first.payload.len(), 100_000);

    let both = [b"one", b"two"].map(|body| peer.chunks(&message(type_id::AUDIO, 1, Bytes::from_static(body))));
    peer.session.handle_bytes(&both.concat(), peer.now);
    peer.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"three")));
    let bodies: Vec<_> = media(peer.events()).into_iter().map(|(_, message)| message.payload).collect();
    assert_eq!(bodies, [&b"one"[..], b"two", b"three"]);
}

#[test]
fn a_long_message_may_begin_before_the_decision() {
    let mut peer = Peer::with_streams(1);
    peer.notice(1, "publish", ["foo".into()]);
    let Some(Event::Publish(request)) = peer.session.poll_event() else { panic!("no publish") };
    peer.send(&message(type_id::AUDIO, 1, Bytes::from_static(b"first")));
    assert!(peer.session.poll_event().is_none());
    let long = peer.chunks(&message(type_id::VIDEO, 1, vec![0x17; 300_000].into()));
    peer.session.handle_bytes(&long[..100_000], peer.now);
    assert!(peer.session.poll_event().is_none());
    request.accept(&mut peer.session, peer.now).unwrap();
    peer.session.handle_bytes(&long[100_000..], peer.now);
    assert!(matches!(&peer.events()[..], [Event::Media { .. }, Event::Media { .. }]));
}
