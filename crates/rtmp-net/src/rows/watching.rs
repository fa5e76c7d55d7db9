//! One viewer's way through a stream: by itself, or in a row.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use hub::{Body, Budget, Cause, Event, Group, Item, Read, Reader, Skip, Stream};
use tokio::time::{Instant, sleep};

use super::{Row, Rows};
use crate::seat::{Count, Left, Seat, Sitter, Take};

/// A viewer of a stream. Either its connection asks what is due and writes it, or a row does, in which the viewer sits: then its
/// reader rests, and its connection writes nothing.
#[derive(Debug)]
pub struct Watching {
    reader: Reader,
    seating: Seating,
    /// Since when it skips and never catches up.
    behind_since: Option<Instant>,
    /// Since when its stream is known to have ended.
    ended_since: Option<Instant>,
    behind_max: Duration,
}

/// Where a viewer sits.
#[derive(Debug)]
enum Seating {
    /// Nowhere: its connection writes. The row that it tried last is the first to be tried again, without a look at all rows,
    /// and goes on until then.
    Up { tried: Option<Arc<Row>> },
    /// In this row, which writes.
    In(Arc<Row>),
}

/// What is due to a viewer whose connection writes.
#[derive(Debug)]
pub enum Due {
    /// What was shown last, all of it.
    Group(Arc<Group>),
    /// Items; none while it has had all.
    Items {
        /// If not 0, the viewer has skipped because it is slow, and so many items before these were left out.
        missed: u64,
        /// Nothing comes after them.
        ended: bool,
    },
    /// Nothing more: the viewer has skipped again and again for too long, or takes too long over the rest of a stream that has
    /// ended, and is to be cut.
    Behind {
        /// So many items were left out this time.
        missed: u64,
    },
}

/// How often [`Watching::overdue`] looks.
const OVERDUE_LOOK: Duration = Duration::from_secs(1);

impl Watching {
    /// A viewer that gets what this reader finds. One that skips and does not catch up for so long is behind, and so is one that
    /// has not had all of its stream so long after its end.
    pub fn new(reader: Reader, behind_max: Duration) -> Self {
        Self { reader, seating: Seating::Up { tried: None }, behind_since: None, ended_since: None, behind_max }
    }

    /// What is watched.
    pub fn stream(&self) -> &Arc<Stream> {
        self.reader.stream()
    }

    /// Whether a row writes for the viewer.
    pub fn is_seated(&self) -> bool {
        matches!(self.seating, Seating::In(_))
    }

    /// Ready once [`Watching::due`] may find something.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_ready(cx)
    }

    /// What is due now. Items are put into `items`, which holds nothing else then.
    pub fn due(&mut self, budget: Budget, items: &mut Vec<Arc<Item>>) -> Due {
        items.clear();
        if self.is_overdue() {
            return Due::Behind { missed: 0 };
        }
        if let Some(group) = self.reader.read_group() {
            self.behind_since = None;
            return Due::Group(group);
        }
        let (missed, ended) = match self.reader.read(budget, items) {
            // Everybody skips where the log has a gap.
            Read::Items | Read::Skipped(Skip { cause: Cause::Gap, .. }) => (0, false),
            Read::Ended => (0, true),
            Read::Empty => {
                // Who waits for a keyframe to skip to has not caught up.
                if self.reader.next_seq().is_some() {
                    self.behind_since = None;
                }
                (0, false)
            }
            Read::Skipped(Skip { cause: Cause::Slow, missed }) => {
                let since = *self.behind_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.behind_max {
                    items.clear();
                    return Due::Behind { missed };
                }
                (missed, false)
            }
        };
        let closed = items.iter().position(|item| matches!(item.body, Body::Event(Event::Close { .. })));
        items.truncate(closed.unwrap_or(items.len()));
        Due::Items { missed, ended: ended || closed.is_some() }
    }

    /// Whether the viewer is to be cut with what waits to be written to it: its stream has ended, and it has not taken the rest in
    /// as long as it may be behind. Whoever takes a few bytes a second would keep all that is left of the stream for hours. To be
    /// asked now and then while something waits: nothing is due then.
    pub fn is_overdue(&mut self) -> bool {
        if !self.stream().has_ended() {
            return false;
        }
        match self.ended_since {
            Some(since) => since.elapsed() >= self.behind_max,
            None => {
                self.ended_since = Some(Instant::now());
                false
            }
        }
    }

    /// Completes when the viewer is to be cut with what waits for it. Safe to drop at the await.
    pub async fn overdue(&mut self) {
        while !self.is_overdue() {
            sleep(OVERDUE_LOOK).await;
        }
    }

    /// A live stream does not wait: after a pause it goes on at the next keyframe.
    pub fn rejoin(&mut self) {
        self.reader.rejoin_at_next_keyframe();
        self.behind_since = None;
    }

    /// Leaves the writing to a row from the next frame on, if there is one that is no further than this viewer. Nothing that
    /// the viewer is to get may wait to be written. The waker is told when the row can write no more.
    pub fn sit(&mut self, rows: &Rows, seat: Arc<Seat<dyn Take>>, count: Arc<dyn Count>, waker: &Waker) -> bool {
        let Some(next_seq) = self.reader.next_seq() else { return false };
        let row = match &self.seating {
            Seating::Up { tried: Some(row) } if row.is_open() => row.clone(),
            _ => rows.row(self.reader.stream(), next_seq),
        };
        let sits = row.sit(seat, Sitter { next_seq, count, waker: waker.clone() });
        if sits {
            self.reader.rest();
            self.behind_since = None;
        }
        self.seating = if sits { Seating::In(row) } else { Seating::Up { tried: Some(row) } };
        sits
    }

    /// Ready once the row cannot go on, with what it has left to be written first.
    pub fn poll_left(&mut self, seat: &Seat<dyn Take>, cx: &mut Context<'_>) -> Poll<Bytes> {
        seat.poll_left(cx).map(|left| self.on_left(left))
    }

    /// From now on the connection writes; if it did not, there is what the row has left to be written first.
    pub fn get_up(&mut self, seat: &Seat<dyn Take>) -> Option<Bytes> {
        self.is_seated().then(|| self.on_left(seat.get_up()))
    }

    fn on_left(&mut self, left: Option<Left>) -> Bytes {
        let Left { rest, next_seq } = left.expect("whoever sits got up nowhere else");
        if let Seating::In(row) = &self.seating {
            self.seating = Seating::Up { tried: Some(row.clone()) };
        }
        self.reader.go_on_at(next_seq);
        rest
    }
}

#[cfg(test)]
mod tests {
    use hub::{Hub, RingLimits, Start, Writer};
    use media::{DEFAULT_VHOST, Frame, Medium, PublicationId, StreamName};

    use super::*;
    use crate::{
        pacing::Pressure,
        seat::tests::{Counts, Room},
        stats::Stats,
    };

    const BEHIND_MAX: Duration = Duration::from_secs(10);
    const ALL: Budget = Budget { items: 100, bytes: 1 << 20 };
    const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
    const DELTA: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41];

    /// A stream of which four items are kept, and a viewer that has had all of it.
    struct Play {
        _hub: Hub,
        writer: Writer,
        watching: Watching,
        items: Vec<Arc<Item>>,
    }

    impl Play {
        fn new() -> Self {
            let hub = Hub::new(RingLimits { items: 4, ..RingLimits::default() });
            let writer = hub.open(&StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()).unwrap();
            let watching = Watching::new(writer.stream().subscribe_paced(Start::LastKeyframe), BEHIND_MAX);
            let mut play = Self { _hub: hub, writer, watching, items: Vec::new() };
            play.push(KEY);
            assert!(matches!(play.due(), Due::Items { missed: 0, ended: false }));
            assert_eq!(play.payloads(), [KEY]);
            play
        }

        fn push(&mut self, payload: &'static [u8]) {
            self.append(video(payload));
        }

        fn append(&mut self, body: Body) {
            let seq = self.writer.append(body, None).seq;
            self.writer.commit_below(seq + 1);
        }

        /// More than the ring holds, so that the viewer has to skip three frames.
        fn fall_behind(&mut self) {
            [DELTA, DELTA, DELTA, KEY, DELTA, DELTA].into_iter().for_each(|payload| self.push(payload));
        }

        fn due(&mut self) -> Due {
            self.watching.due(ALL, &mut self.items)
        }

        fn payloads(&self) -> Vec<&[u8]> {
            self.items.iter().filter_map(|item| item.frame()).map(|frame| &frame.payload[..]).collect()
        }

        fn skip(&mut self) {
            self.fall_behind();
            assert!(matches!(self.due(), Due::Items { missed: 3, ended: false }));
            assert_eq!(self.payloads(), [KEY, DELTA, DELTA]);
        }
    }

    fn video(payload: &'static [u8]) -> Body {
        Body::Frame(Frame::classify(Medium::Video, 0, Bytes::from_static(payload)))
    }

    /// Whether a viewer is cut that skips, does this, and skips again after as long as it may be behind.
    async fn is_cut(meanwhile: impl FnOnce(&mut Play)) -> bool {
        let mut play = Play::new();
        play.skip();
        meanwhile(&mut play);
        tokio::time::advance(BEHIND_MAX).await;
        play.fall_behind();
        matches!(play.due(), Due::Behind { .. })
    }

    #[tokio::test(start_paused = true)]
    async fn who_skips_again_and_again_is_cut_when_its_time_is_over_and_loses_what_it_skipped_to() {
        let mut play = Play::new();
        for _ in 0..10 {
            play.skip();
            tokio::time::advance(BEHIND_MAX / 10).await;
        }
        play.fall_behind();
        assert!(matches!(play.due(), Due::Behind { missed: 3 }));
        assert!(play.items.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_caught_up_has_all_its_time_again() {
        assert!(is_cut(|_| {}).await);
        let had_all = |play: &mut Play| {
            assert!(matches!(play.due(), Due::Items { missed: 0, ended: false }));
            assert!(play.items.is_empty());
        };
        assert!(!is_cut(had_all).await);
        let got_a_group = |play: &mut Play| {
            play.push(DELTA);
            assert!(matches!(play.due(), Due::Group(_)));
        };
        assert!(!is_cut(got_a_group).await);
        let paused = |play: &mut Play| {
            play.watching.rejoin();
            play.fall_behind();
            assert!(matches!(play.due(), Due::Items { missed: 0, ended: false }));
            assert_eq!(play.payloads(), [KEY, DELTA, DELTA]);
        };
        assert!(!is_cut(paused).await);
        let sat = |play: &mut Play| {
            let (seat, counts) = (Seat::new(Room::of(usize::MAX)), Arc::new(Counts::default()));
            let rows = Rows::of_rtmp(Arc::<Stats>::default(), Pressure::default());
            assert!(play.watching.sit(&rows, seat.clone(), counts, Waker::noop()) && play.watching.is_seated());
            assert_eq!(play.watching.get_up(&*seat), Some(Bytes::new()));
            assert_eq!((play.watching.is_seated(), play.watching.get_up(&*seat)), (false, None));
        };
        assert!(!is_cut(sat).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_keyframe_to_skip_to_has_not_caught_up() {
        let waits = |play: &mut Play| {
            (0..5).for_each(|_| play.push(DELTA));
            assert!(matches!(play.due(), Due::Items { missed: 0, ended: false }));
            assert!(play.items.is_empty());
        };
        assert!(is_cut(waits).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_crosses_a_gap_of_the_log_is_not_slow() {
        let mut play = Play::new();
        play.skip();
        tokio::time::advance(BEHIND_MAX).await;
        play.writer.append_at([(2 << 40, video(KEY))]);
        assert!(matches!(play.due(), Due::Items { missed: 0, ended: false }));
        assert_eq!(play.payloads(), [KEY]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_the_end_of_the_stream_is_not_due() {
        let mut play = Play::new();
        play.push(DELTA);
        play.append(Body::Event(Event::Close { publication: PublicationId::from_bits(1) }));
        play.push(KEY);
        assert!(matches!(play.due(), Due::Items { missed: 0, ended: true }));
        assert_eq!(play.payloads(), [DELTA]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_too_long_over_the_rest_of_a_stream_that_has_ended_is_cut() {
        let mut play = Play::new();
        [DELTA, DELTA, DELTA].into_iter().for_each(|payload| play.push(payload));
        tokio::time::advance(BEHIND_MAX * 2).await;
        assert!(!play.watching.is_overdue(), "the stream goes on");
        let Play { _hub, writer, mut watching, mut items } = play;
        drop(writer);
        assert!(!watching.is_overdue());
        let one = Budget { items: 1, ..ALL };
        assert!(matches!(watching.due(one, &mut items), Due::Items { missed: 0, ended: false }));
        let begin = Instant::now();
        tokio::time::timeout(BEHIND_MAX * 2, watching.overdue()).await.expect("it is cut");
        assert_eq!(begin.elapsed(), BEHIND_MAX);
        assert!(matches!(watching.due(one, &mut items), Due::Behind { missed: 0 }));
        assert!(items.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_ends_with_its_writer_too() {
        let Play { _hub, writer, mut watching, mut items } = Play::new();
        drop(writer);
        assert!(matches!(watching.due(ALL, &mut items), Due::Items { missed: 0, ended: true }));
    }
}
