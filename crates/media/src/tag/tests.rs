//! Bodies as encoders send them, and as nobody should.

use proptest::prelude::*;

use super::*;

const AVC_RECORD: &[u8] =
    &[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 5, 0x67, 0x64, 0, 0x1f, 0xac, 1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb];
const AV1_RECORD: &[u8] = &[0x81, 0, 0x0c, 0];

fn video(parts: &[&[u8]]) -> Class {
    classify(Medium::Video, &parts.concat().into())
}

fn audio(parts: &[&[u8]]) -> Class {
    classify(Medium::Audio, &parts.concat().into())
}

fn sequence(medium: Medium, track: u8, many: bool) -> Option<ConfigSlot> {
    Some(ConfigSlot { medium, what: Configures::Sequence, track, many })
}

#[test]
fn legacy_avc_is_told_apart() {
    let config = video(&[&[0x17, 0, 0, 0, 0], AVC_RECORD]);
    assert_eq!((config.kind, config.slot), (Kind::Config, sequence(Medium::Video, 0, false)));
    let key = video(&[&[0x17, 1, 0, 0, 0x50, 0, 0, 0, 1, 0x65]]);
    assert_eq!((key.kind, key.composition_ms, key.slot, key.codec), (Kind::Key, 0x50, None, Codec::Avc));
    let delta = video(&[&[0x27, 1, 0xff, 0xff, 0xfe, 0, 0, 0, 1, 0x41]]);
    assert_eq!((delta.kind, delta.composition_ms), (Kind::Delta, -2));
    assert_eq!(video(&[&[0x17, 2, 0, 0, 0]]).kind, Kind::Delta, "end of sequence");
}

#[test]
fn legacy_aac_is_told_apart() {
    let config = audio(&[&[0xaf, 0, 0x12, 0x10]]);
    assert_eq!((config.kind, config.slot), (Kind::Config, sequence(Medium::Audio, 0, false)));
    let frame = audio(&[&[0xaf, 1, 0x21, 0x10]]);
    assert_eq!((frame.kind, frame.slot, frame.codec), (Kind::Delta, None, Codec::Aac));
}

#[test]
fn a_configuration_of_many_tracks_is_kept_only_where_the_message_is_no_longer_than_one_may_be() {
    // Video in several tracks of one codec, whose records are all valid.
    let of_tracks = |count: u8, record_bytes: usize| {
        let record = vec![1; record_bytes];
        let track = |id: u8| [&[id][..], &(record_bytes as u32).to_be_bytes()[1..], &record].concat();
        [b"\x86\x10vvc1".to_vec(), (0..count).flat_map(track).collect()].concat()
    };
    let kept = |message: &[u8]| {
        let class = video(&[message]);
        assert_eq!(class.kind, Kind::Config);
        class.slot.is_some()
    };
    assert!(kept(&of_tracks(1, RECORD_BYTES_MAX)) && kept(&of_tracks(255, 100)));
    assert!(!kept(&of_tracks(2, RECORD_BYTES_MAX)) && !kept(&of_tracks(255, RECORD_BYTES_MAX)));
    // Prefixes that say nothing are kept along with what they stand before.
    let prefixed = |count: usize| {
        let prefix = [&[0xff][..], &2999_u16.to_be_bytes(), &[0; 3000], &[0x07]].concat();
        let mut prefixes = prefix.repeat(count);
        *prefixes.last_mut().unwrap() = 0;
        [&[0x87][..], &prefixes, b"av01", AV1_RECORD].concat()
    };
    assert!(kept(&prefixed(1)) && kept(&prefixed(11)));
    assert!(!kept(&prefixed(12)) && !kept(&prefixed(16)), "{} bytes", prefixed(12).len());
}

#[test]
fn empty_and_damaged_configurations_have_no_slot() {
    for class in [
        video(&[&[0x17, 0, 0, 0, 0]]),
        video(&[&[0x17, 0, 0, 0, 0], &AVC_RECORD[..12]]),
        video(&[b"\x90hvc1"]),
        video(&[b"\x90av01"]),
        video(&[b"\x90vp09"]),
        video(&[b"\x90vvc1"]),
        audio(&[&[0xaf, 0]]),
        audio(&[&[0xaf, 0, 0x12]]),
        audio(&[b"\x90Opus"]),
        audio(&[b"\x90fLaC"]),
    ] {
        assert_eq!((class.kind, class.slot), (Kind::Config, None), "{class:?}");
    }
}

#[test]
fn enhanced_single_track_bodies_are_told_apart() {
    let config = video(&[b"\x90av01", AV1_RECORD]);
    assert_eq!((config.kind, config.slot, config.codec), (Kind::Config, sequence(Medium::Video, 0, false), Codec::Av1));
    let av1 = video(&[b"\x91av01\x0a\x0b"]);
    assert_eq!((av1.kind, av1.composition_ms), (Kind::Key, 0), "AV1 carries no composition offset");
    let hevc = video(&[b"\x91hvc1\0\0\x28\0\0\0\x01\x26"]);
    assert_eq!((hevc.kind, hevc.composition_ms, hevc.codec), (Kind::Key, 0x28, Codec::Hevc));
    let x = video(&[b"\x93hvc1\0\0\x28\0"]);
    assert_eq!((x.kind, x.composition_ms), (Kind::Key, 0), "CodedFramesX has none either");
    assert_eq!(video(&[b"\xa3hvc1\0\0\x28\0"]).kind, Kind::Delta);
    assert_eq!(video(&[b"\x92hvc1"]).kind, Kind::Delta, "end of sequence");
    assert_eq!(video(&[b"\x95av01\x80\x04\x81"]).slot, sequence(Medium::Video, 0, false), "MPEG-2 TS form");
}

#[test]
fn enhanced_audio_without_a_body_is_a_configuration_where_none_is_needed() {
    for four_cc in [b"ac-3", b"ec-3", b".mp3"] {
        assert_eq!(audio(&[b"\x90", four_cc]).slot, sequence(Medium::Audio, 0, false));
    }
}

#[test]
fn channel_layout_and_colour_have_their_own_slots() {
    let layout = audio(&[b"\x94ac-3\x01\x06\0\0\0\x3f"]);
    assert_eq!(layout.slot.map(|s| s.what), Some(Configures::Multichannel));
    let colour = video(&[b"\xd4hvc1\x02\0\x09colorInfo\x03\0\0\x09"]);
    assert_eq!(
        (colour.kind, colour.slot.map(|s| s.what)),
        (Kind::Config, Some(Configures::Colour)),
        "frame type 5 as sent"
    );
    let other = video(&[b"\x94hvc1\x02\0\x05other\x05"]);
    assert_eq!((other.kind, other.slot), (Kind::Delta, None));
}

#[test]
fn seek_commands_have_no_body_to_read() {
    for body in [&[0xd0, 0][..], &[0xd1, 1], &[0x57, 0], &[0x57, 0, 0, 0, 0]] {
        assert_eq!(video(&[body]), Class::OPAQUE, "{body:?}");
    }
}

#[test]
fn multitrack_of_one_names_its_track() {
    let config = video(&[b"\x96\x00avc1\x01", AVC_RECORD]);
    assert_eq!((config.track, config.slot), (1, sequence(Medium::Video, 1, false)));
    let frame = video(&[b"\x96\x03avc1\x01\0\0\0\x01\x65"]);
    assert_eq!((frame.kind, frame.track), (Kind::Key, 1));
    let audio = audio(&[b"\x95\x01mp4a\x01\x21"]);
    assert_eq!((audio.kind, audio.track, audio.codec), (Kind::Delta, 1, Codec::Aac));
}

#[test]
fn multitrack_of_many_needs_every_track_good() {
    let track = |id: u8, body: &[u8]| [&[id, 0, 0, body.len() as u8], body].concat();
    let same = video(&[b"\x96\x10avc1", &track(2, AVC_RECORD), &track(0, AVC_RECORD)]);
    assert_eq!((same.kind, same.track, same.slot), (Kind::Config, 0, sequence(Medium::Video, 0, true)));
    let empty = video(&[b"\x96\x10avc1", &track(0, AVC_RECORD), &track(1, b"")]);
    assert_eq!((empty.kind, empty.slot), (Kind::Config, None));
    let codecs = video(&[b"\x96\x20", b"av01", &track(3, AV1_RECORD), b"avc1", &track(4, AVC_RECORD)]);
    assert_eq!((codecs.track, codecs.codec, codecs.slot), (3, Codec::Av1, sequence(Medium::Video, 3, true)));
    let frames = video(&[b"\x96\x11hvc1", &track(0, &[0, 0, 9, 1]), &track(1, &[0, 0, 7, 1])]);
    assert_eq!((frames.kind, frames.composition_ms), (Kind::Key, 9));
}

#[test]
fn multitrack_that_lies_is_opaque() {
    for body in [
        &b"\x96"[..],
        b"\x96\x06avc1",
        b"\x96\x07avc1",
        b"\x96\x31avc1\x00",
        b"\x96\x10avc1",
        b"\x96\x10avc1\x00\xff\xff\xff\x00",
        b"\x96\x00avc1",
    ] {
        assert_eq!(video(&[body]), Class::OPAQUE, "{body:?}");
    }
    let empty_tracks = [b"\x96\x11avc1", &[0; 4 * 1_000_000][..]].concat();
    assert_eq!(video(&[&empty_tracks]), Class::OPAQUE);
}

#[test]
fn modex_is_looked_through_up_to_a_bound() {
    let nano = &[2, 0, 3, 0xe8][..]; // three bytes of nanoseconds
    let class = video(&[b"\x97", nano, b"\x01hvc1\0\0\x05\x01"]);
    assert_eq!((class.kind, class.composition_ms), (Kind::Key, 5));
    let wide = [&[0xff, 0x01, 0x2b][..], &[0; 300]].concat();
    assert_eq!(video(&[b"\x97", &wide, b"\x01hvc1\0\0\x05\x01"]).kind, Kind::Key, "a 16-bit size");
    assert_eq!(audio(&[b"\x97", nano, b"\x00ac-3"]).slot, sequence(Medium::Audio, 0, false));
    let thousand = [0, 0, 7].repeat(1000);
    assert_eq!(video(&[b"\x97", &thousand, b"\0\0\x01hvc1\0\0\x05\x01"]), Class::OPAQUE);
    for cut in [&b"\x97"[..], b"\x97\xff", b"\x97\xff\xff", b"\x97\x05\0", b"\x97\0\0"] {
        assert_eq!(video(&[cut]), Class::OPAQUE, "{cut:?}");
    }
}

#[test]
fn unknown_codecs_are_relayed_and_keep_their_key_frames() {
    let config = video(&[b"\x90abcd\x01\x02"]);
    assert_eq!((config.slot, config.codec), (None, Codec::FourCc(*b"abcd")));
    assert_eq!(video(&[b"\x91abcd\x01\x02"]).kind, Kind::Key);
    assert_eq!(video(&[b"\x9fabcd\x01\x02"]).kind, Kind::Delta, "an unknown packet type");
    assert_eq!(video(&[&[0x10, 1, 2]]).codec, Codec::Legacy(0));
    assert_eq!(video(&[&[0x1f, 1, 2]]).slot, None);
    assert_eq!(video(&[&[0x17, 3, 0, 0, 0, 1]]).kind, Kind::Delta, "AVC packet type 3");
    for short in [&[][..], &[0x17], &[0x17, 1], &[0x17, 1, 0, 0, 0]] {
        assert_eq!(video(&[short]).kind, Kind::Delta, "{short:?}");
    }
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        let body = Bytes::from(body);
        for medium in [Medium::Audio, Medium::Video, Medium::Data] {
            let class = classify(medium, &body);
            prop_assert!(class.slot.is_none() || class.kind == Kind::Config);
        }
        is_metadata(&body);
        is_clear_metadata(&body);
        strip_set_data_frame(&body);
    }

    #[test]
    fn no_enhanced_body_makes_it_panic(
        first in prop_oneof![Just(0x90u8), Just(0x91), Just(0x96), Just(0x97), Just(0x95), Just(0x94), Just(0xd4)],
        four_cc in prop_oneof![Just(*b"avc1"), Just(*b"hvc1"), Just(*b"av01"), Just(*b"vp09"), Just(*b"mp4a"), Just(*b"Opus"), Just(*b"fLaC")],
        kind in proptest::option::of(0u8..0x40),
        rest in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let body: Bytes = [&[first][..], kind.as_slice(), &four_cc, &rest].concat().into();
        classify(Medium::Video, &body);
        classify(Medium::Audio, &body);
    }
}
