//! What one viewer saw, counted by number.

use std::{
    collections::BTreeSet,
    ops::AddAssign,
    time::{Duration, Instant},
};

use super::stamp::{LANES, Lane};

/// One frame at one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When it came.
    pub at: Instant,
    /// Video or audio.
    pub lane: Lane,
    /// The number in it.
    pub number: u32,
    /// Its timestamp.
    pub dts: u32,
}

/// Frames that did not come as they were sent, over any number of viewers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Sent, and not seen although later ones were.
    pub lost: usize,
    /// Seen again.
    pub repeated: usize,
    /// Seen after a later one.
    pub out_of_order: usize,
    /// Seen with a timestamp below that of the one before.
    pub fell: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.fell += other.fell;
    }
}

/// The accounts of one viewer, over all its connections.
#[derive(Debug, Default)]
pub struct Ledger {
    lanes: [Account; 2],
    /// When the last video frame came.
    last_video: Option<Instant>,
}

#[derive(Debug, Default)]
struct Account {
    /// The number after the highest that was seen.
    next: Option<u32>,
    dts: Option<u32>,
    missing: BTreeSet<u32>,
    /// Since it joined again it has seen nothing new: what a late joiner gets is no repetition.
    catching_up: bool,
}

impl Ledger {
    /// The viewer has joined, again or for the first time.
    pub fn joined(&mut self) {
        for account in &mut self.lanes {
            account.catching_up = account.next.is_some();
            account.dts = None;
        }
    }

    /// Takes what came, in the order of arrival. What is missing so far is told by [`Ledger::settle`].
    pub fn take(&mut self, arrival: &Arrival) -> Counts {
        if arrival.lane == Lane::Video {
            self.last_video = Some(arrival.at);
        }
        self.lanes[arrival.lane.index()].take(arrival)
    }

    /// Counts as lost what was sent and has not come although later ones have; each is counted once.
    pub fn settle(&mut self, was_sent: impl Fn(Lane, u32) -> bool) -> usize {
        let missing = |lane: Lane, account: &mut Account| {
            std::mem::take(&mut account.missing).into_iter().filter(|number| was_sent(lane, *number)).count()
        };
        LANES.into_iter().zip(&mut self.lanes).map(|(lane, account)| missing(lane, account)).sum()
    }

    /// The number after the highest that was seen of a lane.
    pub fn next(&self, lane: Lane) -> Option<u32> {
        self.lanes[lane.index()].next
    }

    /// When the last video frame came.
    pub fn last_video(&self) -> Option<Instant> {
        self.last_video
    }
}

impl Account {
    fn take(&mut self, arrival: &Arrival) -> Counts {
        let mut counts = Counts::default();
        let next = *self.next.get_or_insert(arrival.number);
        if arrival.number >= next {
            self.missing.extend(next..arrival.number);
            self.next = Some(arrival.number + 1);
            self.catching_up = false;
        } else if self.missing.remove(&arrival.number) {
            counts.out_of_order += usize::from(!self.catching_up);
        } else {
            counts.repeated += usize::from(!self.catching_up);
        }
        let fell = self.dts.replace(arrival.dts).is_some_and(|before| arrival.dts < before);
        counts.fell += usize::from(fell);
        counts
    }
}

/// The longest time without a video frame from the fault until the end: the pause that the fault fell into counts whole, and so
/// does one that had not ended.
pub fn longest_gap(
    before: Option<Instant>,
    video: impl IntoIterator<Item = Instant>,
    fault: Instant,
    end: Instant,
) -> Duration {
    let mut last = before.unwrap_or(fault);
    let mut longest = Duration::ZERO;
    for at in video.into_iter().filter(|at| *at <= end).chain([end]) {
        if at > fault {
            longest = longest.max(at - last);
        }
        last = at;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes these video numbers, each a frame later, and settles.
    fn count(ledger: &mut Ledger, numbers: &[u32]) -> Counts {
        let at = Instant::now();
        let mut counts = Counts::default();
        for &number in numbers {
            counts += ledger.take(&Arrival { at, lane: Lane::Video, number, dts: number * 33 });
        }
        counts.lost += ledger.settle(|_, number| number != 13);
        counts
    }

    #[test]
    fn lost_repeated_and_late_frames_are_counted_once() {
        let mut ledger = Ledger::default();
        ledger.joined();
        assert_eq!(count(&mut ledger, &[5, 6, 7]), Counts::default(), "where a viewer begins is no loss");
        assert_eq!(count(&mut ledger, &[9]), Counts { lost: 1, ..Counts::default() });
        assert_eq!(count(&mut ledger, &[10]), Counts::default());
        assert_eq!(count(&mut ledger, &[10]), Counts { repeated: 1, ..Counts::default() });
        assert_eq!(count(&mut ledger, &[12, 11]), Counts { out_of_order: 1, fell: 1, ..Counts::default() });
        assert_eq!(count(&mut ledger, &[14]), Counts::default(), "13 was never sent");
    }

    #[test]
    fn what_a_viewer_gets_when_it_joins_again_is_no_repetition_but_what_it_missed_is_lost() {
        let mut ledger = Ledger::default();
        ledger.joined();
        count(&mut ledger, &[0, 1, 2, 3]);
        ledger.joined();
        assert_eq!(count(&mut ledger, &[2, 3, 4]), Counts::default());
        assert_eq!(count(&mut ledger, &[4]), Counts { repeated: 1, ..Counts::default() });
        ledger.joined();
        assert_eq!(count(&mut ledger, &[8]), Counts { lost: 3, ..Counts::default() });
    }

    #[test]
    fn a_gap_reaches_from_before_the_fault_to_the_end_of_the_pause() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let gap = |before, video: &[u64]| longest_gap(before, video.iter().map(|ms| at(*ms)), at(100), at(1000));
        assert_eq!(gap(Some(at(80)), &[400, 800]), Duration::from_millis(400));
        assert_eq!(gap(Some(at(80)), &[400]), Duration::from_millis(600), "nothing came until the end");
        assert_eq!(gap(None, &[]), Duration::from_millis(900));
        assert_eq!(
            gap(Some(at(0)), &[90, 300, 600, 900]),
            Duration::from_millis(300),
            "a pause before the fault is none of it"
        );
    }
}
