//! What a promotion with loss has cost, as far as it comes to be known (REPLICATION R2).

use std::collections::BTreeSet;

use super::{Pool, PoolEvent, PoolReport, change::Memory};
use crate::{Epoch, Member};

/// The last promotion with loss: its range is open until those who may have had more are heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    epoch: Epoch,
    from: (Epoch, u64),
    may_have_more: BTreeSet<Member>,
}

impl Pool {
    /// The role went to one that may lack something.
    pub(super) fn note_lossy_grant(&mut self, in_sync: &BTreeSet<Member>) {
        let (Some(active), epoch) = (self.record.active.clone(), self.record.epoch) else { return };
        if let Memory::Part { head } = self.part_of(&active)
            && self.record.loss_epoch == epoch
        {
            let may_have_more = in_sync.iter().filter(|member| **member != active).cloned().collect();
            self.loss = Some(Loss { epoch, from: head, may_have_more });
        }
    }

    /// One that was in sync before is heard again. What it had is what it says, or has last said before its log was cut back.
    pub(super) fn note_loss(&mut self, report: &PoolReport) {
        let Some(loss) = &mut self.loss else { return };
        let before = self.members.get(&report.member.node).filter(|seen| seen.report.member == report.member);
        let heads = before.map(|seen| seen.report.head).into_iter().chain([report.head]);
        let Some(to) = heads.filter(|head| head.0 < loss.epoch).max() else { return };
        let member = report.member.clone();
        if loss.may_have_more.remove(&member) && to > loss.from {
            let (epoch, from) = (loss.epoch, loss.from);
            self.events.push_back(PoolEvent::LossKnown { member, epoch, from, to });
        }
    }
}
