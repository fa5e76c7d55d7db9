use media::{Provenance, PublicationId};
use proptest::prelude::*;

use super::*;
use crate::{
    Event, Hub, Read,
    samples::{ALL, AVC_CONFIG, audio, config, delta, key, name, open, push},
};

/// What a reader gets now: positions, and whether each is set-up.
fn read(reader: &mut Reader) -> (Read, Vec<(u64, bool)>) {
    let mut out = Vec::new();
    let read = reader.read(ALL, &mut out);
    (read, out.iter().map(|item| (item.seq, matches!(item.body, Body::Setup(_)))).collect())
}

fn append_all(writer: &mut Writer, bodies: impl IntoIterator<Item = Body>) {
    for body in bodies {
        writer.append(body, None);
    }
}

#[test]
fn nobody_sees_what_is_not_committed() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, config());
    let mut early = writer.stream().subscribe(Start::LastKeyframe);
    append_all(&mut writer, [key(0), delta(40), key(80), delta(120)]);
    assert_eq!(read(&mut early), (Read::Empty, vec![]));
    writer.commit_below(5);
    assert_eq!(read(&mut early), (Read::Items, vec![(3, true), (3, false), (4, false)]));
    let mut late = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut late).1, [(3, true), (3, false), (4, false)], "the newest keyframe is not committed");
    let mut next = writer.stream().subscribe(Start::NextKeyframe);
    assert_eq!(read(&mut next), (Read::Empty, vec![]));
    writer.commit_below(7);
    assert_eq!(read(&mut early).1, [(5, false), (6, false)]);
    assert_eq!(read(&mut next).1, [(5, true), (5, false), (6, false)]);
    let mut late = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut late).1, [(5, true), (5, false), (6, false)]);
}

#[test]
fn what_is_committed_is_never_taken_back_nor_given_in_advance() {
    let (_hub, mut writer) = open(RingLimits::default());
    append_all(&mut writer, [key(0), delta(40)]);
    writer.commit_below(100);
    writer.commit_below(2);
    assert_eq!(writer.stream().info().committed_below, 4);
    append_all(&mut writer, [delta(80)]);
    assert_eq!(writer.stream().info().committed_below, 4);
}

#[test]
fn the_newest_time_is_that_of_what_is_committed() {
    let (_hub, mut writer) = open(RingLimits { items: 2, ..RingLimits::default() });
    append_all(&mut writer, [key(40), delta(80)]);
    assert_eq!(writer.stream().info().last_dts, None);
    writer.commit_below(3);
    assert_eq!(writer.stream().info().last_dts, Some(40));
    append_all(&mut writer, [delta(120), delta(160)]);
    assert_eq!(writer.stream().info().first_seq, 3, "all that is committed has left the ring");
    assert_eq!(writer.stream().info().last_dts, Some(40));
    writer.commit_below(u64::MAX);
    assert_eq!(writer.stream().info().last_dts, Some(160));
}

#[test]
fn a_late_joiner_gets_the_set_up_that_is_committed_where_it_starts() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, audio(0));
    append_all(&mut writer, [config(), key(40)]);
    let mut late = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(
        read(&mut late),
        (Read::Items, vec![(2, false)]),
        "video to come holds nobody up before it is committed"
    );
    writer.commit_below(5);
    let mut late = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut late).1, [(4, true), (4, false)]);
}

#[test]
fn a_lagging_reader_skips_to_a_committed_keyframe_only() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let mut reader = writer.stream().subscribe(Start::LastKeyframe).with_lag_bytes_max(25);
    read(&mut reader);
    append_all(&mut writer, [delta(40), delta(80), delta(120), key(160)]);
    writer.commit_below(6);
    assert_eq!(read(&mut reader), (Read::Items, vec![(3, false), (4, false), (5, false)]));
}

#[test]
fn the_end_hides_what_was_not_committed() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    append_all(&mut writer, [delta(40)]);
    drop(writer);
    assert_eq!(read(&mut reader).1, [(2, false)]);
    assert_eq!(read(&mut reader).0, Read::Ended);
}

#[tokio::test]
async fn a_waiting_reader_wakes_for_a_commit_not_for_an_append() {
    let (_hub, mut writer) = open(RingLimits::default());
    push(&mut writer, key(0));
    let mut reader = writer.stream().subscribe(Start::LastKeyframe);
    read(&mut reader);
    assert_eq!(read(&mut reader).0, Read::Empty);
    append_all(&mut writer, [delta(40)]);
    assert!(!wakes(&mut reader).await);
    writer.commit_below(4);
    assert!(wakes(&mut reader).await);
    assert_eq!(read(&mut reader).1, [(3, false)]);
}

/// Whether the reader has something to read without waiting.
async fn wakes(reader: &mut Reader) -> bool {
    tokio::select! {
        biased;
        () = reader.ready() => true,
        () = std::future::ready(()) => false,
    }
}

#[test]
fn a_cut_takes_back_everything_the_tail_changed() {
    let (_hub, mut writer) = open(RingLimits::default());
    append_all(&mut writer, [config(), key(0), delta(40)]);
    writer.commit_below(5);
    let before = writer.stream().info();
    append_all(&mut writer, [Body::Event(Event::Open { publication: PublicationId::from_bits(2) }), key(900)]);
    writer.commit_below(7);
    writer.cut(5);
    assert_eq!(writer.stream().info(), before);
    push(&mut writer, delta(80));
    let mut late = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut late).1, [(3, true), (3, false), (4, false), (5, false)]);
}

#[test]
fn set_up_that_has_left_the_ring_survives_a_cut_to_the_oldest_item() {
    let (_hub, mut writer) = open(RingLimits { items: 2, ..RingLimits::default() });
    append_all(&mut writer, [config(), key(0), key(40), key(80)]);
    writer.commit_below(u64::MAX);
    writer.cut(4);
    assert_eq!(writer.items().count(), 0);
    push(&mut writer, key(50));
    let mut late = writer.stream().subscribe(Start::LastKeyframe);
    assert_eq!(read(&mut late).1, [(4, true), (4, false)]);
    writer.cut(3);
    assert_eq!(writer.snapshot(), Snapshot { next_seq: 3, ..Snapshot::default() }, "what stood there is not known");
}

#[test]
fn a_restored_log_replaces_all_and_is_not_committed() {
    let (_hub, mut writer) = open(RingLimits { items: 3, ..RingLimits::default() });
    append_all(&mut writer, [config(), key(0), delta(40), key(80)]);
    writer.commit_below(u64::MAX);
    let snapshot = writer.snapshot();
    assert_eq!(snapshot.setup.len(), 1);
    let follower = Hub::new(RingLimits::default());
    let mut mirror = follower.mirror(&name()).unwrap();
    mirror.append_at([(1, key(7)), (2, key(8))]);
    let mut reader = mirror.stream().subscribe(Start::LastKeyframe);
    assert_eq!(mirror.restore(snapshot.clone()), 0);
    assert_eq!(mirror.snapshot(), snapshot);
    assert_eq!(read(&mut reader), (Read::Empty, vec![]));
    mirror.commit_below(6);
    let mut out = Vec::new();
    reader.read(ALL, &mut out);
    assert!(matches!(&out[0].body, Body::Setup(frame) if frame.payload == AVC_CONFIG), "{out:?}");
    assert_eq!(out[1].seq, 5);
}

#[test]
fn items_are_handed_on_as_they_are_unless_one_has_left_the_ring() {
    let (_hub, mut writer) = open(RingLimits { items: 3, ..RingLimits::default() });
    assert_eq!(writer.items_from(0).map(|items| items.len()), Some(1), "there was nothing before the first");
    let provenance = Provenance::of(PublicationId::from_bits(1)).numbered(0);
    let item = writer.append(key(0), Some(provenance));
    append_all(&mut writer, [delta(40), delta(80)]);
    assert_eq!(writer.items_from(1), None);
    let items = writer.items_from(2).unwrap();
    assert!(Arc::ptr_eq(&items[0], &item));
    assert_eq!(writer.items_from(5), Some(vec![]));
    let follower = Hub::new(RingLimits::default());
    let mut mirror = follower.mirror(&name()).unwrap();
    assert_eq!(mirror.follow(items.clone()), 0);
    assert_eq!(mirror.follow(items), 3, "they are there");
    assert_eq!(mirror.items().next().and_then(|item| item.provenance), Some(provenance));
    assert_eq!(mirror.stream().info().committed_below, 0);
}

fn bodies(max: usize) -> impl Strategy<Value = Vec<Body>> {
    let body = (0..6u8, 0..200u64).prop_map(|(kind, dts)| match kind {
        0 => config(),
        1 => key(dts),
        2 => audio(dts),
        3 => Body::Event(Event::Open { publication: PublicationId::from_bits(dts.into()) }),
        4 => Body::Event(Event::MetadataCleared),
        _ => delta(dts),
    });
    prop::collection::vec(body, 0..max)
}

/// All that the next item and a late reader depend on.
fn standing(writer: &mut Writer) -> (StreamInfo, Snapshot, Vec<Arc<Item>>) {
    writer.commit_below(u64::MAX);
    let mut out = Vec::new();
    writer.stream().subscribe(Start::LastKeyframe).read(ALL, &mut out);
    (writer.stream().info(), writer.snapshot(), out)
}

proptest! {
    #[test]
    fn a_log_that_was_cut_is_one_to_which_the_rest_never_came(kept in bodies(20), cut in bodies(20), next in bodies(8)) {
        let (_first, mut one) = open(RingLimits::default());
        let (_second, mut other) = open(RingLimits::default());
        append_all(&mut one, kept.clone());
        append_all(&mut other, kept);
        let end = one.stream().info().next_seq;
        append_all(&mut one, cut);
        one.commit_below(end + 3);
        one.cut(end);
        prop_assert_eq!(standing(&mut one), standing(&mut other));
        append_all(&mut one, next.clone());
        append_all(&mut other, next);
        prop_assert_eq!(standing(&mut one), standing(&mut other));
    }

    #[test]
    fn a_log_that_is_restored_and_followed_is_the_same_log(
        items in 1..12usize, first in bodies(30), second in bodies(10),
    ) {
        let limits = RingLimits { items, ..RingLimits::default() };
        let (_hub, mut writer) = open(limits);
        append_all(&mut writer, first);
        writer.commit_below(u64::MAX);
        let follower = Hub::new(limits);
        let mut mirror = follower.mirror(&name()).unwrap();
        mirror.restore(writer.snapshot());
        for body in second {
            mirror.follow([writer.append(body, None)]);
        }
        mirror.commit_below(u64::MAX);
        writer.commit_below(u64::MAX);
        prop_assert_eq!(mirror.snapshot(), writer.snapshot());
    }
}
