//! What one viewer got of one lane: which numbers came, in which order.

use super::stamp::Stamp;

/// Follows the numbers of one lane. What comes up to 64 numbers late is told from what comes twice.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ledger {
    /// The publication and its highest number so far, once one came.
    highest: Option<(u32, u32)>,
    /// Bit n: the number n below the highest came.
    seen: u64,
    /// What was counted, over all of this viewer's joins.
    pub count: Count,
}

/// What became of the frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Came, each counted once.
    pub received: u64,
    /// Did not come although a later one did.
    pub lost: u64,
    /// Came after a later one.
    pub late: u64,
    /// Came again.
    pub repeated: u64,
}

/// As many numbers as [`Ledger::seen`] has bits.
const REACH: u32 = u64::BITS;

impl Ledger {
    /// A frame came.
    pub(super) fn on_frame(&mut self, stamp: Stamp) {
        let highest = match self.highest {
            Some((run, highest)) if run == stamp.run => highest,
            // The first frame, or another publication: what lay between is nobody's loss.
            _ => {
                self.count.received += 1;
                self.seen = 1;
                self.highest = Some((stamp.run, stamp.number));
                return;
            }
        };
        if stamp.number > highest {
            let step = stamp.number - highest;
            self.count.received += 1;
            self.count.lost += u64::from(step - 1);
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = Some((stamp.run, stamp.number));
            return;
        }
        let back = highest - stamp.number;
        if back >= REACH || self.seen >> back & 1 == 1 {
            self.count.repeated += 1;
            return;
        }
        // Before this viewer's first frame nothing was counted as lost.
        self.count.lost = self.count.lost.saturating_sub(1);
        self.count.received += 1;
        self.count.late += 1;
        self.seen |= 1 << back;
    }

    /// The viewer left and joins again: it begins wherever the server begins.
    pub(super) fn on_rejoin(&mut self) {
        self.highest = None;
    }

    /// How many numbers are missing up to this one of this publication; 0 when nothing of it was ever to be expected.
    pub(super) fn missing_to(&self, (run, number): (u32, u32)) -> u64 {
        match self.highest {
            Some((own, highest)) if own == run => u64::from(number.saturating_sub(highest)),
            _ => 0,
        }
    }

    /// The publication and its highest number so far.
    pub(super) fn highest(&self) -> Option<(u32, u32)> {
        self.highest
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.lost += other.lost;
        self.late += other.late;
        self.repeated += other.repeated;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Received, lost, late, repeated.
    fn counted(frames: &[(u32, u32)]) -> [u64; 4] {
        let mut ledger = Ledger::default();
        for &(run, number) in frames {
            ledger.on_frame(Stamp { run, number, sent_us: 0 });
        }
        let Count { received, lost, late, repeated } = ledger.count;
        [received, lost, late, repeated]
    }

    fn run(numbers: &[u32]) -> [u64; 4] {
        counted(&numbers.iter().map(|number| (1, *number)).collect::<Vec<_>>())
    }

    #[test]
    fn unbroken_run_from_anywhere_loses_nothing() {
        assert_eq!(run(&[700, 701, 702]), [3, 0, 0, 0]);
    }

    #[test]
    fn gaps_are_lost_until_what_was_missing_comes_late() {
        assert_eq!(run(&[1, 4]), [2, 2, 0, 0]);
        assert_eq!(run(&[1, 4, 3]), [3, 1, 1, 0]);
        assert_eq!(run(&[1, 4, 3, 3]), [3, 1, 1, 1]);
        assert_eq!(run(&[1, 1000]), [2, 998, 0, 0]);
    }

    #[test]
    fn what_came_before_comes_again_as_repeated() {
        assert_eq!(run(&[1, 2, 2, 1]), [2, 0, 0, 2]);
        assert_eq!(run(&[1, 200, 1]), [2, 198, 0, 1]);
        assert_eq!(run(&[1, 65, 1]), [2, 63, 0, 1]);
    }

    #[test]
    fn another_publication_begins_anew() {
        assert_eq!(counted(&[(1, 50), (2, 0), (2, 1)]), [3, 0, 0, 0]);
    }

    #[test]
    fn missing_are_those_of_the_same_publication_alone() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.missing_to((1, 5)), 0);
        ledger.on_frame(Stamp { run: 1, number: 3, sent_us: 0 });
        assert_eq!((ledger.missing_to((1, 5)), ledger.missing_to((1, 3)), ledger.missing_to((2, 9))), (2, 0, 0));
        ledger.on_rejoin();
        assert_eq!(ledger.missing_to((1, 5)), 0);
    }
}
