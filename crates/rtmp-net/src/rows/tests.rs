use std::{sync::atomic::Ordering, time::Duration};

use hub::{Body, Event, Hub, RingLimits, Writer};
use media::{DEFAULT_VHOST, Frame, Medium, PublicationId, StreamName};
use tokio::task::yield_now;

use super::*;
use crate::{
    outbox::chunks,
    seat::{
        Left, Seat,
        tests::{Counts, Room},
    },
    stats::Stats,
};

/// A stream, and rows for its viewers.
struct House {
    _hub: Hub,
    writer: Option<Writer>,
    stats: Arc<Stats>,
    rows: Rows,
    /// What was sent of the stream since it began.
    sent: Vec<u8>,
}

/// One viewer.
struct Viewer {
    seat: Arc<Seat<Room>>,
    counts: Arc<Counts>,
    _row: Arc<Row>,
}

impl House {
    fn new() -> Self {
        let hub = Hub::new(RingLimits::default());
        let writer = hub.open(&StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()).unwrap();
        let stats = Arc::<Stats>::default();
        let rows = Rows::of_rtmp(stats.clone(), Pressure::default());
        Self { _hub: hub, writer: Some(writer), stats, rows, sent: Vec::new() }
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn next_seq(&self) -> u64 {
        self.writer.as_ref().unwrap().stream().info().next_seq
    }

    /// One frame of so many bytes, shown at once.
    fn push(&mut self, bytes: usize) {
        let body = Body::Frame(Frame::classify(Medium::Audio, 1, Bytes::from(vec![0xaf; bytes])));
        let item = self.writer().append(body, None);
        self.sent.extend(chunks(std::slice::from_ref(&item)));
        self.writer().commit_below(item.seq + 1);
    }

    /// One frame of so many bytes, and time for the row to send it.
    async fn send(&mut self, bytes: usize) {
        self.push(bytes);
        settle().await;
    }

    fn row(&self) -> Arc<Row> {
        self.rows.row(self.writer.as_ref().unwrap().stream(), self.next_seq())
    }

    /// A viewer who has had all of the stream but `behind` frames, and whose socket has room for so many bytes.
    fn sit(&self, behind: u64, room: usize) -> Result<Viewer, Arc<Row>> {
        let (seat, counts, row) = (Seat::new(Room::of(room)), Arc::new(Counts::default()), self.row());
        match row.sit(seat.clone(), counts.sitter(self.next_seq() - behind)) {
            true => Ok(Viewer { seat, counts, _row: row }),
            false => Err(row),
        }
    }
}

/// Until no task has anything to do.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_sit_get_every_frame() {
    let mut house = House::new();
    let viewers: Vec<_> = (0..200).map(|_| house.sit(0, usize::MAX).unwrap()).collect();
    for bytes in [10, 2000, 1, 70_000] {
        house.send(bytes).await;
    }
    assert!(viewers.iter().all(|viewer| viewer.seat.socket().got() == house.sent));
    let stats = &house.stats;
    assert_eq!(stats.frames_out.load(Ordering::Relaxed), 4 * 200);
    assert_eq!(stats.bytes_out.load(Ordering::Relaxed), house.sent.len() as u64 * 200);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_late_sends_several_groups_at_once() {
    let mut house = House::new();
    let viewer = house.sit(0, usize::MAX).unwrap();
    settle().await;
    (0..100).for_each(|bytes| house.push(bytes));
    settle().await;
    assert_eq!(viewer.seat.socket().got(), house.sent);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_full_holds_nobody_up() {
    let mut house = House::new();
    let (slow, quick) = (house.sit(0, 150).unwrap(), house.sit(0, usize::MAX).unwrap());
    house.send(100).await;
    let next_seq = house.next_seq() + 1;
    for _ in 0..3 {
        house.send(100).await;
    }
    assert_eq!(quick.seat.socket().got(), house.sent);
    let got = slow.seat.socket().got();
    assert_eq!((got.len(), slow.counts.found()), (150, (150, 1)));
    let Left { rest, next_seq: left_at } = slow.seat.get_up().unwrap();
    assert_eq!(left_at, next_seq);
    let begun = [&got[..], &rest].concat();
    assert_eq!(begun, house.sent[..begun.len()], "what was begun comes to its end");
    assert_eq!(begun.len(), house.sent.len() / 2);
}

#[tokio::test(start_paused = true)]
async fn who_has_had_less_than_the_row_catches_up_first() {
    let mut house = House::new();
    let first = house.sit(0, usize::MAX).unwrap();
    house.send(10).await;
    assert!(house.sit(1, usize::MAX).is_err());
    let at = house.sent.len();
    let second = house.sit(0, usize::MAX).unwrap();
    house.send(20).await;
    assert_eq!(
        (first.seat.socket().got(), second.seat.socket().got()),
        (house.sent.clone(), house.sent[at..].to_vec())
    );
}

#[tokio::test(start_paused = true)]
async fn who_has_had_more_than_the_row_gets_nothing_twice() {
    let mut house = House::new();
    let row = house.row();
    house.push(10);
    // The row has not had its turn: this viewer has been quicker.
    let quick = house.sit(0, usize::MAX).unwrap();
    assert!(Arc::ptr_eq(&row, &quick._row));
    settle().await;
    let at = house.sent.len();
    house.send(20).await;
    assert_eq!(quick.seat.socket().got(), house.sent[at..]);
}

#[tokio::test(start_paused = true)]
async fn who_is_in_the_middle_of_what_the_row_takes_up_goes_on_by_itself() {
    let mut house = House::new();
    let first = house.sit(0, usize::MAX).unwrap();
    settle().await;
    house.push(10);
    let quick = house.sit(0, usize::MAX).unwrap();
    let next_seq = house.next_seq();
    house.push(20);
    settle().await;
    assert_eq!(first.seat.socket().got(), house.sent);
    assert_eq!(quick.seat.get_up(), Some(Left { rest: Bytes::new(), next_seq }));
    assert_eq!((quick.seat.socket().got(), quick.counts.found().1), (Vec::new(), 1));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_is_for_each_viewer_to_see() {
    let mut house = House::new();
    let viewer = house.sit(0, usize::MAX).unwrap();
    house.send(10).await;
    let next_seq = house.next_seq();
    let close = Body::Event(Event::Close { publication: PublicationId::from_bits(1) });
    let item = house.writer().append(close, None);
    house.writer().commit_below(item.seq + 1);
    settle().await;
    assert_eq!(viewer.seat.get_up(), Some(Left { rest: Bytes::new(), next_seq }));
    assert!(!viewer._row.is_open());
    // The next encoder's viewers sit in another row.
    let again = house.sit(0, usize::MAX).unwrap();
    let at = house.sent.len();
    house.send(20).await;
    assert_eq!(again.seat.socket().got(), house.sent[at..]);
    let next_seq = house.next_seq();
    house.writer = None;
    settle().await;
    assert_eq!(again.seat.get_up(), Some(Left { rest: Bytes::new(), next_seq }));
}

#[tokio::test(start_paused = true)]
async fn a_row_ends_with_the_last_who_holds_it_and_forgets_who_is_gone() {
    let mut house = House::new();
    let (one, two) = (house.sit(0, usize::MAX).unwrap(), house.sit(0, usize::MAX).unwrap());
    let (row, seat) = (Arc::downgrade(&one._row), Arc::downgrade(&two.seat));
    drop(two);
    assert!(seat.upgrade().is_none(), "its socket is closed at once");
    house.send(10).await;
    assert_eq!(house.stats.frames_out.load(Ordering::Relaxed), 1);
    let stream = house.writer.as_ref().unwrap().stream().clone();
    let before = Arc::strong_count(&stream);
    drop(one);
    settle().await;
    assert!(row.upgrade().is_none());
    assert!(Arc::strong_count(&stream) < before, "its task is gone");
}

#[tokio::test(start_paused = true)]
async fn a_row_with_nothing_to_write_remembers_who_sits_and_not_how_often() {
    let mut house = House::new();
    let (still, restless) = (house.sit(0, usize::MAX).unwrap(), house.sit(0, usize::MAX).unwrap());
    let row = &restless._row;
    for _ in 0..10_000 {
        restless.seat.get_up().unwrap();
        assert!(row.sit(restless.seat.clone(), restless.counts.sitter(house.next_seq())));
    }
    assert!(row.arrivals() < 128, "{}", row.arrivals());
    house.send(10).await;
    assert!([&still, &restless].iter().all(|viewer| viewer.seat.socket().got() == house.sent));
}

#[tokio::test(start_paused = true)]
async fn each_viewers_bytes_are_counted_once_a_second_and_when_it_gets_up() {
    let mut house = House::new();
    let viewer = house.sit(0, usize::MAX).unwrap();
    house.send(10).await;
    assert_eq!(viewer.counts.found().0, 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    house.send(10).await;
    assert_eq!(viewer.counts.found().0, house.sent.len() as u64);
    house.send(10).await;
    viewer.seat.get_up().unwrap();
    assert_eq!(viewer.counts.found(), (house.sent.len() as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_large_crowd_sits_in_as_many_rows_as_there_are_threads() {
    let house = House::new();
    let rows_of = |count: usize| {
        let mut rows: Vec<_> = Vec::new();
        let viewers: Vec<_> = (0..count).map(|_| house.sit(0, usize::MAX).unwrap()).collect();
        for viewer in &viewers {
            if !rows.iter().any(|row| Arc::ptr_eq(row, &viewer._row)) {
                rows.push(viewer._row.clone());
            }
        }
        rows.len()
    };
    assert_eq!([10, 100, 1000].map(rows_of), [1, 2, 3]);
}
