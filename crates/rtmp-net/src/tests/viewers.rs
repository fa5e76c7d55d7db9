//! Viewers that are slow, pause, or want less.

use std::sync::atomic::Ordering;

use hub::Latency;

use super::{raw::Raw, *};

fn small_ring() -> RingLimits {
    RingLimits { bytes: 1 << 20, ..RingLimits::default() }
}

#[tokio::test(start_paused = true)]
async fn a_slow_viewer_loses_frames_and_rejoins_at_a_keyframe() {
    let house = House::with(Config::default(), small_ring());
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut slow = client::play_over(house.socket(4096), &url("live/foo"), -2000.0).await.unwrap();
    let mut quick = house.play("live/foo").await.unwrap();
    assert_eq!(take(&mut slow, 2).await, [config(), key(0)]);
    assert_eq!(take(&mut quick, 2).await, [config(), key(0)]);
    for second in 1..10 {
        let at = second * 1000;
        publisher.send(&key(at)).await.unwrap();
        assert_eq!(next(&mut quick).await, key(at));
        for frame in 1..5 {
            let delta = delta(at + frame, 100_000);
            publisher.send(&delta).await.unwrap();
            assert_eq!(next(&mut quick).await, delta);
        }
    }
    // What was under way comes whole; then the ring has moved on.
    let mut seen = vec![next(&mut slow).await];
    while seen.last().is_none_or(|last| last.timestamp < 9004) {
        seen.push(next(&mut slow).await);
    }
    let gap = seen.windows(2).position(|pair| pair[1].timestamp > pair[0].timestamp + 1000).unwrap();
    let at = seen[gap + 1].timestamp;
    assert_eq!(seen[gap + 1], MediaMessage { timestamp: at, ..config() });
    assert_eq!(seen[gap + 2], key(at));
    assert_eq!(house.connections.stats().skips.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_is_no_further_behind_than_its_service_allows_skips_nothing() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut slow = client::play_over(house.socket(4096), &url("live/foo"), -2000.0).await.unwrap();
    assert_eq!(take(&mut slow, 2).await, [config(), key(0)]);
    // Less than a ring holds, and GOP after GOP, so that there is always a later keyframe to skip to.
    let sent: Vec<_> = (1..16).flat_map(|second| [key(second * 1000), delta(second * 1000 + 40, 500_000)]).collect();
    send_all(&mut publisher, &sent).await;
    let stats = house.connections.stats();
    while stats.frames_in.load(Ordering::Relaxed) < 2 + sent.len() as u64 {
        tokio::task::yield_now().await;
    }
    assert_eq!(take(&mut slow, sent.len()).await, sent);
    assert_eq!(stats.skips.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_takes_nothing_is_cut_after_fifteen_seconds() {
    let house = House::with(Config::default(), small_ring());
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut stuck = client::play_over(house.socket(4096), &url("live/foo"), -2000.0).await.unwrap();
    take(&mut stuck, 2).await;
    let started = tokio::time::Instant::now();
    while house.ended("stalled") == 0 {
        let now = started.elapsed();
        assert!(now < Duration::from_secs(17), "it is still there");
        publisher.send(&delta(now.as_millis() as u32, 5000)).await.unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_never_catches_up_is_cut_in_the_end() {
    let house = House::with(Config::default(), small_ring());
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut slow = client::play_over(house.socket(4096), &url("live/foo"), -2000.0).await.unwrap();
    take(&mut slow, 2).await;
    let started = tokio::time::Instant::now();
    while house.ended("behind") == 0 {
        let now = started.elapsed();
        assert!(now < Duration::from_secs(70), "it is still there");
        // 3 MB come each second, and the viewer takes a third of it.
        publisher.send(&key(now.as_millis() as u32)).await.unwrap();
        for _ in 0..3 {
            publisher.send(&delta(now.as_millis() as u32, 100_000)).await.unwrap();
        }
        let _ended = slow.next().await;
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_does_not_take_the_rest_of_an_ended_stream_is_cut_and_keeps_nothing_of_it() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut slow = Raw::playing(&house, "live/foo").await;
    assert_eq!(slow.frames(2).await, [config(), key(0)]);
    // More than a socket holds, and less than is acknowledged.
    let sent: Vec<_> = (1..21).map(|at| delta(at, 100_000)).collect();
    send_all(&mut publisher, &sent).await;
    let ended = Arc::downgrade(&house.fake.hub.get(&stream("live/foo")).unwrap());
    publisher.close().await.unwrap();
    house.fake.log.wait_for("close live/foo").await;
    let started = tokio::time::Instant::now();
    while house.ended("behind") == 0 {
        assert!(started.elapsed() < Duration::from_secs(80), "it is still there");
        // Some bytes a second: it never stalls, and never has all.
        tokio::time::sleep(Duration::from_secs(5)).await;
        slow.io.read_exact(&mut [0; 512]).await.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_secs(60));
    assert_eq!(ended.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pause_leaves_out_what_came_and_goes_on_at_a_keyframe() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut viewer = Raw::playing(&house, "live/foo").await;
    assert_eq!(viewer.frames(2).await, [config(), key(0)]);
    viewer.notice(1, "pause", vec![true.into(), 0.0.into()]).await;
    viewer.status("NetStream.Pause.Notify").await;
    send_all(&mut publisher, &[delta(40, 9), key(1000), delta(1040, 9)]).await;
    // Longer than a viewer may stall: this one does not, it pauses.
    tokio::time::sleep(Duration::from_secs(40)).await;
    viewer.notice(1, "pause", vec![false.into(), 0.0.into()]).await;
    viewer.status("NetStream.Unpause.Notify").await;
    send_all(&mut publisher, &[delta(1080, 9), key(2000), delta(2040, 9)]).await;
    let stamped = MediaMessage { timestamp: 2000, ..config() };
    assert_eq!(viewer.frames(3).await, [stamped, key(2000), delta(2040, 9)]);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_pauses_is_told_of_the_streams_end() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut viewer = Raw::playing(&house, "live/foo").await;
    viewer.notice(1, "pause", vec![true.into(), 0.0.into()]).await;
    viewer.status("NetStream.Pause.Notify").await;
    let ended = house.fake.hub.get(&stream("live/foo")).unwrap();
    send_all(&mut publisher, &[delta(40, 9)]).await;
    publisher.close().await.unwrap();
    viewer.status("NetStream.Play.UnpublishNotify").await;
    assert_eq!(ended.info().readers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_may_do_without_audio_or_video() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut viewer = Raw::playing(&house, "live/foo").await;
    assert_eq!(viewer.frames(2).await, [config(), key(0)]);
    viewer.notice(1, "receiveVideo", vec![false.into()]).await;
    viewer.settle().await;
    send_all(&mut publisher, &[delta(40, 9), audio(41), key(1000), audio(1001)]).await;
    assert_eq!(viewer.frames(2).await, [audio(41), audio(1001)]);
    viewer.notice(1, "receiveVideo", vec![true.into()]).await;
    viewer.notice(1, "receiveAudio", vec![false.into()]).await;
    viewer.settle().await;
    send_all(&mut publisher, &[delta(1040, 9), audio(1041), config(), key(2000), delta(2040, 9)]).await;
    assert_eq!(viewer.frames(3).await, [config(), key(2000), delta(2040, 9)]);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_may_say_so_before_its_play_is_decided() {
    let house = House::new();
    let mut publisher = house.publish("live/foo").await.unwrap();
    send_all(&mut publisher, &[config(), key(0), audio(1)]).await;
    let mut viewer = Raw::connected(&house, "live").await;
    viewer.call(0, "createStream", 2.0, vec![]).await;
    viewer.notice(1, "play", vec!["foo".into()]).await;
    viewer.notice(1, "receiveVideo", vec![false.into()]).await;
    assert_eq!(viewer.frames(2).await, [config(), audio(1)]);
}

#[tokio::test(start_paused = true)]
async fn two_plays_on_one_connection_each_get_their_stream() {
    let house = House::new();
    let mut one = house.publish("live/one").await.unwrap();
    let mut two = house.publish("live/two").await.unwrap();
    one.send(&audio(1)).await.unwrap();
    two.send(&audio(2)).await.unwrap();
    let mut viewer = Raw::playing(&house, "live/one").await;
    viewer.call(0, "createStream", 9.0, vec![]).await;
    viewer.notice(2, "play", vec!["two".into()]).await;
    let mut seen = vec![viewer.media().await, viewer.media().await];
    send_all(&mut one, &[audio(3)]).await;
    seen.push(viewer.media().await);
    send_all(&mut two, &[audio(4)]).await;
    seen.push(viewer.media().await);
    seen.sort_by_key(|(_, message)| message.timestamp);
    assert_eq!(seen, [(1, audio(1)), (2, audio(2)), (1, audio(3)), (2, audio(4))]);
}

#[tokio::test(start_paused = true)]
async fn one_connection_may_publish_and_play() {
    let house = House::new();
    let mut both = Raw::connected(&house, "live").await;
    both.call(0, "createStream", 2.0, vec![]).await;
    both.call(0, "createStream", 3.0, vec![]).await;
    both.notice(1, "publish", vec!["foo".into()]).await;
    both.status("NetStream.Publish.Start").await;
    both.notice(2, "play", vec!["foo".into()]).await;
    both.status("NetStream.Play.Start").await;
    both.send(8, 1, 7, b"\xaf\x01").await;
    assert_eq!(both.media().await, (2, message(Medium::Audio, 7, b"\xaf\x01")));
    both.notice(0, "deleteStream", vec![1.0.into()]).await;
    both.status("NetStream.Play.UnpublishNotify").await;
    house.fake.log.wait_for("close live/foo").await;
}

const LATENCIES: [Latency; 4] =
    [Latency::Lowest, Latency::Balanced, Latency::THROUGHPUT, Latency::Merged(Duration::from_millis(20))];

/// A publisher whose stream is shown with this latency, and the keyframe that it begins with.
async fn paced(house: &House, latency: Latency) -> Publisher {
    let mut publisher = house.publish("live/foo").await.unwrap();
    let stream = house.fake.hub.get(&stream("live/foo")).unwrap();
    tokio::spawn(pace(stream.pace(), latency, Pressure::default()));
    send_all(&mut publisher, &[config(), key(0)]).await;
    publisher
}

#[tokio::test(start_paused = true)]
async fn every_viewer_gets_every_frame_in_order_whatever_the_latency() {
    for latency in LATENCIES {
        let house = House::new();
        let mut publisher = paced(&house, latency).await;
        let mut viewers = Vec::new();
        // However little a socket takes at once, as long as it is read.
        for socket in [1 << 20, 4096, 700] {
            for socket in [house.socket(socket), house.plain_socket(socket)] {
                viewers.push(client::play_over(socket, &url("live/foo"), -2000.0).await.unwrap());
            }
        }
        let frame = |n: u32| if n.is_multiple_of(3) { audio(n * 10) } else { delta(n * 10, n as usize * 7 % 900) };
        let sent: Vec<_> = (1..200).map(frame).collect();
        let expected: Vec<_> = [config(), key(0)].into_iter().chain(sent.clone()).collect();
        let publishing = tokio::spawn(async move {
            for message in &sent {
                publisher.send(message).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            publisher.close().await.unwrap();
        });
        let watching = viewers.into_iter().map(|mut viewer| {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Some(message) = viewer.next().await.unwrap() {
                    seen.push(message);
                }
                seen
            })
        });
        for viewer in watching.collect::<Vec<_>>() {
            assert_eq!(viewer.await.unwrap(), expected, "{latency:?}");
        }
        publishing.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_has_to_say_comes_between_two_frames_of_its_row() {
    let house = House::new();
    let mut publisher = paced(&house, Latency::Balanced).await;
    let mut viewer = Raw::playing(&house, "live/foo").await;
    assert_eq!(viewer.frames(2).await, [config(), key(0)]);
    for n in 1..50 {
        // It is answered while frames are on their way.
        viewer.call(0, "_checkbw", 100.0 + f64::from(n), vec![]).await;
        send_all(&mut publisher, &[audio(n * 40), delta(n * 40, 3000)]).await;
        assert_eq!(viewer.frames(2).await, [audio(n * 40), delta(n * 40, 3000)]);
    }
    assert_eq!(house.connections.rows_open(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_in_a_row_is_pinged_and_can_be_kicked() {
    let house = House::new();
    let mut publisher = paced(&house, Latency::Lowest).await;
    let mut viewer = house.play("live/foo").await.unwrap();
    assert_eq!(take(&mut viewer, 2).await, [config(), key(0)]);
    for second in 1..100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        publisher.send(&key(second * 1000)).await.unwrap();
        assert_eq!(next(&mut viewer).await, key(second * 1000));
    }
    let info = house.sessions.list().into_iter().find(|info| info.kind == Kind::Play).unwrap();
    assert!(info.bytes_out > 3073 + 98 * 20, "{}", info.bytes_out);
    assert!(house.sessions.kick(info.id, "enough"));
    assert!(viewer.next().await.is_err());
    publisher.send(&key(200_000)).await.unwrap();
    assert_eq!(house.ended("kicked"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_viewer_starts_at_once_whatever_the_latency() {
    for latency in LATENCIES {
        let house = House::new();
        let mut publisher = paced(&house, latency).await;
        send_all(&mut publisher, &[audio(10), delta(40, 9)]).await;
        // Until the publisher's connection has taken it.
        let stream = house.fake.hub.get(&stream("live/foo")).unwrap();
        while stream.info().committed_below < stream.info().first_seq + 5 {
            tokio::task::yield_now().await;
        }
        let mut late = house.play("live/foo").await.unwrap();
        let asked = tokio::time::Instant::now();
        assert_eq!(take(&mut late, 4).await, [config(), key(0), audio(10), delta(40, 9)]);
        assert_eq!(asked.elapsed(), Duration::ZERO, "{latency:?}");
        send_all(&mut publisher, &[audio(60), delta(80, 9)]).await;
        assert_eq!(take(&mut late, 2).await, [audio(60), delta(80, 9)]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_less_gets_it_out_of_the_same_groups() {
    let house = House::new();
    let mut publisher = paced(&house, Latency::THROUGHPUT).await;
    let mut viewer = Raw::playing(&house, "live/foo").await;
    assert_eq!(viewer.frames(2).await, [config(), key(0)]);
    viewer.notice(1, "receiveAudio", vec![false.into()]).await;
    viewer.settle().await;
    send_all(&mut publisher, &[audio(10), delta(40, 9), audio(50), delta(80, 9)]).await;
    assert_eq!(viewer.frames(2).await, [delta(40, 9), delta(80, 9)]);
}
