//! What happened to streams at their origins: stored once each, then acknowledged.

use std::collections::HashMap;

use cluster::{Incarnation, Member, NodeId, Notice};
use rpc::{
    control::FromControl,
    status::{Code, Failure},
};

use crate::{
    plane::{ControlPlane, lock},
    pools::told,
};

/// How far the notices of each node have come, since this process started: after a restart one may be told again.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    nodes: HashMap<NodeId, Progress>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    incarnation: Incarnation,
    /// The last that was queued to be stored.
    queued: u64,
    /// The last that is on disk.
    stored: u64,
}

/// Which notice an event tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    member: Member,
    number: u64,
}

impl Taken {
    fn of(&mut self, member: &Member) -> &mut Progress {
        let fresh = Progress { incarnation: member.incarnation, queued: 0, stored: 0 };
        let progress = self.nodes.entry(member.node.clone()).or_insert(fresh);
        if progress.incarnation != member.incarnation {
            *progress = fresh;
        }
        progress
    }

    /// A node is no longer in the list.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }
}

impl ControlPlane {
    /// A node says what happened to a stream, perhaps not for the first time. An error ends its conversation: it says it
    /// again in the next one.
    pub(crate) fn noticed(&self, member: &Member, number: u64, notice: &Notice) -> Result<(), Failure> {
        let draft = told::notice(member, notice);
        if number == 0 {
            self.tell(draft);
            return Ok(());
        }
        let mut taken = lock(&self.inner.notices);
        let progress = taken.of(member);
        if number <= progress.stored {
            self.inner.links.send(&member.node, FromControl::NoticesKept { through: progress.stored });
        } else if number > progress.queued {
            let receipt = Receipt { member: member.clone(), number };
            if self.inner.event_queue.try_send(draft.answered_by(receipt)).is_err() {
                let message = "more is told than can be stored";
                return Err(Failure::new(Code::ResourceExhausted, "EVENTS_QUEUE_FULL", message));
            }
            progress.queued = number;
        }
        Ok(())
    }

    /// Events that tell of notices are on disk.
    pub(crate) fn notices_stored(&self, receipts: Vec<Receipt>) {
        let mut taken = lock(&self.inner.notices);
        for Receipt { member, number } in receipts {
            let progress = taken.nodes.get_mut(&member.node);
            // Another start of the node numbers its notices anew.
            let Some(progress) = progress.filter(|progress| progress.incarnation == member.incarnation) else {
                continue;
            };
            progress.stored = progress.stored.max(number);
            self.inner.links.send(&member.node, FromControl::NoticesKept { through: progress.stored });
        }
    }
}
