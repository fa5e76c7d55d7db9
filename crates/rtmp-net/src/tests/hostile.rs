//! Odd and hostile clients, with a stream beside them that must not notice.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use rtmp::{amf::Value, command::Command, message::type_id};
use telemetry::{
    metrics::Registry,
    process::{self, Build, Process},
};

use super::{raw::Raw, *};

/// A stream that goes on while others misbehave.
struct Innocent {
    publisher: Publisher,
    player: Player,
}

impl Innocent {
    async fn new(house: &House) -> Self {
        let publisher = house.publish("live/innocent").await.unwrap();
        let mut innocent = Self { publisher, player: Self::player(house).await };
        innocent.check(1).await;
        innocent
    }

    async fn player(house: &House) -> Player {
        house.play("live/innocent").await.unwrap()
    }

    async fn check(&mut self, timestamp: u32) {
        self.publisher.send(&audio(timestamp)).await.unwrap();
        assert_eq!(next(&mut self.player).await, audio(timestamp));
    }
}

#[tokio::test(start_paused = true)]
async fn interleaved_chunks_of_a_publisher_are_put_together() {
    let house = House::new();
    let mut raw = Raw::publishing(&house, "live/foo").await;
    let mut player = house.play("live/foo").await.unwrap();
    raw.send(type_id::VIDEO, 1, 0, &key(0).payload).await;
    assert_eq!(next(&mut player).await, key(0));
    // Video on chunk stream 6 and audio on chunk stream 70, in 128-byte chunks that alternate.
    let (video, sound) = ([0x27; 300], [0xaf; 200]);
    let mut bytes = vec![0x06, 0, 0, 40, 0, 1, 44, 9, 1, 0, 0, 0];
    bytes.extend(&video[..128]);
    bytes.extend([0x00, 6, 0, 0, 41, 0, 0, 200, 8, 1, 0, 0, 0]);
    bytes.extend(&sound[..128]);
    bytes.push(0xc6);
    bytes.extend(&video[128..256]);
    bytes.extend([0xc0, 6]);
    bytes.extend(&sound[128..]);
    bytes.push(0xc6);
    bytes.extend(&video[256..]);
    raw.io.write_all(&bytes).await.unwrap();
    let expected = [message(Medium::Audio, 41, &sound), message(Medium::Video, 40, &video)];
    assert_eq!(take(&mut player, 2).await, expected);
}

#[tokio::test(start_paused = true)]
async fn amf3_commands_and_aggregates_make_a_stream() {
    let house = House::new();
    let mut raw = Raw::connected(&house, "live").await;
    let create = Command::call("createStream", 2.0, Value::Null, vec![]).encode();
    raw.send(type_id::COMMAND_AMF3, 0, 0, &[&[0][..], &create].concat()).await;
    raw.send(type_id::COMMAND_AMF3, 1, 0, b"\0\x02\0\x07publish\0\0\0\0\0\0\0\0\0\x05\x11\x06\x07foo").await;
    raw.status("NetStream.Publish.Start").await;
    let tag = |kind: u8, at: u8, body: &[u8]| {
        let size = body.len() as u8;
        [&[kind, 0, 0, size, 0, 0, at, 0, 0, 0, 0][..], body, &[0, 0, 0, 11 + size]].concat()
    };
    let tags = [tag(8, 10, b"\xaf\x01a"), tag(8, 30, b"\xaf\x01b")].concat();
    raw.send(type_id::AGGREGATE, 1, 0x0100_0000, &tags).await;
    raw.settle().await;
    let mut player = house.play("live/foo").await.unwrap();
    assert_eq!(next(&mut player).await, message(Medium::Audio, 0x0100_0014, b"\xaf\x01b"));
}

#[tokio::test(start_paused = true)]
async fn names_that_could_do_harm_are_refused_with_a_status() {
    let house = House::new();
    let mut innocent = Innocent::new(&house).await;
    let mut raw = Raw::connected(&house, "live").await;
    raw.call(0, "createStream", 2.0, vec![]).await;
    let long = "x".repeat(10_000);
    for name in ["", "../../tmp/x", "%2e%2e", "..\\x", "a\0b", "a\r\nb", ";rm", "$(x)", ".", "..", "a.", &long] {
        raw.notice(1, "publish", vec![name.into()]).await;
        raw.status("NetStream.Publish.BadName").await;
        raw.notice(1, "play", vec![name.into()]).await;
        raw.status("NetStream.Play.StreamNotFound").await;
    }
    raw.notice(1, "publish", vec!["good".into()]).await;
    raw.status("NetStream.Publish.Start").await;
    innocent.check(2).await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_speak_something_else_are_closed_and_counted() {
    let house = House::new();
    let mut innocent = Innocent::new(&house).await;
    for hello in
        [&b"\0"[..], b"\x02", b"\x06", b"\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0", b"PRI * HTTP/2.0\r\n"]
    {
        let mut io = house.socket(4096);
        io.write_all(hello).await.unwrap();
        assert!(rest(&mut io).await.is_empty(), "{hello:?}");
    }
    let mut raw = Raw::greeted(&house).await;
    raw.io.write_all(&[0xff; 64]).await.unwrap();
    assert!(rest(&mut raw.io).await.is_empty());
    let mut raw = Raw::connected(&house, "live").await;
    raw.notice(0, "connect", vec![]).await;
    while raw.hear().await.is_some() {}
    innocent.check(2).await;
    drop(raw);
    assert_eq!((house.ended("handshake"), house.ended("chunk")), (7, 1));
}

#[tokio::test(start_paused = true)]
async fn the_limit_that_a_client_reaches_is_counted() {
    let house = House::new();
    let mut raw = Raw::connected(&house, "live").await;
    // Each on a chunk stream of its own, a data message that is null. One has been used before.
    for csid in 0..64 {
        raw.io.write_all(&[0, csid, 0, 0, 0, 0, 0, 1, 18, 0, 0, 0, 0, 5]).await.unwrap();
    }
    rest(&mut raw.io).await;
    house.empty().await;
    assert_eq!(house.ended("chunk"), 1);
    assert_eq!(house.connections.stats().limits(), BTreeMap::from([("chunk_streams", 1)]));
}

#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_are_closed_after_five_seconds() {
    let house = House::new();
    let started = tokio::time::Instant::now();
    let mut silent: Vec<_> = (0..50).map(|_| house.socket(4096)).collect();
    for io in &mut silent {
        io.write_all(b"\x03").await.unwrap();
    }
    for io in &mut silent {
        assert!(rest(io).await.is_empty());
    }
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    drop(silent);
    house.empty().await;
    assert_eq!(house.ended("handshake_timeout"), 50);
}

#[tokio::test(start_paused = true)]
async fn after_some_messages_it_is_others_turn_however_short_they_are() {
    let house = House::new();
    let mut raw = Raw::publishing(&house, "live/foo").await;
    raw.send(type_id::AUDIO, 1, 0, b"").await;
    // The same again, in a byte each.
    raw.io.write_all(&[0xc4; 50_000]).await.unwrap();
    let (mut taken, mut at_once) = (0, 0);
    while taken < 50_001 {
        tokio::task::yield_now().await;
        let before = std::mem::replace(&mut taken, house.connections.stats().frames_in.load(Ordering::Relaxed));
        at_once = at_once.max(taken - before);
    }
    assert!(at_once <= 256, "{at_once}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_and_never_listens_is_cut() {
    let house = House::new();
    let mut innocent = Innocent::new(&house).await;
    let mut raw = Raw::playing(&house, "live/innocent").await;
    let started = tokio::time::Instant::now();
    let ping = [0x02, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1];
    while raw.io.write_all(&ping.repeat(1000)).await.is_ok() {}
    assert_eq!(started.elapsed(), Duration::from_secs(15));
    innocent.check(2).await;
    assert_eq!(house.ended("stalled"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_one_connection_and_is_counted() {
    let _counts = Process::register(&Registry::new(), Build { version: "", commit: "" });
    let house = House::new();
    let mut innocent = Innocent::new(&house).await;
    let (panics, sessions) = (process::panics(), house.sessions.list().len());
    assert!(house.publish("live/mistake").await.is_err());
    innocent.check(2).await;
    assert!(house.play("live/mistake").await.is_err());
    innocent.check(3).await;
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[key(0), message(Medium::Video, 40, b"\x27\x01\0\0\0mistake")]).await;
    house.fake.log.wait_for("lost live/foo").await;
    innocent.check(4).await;
    // Others of this process may panic on purpose too.
    assert!(process::panics() >= panics + 3);
    assert_eq!(house.sessions.list().len(), sessions, "nothing is left of them");
    let mut later = house.publish("live/foo").await.unwrap();
    send_all(&mut later, &[key(0)]).await;
    assert_eq!(next(&mut house.play("live/foo").await.unwrap()).await, key(0));
}

#[tokio::test(start_paused = true)]
async fn keys_do_not_show_in_what_is_printed() {
    let request = Publish {
        stream: stream("live/foo"),
        query: [("key".to_owned(), "secret".to_owned())].into_iter().collect(),
        kind: rtmp::server::PublishKind::Live,
        peer: peer(),
        session: Sessions::default().open(Protocol::Rtmp, peer()).id(),
    };
    assert!(!format!("{request:?}").contains("secret"));
}
