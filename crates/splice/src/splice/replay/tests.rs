use std::time::Duration;

use bytes::Bytes;
use media::{MediaMessage, Medium};
use proptest::prelude::*;

use super::*;
use crate::{Accepted, TakeOver};

/// What happens to a splice.
#[derive(Debug, Clone)]
enum Step {
    Message { kind: u8, forward_ms: i32, wait_ms: u64 },
    Repeated,
    Cleared,
    Skip { count: u64 },
    TakeOver,
}

/// An item as a log keeps it.
#[derive(Debug, Clone, PartialEq)]
enum Item {
    Open(PublicationId),
    Frame(Frame, Provenance),
    Other(Provenance),
}

/// A splice and its log, driven as an origin does.
struct Writer {
    splice: Splice,
    log: Vec<Item>,
    wire_ms: u32,
    now: Instant,
}

const CONFIG: Config =
    Config { grace: Duration::from_secs(15), silence: Duration::from_secs(3), take_over: TakeOver::Always };
/// Video of two tracks, audio, a configuration, data.
const PAYLOADS: &[(Medium, &[u8])] = &[
    (Medium::Video, &[0x27, 1, 0, 0, 0]),
    (Medium::Video, &[0x96, 0x01, b'a', b'v', b'c', b'1', 1, 0, 0, 0, 0]),
    (Medium::Audio, &[0xaf, 1, 0x21]),
    (Medium::Audio, &[0xaf, 0, 0x12, 0x10]),
    (Medium::Data, &[2, 0, 1, b'x']),
];

impl Writer {
    fn new() -> Self {
        let (first, now) = (PublicationId::from_bits(0), Instant::now());
        Self { splice: Splice::open(CONFIG, first, now), log: vec![Item::Open(first)], wire_ms: 1000, now }
    }

    /// Another origin's splice, made of this log, that goes on from here. Neither knows when the source was heard last.
    fn successor(&mut self, log: &[Item]) -> Option<Self> {
        self.splice.timeline.forget_when();
        let splice = Splice::from_log(CONFIG, log.iter().map(logged), self.now)?;
        Some(Self { splice, log: Vec::new(), ..*self })
    }

    fn apply(&mut self, step: &Step) {
        let (publication, number) = (self.splice.publication(), self.splice.next_number());
        match *step {
            Step::Message { kind, forward_ms, wait_ms } => {
                self.now += Duration::from_millis(wait_ms);
                self.wire_ms = self.wire_ms.wrapping_add_signed(forward_ms);
                let (medium, payload) = PAYLOADS[usize::from(kind)];
                self.message(publication, number, medium, payload);
            }
            Step::Repeated => {
                let (medium, payload) = PAYLOADS[0];
                self.message(publication, number.saturating_sub(1), medium, payload);
            }
            Step::Cleared => {
                let cleared = self.splice.handle_event(publication, number, self.now).unwrap();
                self.log.extend(cleared.map(Item::Other));
            }
            Step::Skip { count } => {
                let skipped = self.splice.handle_skip(publication, number, number + count, self.now).unwrap();
                self.log.extend(skipped.map(Item::Other));
            }
            Step::TakeOver => {
                let next = PublicationId::from_bits(publication.bits() + 1);
                self.splice.publish(next, self.now).unwrap();
                self.log.push(Item::Open(next));
            }
        }
    }

    fn message(&mut self, publication: PublicationId, number: u64, medium: Medium, payload: &'static [u8]) {
        let message = MediaMessage { medium, timestamp: self.wire_ms, payload: Bytes::from_static(payload) };
        if let Accepted::Frame(frame, provenance) =
            self.splice.handle_message(publication, number, message, self.now).unwrap()
        {
            self.log.push(Item::Frame(frame, provenance));
        }
    }
}

fn logged(item: &Item) -> Logged<'_> {
    match item {
        Item::Open(publication) => Logged::Open(*publication),
        Item::Frame(frame, provenance) => Logged::Frame(frame, Some(*provenance)),
        Item::Other(provenance) => Logged::Other(Some(*provenance)),
    }
}

fn message(forward_ms: impl Strategy<Value = i32>, wait_ms: std::ops::Range<u64>) -> impl Strategy<Value = Step> {
    let kind = 0..PAYLOADS.len() as u8;
    (kind, forward_ms, wait_ms).prop_map(|(kind, forward_ms, wait_ms)| Step::Message { kind, forward_ms, wait_ms })
}

/// Any encoder: clocks that jump, pauses, take-overs.
fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => message(-20..100i32, 0..60),
        2 => message(any::<i32>(), 0..60_000),
        1 => Just(Step::Repeated),
        1 => Just(Step::Cleared),
        1 => (0..5u64).prop_map(|count| Step::Skip { count }),
        1 => Just(Step::TakeOver),
    ]
}

/// An encoder whose clock runs forward.
fn steady_step() -> impl Strategy<Value = Step> {
    message(1..100i32, 1..100)
}

proptest! {
    #[test]
    fn a_splice_made_of_a_log_goes_on_as_its_writer(
        before in prop::collection::vec(any_step(), 0..60), after in prop::collection::vec(any_step(), 0..30),
    ) {
        let mut writer = Writer::new();
        before.iter().for_each(|step| writer.apply(step));
        let mut successor = writer.successor(&writer.log.clone()).unwrap();
        prop_assert_eq!(successor.splice.next_number(), writer.splice.next_number());
        prop_assert_eq!(successor.splice.publication(), writer.splice.publication());
        let end = writer.log.len();
        after.iter().for_each(|step| [&mut writer, &mut successor].into_iter().for_each(|one| one.apply(step)));
        prop_assert_eq!(&successor.log, &writer.log[end..]);
    }

    #[test]
    fn a_splice_that_follows_item_by_item_goes_on_as_its_writer(
        before in prop::collection::vec(any_step(), 0..60), after in prop::collection::vec(any_step(), 0..30),
    ) {
        let mut writer = Writer::new();
        let mut follower = writer.successor(&writer.log.clone()).unwrap();
        for step in &before {
            let end = writer.log.len();
            writer.apply(step);
            writer.log[end..].iter().for_each(|item| follower.splice.replay(logged(item), writer.now));
        }
        let mut successor = Writer { splice: follower.splice, log: Vec::new(), ..writer };
        let end = writer.log.len();
        after.iter().for_each(|step| [&mut writer, &mut successor].into_iter().for_each(|one| one.apply(step)));
        prop_assert_eq!(&successor.log, &writer.log[end..]);
    }

    #[test]
    fn the_end_of_a_log_is_enough_for_an_encoder_that_goes_on(
        sources in 0..3, before in prop::collection::vec(steady_step(), 10..40), gone in 0..1000usize,
        after in prop::collection::vec(steady_step(), 0..30),
    ) {
        let mut writer = Writer::new();
        for _ in 0..sources {
            before.iter().for_each(|step| writer.apply(step));
            writer.apply(&Step::TakeOver);
        }
        before.iter().for_each(|step| writer.apply(step));
        // What is left holds a coded frame of each track.
        let newest = |kind: (Medium, u8)| {
            let is_one = |item: &Item| matches!(item, Item::Frame(frame, provenance)
                if (frame.medium, frame.track) == kind && provenance.clock.is_some()
                    && provenance.publication == writer.splice.publication());
            writer.log.iter().rposition(is_one)
        };
        let newest = [(Medium::Video, 0), (Medium::Video, 1), (Medium::Audio, 0)].map(newest);
        prop_assume!(newest.iter().all(Option::is_some));
        let left = newest.into_iter().flatten().min().unwrap().min(gone);
        let log = writer.log[left..].to_vec();
        let mut successor = writer.successor(&log).unwrap();
        let end = writer.log.len();
        after.iter().for_each(|step| [&mut writer, &mut successor].into_iter().for_each(|one| one.apply(step)));
        prop_assert_eq!(&successor.log, &writer.log[end..]);
    }
}

#[test]
fn a_pause_before_a_splice_was_made_of_a_log_is_no_jump() {
    for (pause_ms, jumps) in [(30_000, 0), (100_000, 1)] {
        let mut writer = Writer::new();
        let video = |forward_ms| Step::Message { kind: 0, forward_ms, wait_ms: 40 };
        (0..3).for_each(|_| writer.apply(&video(40)));
        let mut successor = writer.successor(&writer.log.clone()).unwrap();
        // The encoder had been silent for so long already, and its clock goes on.
        successor.apply(&video(pause_ms));
        assert_eq!(successor.splice.jumps(), jumps, "{pause_ms} ms");
        successor.apply(&video(30_000));
        assert_eq!(successor.splice.jumps(), jumps + 1, "from then on a jump is one");
    }
}

#[test]
fn a_log_that_names_no_publication_makes_no_splice() {
    let now = Instant::now();
    assert!(Splice::from_log(CONFIG, [], now).is_none());
    assert!(Splice::from_log(CONFIG, [Logged::Other(None)], now).is_none());
}

#[test]
fn a_stream_that_ended_in_the_log_has_ended() {
    let (publication, now) = (PublicationId::from_bits(7), Instant::now());
    let log = [Logged::Open(publication), Logged::Close(publication)];
    let mut splice = Splice::from_log(CONFIG, log, now).unwrap();
    assert!(splice.has_ended());
    splice.replay(Logged::Open(PublicationId::from_bits(8)), now);
    assert!(splice.is_connected());
}
