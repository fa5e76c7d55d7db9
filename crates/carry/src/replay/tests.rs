use std::collections::BTreeSet;

use bytes::Bytes;
use media::{MediaMessage, Medium};
use proptest::prelude::*;

use super::*;

const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 0x65];
const DELTA: &[u8] = &[0x27, 1, 0, 0, 0, 0x41];
const VIDEO_CONFIG: &[u8] =
    &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 1, 0, 4, 0x68, 0xee, 0x3c, 0x80];
const AUDIO: &[u8] = &[0xaf, 1, 0x21];
const AUDIO_CONFIG: &[u8] = &[0xaf, 0, 0x12, 0x10];

fn entry(payload: &'static [u8]) -> Entry {
    let medium = if payload[0] == 0xaf { Medium::Audio } else { Medium::Video };
    Entry::Message(MediaMessage { medium, timestamp: 0, payload: Bytes::from_static(payload) })
}

/// A replay that holds ten entries of these tests, or ten seconds.
fn replay() -> Replay {
    Replay::new(Limits { bytes: 10 * entry(DELTA).bytes(), duration: Duration::from_secs(10) })
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Appends, making room by skipping as an encoder that nobody acks does.
fn push(replay: &mut Replay, payload: &'static [u8], now: Instant) {
    while replay.is_full(now) {
        if !replay.drop_acked() {
            replay.skip_gop();
        }
    }
    replay.append(entry(payload), now);
}

/// What an origin that has all below `number` gets: the numbers of entries, and the skips.
fn told(replay: &Replay, number: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut entries, mut skips) = (Vec::new(), Vec::new());
    for piece in replay.pieces(number, usize::MAX, false) {
        match piece {
            Piece::Entry(number, _) => entries.push(number),
            Piece::Skip { from, to } => skips.push((from, to)),
        }
    }
    (entries, skips)
}

#[test]
fn what_is_unacked_is_sent_again_from_where_the_origin_stands() {
    let (mut replay, t) = (replay(), Instant::now());
    for payload in [VIDEO_CONFIG, KEY, DELTA, DELTA] {
        push(&mut replay, payload, t);
    }
    assert_eq!(told(&replay, 0), (vec![0, 1, 2, 3], vec![]));
    assert_eq!(told(&replay, 2), (vec![2, 3], vec![]), "the log of the origin has the rest");
    replay.ack_below(4, t);
    assert_eq!(told(&replay, 4), (vec![], vec![]));
}

#[test]
fn two_seconds_of_what_is_acked_stay_for_an_origin_that_lost_them() {
    let (mut replay, t) = (replay(), Instant::now());
    for n in 0..5 {
        push(&mut replay, if n == 0 { KEY } else { DELTA }, t + seconds(n));
    }
    replay.ack_below(4, t + seconds(5));
    assert_eq!(
        told(&replay, 0),
        (vec![1, 2, 3, 4], vec![]),
        "what was acked and has gone is not skipped: it was served"
    );
    assert_eq!(replay.lowest(), 1);
}

#[test]
fn set_up_stays_under_its_own_number() {
    let (mut replay, t) = (replay(), Instant::now());
    for (n, payload) in (0..).zip([AUDIO_CONFIG, VIDEO_CONFIG, KEY, DELTA, AUDIO_CONFIG, DELTA]) {
        push(&mut replay, payload, t + seconds(3 * n));
        replay.ack_below(n + 1, t + seconds(3 * n));
    }
    assert_eq!(told(&replay, 0), (vec![1, 4, 5], vec![]), "the newest of each, and the last entry");
    assert_eq!(told(&replay, 2), (vec![4, 5], vec![]), "an origin that has the first is not told again");
    assert_eq!(replay.lowest(), 1);
}

#[test]
fn whoever_has_nothing_learns_that_there_was_something() {
    let (mut replay, t) = (replay(), Instant::now());
    for (n, payload) in (0..).zip([AUDIO_CONFIG, VIDEO_CONFIG, KEY, DELTA, DELTA]) {
        push(&mut replay, payload, t + seconds(3 * n));
        assert_eq!(replay.lowest(), 0, "so far it has all");
    }
    replay.ack_below(5, t + seconds(15));
    assert_eq!(replay.lowest(), 1);
    assert_eq!(told(&replay, 0), (vec![1, 2, 4], vec![]), "set-up comes under numbers that it has not seen");
}

#[test]
fn the_oldest_gop_is_skipped_whole_and_named() {
    let (mut replay, t) = (replay(), Instant::now());
    for payload in [VIDEO_CONFIG, KEY, DELTA, AUDIO, DELTA, DELTA, KEY] {
        push(&mut replay, payload, t);
    }
    for _ in 7..14 {
        push(&mut replay, DELTA, t);
    }
    assert_eq!(told(&replay, 0), (vec![0, 6, 7, 8, 9, 10, 11, 12, 13], vec![(1, 5)]));
    assert_eq!(told(&replay, 3).1, [(3, 5)], "an origin that has its beginning is told of the rest");
    assert_eq!(told(&replay, 6).1, []);
    replay.ack_below(6, t);
    assert_eq!(told(&replay, 0), (vec![1, 6, 7, 8, 9, 10, 11, 12, 13], vec![]), "it was committed after all");
}

#[test]
fn a_gop_larger_than_the_bound_is_cut_to_the_next_keyframe() {
    let (mut replay, t) = (replay(), Instant::now());
    push(&mut replay, KEY, t);
    for _ in 1..15 {
        push(&mut replay, DELTA, t);
    }
    assert_eq!(told(&replay, 0), (vec![], vec![]), "nobody knows yet how far the skip goes");
    push(&mut replay, AUDIO_CONFIG, t);
    assert_eq!(told(&replay, 0), (vec![15], vec![(0, 14)]));
    push(&mut replay, AUDIO, t);
    push(&mut replay, KEY, t);
    assert_eq!(told(&replay, 0), (vec![15, 17], vec![(0, 14), (16, 16)]));
}

#[test]
fn a_skip_at_the_end_is_told_once_the_end_is_known() {
    let (mut replay, t) = (replay(), Instant::now());
    push(&mut replay, KEY, t);
    for _ in 0..11 {
        push(&mut replay, DELTA, t);
    }
    assert_eq!(replay.pieces(0, usize::MAX, false), []);
    assert_eq!(replay.pieces(0, usize::MAX, true), [Piece::Skip { from: 0, to: 11 }]);
}

#[test]
fn ten_seconds_without_an_ack_are_the_bound_too() {
    let (mut replay, t) = (replay(), Instant::now());
    for n in 0..6 {
        push(&mut replay, KEY, t + seconds(2 * n));
    }
    assert_eq!(told(&replay, 0), (vec![1, 2, 3, 4, 5], vec![(0, 0)]));
}

#[test]
fn a_stream_without_video_is_cut_anywhere() {
    let (mut replay, t) = (replay(), Instant::now());
    for _ in 0..12 {
        push(&mut replay, AUDIO, t);
    }
    let (entries, skips) = told(&replay, 0);
    let first = entries[0];
    assert!(first <= 3 && skips == [(0, first - 1)], "{entries:?} {skips:?}");
}

#[test]
fn a_stream_of_which_nothing_is_understood_is_cut_anywhere_too() {
    let (mut replay, t) = (replay(), Instant::now());
    for _ in 0..30 {
        push(&mut replay, DELTA, t);
    }
    assert!(!told(&replay, 0).0.is_empty(), "a keyframe that will never be seen is not waited for");
}

#[test]
fn a_keyframe_that_has_ceased_to_come_is_not_waited_for() {
    let (mut replay, t) = (replay(), Instant::now());
    push(&mut replay, KEY, t);
    for n in 0..60 {
        push(&mut replay, if n % 2 == 0 { DELTA } else { AUDIO }, t + seconds(n));
    }
    assert!(!told(&replay, 0).0.is_empty());
}

#[test]
fn withdrawn_metadata_stays_withdrawn() {
    let (mut replay, t) = (replay(), Instant::now());
    replay.append(Entry::MetadataCleared, t);
    for payload in [KEY, DELTA, KEY] {
        push(&mut replay, payload, t);
    }
    replay.skip_gop();
    replay.skip_gop();
    assert_eq!(replay.pieces(0, 1, false)[0], Piece::Entry(0, Entry::MetadataCleared));
}

#[test]
fn room_is_waited_for_while_acks_come() {
    let (mut replay, t) = (replay(), Instant::now());
    push(&mut replay, KEY, t);
    assert_eq!(replay.patience(t), None);
    replay.ack_below(1, t);
    replay.ack_below(1, t + seconds(5));
    assert_eq!(replay.patience(t), Some(t + ACK_PATIENCE), "an ack that is none does not count");
    assert_eq!(replay.patience(t + ACK_PATIENCE), None);
}

/// One step of a publication's life.
#[derive(Debug, Clone)]
enum Step {
    Push(&'static [u8]),
    /// The origin takes so many bytes of what there is for it.
    Send(usize),
    /// It commits all that it has.
    Ack,
    /// Another origin comes, whose log has all that is acked and so much of the rest.
    Move(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop::sample::select(vec![KEY, DELTA, DELTA, DELTA, AUDIO, AUDIO, VIDEO_CONFIG, AUDIO_CONFIG]);
    prop_oneof![
        10 => payload.prop_map(Step::Push),
        3 => (1..2000_usize).prop_map(Step::Send),
        1 => Just(Step::Ack),
        1 => (0..20_u64).prop_map(Step::Move),
        1 => (0..4000_u64).prop_map(Step::Wait),
    ]
}

/// The log of an origin, as far as numbers go: each with what stands there, None for one that is skipped.
#[derive(Debug, Clone, Default)]
struct Log(Vec<Option<Entry>>);

impl Log {
    fn take(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            let next = self.0.len() as u64;
            match piece {
                Piece::Entry(number, entry) => {
                    assert_eq!(number, next, "no number is left out, none comes twice");
                    self.0.push(Some(entry));
                }
                Piece::Skip { from, to } => {
                    assert!(from == next && to >= from, "{from}..={to} at {next}");
                    self.0.extend((from..=to).map(|_| None));
                }
            }
        }
    }

    fn next(&self) -> u64 {
        self.0.len() as u64
    }
}

proptest! {
    #[test]
    fn every_number_arrives_once_or_is_named(steps in prop::collection::vec(step(), 1..400)) {
        let mut now = Instant::now();
        let limits = Limits { bytes: 1500, duration: Duration::from_secs(10) };
        let mut replay = Replay::new(limits);
        let mut sent: Vec<(&'static [u8], Instant)> = Vec::new();
        let mut log = Log::default();
        for step in steps {
            match step {
                Step::Push(payload) => {
                    push(&mut replay, payload, now);
                    sent.push((payload, now));
                    prop_assert!(replay.bytes() <= limits.bytes + entry(payload).bytes());
                }
                Step::Send(bytes) => log.take(replay.pieces(log.next(), bytes, false)),
                Step::Ack => replay.ack_below(log.next(), now),
                Step::Move(more) => {
                    let kept = (replay.acked_below() + more).min(log.next());
                    log.0.truncate(kept as usize);
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
        }
        log.take(replay.pieces(log.next(), usize::MAX, true));
        prop_assert_eq!(log.0.len(), sent.len());
        let mut needed = BTreeSet::new();
        let mut last_key = None;
        for (number, ((payload, at), held)) in sent.iter().zip(&log.0).enumerate() {
            if *payload == KEY { last_key = Some(*at); }
            let Some(held) = held else {
                if [VIDEO_CONFIG, AUDIO_CONFIG].contains(payload) { needed.insert(payload[0]); }
                continue;
            };
            prop_assert_eq!(held, &entry(payload), "number {}", number);
            let follows_a_skip = number > 0 && log.0[number - 1].is_none();
            if [VIDEO_CONFIG, AUDIO_CONFIG].contains(payload) {
                needed.remove(&payload[0]);
            } else {
                prop_assert!(*payload != KEY || !needed.contains(&payload[0]), "a keyframe whose set-up was skipped");
                let is_one_of_a_gop = *payload == DELTA && last_key.is_some_and(|key| key + limits.duration >= *at);
                prop_assert!(!follows_a_skip || !is_one_of_a_gop, "decoding cannot go on at {}", number);
            }
        }
    }
}
