use bytes::Bytes;
use media::{Frame, Kind, Medium};

use super::*;
use crate::{item::Body, samples::AVC_CONFIG};

fn video(kind: Kind, dts: u64, size: usize) -> Body {
    let frame =
        Frame { medium: Medium::Video, kind, track: 0, dts, composition_ms: 0, payload: Bytes::from(vec![0x17; size]) };
    Body::Frame(frame)
}

fn key_of(track: u8) -> Body {
    let payload = Bytes::from_static(&[0x17]);
    Body::Frame(Frame { medium: Medium::Video, kind: Kind::Key, track, dts: 0, composition_ms: 0, payload })
}

/// Decoder set-up of a track; one of another level is another.
fn config_of(track: u8, level: u8) -> Body {
    let payload = [&b"\x96\0avc1"[..], &[track], &AVC_CONFIG[5..8], &[level], &AVC_CONFIG[9..]].concat();
    Body::Frame(Frame::classify(Medium::Video, 0, payload.into()))
}

fn push(ring: &mut Ring, body: Body) {
    ring.append(Arc::new(Item::new(ring.head().next_seq, body)));
    ring.commit_below(u64::MAX);
}

#[test]
fn the_oldest_go_when_bytes_items_or_time_run_over() {
    let limits = RingLimits { bytes: 1000, items: 5, duration_ms: 100 };
    let mut by_bytes = Ring::new(limits, 1);
    (0..4).for_each(|n| push(&mut by_bytes, video(Kind::Key, n, 400)));
    assert_eq!(by_bytes.first_seq(), 3);
    let mut by_items = Ring::new(limits, 1);
    (0..9).for_each(|n| push(&mut by_items, video(Kind::Key, n, 1)));
    assert_eq!((by_items.first_seq(), by_items.head().next_seq), (5, 10));
    let mut by_time = Ring::new(limits, 1);
    (0..5).for_each(|n| push(&mut by_time, video(Kind::Key, n * 60, 1)));
    assert_eq!(by_time.first_seq(), 4);
}

#[test]
fn a_jump_of_the_encoders_clock_does_not_empty_the_ring() {
    let mut ring = Ring::new(RingLimits::default(), 1);
    push(&mut ring, video(Kind::Key, 0, 1));
    push(&mut ring, video(Kind::Delta, 3_600_000, 1));
    assert_eq!(ring.first_seq(), 1);
}

#[test]
fn an_item_larger_than_the_ring_is_still_served() {
    let mut ring = Ring::new(RingLimits { bytes: 10, ..RingLimits::default() }, 1);
    push(&mut ring, video(Kind::Key, 0, 100));
    assert_eq!(ring.items_from(0).count(), 1);
}

#[test]
fn starts_leave_with_their_keyframes() {
    let mut ring = Ring::new(RingLimits { items: 3, ..RingLimits::default() }, 1);
    push(&mut ring, video(Kind::Key, 0, 1));
    assert_eq!(ring.newest_start().map(|start| start.seq), Some(1));
    (1..5).for_each(|n| push(&mut ring, video(Kind::Delta, n, 1)));
    assert!(ring.newest_start().is_none());
}

#[test]
fn where_the_lowest_track_stops_readers_start_at_another() {
    let mut ring = Ring::new(RingLimits { items: 3, ..RingLimits::default() }, 1);
    let mut start_after = |track| {
        push(&mut ring, key_of(track));
        ring.newest_start().map(|start| start.seq)
    };
    assert_eq!([0, 1, 1].map(&mut start_after), [Some(1); 3], "it may only be late");
    assert_eq!([1, 1, 1].map(&mut start_after), [None, Some(5), Some(6)]);
    assert_eq!([0, 1].map(&mut start_after), [Some(7); 2], "it is back");
}

#[test]
fn each_change_of_set_up_counts_in_bytes() {
    let first_of = |config: fn(u8) -> Body| {
        let mut ring = Ring::new(RingLimits { bytes: 100_000, ..RingLimits::default() }, 1);
        (0..100).for_each(|n| push(&mut ring, config(n)));
        ring.first_seq()
    };
    assert_eq!(first_of(|_| config_of(0, 0)), 1);
    assert!(first_of(|n| config_of(n % 64, n)) > 50, "each has a list of 64 tracks beside it");
}

#[test]
fn what_is_not_committed_stays_and_is_more_than_should_be_there_from_half_of_the_ring_on() {
    let limits = RingLimits { bytes: 1000, items: 100, duration_ms: 30_000 };
    let mut ring = Ring::new(limits, 1);
    (0..4).for_each(|n| push(&mut ring, video(Kind::Key, n, 250)));
    let append = |ring: &mut Ring| ring.append(Arc::new(Item::new(ring.head().next_seq, video(Kind::Key, 4, 250))));
    append(&mut ring);
    append(&mut ring);
    assert_eq!((ring.first_seq(), ring.is_backlogged()), (3, false));
    append(&mut ring);
    assert!(ring.is_backlogged());
    (0..7).for_each(|_| append(&mut ring));
    assert_eq!(ring.first_seq(), 5, "seen by nobody yet");
    ring.commit_below(13);
    assert_eq!((ring.first_seq(), ring.is_backlogged()), (11, false));
}
