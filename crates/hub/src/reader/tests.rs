use media::PublicationId;

use super::*;
use crate::{
    Event, Hub, RingLimits,
    samples::{ALL, AVC_CONFIG, audio, config, delta, key, name, open, push},
};

fn skipped(cause: Cause, missed: u64) -> Read {
    Read::Skipped(Skip { cause, missed })
}

fn read(reader: &mut Reader) -> (Read, Vec<(u64, bool)>) {
    let mut out = Vec::new();
    let read = reader.read(ALL, &mut out);
    (read, out.iter().map(|item| (item.seq, matches!(item.body, Body::Setup(_)))).collect())
}

#[test]
fn a_late_reader_starts_at_the_last_keyframe_set_up_first() {
    let (_hub, mut writer) = open(RingLimits::default());
    for body in [config(), key(0), delta(40), key(80), audio(85), delta(120)] {
        push(&mut writer, body);
    }
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    let mut out = Vec::new();
    assert_eq!(reader.read(ALL, &mut out), Read::Items);
    assert_eq!(out.iter().map(|item| item.seq).collect::<Vec<_>>(), [5, 5, 6, 7]);
    assert!(matches!(&out[0].body, Body::Setup(frame) if frame.dts == 80 && frame.payload == AVC_CONFIG));
    assert_eq!(read(&mut reader), (Read::Empty, vec![]));
}

#[test]
fn a_reader_after_a_position_goes_on_in_the_middle_of_a_gop() {
    let (_hub, mut writer) = open(RingLimits::default());
    for body in [config(), key(0), delta(40), delta(80)] {
        push(&mut writer, body);
    }
    let mut reader = writer.stream().subscribe(Start::After(3));
    assert_eq!(read(&mut reader), (Read::Items, vec![(4, false), (5, false)]));
}

#[test]
fn a_reader_that_falls_out_of_the_ring_rejoins_at_a_keyframe() {
    let (_hub, mut writer) = open(RingLimits { items: 4, ..RingLimits::default() });
    push(&mut writer, config());
    push(&mut writer, key(0));
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut reader).1, [(3, true), (3, false)]);
    for body in [delta(40), delta(80), delta(120), key(160), delta(200), delta(240)] {
        push(&mut writer, body);
    }
    assert_eq!(read(&mut reader), (skipped(Cause::Slow, 3), vec![(7, true), (7, false), (8, false), (9, false)]));
}

#[test]
fn one_that_lags_by_bytes_skips_to_a_newer_keyframe() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, config());
    push(&mut writer, key(0));
    let mut reader = writer.stream().subscribe(Start::LastKeyframe).with_lag_bytes_max(25);
    read(&mut reader);
    for body in [delta(40), delta(80), key(120)] {
        push(&mut writer, body);
    }
    assert_eq!(read(&mut reader), (skipped(Cause::Slow, 2), vec![(6, true), (6, false)]));
}

#[test]
fn a_gap_in_the_source_is_crossed_at_a_keyframe_with_its_set_up() {
    let hub = Hub::new(RingLimits::default());
    let mut writer = hub.mirror(&name()).unwrap();
    assert_eq!(writer.append_at([(10, config()), (11, key(0)), (12, delta(40))]), 0);
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut reader).1.last(), Some(&(12, false)));
    assert_eq!(writer.append_at([(12, delta(40)), (50, delta(900))]), 1);
    assert_eq!(read(&mut reader), (Read::Empty, vec![]));
    writer.append_at([(51, key(940))]);
    assert_eq!(read(&mut reader), (skipped(Cause::Gap, 1), vec![(51, true), (51, false)]));
}

#[test]
fn one_that_falls_out_of_the_ring_over_a_gap_has_missed_what_was_there() {
    let hub = Hub::new(RingLimits { items: 2, ..RingLimits::default() });
    let mut writer = hub.mirror(&name()).unwrap();
    writer.append_at([(1, key(0)), (2, delta(40))]);
    let mut reader = writer.stream().subscribe(Start::After(0));
    assert_eq!(read(&mut reader).1.last(), Some(&(2, false)));
    let (far, farther) = (1 << 40, 2 << 40);
    writer.append_at([(3, delta(80)), (far, key(120)), (farther, key(160)), (farther + 1, delta(200))]);
    assert_eq!(read(&mut reader), (skipped(Cause::Slow, 2), vec![(farther, false), (farther + 1, false)]));
}

#[test]
fn audio_alone_starts_at_the_newest_frame() {
    let (_hub, mut writer) = open(RingLimits::default());
    for n in 0..5 {
        push(&mut writer, audio(n * 23));
    }
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut reader), (Read::Items, vec![(6, false)]));
}

#[test]
fn nobody_starts_before_the_first_keyframe_of_announced_video() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, config());
    push(&mut writer, audio(0));
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut reader).0, Read::Empty);
    push(&mut writer, key(40));
    assert_eq!(read(&mut reader), (Read::Items, vec![(4, true), (4, false)]));
}

#[test]
fn announced_video_that_never_comes_does_not_silence_the_stream() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, config());
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    for n in 0..450 {
        push(&mut writer, audio(n * 23));
    }
    let (found, items) = read(&mut reader);
    assert_eq!((found, items.last()), (Read::Items, Some(&(452, false))));
}

#[test]
fn whoever_waits_for_the_next_frame_does_not_get_the_last_one_again() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, audio(0));
    let mut reader = writer.stream().subscribe(Start::NextKeyframe);
    assert_eq!(read(&mut reader), (Read::Empty, vec![]));
    push(&mut writer, audio(23));
    assert_eq!(read(&mut reader), (Read::Items, vec![(3, false)]));
}

#[test]
fn the_next_encoder_brings_its_own_set_up() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, config());
    push(&mut writer, key(0));
    push(&mut writer, Body::Event(Event::Open { publication: PublicationId::from_bits(2) }));
    push(&mut writer, key(40));
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut reader).1, [(5, false)]);
}

#[test]
fn a_budget_returns_the_rest_later_and_one_item_always() {
    let (_hub, mut writer) = open(RingLimits::default());
    for body in [key(0), delta(40), delta(80)] {
        push(&mut writer, body);
    }
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    let mut out = Vec::new();
    assert_eq!(reader.read(Budget { items: 10, bytes: 1 }, &mut out), Read::Items);
    assert_eq!(out.len(), 1);
    assert_eq!(reader.read(Budget { items: 1, bytes: 1000 }, &mut out), Read::Items);
    assert_eq!(out.len(), 2);
}

#[test]
fn the_end_comes_after_the_last_item() {
    let (hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    let next = writer.stream().info().next_seq;
    drop(writer);
    assert_eq!(read(&mut reader).0, Read::Items);
    assert_eq!(read(&mut reader).0, Read::Ended);
    assert!(hub.get(&name()).is_none());
    assert_eq!(hub.open(&name()).unwrap().stream().info().next_seq, next, "positions never repeat");
}

#[test]
fn a_name_has_one_writer_and_its_readers_are_counted() {
    let (hub, writer) = open(RingLimits::default());
    assert!(hub.open(&name()).is_err());
    let readers = writer.stream().readers();
    let reader = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(*readers.borrow(), 1);
    drop(reader);
    assert_eq!(*readers.borrow(), 0);
}

#[tokio::test]
async fn a_waiting_reader_wakes_for_an_item_and_for_the_end() {
    let (_hub, mut writer) = open(RingLimits::default());
    let mut reader = writer.stream().subscribe(Start::NextKeyframe);
    assert_eq!(read(&mut reader).0, Read::Empty);
    push(&mut writer, key(0));
    reader.ready().await;
    assert_eq!(read(&mut reader).0, Read::Items);
    assert_eq!(read(&mut reader).0, Read::Empty);
    drop(writer);
    reader.ready().await;
    assert_eq!(read(&mut reader).0, Read::Ended);
}
