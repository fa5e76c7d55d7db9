use bytes::Bytes;
use media::PublicationId;

use super::*;

/// A frame whose payload says which one it is.
fn frame(medium: Medium, head: u8, dts: u64, mark: u8) -> Frame {
    let payload = match medium {
        Medium::Video => vec![head, 1, 0, 0, 0, mark],
        _ => vec![head, 1, mark],
    };
    Frame::classify(medium, dts, Bytes::from(payload))
}

fn key(dts: u64, mark: u8) -> Frame {
    frame(Medium::Video, 0x17, dts, mark)
}

fn delta(dts: u64, mark: u8) -> Frame {
    frame(Medium::Video, 0x27, dts, mark)
}

fn audio(dts: u64, mark: u8) -> Frame {
    frame(Medium::Audio, 0xaf, dts, mark)
}

fn config() -> Frame {
    Frame::classify(Medium::Audio, 0, Bytes::from_static(&[0xaf, 0, 0x12, 0x10]))
}

/// What another pool has, from position `first` on.
fn items(first: u64, frames: Vec<Frame>) -> Vec<Placed> {
    (first..).zip(frames).map(|(seq, frame)| Placed { seq, body: Body::Frame(frame) }).collect()
}

fn with_setup(mut items: Vec<Placed>) -> Vec<Placed> {
    items.insert(0, Placed { seq: items[0].seq, body: Body::Setup(config()) });
    items
}

fn tail(frames: Vec<Frame>) -> Tail {
    let mut tail = Tail::default();
    frames.iter().for_each(|frame| tail.note(frame));
    tail
}

/// Positions, times and last payload bytes of what goes out.
fn told(joint: &Joint) -> Vec<(u64, u64, u8)> {
    let told = joint.due.iter().map(|(seq, body)| match body {
        Body::Frame(frame) => (*seq, frame.dts, *frame.payload.last().unwrap()),
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn the_stream_goes_on_behind_the_frame_that_viewers_had_last() {
    let tail = tail(vec![key(1000, 1), delta(1040, 2), delta(1080, 3)]);
    let mut seam = Seam::new(Numbers::Foreign, 73);
    let gop = vec![key(1000, 1), delta(1040, 2), delta(1080, 3), delta(1120, 4)];
    let joint = seam.push(with_setup(items(70, gop)), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(500, 1120, 4)]);
    assert_eq!((joint.shift.seq(74), joint.shift.dts), (501, 0));
    assert_eq!(joint.setup, [], "decoders go on as they are");
}

#[test]
fn clocks_and_order_may_differ_between_pools() {
    let tail = tail(vec![key(1000, 1), audio(1010, 11), delta(1040, 2)]);
    let gop = vec![key(0, 1), audio(10, 11), audio(33, 12), delta(40, 2), audio(56, 13), delta(80, 3)];
    let joint = Seam::new(Numbers::Foreign, 5).push(items(0, gop), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(500, 1033, 12), (501, 1056, 13), (502, 1080, 3)]);
    assert_eq!(joint.shift.seq(6), 503);
    assert_eq!(joint.shift.frame(delta(120, 4), &tail).dts, 1120);
}

#[test]
fn of_equal_frames_the_nearest_in_time_is_meant() {
    let tail = tail(vec![key(1000, 1), delta(1040, 7), delta(1080, 8), delta(1120, 7)]);
    let gop = vec![key(1000, 1), delta(1040, 7), delta(1080, 8), delta(1120, 7), delta(1160, 9)];
    let joint = Seam::new(Numbers::Foreign, 4).push(items(0, gop), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(500, 1160, 9)]);
}

#[test]
fn nothing_is_decided_before_all_that_was_there_has_come() {
    let tail = tail(vec![key(1000, 1), delta(1040, 2)]);
    let mut seam = Seam::new(Numbers::Foreign, 3);
    assert_eq!(seam.push(items(1, vec![key(1000, 1)]), &tail, 500), None);
    assert_eq!(seam.push(items(2, vec![delta(1040, 2)]), &tail, 500), None);
    let joint = seam.push(items(3, vec![delta(1080, 3)]), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(500, 1080, 3)]);
}

#[test]
fn all_that_viewers_had_may_be_all_there_is() {
    let tail = tail(vec![key(1000, 1), delta(1040, 2)]);
    let mut seam = Seam::new(Numbers::Foreign, 1);
    assert_eq!(seam.push(items(0, vec![key(1000, 1), delta(1040, 2)]), &tail, 500), None);
    let close = Event::Close { publication: PublicationId::from_bits(1) };
    let joint = seam.push(vec![Placed { seq: 2, body: Body::Event(close) }], &tail, 500).unwrap();
    assert_eq!(joint.due, [(500, Body::Event(close))]);
}

#[test]
fn sound_that_was_heard_after_the_last_picture_is_not_heard_again() {
    let tail = tail(vec![key(1000, 1), delta(1040, 2), audio(1050, 11), audio(1073, 12)]);
    for numbers in [Numbers::Same, anew(0), Numbers::Foreign] {
        let mut seam = Seam::new(numbers, 71);
        assert_eq!(seam.push(items(70, vec![key(1000, 1), delta(1040, 2)]), &tail, 500), None);
        assert_eq!(seam.push(items(72, vec![audio(1050, 11)]), &tail, 500), None);
        let joint = seam.push(items(73, vec![audio(1073, 12), delta(1080, 3)]), &tail, 500).unwrap();
        assert_eq!(told(&joint), [(500, 1080, 3)]);
        assert_eq!(joint.shift.seq(75), 501);
    }
}

#[test]
fn where_the_last_picture_does_not_come_again_the_sound_after_it_will_do() {
    let tail = tail(vec![key(1000, 1), delta(1040, 2), audio(1050, 11), audio(1073, 12)]);
    for numbers in [Numbers::Same, anew(0)] {
        let again = vec![audio(1050, 11), audio(1073, 12), delta(1080, 3), audio(1096, 13)];
        let joint = Seam::new(numbers, 73).push(items(70, again), &tail, 500).unwrap();
        assert_eq!(told(&joint), [(500, 1080, 3), (501, 1096, 13)]);
    }
    let other_sound = vec![audio(1050, 11), audio(1073, 12), delta(1080, 3), audio(1096, 13)];
    assert_eq!(Seam::new(Numbers::Foreign, 73).push(items(70, other_sound), &tail, 500), None, "a keyframe is awaited");
}

#[test]
fn other_frames_begin_at_a_keyframe_with_set_up_behind_a_gap() {
    let tail = tail(vec![key(90_000, 1), delta(90_040, 2), audio(90_050, 3)]);
    let gop = vec![key(100, 21), audio(101, 31), delta(140, 22)];
    let joint = Seam::new(Numbers::Foreign, 9).push(with_setup(items(7, gop)), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(501, 90_090, 21), (502, 90_091, 31), (503, 90_130, 22)]);
    assert_eq!(joint.setup, [config()]);
    assert_eq!(joint.shift.seq(10), 504);
}

#[test]
fn on_the_same_clock_the_time_that_passed_stays_visible() {
    let tail = tail(vec![key(1000, 1), delta(1040, 2)]);
    let joint = Seam::new(Numbers::Foreign, 0).push(items(0, vec![key(3000, 9)]), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(501, 3000, 9)]);
}

#[test]
fn times_fall_on_no_track() {
    let tail = tail(vec![key(1000, 1), audio(1060, 2)]);
    let gop = vec![key(90_040, 21), audio(90_005, 31)];
    let joint = Seam::new(Numbers::Foreign, 1).push(items(0, gop), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(501, 1100, 21), (502, 1065, 31)]);
    let late = joint.shift.frame(audio(0, 32), &tail);
    assert_eq!(late.dts, 1060, "one that comes late stands where the track is");
}

#[test]
fn a_stream_without_video_goes_on_too() {
    let tail = tail(vec![audio(1000, 1), audio(1023, 2)]);
    let same = Seam::new(Numbers::Foreign, 2)
        .push(items(0, vec![audio(0, 1), audio(23, 2), audio(46, 3)]), &tail, 500)
        .unwrap();
    assert_eq!(told(&same), [(500, 1046, 3)]);
    let other = Seam::new(Numbers::Foreign, 1)
        .push(with_setup(items(0, vec![audio(50_005, 8), audio(50_028, 9)])), &tail, 500)
        .unwrap();
    assert_eq!(told(&other)[0], (501, 1063, 8));
}

#[test]
fn the_other_pools_events_stand_at_positions_of_here() {
    let tail = tail(vec![key(1000, 1)]);
    let mut all = items(0, vec![key(1000, 1), delta(1040, 2)]);
    let publication = PublicationId::from_bits(7);
    all.push(Placed { seq: 2, body: Body::Event(Event::Open { publication }) });
    let joint = Seam::new(Numbers::Foreign, 2).push(all, &tail, 500).unwrap();
    assert_eq!(joint.due[1], (501, Body::Event(Event::Open { publication })));
    let loss = joint.shift.event(Event::Loss { epoch: 3, from: 10, to: Some(12) });
    assert_eq!(loss, Event::Loss { epoch: 3, from: 509, to: Some(511) });
}

#[test]
fn what_comes_again_after_a_loss_is_left_out() {
    let tail = tail(vec![key(1000, 1), delta(1040, 2), delta(1080, 3)]);
    let base = 6 << 40;
    let mut seam = Seam::new(Numbers::Same, base);
    let again = |from: u64, frames| with_setup(items(base + from, frames));
    assert_eq!(seam.push(again(0, vec![key(1000, 1), delta(1040, 2)]), &tail, 500), None, "the rest is on its way");
    let joint = seam.push(items(base + 2, vec![delta(1080, 3), delta(1120, 4)]), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(500, 1120, 4)]);
    assert_eq!(joint.shift.seq(base + 4), 501);
}

#[test]
fn after_a_gap_in_the_same_numbers_nothing_is_changed() {
    let tail = tail(vec![key(1000, 1), delta(1040, 2)]);
    let joint = Seam::new(Numbers::Same, 0).push(with_setup(items(600, vec![key(60_000, 7)])), &tail, 500).unwrap();
    assert_eq!((told(&joint), joint.shift), (vec![(600, 60_000, 7)], Shift::default()));
    assert_eq!(joint.setup, [config()]);
}

#[test]
fn a_clock_that_began_anew_goes_on_where_viewers_are() {
    let tail = tail(vec![key(90_000, 1), delta(90_040, 2)]);
    let joint = Seam::new(Numbers::Same, 0).push(items(600, vec![key(0, 7), delta(40, 8)]), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(600, 90_080, 7), (601, 90_120, 8)]);
}

/// A log that is another behind this position.
fn anew(end: u64) -> Numbers {
    Numbers::Anew { from: end + 1 }
}

/// What viewers had from an origin that was alone: up to 5 s and two frames.
fn had_alone() -> Tail {
    tail(vec![key(1000, 1), delta(1040, 2), key(5000, 3), delta(5040, 4)])
}

#[test]
fn what_an_origin_had_alone_is_found_again_where_the_encoders_edge_brings_it() {
    let mut seam = Seam::new(anew(71), 71);
    let ring = with_setup(items(70, vec![key(1000, 1), delta(1040, 2)]));
    assert_eq!(seam.push(ring, &had_alone(), 500), None, "viewers had all of that");
    assert_eq!(seam.push(items(72, vec![delta(4960, 9), key(5000, 3)]), &had_alone(), 500), None, "the rest will come");
    let joint = seam.push(items(74, vec![delta(5040, 4), delta(5080, 5)]), &had_alone(), 500).unwrap();
    assert_eq!(told(&joint), [(500, 5080, 5)]);
    assert_eq!((joint.shift.seq(76), joint.shift.dts, joint.setup), (501, 0, vec![]));
}

#[test]
fn a_publication_that_began_on_both_sides_of_a_cut_is_found_again_at_another_time() {
    let mut seam = Seam::new(anew(71), 71);
    let ring = with_setup(items(70, vec![key(1000, 1), delta(1040, 2)]));
    assert_eq!(seam.push(ring, &had_alone(), 500), None);
    assert_eq!(seam.push(items(72, vec![key(7000, 3)]), &had_alone(), 500), None, "viewers had that at 5 s");
    let joint = seam.push(items(73, vec![delta(7040, 4), delta(7080, 5)]), &had_alone(), 500).unwrap();
    assert_eq!(told(&joint), [(500, 5080, 5)]);
    assert_eq!((joint.shift.seq(75), joint.shift.dts), (501, -2000));
}

#[test]
fn an_edge_that_was_frozen_brings_more_again_than_is_usual() {
    let seconds = |marks: std::ops::RangeInclusive<u8>, at: u64| {
        marks.map(move |mark| key(at + 1000 * u64::from(mark), mark)).collect::<Vec<_>>()
    };
    let had = tail([seconds(1..=10, 0), vec![delta(10_040, 99)]].concat());
    let mut seam = Seam::new(anew(71), 71);
    assert_eq!(seam.push(items(70, vec![key(1000, 1), delta(1040, 2)]), &had, 500), None);
    assert_eq!(seam.push(items(72, seconds(3..=3, 6000)), &had, 500), None, "viewers had that seven seconds ago");
    let rest = [seconds(4..=10, 6000), vec![delta(16_040, 99), delta(16_080, 98)]].concat();
    let joint = seam.push(items(73, rest), &had, 500).unwrap();
    assert_eq!((told(&joint), joint.shift.dts), (vec![(500, 10_080, 98)], -6000));
}

#[test]
fn sound_that_comes_again_first_is_not_taken_for_a_stream_of_sound_alone() {
    let had = tail(vec![key(1000, 1), delta(1040, 2), audio(1050, 11), key(5000, 3), delta(5040, 4), audio(5050, 12)]);
    let mut seam = Seam::new(anew(71), 71);
    assert_eq!(seam.push(items(70, vec![]), &had, 500), None);
    assert_eq!(seam.push(items(72, vec![audio(7010, 13)]), &had, 500), None, "pictures may follow");
    assert_eq!(seam.push(items(73, vec![key(7000, 3)]), &had, 500), None, "viewers had that at 5 s");
    // Another encoder of the name may have none.
    let sounds = |first| (0..40u64).map(|at| audio(first + 100 * at, 20)).collect();
    let joint = Seam::new(anew(71), 71).push(items(72, sounds(9000)), &had, 500).unwrap();
    assert_eq!(joint.how, Spliced::Anew);
}

#[test]
fn what_such_a_publication_has_more_is_begun_at_a_keyframe() {
    let mut seam = Seam::new(anew(71), 71);
    seam.push(with_setup(items(70, vec![key(1000, 1), delta(1040, 2), key(7000, 3)])), &had_alone(), 500);
    let joint = seam.push(items(73, vec![delta(7080, 5), key(8000, 6)]), &had_alone(), 500).unwrap();
    assert_eq!(told(&joint), [(501, 8000, 6)], "the last frame that viewers had was left out there");
}

#[test]
fn a_log_that_has_grown_meanwhile_holds_more_than_viewers_had() {
    let ring = vec![key(1000, 1), key(5000, 3), delta(5040, 4), delta(5080, 5), key(6000, 6)];
    let joint = Seam::new(anew(74), 74).push(items(70, ring), &had_alone(), 500).unwrap();
    assert_eq!(told(&joint), [(500, 5080, 5), (501, 6000, 6)], "nothing lost, nothing twice");
}

#[test]
fn an_equal_frame_of_another_time_is_another() {
    let black = tail(vec![key(1000, 1), delta(1040, 2), key(9000, 1)]);
    let ring = with_setup(items(70, vec![key(1000, 1), delta(1040, 2)]));
    assert_eq!(Seam::new(anew(71), 71).push(ring, &black, 500), None);
}

#[test]
fn where_the_last_frame_does_not_come_again_viewers_go_on_at_a_later_keyframe() {
    let ring = vec![key(1000, 1), delta(1040, 2), delta(5080, 5), key(6000, 6), delta(6040, 7)];
    let joint = Seam::new(anew(74), 74).push(with_setup(items(70, ring)), &had_alone(), 500).unwrap();
    assert_eq!(told(&joint), [(501, 6000, 6), (502, 6040, 7)], "set apart by a gap");
    assert_eq!(joint.setup, [config()]);
}

#[test]
fn another_encoders_frames_are_taken_once_they_come() {
    let mut seam = Seam::new(anew(71), 71);
    assert_eq!(seam.push(items(70, vec![key(1000, 1), key(1080, 8)]), &had_alone(), 500), None);
    let joint = seam.push(items(72, vec![key(1120, 9)]), &had_alone(), 500).unwrap();
    assert_eq!(told(&joint), [(501, 5080, 9)], "in a time that does not fall");
}

#[test]
fn what_is_held_back_has_a_bound() {
    let mut seam = Seam::new(anew(0), 0);
    let had = had_alone();
    assert_eq!(seam.push(with_setup(items(0, vec![delta(0, 0)])), &had, 500), None);
    for seq in (1..2 * HELD_MAX as u64).step_by(1024) {
        assert_eq!(seam.push(items(seq, vec![delta(9000 + seq, 7); 1024]), &had, 500), None);
    }
    assert!(seam.held.len() <= HELD_MAX + 1, "{}", seam.held.len());
    assert!(matches!(seam.held[0].body, Body::Setup(_)), "but set-up stays");
}

#[test]
fn data_and_set_up_that_come_while_it_waits_have_the_same_bound() {
    let metadata = |mark: u8| [b"\x02\0\x0aonMetaData", &[mark][..]].concat();
    let text = |mark: u8| [b"\x02\0\x0aonTextData", &[mark][..]].concat();
    let data = |payload: Vec<u8>| Frame::classify(Medium::Data, 9000, Bytes::from(payload));
    let config = |mark: u8| Frame::classify(Medium::Audio, 9000, Bytes::from(vec![0xaf, 0, 0x12, 0x10, mark]));
    for each in [text, metadata].map(|of| Box::new(move |mark| data(of(mark))) as Box<dyn Fn(u8) -> Frame>) {
        let mut seam = Seam::new(anew(0), 0);
        let had = had_alone();
        for seq in (0..2 * HELD_MAX as u64).step_by(1024) {
            let mark = (seq / 1024) as u8;
            let frames = std::iter::once(config(mark)).chain((1..1024).map(|_| each(mark)));
            assert_eq!(seam.push(items(seq, frames.collect()), &had, 500), None);
        }
        assert_eq!(seam.held.len(), HELD_MAX);
    }
    // Few and large ones, and set-up that is older than all of them.
    let mut seam = Seam::new(anew(0), 0);
    seam.push(
        items(0, vec![config(1), data(metadata(1)), data(text(1)), config(2), data(metadata(2))]),
        &had_alone(),
        500,
    );
    for seq in 5..40 {
        assert_eq!(seam.push(items(seq, vec![data(vec![2; 1 << 20])]), &had_alone(), 500), None);
    }
    assert_eq!(seam.held[..2], [(3, config(2)), (4, data(metadata(2)))].map(placed));
    let bytes: usize = seam.held[2..].iter().filter_map(frame_of).map(|frame| frame.payload.len()).sum();
    assert_eq!(bytes, HELD_BYTES_MAX);
}

fn placed((seq, frame): (u64, Frame)) -> Placed {
    Placed { seq, body: Body::Frame(frame) }
}

#[test]
fn an_earlier_time_on_another_track_is_not_what_comes_again() {
    // Enhanced video of track 1.
    let of_track = |dts: u64, mark: u8| {
        let payload = [&[0x96, 0x01][..], b"av01", &[1, mark]].concat();
        Frame::classify(Medium::Video, dts, Bytes::from(payload))
    };
    let had = tail(vec![key(9000, 1), of_track(6000, 2), delta(9040, 3)]);
    let next = of_track(7040, 4);
    assert_eq!((next.kind, next.track), (Kind::Key, 1));
    let joint = Seam::new(Numbers::Same, 90).push(items(90, vec![next]), &had, 500);
    assert_eq!(told(&joint.expect("nothing is waited for")), [(501, 7040, 4)]);
}

/// Where the source's times are `ahead` of those of here, and its positions 430 below.
fn shifted(ahead: i64) -> Shift {
    Shift { seq: 430, dts: -ahead }
}

#[test]
fn of_equal_frames_the_nearest_by_the_clock_so_far_is_meant() {
    let tail = tail(vec![key(1000, 1), delta(1040, 7), delta(1080, 8), delta(1120, 7)]);
    let again = vec![delta(10_040, 7), delta(10_080, 8), delta(10_120, 7), delta(10_160, 9)];
    let joint = Seam::new(Numbers::Same, 0).with_shift(shifted(9000)).push(items(90, again), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(500, 1160, 9)]);
}

#[test]
fn sound_alone_is_found_again_by_the_clock_so_far() {
    let tail = tail(vec![key(1000, 1), audio(1050, 11), audio(1073, 12)]);
    for (numbers, ahead) in [(Numbers::Same, 9000), (anew(0), 9000), (Numbers::Same, -900), (anew(0), -900)] {
        let times = [1050, 1073, 1080].map(|time: u64| time.checked_add_signed(ahead).unwrap());
        let again = vec![audio(times[0], 11), audio(times[1], 12), delta(times[2], 3)];
        let joint = Seam::new(numbers, 0).with_shift(shifted(ahead)).push(items(90, again), &tail, 500).unwrap();
        assert_eq!(told(&joint), [(500, 1080, 3)], "{numbers:?} {ahead}");
    }
}

#[test]
fn a_log_that_became_another_is_on_the_clock_so_far() {
    for ahead in [9000, -900] {
        let at = |time: u64| time.checked_add_signed(ahead).unwrap();
        let had = || vec![key(at(1000), 1), key(at(5000), 3)];
        let seam = || Seam::new(anew(71), 71).with_shift(shifted(ahead));
        let found = [had(), vec![delta(at(5040), 4), delta(at(5080), 5)]].concat();
        let joint = seam().push(items(70, found), &had_alone(), 500).unwrap();
        assert_eq!((told(&joint), joint.shift.dts), (vec![(500, 5080, 5)], -ahead));
        let lost = [had(), vec![key(at(6000), 6)]].concat();
        let joint = seam().push(items(70, lost), &had_alone(), 500).unwrap();
        assert_eq!((told(&joint), joint.shift.dts), (vec![(501, 6000, 6)], -ahead), "no time is lost");
        let coming = [had(), vec![delta(at(4960), 9)]].concat();
        assert_eq!(seam().push(items(70, coming), &had_alone(), 500), None, "viewers had that shortly before");
    }
}

#[test]
fn positions_never_fall_whatever_the_shift_was() {
    let tail = tail(vec![key(1000, 1)]);
    let joint = Seam::new(Numbers::Same, 0).push(items(400, vec![key(1040, 2), delta(1080, 3)]), &tail, 500).unwrap();
    assert_eq!(told(&joint), [(501, 1040, 2), (502, 1080, 3)]);
    assert_eq!(joint.shift.seq(402), 503);
}
