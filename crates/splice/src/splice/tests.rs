use bytes::Bytes;
use media::Medium;

use super::*;

const A: PublicationId = PublicationId::from_bits(0xa);
const B: PublicationId = PublicationId::from_bits(0xb);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn video(timestamp: u32) -> MediaMessage {
    MediaMessage { medium: Medium::Video, timestamp, payload: Bytes::from_static(&[0x27, 1, 0, 0, 0]) }
}

fn dts(accepted: Result<Accepted, Gone>) -> u64 {
    match accepted {
        Ok(Accepted::Frame(frame, _)) => frame.dts,
        other => panic!("not a frame: {other:?}"),
    }
}

#[test]
fn a_live_encoder_is_not_pushed_out() {
    let t = Instant::now();
    let mut splice = Splice::open(Config::default(), A, t);
    assert_eq!(splice.publish(B, t + seconds(2)), Err(Taken::Busy));
    splice.handle_message(A, 0, video(0), t + seconds(2)).unwrap();
    assert_eq!(splice.publish(B, t + seconds(4)), Err(Taken::Busy));
    assert_eq!(splice.publish(B, t + seconds(5)), Ok(Opened::TookOver(A)));
}

#[test]
fn take_over_never_and_always_mean_what_they_say() {
    let t = Instant::now();
    let with = |take_over| Splice::open(Config { take_over, ..Config::default() }, A, t);
    assert_eq!(with(TakeOver::Never).publish(B, t + seconds(60)), Err(Taken::Busy));
    assert_eq!(with(TakeOver::Always).publish(B, t), Ok(Opened::TookOver(A)));
}

#[test]
fn a_lost_encoder_yields_at_once_and_its_messages_are_gone() {
    let t = Instant::now();
    let mut splice = Splice::open(Config { take_over: TakeOver::Never, ..Config::default() }, A, t);
    splice.handle_lost(A, t);
    assert_eq!(splice.publish(B, t), Ok(Opened::TookOver(A)));
    assert_eq!(splice.handle_message(A, 0, video(0), t), Err(Gone));
    splice.handle_lost(A, t);
    assert!(splice.is_connected(), "the loss of the old one does not touch the new one");
    assert!(!splice.handle_close(A));
}

#[test]
fn the_grace_ends_the_stream_unless_the_encoder_is_back() {
    let t = Instant::now();
    let mut splice = Splice::open(Config::default(), A, t);
    assert_eq!(splice.poll_timeout(), None);
    splice.handle_lost(A, t);
    assert_eq!(splice.poll_timeout(), Some(t + seconds(15)));
    assert!(!splice.handle_timeout(t + seconds(14)));
    assert_eq!(splice.publish(A, t + seconds(14)), Ok(Opened::Resumed { next_number: 0 }));
    assert!(!splice.handle_timeout(t + seconds(20)));
    splice.handle_lost(A, t + seconds(20));
    assert!(splice.handle_timeout(t + seconds(35)));
    assert_eq!(splice.publish(A, t + seconds(35)), Err(Taken::Gone));
}

#[test]
fn whoever_is_heard_is_not_lost() {
    let t = Instant::now();
    let mut splice = Splice::open(Config::default(), A, t);
    splice.handle_lost(A, t);
    dts(splice.handle_message(A, 0, video(0), t + seconds(1)));
    assert!(splice.is_connected() && !splice.handle_timeout(t + seconds(60)));
}

#[test]
fn what_was_heard_is_not_taken_twice() {
    let t = Instant::now();
    let mut splice = Splice::open(Config::default(), A, t);
    dts(splice.handle_message(A, 0, video(0), t));
    dts(splice.handle_message(A, 1, video(40), t));
    splice.handle_lost(A, t);
    assert_eq!(splice.publish(A, t), Ok(Opened::Resumed { next_number: 2 }));
    assert_eq!(splice.handle_message(A, 1, video(40), t), Ok(Accepted::Repeated));
    let cleared = Provenance::of(A).numbered(2);
    assert_eq!(splice.handle_event(A, 2, t), Ok(Some(cleared)));
    assert_eq!(splice.handle_event(A, 2, t), Ok(None));
}

#[test]
fn the_next_encoder_goes_on_where_the_last_one_stopped() {
    let t = Instant::now();
    let mut splice = Splice::open(Config::default(), A, t);
    for n in 0..10 {
        splice.handle_message(A, n, video(5000 + 40 * n as u32), t).unwrap();
    }
    splice.handle_lost(A, t);
    splice.publish(B, t + seconds(5)).unwrap();
    assert_eq!(dts(splice.handle_message(B, 0, video(0), t + seconds(5))), 5000 + 360 + 40);
    assert_eq!(dts(splice.handle_message(B, 1, video(40), t + seconds(5))), 5000 + 360 + 80);
}

#[test]
fn a_frame_says_which_message_it_was_and_how_the_encoders_clock_stood() {
    let t = Instant::now();
    let mut splice = Splice::open(Config::default(), A, t);
    splice.handle_message(A, 0, video(5000), t).unwrap();
    splice.handle_lost(A, t);
    splice.publish(B, t).unwrap();
    let Ok(Accepted::Frame(frame, provenance)) = splice.handle_message(B, 3, video(70), t) else { panic!("no frame") };
    let clock = media::Clock { source_ms: 70, offset_ms: 4970 };
    assert_eq!(provenance, Provenance { publication: B, number: Some(3), clock: Some(clock) });
    assert_eq!((frame.dts, clock.dts()), (5040, 5040));
}

#[test]
fn messages_that_will_not_come_count_as_heard() {
    let t = Instant::now();
    let mut splice = Splice::open(Config::default(), A, t);
    splice.handle_message(A, 0, video(0), t).unwrap();
    let skipped = Provenance::of(A).numbered(7);
    assert_eq!(splice.handle_skip(A, 1, 7, t), Ok(Some(skipped)));
    assert_eq!(splice.handle_skip(A, 1, 7, t), Ok(None));
    assert_eq!(splice.handle_skip(A, 9, 8, t), Ok(None));
    assert_eq!(splice.next_number(), 8);
    assert_eq!(splice.handle_message(A, 7, video(0), t), Ok(Accepted::Repeated));
    assert_eq!(splice.handle_skip(B, 8, 9, t), Err(Gone));
}

#[test]
fn an_awaited_publication_yields_to_nobody_until_it_counts_as_lost() {
    let t = Instant::now();
    let mut splice = Splice::open(Config { take_over: TakeOver::Always, ..Config::default() }, A, t);
    splice.await_resume(t + seconds(3));
    assert_eq!(splice.publish(B, t + seconds(2)), Err(Taken::Busy));
    assert!(!splice.is_connected());
    assert_eq!(splice.poll_timeout(), Some(t + seconds(3)));
    assert!(!splice.handle_timeout(t + seconds(4)));
    assert_eq!(splice.poll_timeout(), Some(t + seconds(18)));
    assert!(splice.handle_timeout(t + seconds(18)) && splice.has_ended());
    splice.await_resume(t + seconds(30));
    assert!(splice.has_ended());
}

#[test]
fn an_awaited_publication_that_comes_is_connected() {
    let t = Instant::now();
    let mut splice = Splice::open(Config::default(), A, t);
    splice.handle_message(A, 0, video(0), t).unwrap();
    splice.await_resume(t + seconds(3));
    assert_eq!(splice.publish(A, t + seconds(2)), Ok(Opened::Resumed { next_number: 1 }));
    assert!(splice.is_connected() && splice.poll_timeout().is_none());
    splice.await_resume(t + seconds(9));
    assert_eq!(splice.publish(B, t + seconds(9)), Ok(Opened::TookOver(A)), "nobody told it that the time is over");
}
