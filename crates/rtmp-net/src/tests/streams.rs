//! Streams from publishers to viewers, and their ends.

use super::{raw::Raw, *};

#[tokio::test(start_paused = true)]
async fn viewers_get_what_is_published() {
    let house = House::new();
    let mut publisher = house.publish("live/foo?key=secret").await.unwrap();
    house.fake.log.wait_for("key secret").await;
    let sent = [metadata(), config(), key(0), audio(5), delta(40, 100_000), key(0x0100_0000), audio(u32::MAX)];
    send_all(&mut publisher, &sent[..3]).await;
    let mut player = house.play("live/foo").await.unwrap();
    send_all(&mut publisher, &sent[3..]).await;
    assert_eq!(take(&mut player, sent.len()).await, sent);
    let stats = house.connections.stats();
    assert_eq!(stats.frames_in.load(std::sync::atomic::Ordering::Relaxed), 7);
    assert_eq!(stats.frames_out.load(std::sync::atomic::Ordering::Relaxed), 7);
}

#[tokio::test(start_paused = true)]
async fn late_viewers_start_at_a_keyframe_with_what_it_needs() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[metadata(), config(), key(1000), delta(1040, 9), key(2000), delta(2040, 9)]).await;
    publisher.send(&audio(2041)).await.unwrap();
    let mut early = house.play("live/foo").await.unwrap();
    let stamped = |timestamp, message: MediaMessage| MediaMessage { timestamp, ..message };
    let expected = [stamped(0, metadata()), stamped(2000, config()), key(2000), delta(2040, 9), audio(2041)];
    assert_eq!(take(&mut early, 5).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_ends_viewers_at_once() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut player = house.play("live/foo").await.unwrap();
    take(&mut player, 2).await;
    let before = tokio::time::Instant::now();
    publisher.close().await.unwrap();
    assert!(player.next().await.unwrap().is_none());
    assert_eq!(before.elapsed(), Duration::ZERO);
    house.fake.log.wait_for("close live/foo").await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_encoder_is_not_a_clean_end() {
    let house = House::new();
    let publisher = house.publish("live/foo").await.unwrap();
    drop(publisher);
    house.fake.log.wait_for("lost live/foo").await;
    house.empty().await;
    assert_eq!(house.ended("left"), 1);
}

#[tokio::test(start_paused = true)]
async fn refusals_say_why() {
    let house = House::new();
    let _publisher = house.publish("live/foo").await.unwrap();
    let refusal = |error: client::Error| match error {
        client::Error::Session(rtmp::client::Closed::Refused(status)) => status.code,
        other => panic!("not refused: {other}"),
    };
    for (path, code) in [("live/foo", "NetStream.Publish.BadName"), ("live/denied", "NetStream.Publish.Denied")] {
        assert_eq!(house.publish(path).await.err().map(refusal).unwrap(), code);
    }
    let code = house.play("live/absent").await.err().map(refusal).unwrap();
    assert_eq!(code, "NetStream.Play.StreamNotFound");
}

#[tokio::test(start_paused = true)]
async fn a_player_may_wait_for_its_stream() {
    let house = House::new();
    let (publisher, player) = tokio::join!(
        async {
            house.fake.log.wait_for("play waits").await;
            house.publish("live/awaited").await
        },
        house.play("live/awaited")
    );
    publisher.unwrap().send(&audio(1)).await.unwrap();
    assert_eq!(next(&mut player.unwrap()).await, audio(1));
}

#[tokio::test(start_paused = true)]
async fn a_player_that_leaves_is_not_waited_for() {
    let house = House::new();
    let path = url("live/awaited");
    let socket = house.socket(1 << 20);
    tokio::select! {
        _ = client::play_over(socket, &path, -2000.0) => panic!("there is no such stream"),
        () = house.fake.log.wait_for("play waits") => {}
    }
    house.fake.log.wait_for("play given up").await;
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_is_taken_over_is_told_and_cut() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    publisher.send(&message(Medium::Audio, 0, b"\xaf\x01taken over")).await.unwrap();
    match publisher.ended().await {
        client::Error::Session(rtmp::client::Closed::Refused(status)) => {
            assert_eq!(status.code, "NetStream.Publish.BadName");
        }
        other => panic!("not refused: {other}"),
    }
    drop(publisher);
    house.empty().await;
    assert_eq!(house.ended("taken_over"), 1);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_listed_with_their_streams() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut player = house.play("live/foo").await.unwrap();
    take(&mut player, 2).await;
    let mut list = house.sessions.list();
    list.sort_by_key(|info| info.kind == Kind::Play);
    assert_eq!(list.iter().map(|info| info.kind).collect::<Vec<_>>(), [Kind::Publish, Kind::Play]);
    assert!(list.iter().all(|info| info.stream == Some(stream("live/foo")) && info.peer == peer()));
    assert!(list[1].bytes_out > 3073 && list[0].bytes_in > 3073);
    drop((publisher, player));
    house.empty().await;
    assert!(house.sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_kicked_publisher_ends_its_stream_and_a_kicked_viewer_itself() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut player = house.play("live/foo").await.unwrap();
    let mut victim = house.play("live/foo").await.unwrap();
    take(&mut victim, 2).await;
    take(&mut player, 2).await;
    let of = |kind| house.sessions.list().into_iter().filter(move |info| info.kind == kind).map(|info| info.id);
    let newest = of(Kind::Play).max_by_key(|id| house.sessions.get(*id).map(|info| info.since)).unwrap();
    assert!(house.sessions.kick(newest, "enough"));
    assert!(victim.next().await.is_err());
    assert!(house.sessions.kick(of(Kind::Publish).next().unwrap(), "enough"));
    assert!(player.next().await.unwrap().is_none());
    house.fake.log.wait_for("close live/foo").await;
    drop((publisher, player, victim));
    house.empty().await;
    assert_eq!(house.ended("kicked"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_whose_message_waits_hears_a_kick_at_once() {
    let mut config = Config::default();
    config.session.limits.publish_bytes_per_second = std::num::NonZeroU64::new(1000);
    let for_who_takes_it = b"\x17\x01\0\0\0wait".to_vec();
    let for_its_turn = vec![0x27; 60_000];
    for payload in [for_who_takes_it, for_its_turn] {
        let house = House::with(config.clone(), RingLimits::default());
        let mut raw = Raw::publishing(&house, "live/foo").await;
        raw.send(9, 1, 0, &payload).await;
        while house.connections.stats().frames_in.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let kicked_at = tokio::time::Instant::now();
        let [publisher] = &house.sessions.list()[..] else { panic!("one is connected") };
        assert!(house.sessions.kick(publisher.id, "enough"));
        house.fake.log.wait_for("close live/foo").await;
        assert_eq!(kicked_at.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_also_plays_is_listed_as_a_publisher() {
    let house = House::new();
    let mut raw = Raw::publishing(&house, "live/foo").await;
    raw.send(9, 1, 0, &key(0).payload).await;
    raw.call(0, "createStream", 3.0, vec![]).await;
    for closed in [false, true] {
        raw.notice(2, if closed { "closeStream" } else { "play" }, vec!["foo".into()]).await;
        raw.settle().await;
        let kinds: Vec<_> = house.sessions.list().iter().map(|session| session.kind).collect();
        assert_eq!(kinds, [Kind::Publish]);
    }
}
