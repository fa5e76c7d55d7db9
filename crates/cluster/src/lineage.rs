//! In which epochs a log was written, and what two logs have in common (REPLICATION C6).

use crate::Epoch;

/// Where in a log each epoch began, and where the log ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lineage {
    /// Where each epoch that wrote took over, ascending in both: its first position, or, where it begins with a named
    /// loss, the end of what was before.
    starts: Vec<(Epoch, u64)>,
    /// One more than the last position.
    next_seq: u64,
}

impl Lineage {
    /// An empty log whose first item will stand at `next_seq` or later.
    pub fn new(next_seq: u64) -> Self {
        Self { starts: Vec::new(), next_seq }
    }

    /// A lineage as another node states it: refused unless epochs and positions ascend and end below `next_seq`.
    pub fn from_parts(starts: Vec<(Epoch, u64)>, next_seq: u64) -> Result<Self, NotALineage> {
        let ascends = starts.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let ends = starts.last().is_none_or(|(_, first)| *first < next_seq);
        if ascends && ends { Ok(Self { starts, next_seq }) } else { Err(NotALineage) }
    }

    /// Where each epoch that wrote took over.
    pub fn starts(&self) -> &[(Epoch, u64)] {
        &self.starts
    }

    /// One more than the last position.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The epoch of the last item; none of an empty log.
    pub fn last_epoch(&self) -> Option<Epoch> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// Whether it was written in part before this epoch, the last one that began with a loss, and does not say so
    /// (REPLICATION C7). One that says so goes on at the first position of that epoch or a later one.
    pub fn owes_loss(&self, loss_epoch: Epoch) -> bool {
        let before = self.starts.first().is_some_and(|(epoch, _)| *epoch < loss_epoch);
        let named = self.spans().any(|(epoch, _, end)| epoch >= loss_epoch && end > epoch.first_position());
        before && !named
    }

    /// An item of this epoch stands at `seq` now.
    ///
    /// # Panics
    /// When epochs or positions fall.
    pub fn note(&mut self, epoch: Epoch, seq: u64) {
        assert!(seq >= self.next_seq, "positions never fall: {seq} after {}", self.next_seq);
        match self.last_epoch() {
            Some(last) if last == epoch => {}
            last => {
                assert!(last < Some(epoch), "epochs never fall: {epoch} after {last:?}");
                // Positions that a loss leaves out belong to the epoch that names it: what another log has there of an
                // earlier epoch is not in this one.
                let first = if self.starts.is_empty() { seq } else { self.next_seq };
                self.starts.push((epoch, first));
            }
        }
        self.next_seq = seq + 1;
    }

    /// All from `seq` on is gone.
    pub fn cut(&mut self, seq: u64) {
        self.starts.retain(|(_, first)| *first < seq);
        self.next_seq = self.next_seq.min(seq);
    }

    /// Where the log `other` parts from this one: below it both hold the same items.
    pub fn common_end(&self, other: &Self) -> u64 {
        // Within an epoch there was one writer: of the last epoch that both have, the shorter part is in both.
        let shared = self.spans().filter_map(|(epoch, first, end)| {
            let (_, other_first, other_end) = other.spans().find(|(of, ..)| *of == epoch)?;
            (first == other_first).then(|| end.min(other_end))
        });
        shared.last().unwrap_or(0)
    }

    /// Where this log parts from that of which somebody has `seq` from an active of this epoch: a later one has written from
    /// there on. None where it has not come up to `seq`. What a named loss leaves out is no such place: it stands above.
    pub fn parted_from(&self, seq: u64, epoch: Epoch) -> Option<u64> {
        let wrote_from = |(of, first, end): (Epoch, u64, u64)| {
            let has_named_loss = end > of.first_position();
            if has_named_loss { first.max(of.first_position()) } else { first }
        };
        self.spans().filter(|(of, ..)| *of > epoch).map(wrote_from).min().filter(|from| *from <= seq)
    }

    fn spans(&self) -> impl Iterator<Item = (Epoch, u64, u64)> + '_ {
        let ends = self.starts.iter().skip(1).map(|(_, first)| *first).chain([self.next_seq]);
        self.starts.iter().zip(ends).map(|((epoch, first), end)| (*epoch, *first, end))
    }
}

/// Epochs or positions do not ascend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("epochs and positions must ascend and end below the log's end")]
pub struct NotALineage;

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(starts: &[(u64, u64)], next_seq: u64) -> Lineage {
        Lineage::from_parts(starts.iter().map(|(epoch, seq)| (Epoch(*epoch), *seq)).collect(), next_seq).unwrap()
    }

    #[test]
    fn logs_part_where_the_last_epoch_that_both_have_ends_in_the_shorter() {
        let active = lineage(&[(1, 1), (3, 50)], 80);
        assert_eq!(active.common_end(&lineage(&[(1, 1)], 40)), 40, "it lags");
        assert_eq!(active.common_end(&lineage(&[(1, 1)], 60)), 50, "its tail of epoch 1 was not promoted");
        assert_eq!(active.common_end(&lineage(&[(1, 1), (2, 45)], 60)), 45, "its epoch 2 was not promoted");
        assert_eq!(active.common_end(&lineage(&[(1, 1), (3, 50)], 70)), 70);
        assert_eq!(active.common_end(&lineage(&[(2, 1)], 70)), 0, "nothing in common");
        assert_eq!(active.common_end(&Lineage::default()), 0);
    }

    #[test]
    fn what_a_loss_left_out_is_not_in_common() {
        let mut active = lineage(&[(1, 1)], 50);
        active.note(Epoch(2), 2 << 40);
        assert_eq!(active.common_end(&lineage(&[(1, 1)], 80)), 50, "the tail from 50 on was lost");
        let mut follower = lineage(&[(1, 1)], 50);
        follower.note(Epoch(2), 2 << 40);
        assert_eq!(active.common_end(&follower), (2 << 40) + 1);
    }

    #[test]
    fn a_loss_is_owed_until_it_is_named() {
        let mut log = lineage(&[(1, 1 << 40)], (1 << 40) + 50);
        assert!(!log.owes_loss(Epoch(0)) && !log.owes_loss(Epoch(1)));
        assert!(log.owes_loss(Epoch(3)));
        log.note(Epoch(3), 3 << 40);
        assert!(!log.owes_loss(Epoch(3)));
        log.note(Epoch(4), (3 << 40) + 1);
        assert!(!log.owes_loss(Epoch(3)) && log.owes_loss(Epoch(4)));
        assert!(!lineage(&[(3, 3 << 40)], (3 << 40) + 9).owes_loss(Epoch(3)), "it began after the loss");
    }

    #[test]
    fn a_cut_forgets_the_epochs_above_it() {
        let mut log = lineage(&[(1, 1), (3, 50)], 80);
        log.cut(50);
        assert_eq!(log, lineage(&[(1, 1)], 50));
        log.note(Epoch(4), 50);
        assert_eq!(log, lineage(&[(1, 1), (4, 50)], 51));
    }

    #[test]
    fn a_later_epoch_that_wrote_at_a_position_parts_the_log_from_who_had_it_before() {
        let log = lineage(&[(1, 10), (3, 20)], 30);
        let parted_from = |seq, epoch| log.parted_from(seq, Epoch(epoch));
        assert_eq!(parted_from(19, 1), None, "all of epoch 1 up to here");
        assert_eq!((parted_from(20, 1), parted_from(25, 2)), (Some(20), Some(20)));
        assert_eq!((parted_from(25, 3), parted_from(25, 4)), (None, None), "who had it then saw it written");
        let first = Epoch(3).first_position();
        let behind_a_loss = lineage(&[(1, 10), (3, 20)], first + 5);
        assert_eq!(behind_a_loss.parted_from(25, Epoch(1)), None, "the loss names it");
        assert_eq!(behind_a_loss.parted_from(first, Epoch(1)), Some(first));
    }

    #[test]
    fn what_does_not_ascend_is_refused() {
        for (starts, next_seq) in [(vec![(2, 1), (1, 5)], 9), (vec![(1, 5), (2, 5)], 9), (vec![(1, 9)], 9)] {
            let starts = starts.into_iter().map(|(epoch, seq)| (Epoch(epoch), seq)).collect();
            assert_eq!(Lineage::from_parts(starts, next_seq), Err(NotALineage));
        }
    }
}
