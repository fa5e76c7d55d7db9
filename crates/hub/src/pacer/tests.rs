use media::PublicationId;

use super::*;
use crate::{
    Cause, Event, Group, Read, Reader, RingLimits, Skip, Start,
    samples::{ALL, audio, config, delta, key, open, push},
};

fn read(reader: &mut Reader) -> (Read, Vec<u64>) {
    let mut out = Vec::new();
    let read = reader.read(ALL, &mut out);
    (read, out.iter().map(|item| item.seq).collect())
}

fn positions(group: &Group) -> Vec<u64> {
    group.items().iter().map(|item| item.seq).collect()
}

#[test]
fn paced_readers_see_what_is_shown_and_others_what_is_committed() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let mut pacer = writer.stream().pace();
    let mut paced = writer.stream().subscribe_paced(Start::LastKeyframe);
    let mut other = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!((read(&mut paced), read(&mut other)), ((Read::Items, vec![2]), (Read::Items, vec![2])));
    push(&mut writer, audio(10));
    push(&mut writer, audio(30));
    assert_eq!((read(&mut paced).0, read(&mut other).1), (Read::Empty, vec![3, 4]));
    push(&mut writer, delta(40));
    pacer.show();
    let group = paced.read_group().unwrap();
    assert_eq!((positions(&group), group.frames()), (vec![3, 4, 5], 3));
    assert_eq!((paced.next_seq(), read(&mut paced).0), (Some(6), Read::Empty));
    assert_eq!((other.read_group().is_none(), read(&mut other).1), (true, vec![5]));
}

#[test]
fn who_joins_starts_with_all_that_is_committed_and_goes_on_with_the_rest_of_the_group() {
    let (_hub, mut writer) = open(RingLimits::default());
    let mut pacer = writer.stream().pace();
    push(&mut writer, config());
    push(&mut writer, key(0));
    push(&mut writer, audio(10));
    let mut late = writer.stream().subscribe_paced(Start::LastKeyframe);
    assert_eq!(read(&mut late), (Read::Items, vec![3, 3, 4]));
    push(&mut writer, audio(30));
    assert_eq!(read(&mut late).0, Read::Empty);
    pacer.show();
    assert!(late.read_group().is_none());
    assert_eq!(read(&mut late), (Read::Items, vec![5]));
    push(&mut writer, delta(40));
    pacer.show();
    assert_eq!(positions(&late.read_group().unwrap()), [6]);
}

#[test]
fn a_reader_that_missed_a_group_takes_the_items_of_all() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let mut pacer = writer.stream().pace();
    let mut slow = writer.stream().subscribe_paced(Start::LastKeyframe);
    read(&mut slow);
    for n in 1..3 {
        push(&mut writer, delta(n * 40));
        pacer.show();
    }
    assert!(slow.read_group().is_none());
    assert_eq!(read(&mut slow), (Read::Items, vec![3, 4]));
}

#[test]
fn one_that_lags_skips_to_a_keyframe_that_is_not_shown_yet() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, config());
    push(&mut writer, key(0));
    let mut pacer = writer.stream().pace();
    let mut slow = writer.stream().subscribe_paced(Start::LastKeyframe).with_lag_bytes_max(25);
    read(&mut slow);
    push(&mut writer, delta(40));
    pacer.show();
    for body in [delta(80), key(120)] {
        push(&mut writer, body);
    }
    let skip = Skip { cause: Cause::Slow, missed: 2 };
    assert_eq!(read(&mut slow), (Read::Skipped(skip), vec![6, 6]));
    pacer.show();
    assert_eq!(read(&mut slow).0, Read::Empty);
}

#[test]
fn a_look_tells_what_came_since_the_last() {
    let (_hub, mut writer) = open(RingLimits::default());
    let mut pacer = writer.stream().pace();
    assert_eq!(pacer.look(), News::default());
    push(&mut writer, audio(0));
    push(&mut writer, audio(20));
    assert_eq!(pacer.look(), News { items: 2, bytes: 6, ..News::default() });
    push(&mut writer, key(40));
    assert_eq!(pacer.look(), News { items: 1, bytes: 10, video: true, ..News::default() });
    push(&mut writer, Body::Event(Event::MetadataCleared));
    drop(writer);
    assert_eq!(pacer.look(), News { items: 1, event: true, ended: true, ..News::default() });
}

#[tokio::test]
async fn a_pacer_wakes_for_what_is_committed_and_paced_readers_for_what_is_shown() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let mut pacer = writer.stream().pace();
    pacer.look();
    let mut reader = writer.stream().subscribe_paced(Start::LastKeyframe);
    while read(&mut reader).0 != Read::Empty {}
    let mut ready = is_ready(&mut reader);
    assert!(!ready());
    push(&mut writer, delta(40));
    pacer.committed().await;
    assert!(!ready());
    pacer.show();
    assert!(ready());
}

/// Whether the reader is ready, asked without waiting.
fn is_ready(reader: &mut Reader) -> impl FnMut() -> bool {
    || reader.poll_ready(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
}

#[test]
fn the_end_shows_what_was_held_back() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let _pacer = writer.stream().pace();
    let mut reader = writer.stream().subscribe_paced(Start::LastKeyframe);
    read(&mut reader);
    push(&mut writer, delta(40));
    push(&mut writer, Body::Event(Event::Close { publication: PublicationId::from_bits(1) }));
    drop(writer);
    assert!(reader.read_group().is_none(), "an end is for each reader to see");
    assert_eq!(read(&mut reader), (Read::Items, vec![3, 4]));
    assert_eq!(read(&mut reader).0, Read::Ended);
}

#[test]
fn without_a_pacer_all_that_is_committed_is_shown_at_once() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let mut reader = writer.stream().subscribe_paced(Start::LastKeyframe);
    read(&mut reader);
    push(&mut writer, delta(40));
    assert_eq!(positions(&reader.read_group().unwrap()), [3]);
    let pacer = writer.stream().pace();
    push(&mut writer, delta(80));
    assert!(reader.read_group().is_none());
    drop(pacer);
    assert_eq!(positions(&reader.read_group().unwrap()), [4]);
    push(&mut writer, delta(120));
    assert_eq!(positions(&reader.read_group().unwrap()), [5]);
    assert_eq!(writer.stream().info().readers, 1, "a pacer is no reader");
}
