use bytes::Bytes;
use hub::{Budget, Event, Read, Reader, RingLimits, Start};
use media::{DEFAULT_VHOST, Frame, Medium, PublicationId};

use super::*;

/// A mirror with a viewer.
struct Edge {
    hub: Hub,
    mirror: Mirror,
    viewer: Option<Reader>,
}

/// Positions, times and last payload bytes of frames.
type Seen = Vec<(u64, u64, u8)>;

impl Edge {
    fn new() -> Self {
        Self { hub: Hub::new(RingLimits::default()), mirror: Mirror::default(), viewer: None }
    }

    /// A pool opens the stream, and gives all that it has of it at once.
    fn open(&mut self, pool: &str, items: Vec<Placed>) -> Appended {
        let name = StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap();
        let head = items.last().map_or(0, |item| item.seq);
        let opened = self.mirror.open(&self.hub, &name, pool, head).unwrap();
        self.viewer = opened.map(|stream| stream.subscribe(Start::LastKeyframe)).or(self.viewer.take());
        self.mirror.append(1, items)
    }

    fn see(&mut self) -> Seen {
        let (viewer, mut items) = (self.viewer.as_mut().unwrap(), Vec::new());
        while let Read::Items | Read::Skipped(_) = viewer.read(Budget { items: 64, bytes: 1 << 20 }, &mut items) {}
        let seen = items.iter().filter_map(|item| Some((item.seq, item.frame()?)));
        seen.map(|(seq, frame)| (seq, frame.dts, *frame.payload.last().unwrap())).collect()
    }
}

/// A keyframe, or another, that says which one it is.
fn video(head: u8, dts: u64, mark: u8) -> Body {
    Body::Frame(Frame::classify(Medium::Video, dts, Bytes::from(vec![head, 1, 0, 0, 0, mark])))
}

fn key(dts: u64, mark: u8) -> Body {
    video(0x17, dts, mark)
}

fn delta(dts: u64, mark: u8) -> Body {
    video(0x27, dts, mark)
}

fn open() -> Body {
    Body::Event(Event::Open { publication: PublicationId::from_bits(1) })
}

fn items(first: u64, bodies: impl IntoIterator<Item = Body>) -> Vec<Placed> {
    (first..).zip(bodies).map(|(seq, body)| Placed { seq, body }).collect()
}

/// Where the first pool has a stream and the second one has its copy: positions above and below, times ahead and behind.
const PLACES: [((u64, u64), (u64, u64)); 4] = [
    ((6 << 40, 2 << 40), (90_000, 100)),
    ((6 << 40, 2 << 40), (100, 90_000)),
    ((2 << 40, 6 << 40), (90_000, 100)),
    ((2 << 40, 6 << 40), (100, 90_000)),
];

/// Viewers of west's stream who have gone on in east's copy, and have had three frames.
fn moved_east(positions: (u64, u64), times: (u64, u64)) -> Edge {
    let ((west, east), (west_ms, east_ms)) = (positions, times);
    let mut edge = Edge::new();
    edge.open("west", items(west, [key(west_ms, 1), delta(west_ms + 40, 2)]));
    let copy = [key(east_ms, 1), delta(east_ms + 40, 2), delta(east_ms + 80, 3)];
    assert_eq!(edge.open("east", items(east, copy)).spliced, Some(Spliced::Behind));
    assert_eq!(edge.see(), [(west, west_ms, 1), (west + 1, west_ms + 40, 2), (west + 2, west_ms + 80, 3)]);
    edge
}

#[test]
fn a_gap_in_a_pool_that_viewers_came_to_stops_nobody() {
    for (positions, times) in PLACES {
        let mut edge = moved_east(positions, times);
        let ((west, east), (west_ms, east_ms)) = (positions, times);
        let gap = 1 << 40;
        let appended = edge.open("east", items(east + gap, [key(east_ms + 5000, 7), delta(east_ms + 5040, 8)]));
        assert_eq!((appended.repeated, appended.spliced), (0, Some(Spliced::Anew)));
        edge.mirror.append(1, items(east + gap + 2, [delta(east_ms + 5080, 9)]));
        let at = west + gap;
        let expected = [(at, west_ms + 5000, 7), (at + 1, west_ms + 5040, 8), (at + 2, west_ms + 5080, 9)];
        assert_eq!(edge.see(), expected, "{positions:?} {times:?}");
    }
}

#[test]
fn what_comes_again_behind_such_a_gap_is_found_at_its_time() {
    for (positions, times) in PLACES {
        let mut edge = moved_east(positions, times);
        let ((west, east), (west_ms, east_ms)) = (positions, times);
        let again = edge.open("east", items(east + (1 << 40), [delta(east_ms + 40, 2)]));
        assert_eq!(again.spliced, None, "the rest is on its way");
        edge.mirror.append(1, items(east + (1 << 40) + 1, [delta(east_ms + 80, 3), delta(east_ms + 120, 4)]));
        assert_eq!(edge.see(), [(west + 3, west_ms + 120, 4)], "{positions:?} {times:?}");
    }
}

#[test]
fn a_clock_that_began_anew_behind_such_a_gap_goes_on_where_viewers_are() {
    // Where viewers came from a clock that was far from its beginning: near it, the same may come again.
    for (positions, times) in PLACES.into_iter().filter(|(_, (_, east_ms))| *east_ms == 90_000) {
        let mut edge = moved_east(positions, times);
        edge.open("east", items(positions.1 + (1 << 40), [key(0, 7), delta(40, 8)]));
        let at = (positions.0 + (1 << 40), times.0 + 120);
        assert_eq!(edge.see(), [(at.0, at.1, 7), (at.0 + 1, at.1 + 40, 8)], "{positions:?} {times:?}");
    }
}

#[test]
fn a_gap_in_a_log_that_became_another_stops_nobody() {
    let mut edge = Edge::new();
    edge.open("main", items(10, [key(1000, 1)]));
    edge.mirror.append(1, items(11, (2..90).map(|mark| delta(1000 + 40 * u64::from(mark), mark))));
    assert_eq!(edge.see().last().map(|seen| seen.0), Some(98));
    assert!(edge.mirror.note_head("main", 11, None));
    assert_eq!(edge.open("main", items(10, [key(1000, 1), key(6000, 91)])).spliced, Some(Spliced::Anew));
    assert_eq!(edge.see(), [(100, 6000, 91)]);
    edge.open("main", items(50, [key(7000, 92)]));
    assert_eq!(edge.see(), [(139, 7000, 92)]);
}

#[test]
fn a_log_that_was_written_anew_and_has_grown_since_is_noticed_by_where_it_parts() {
    let mut edge = Edge::new();
    edge.open("main", items(10, [key(1000, 1), delta(1040, 2), delta(1080, 3)]));
    assert_eq!(edge.mirror.after("main"), Some((12, 1)));
    assert!(!edge.mirror.note_head("main", 20, None), "it goes on behind what was had");
    assert!(edge.mirror.note_head("main", 20, Some(11)), "another stands there now");
    assert_eq!(edge.mirror.after("main"), Some((0, 0)));
    let again = [key(1000, 1), delta(1040, 2), delta(1080, 3), delta(1120, 4)];
    assert_eq!(edge.open("main", items(10, again)).spliced, Some(Spliced::Behind));
    assert_eq!(edge.see(), [(10, 1000, 1), (11, 1040, 2), (12, 1080, 3), (13, 1120, 4)]);
    assert!(!edge.mirror.note_head("main", 20, None));
}

#[test]
fn viewers_who_have_had_nothing_yet_see_what_another_pool_has() {
    for first in [2 << 40, 8 << 40] {
        let mut edge = Edge::new();
        edge.open("west", items(6 << 40, [open()]));
        edge.open("east", items(first, [open(), key(100, 1), delta(140, 2)]));
        let seen = edge.see();
        assert_eq!(seen.iter().map(|(_, dts, mark)| (*dts, *mark)).collect::<Vec<_>>(), [(100, 1), (140, 2)]);
        assert!(seen[0].0 > 6 << 40);
    }
}
