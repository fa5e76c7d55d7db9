use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const VIDEO: &[u8] = &[0x27, 1, 0, 0, 0];
const KEY: &[u8] = &[0x17, 1, 0, 0, 0];
const AUDIO: &[u8] = &[0xaf, 1, 0x21];
const AUDIO_CONFIG: &[u8] = &[0xaf, 0, 0x12, 0x10];

fn place(timeline: &mut Timeline, medium: Medium, timestamp: u32, payload: &'static [u8], now: Instant) -> u64 {
    timeline.place(MediaMessage { medium, timestamp, payload: Bytes::from_static(payload) }, now).0.dts
}

#[test]
fn the_first_source_passes_unchanged_across_2_to_the_32() {
    let (mut timeline, t) = (Timeline::default(), Instant::now());
    let start = u32::MAX - 50;
    assert_eq!(place(&mut timeline, Medium::Audio, 0, AUDIO_CONFIG, t), 0);
    for n in 0..10u64 {
        let wire = start.wrapping_add(20 * n as u32);
        assert_eq!(place(&mut timeline, Medium::Video, wire, VIDEO, t), u64::from(start) + 20 * n);
    }
    assert_eq!(timeline.jumps(), 0);
}

#[test]
fn a_new_source_keeps_its_own_skew() {
    let (mut timeline, t) = (Timeline::default(), Instant::now());
    for n in 0..5 {
        place(&mut timeline, Medium::Video, 40 * n, VIDEO, t);
        place(&mut timeline, Medium::Audio, 40 * n + 7, AUDIO, t);
    }
    timeline.change_source();
    assert_eq!(place(&mut timeline, Medium::Audio, 0, AUDIO_CONFIG, t), 167);
    let video = place(&mut timeline, Medium::Video, 90_000, KEY, t);
    let audio = place(&mut timeline, Medium::Audio, 90_011, AUDIO, t);
    assert_eq!((video, audio), (207, 218));
}

#[test]
fn a_clock_that_jumps_is_moved_back_in_line_once() {
    let (mut timeline, mut t) = (Timeline::default(), Instant::now());
    let mut last = 0;
    for wire in [0, 40, 80, 3_600_000, 3_600_040, 12, 52] {
        t += Duration::from_millis(40);
        let dts = place(&mut timeline, Medium::Video, wire, VIDEO, t);
        assert!(dts == 0 || dts == last + 40, "{dts} after {last}");
        last = dts;
    }
    assert_eq!(timeline.jumps(), 2);
}

#[test]
fn a_pause_of_the_encoder_is_no_jump() {
    let (mut timeline, t) = (Timeline::default(), Instant::now());
    place(&mut timeline, Medium::Video, 0, VIDEO, t);
    let dts = place(&mut timeline, Medium::Video, 60_000, VIDEO, t + Duration::from_secs(60));
    assert_eq!((dts, timeline.jumps()), (60_000, 0));
}

proptest! {
    #[test]
    fn times_never_fall_on_a_track(wires in prop::collection::vec((any::<u32>(), any::<bool>(), any::<bool>()), 1..60)) {
        let (mut timeline, t) = (Timeline::default(), Instant::now());
        let mut last = HashMap::new();
        for (wire, is_video, changes) in wires {
            if changes { timeline.change_source(); }
            let (medium, payload) = if is_video { (Medium::Video, VIDEO) } else { (Medium::Audio, AUDIO) };
            let dts = place(&mut timeline, medium, wire, payload, t);
            let before = last.insert(medium, dts).unwrap_or(0);
            prop_assert!(dts >= before);
        }
    }
}
