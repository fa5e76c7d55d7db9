//! Deadlines, drain and reset.

use super::{raw::Raw, *};

#[tokio::test(start_paused = true)]
async fn unfinished_handshakes_are_bounded_and_finished_ones_are_not() {
    let house = House::new();
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut raw = Raw::connected(&house, "live").await;
        raw.status("NetConnection.Connect.Success").await;
        open.push(raw);
    }
    let started: Vec<_> = (0..64).map(|_| house.socket(64)).collect();
    assert_eq!(house.connections.gate().enter(peer()).err(), Some(door::TooMany));
    assert!(house.connections.gate().enter("[::1]:1".parse().unwrap()).is_ok());
    drop(started);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_wants_nothing_is_closed_after_ten_seconds() {
    let house = House::new();
    let started = tokio::time::Instant::now();
    let mut idle = Raw::connected(&house, "live").await;
    while idle.hear().await.is_some() {}
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    let mut mute = Raw::publishing(&house, "live/foo").await;
    while mute.hear().await.is_some() {}
    assert_eq!(started.elapsed(), Duration::from_secs(20));
    house.fake.log.wait_for("lost live/foo").await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_decision_is_not_the_clients_fault() {
    let house = House::new();
    let started = tokio::time::Instant::now();
    let mut publisher = house.publish("live/slow").await.err();
    // The client's own patience is shorter than the service's thought.
    assert!(matches!(publisher.take(), Some(client::Error::Session(rtmp::client::Closed::Timeout))));
    assert_eq!(started.elapsed(), Duration::from_secs(15));
    let mut raw = Raw::connected(&house, "live").await;
    raw.call(0, "createStream", 2.0, vec![]).await;
    raw.notice(1, "publish", vec!["slow".into()]).await;
    raw.send(9, 1, 0, b"\x17\x01\0\0\0early").await;
    raw.status("NetStream.Publish.Start").await;
    assert_eq!(started.elapsed(), Duration::from_secs(45));
    let stream = house.fake.hub.get(&stream("live/slow")).unwrap();
    raw.settle().await;
    assert_eq!(stream.info().items_total, 2, "what came before the decision is not lost");
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_was_kept_waiting_was_not_silent() {
    let house = House::new();
    let mut raw = Raw::publishing(&house, "live/foo").await;
    raw.send(9, 1, 0, b"\x17\x01\0\0\0wait").await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    raw.send(9, 1, 40, b"\x27\x01\0\0\0more").await;
    raw.settle().await;
    assert_eq!((house.ended("silent"), house.ended("stalled")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_and_then_ends_what_is_left() {
    let house = House::new();
    let publisher = house.publish("live/foo").await.unwrap();
    let mut raw = Raw::playing(&house, "live/foo").await;
    let short = house.play("live/foo").await.unwrap();
    let started = tokio::time::Instant::now();
    tokio::join!(house.connections.drain(Duration::from_secs(3)), async {
        drop(short);
        raw.status("NetConnection.Connect.AppShutdown").await;
        assert_eq!(started.elapsed(), Duration::from_secs(3));
        drop((raw, publisher));
    });
    assert!(house.connections.is_empty());
    house.fake.log.wait_for("lost live/foo").await;
    assert_eq!((house.ended("drained"), house.ended("left")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_those_that_never_leave() {
    let house = House::new();
    let _stuck = [house.socket(1), house.socket(1)];
    let _deaf = Raw::connected(&house, "live").await;
    let started = tokio::time::Instant::now();
    house.connections.drain(Duration::from_secs(2)).await;
    assert!(house.connections.is_empty());
    assert!(started.elapsed() <= Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn after_a_reset_new_connections_may_come() {
    let house = House::new();
    let publisher = house.publish("live/foo").await.unwrap();
    house.connections.reset().await;
    assert!(house.connections.is_empty());
    house.fake.log.wait_for("lost live/foo").await;
    assert_eq!(house.ended("reset"), 1);
    let _again = house.publish("live/foo").await.unwrap();
    drop(publisher);
}

#[tokio::test(start_paused = true)]
async fn a_reset_does_not_wait_for_goodbyes() {
    let house = House::new();
    let _deaf = Raw::publishing(&house, "live/foo").await;
    let draining = house.connections.drain(Duration::ZERO);
    assert!(tokio::time::timeout(Duration::from_millis(10), draining).await.is_err(), "it does not listen");
    let started = tokio::time::Instant::now();
    house.connections.reset().await;
    assert_eq!((started.elapsed(), house.connections.is_empty()), (Duration::ZERO, true));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_small_and_smaller_still_before_its_handshake() {
    let house = House::new();
    let (mut ours, theirs) = tokio::io::duplex(4096);
    ours.write_all(&[3; 1 + 2 * 1536]).await.unwrap();
    let (before, behind) = house.connections.future_bytes(theirs, peer()).await;
    assert!(before < 1280, "{before} bytes for each half-open connection, without what it points to");
    assert!(behind < 2816, "{behind} bytes for each connection, without what it points to");
}

#[tokio::test(start_paused = true)]
async fn a_publication_brings_no_more_in_a_second_than_it_may() {
    let mut config = Config::default();
    config.session.limits.publish_bytes_per_second = std::num::NonZeroU64::new(100_000);
    let house = House::with(config, RingLimits::default());
    let mut fast = Raw::publishing(&house, "live/fast").await;
    let mut beside = Raw::publishing(&house, "live/beside").await;
    let started = tokio::time::Instant::now();
    for number in 0..50 {
        fast.send(9, 1, number, &[&b"\x27\x01\0\0\0"[..], &[0; 9_995 - 64]].concat()).await;
    }
    beside.send(9, 1, 0, b"\x17\x01\0\0\0beside").await;
    beside.settle().await;
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody else waits");
    fast.settle().await;
    assert_eq!(started.elapsed(), Duration::from_secs(4), "half a megabyte, of which a second's worth was free");
    assert!(house.connections.stats().publishes_slowed.load(std::sync::atomic::Ordering::Relaxed) > 1);
    // Messages without a byte of their own are not free either.
    for number in 0..3_125 {
        beside.send(8, 1, number, b"").await;
    }
    beside.settle().await;
    assert!(started.elapsed() >= Duration::from_secs(5), "two seconds' worth, of which one was free");
}

#[tokio::test(start_paused = true)]
async fn who_publishes_anew_has_no_second_for_free_again() {
    let mut config = Config::default();
    config.session.limits.publish_bytes_per_second = std::num::NonZeroU64::new(100_000);
    let house = House::with(config, RingLimits::default());
    let mut raw = Raw::publishing(&house, "live/foo").await;
    let started = tokio::time::Instant::now();
    for _ in 0..5 {
        raw.send(9, 1, 0, &[0x27; 50_000 - 64]).await;
        raw.notice(1, "closeStream", vec![]).await;
        raw.notice(1, "publish", vec!["foo".into()]).await;
        raw.status("NetStream.Publish.Start").await;
    }
    assert_eq!(started.elapsed(), Duration::from_millis(1500), "2.5 seconds' worth, of which one was free");
}
