//! What an origin does for edges: publications that they send, streams that they fetch, calls that are passed on.

use cluster::Epoch;
use hub::{Budget, Read, Reader, Start};
use replica::{Acked, Publish, Refused, Source, Ticket};

use super::{
    super::{
        Sabotage,
        judge::Judge,
        message::{Msg, PullOpen, PushOpen},
        net::{Conn, Net},
    },
    Origin,
};

#[derive(Debug)]
pub(super) struct Push {
    pub(super) ticket: Ticket,
    opened: bool,
    through: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Pull {
    reader: Reader,
    /// What the edge had at the position that it asked for is not in this log: it is another from here on.
    parted_from: Option<u64>,
    /// When the edge was last told how far the stream goes; none before it is committed in this epoch.
    told: Option<u64>,
}

/// How often an edge is told how far a stream goes.
const HEAD_BEAT: u64 = 1_000_000;

impl Origin {
    /// L3: an edge that cannot reach the active is relayed.
    pub(super) fn pass_on(&mut self, net: &mut Net, conn: Conn, open: Msg) {
        let epoch = self.replica.standing().epoch;
        let active = self.known_active();
        let via =
            matches!(&open, Msg::PullOpen(PullOpen { via: true, .. }) | Msg::PushOpen(PushOpen { via: true, .. }));
        match active.filter(|active| via && *active != self.me) {
            Some(active) => {
                let direct = match open {
                    Msg::PullOpen(pull) => Msg::PullOpen(PullOpen { via: false, ..pull }),
                    Msg::PushOpen(push) => Msg::PushOpen(PushOpen { via: false, ..push }),
                    other => other,
                };
                let on = net.open(self.me, active, direct);
                self.relays.insert(conn, on);
                self.relays.insert(on, conn);
            }
            None => {
                net.send(conn, self.me, Msg::NotActive { epoch });
                net.close(conn, self.me);
            }
        }
    }

    pub(super) fn relay(&mut self, net: &mut Net, conn: Conn, to: Conn, msg: Msg) {
        if matches!(msg, Msg::Closed) {
            self.relays.remove(&conn);
            self.relays.remove(&to);
            net.close(to, self.me);
        } else {
            net.send(to, self.me, msg);
        }
    }

    pub(super) fn push_opened(&mut self, net: &mut Net, conn: Conn, open: PushOpen) {
        let now = net.local(self.me);
        self.replica.handle_epoch(open.epoch);
        if !self.is_active() {
            self.pass_on(net, conn, Msg::PushOpen(open));
            return;
        }
        let PushOpen { name, publication, first_number, edge, .. } = open;
        let source = Source { edge, peer: String::new() };
        match self.replica.publish(Publish { name, publication, source, first_number }, now) {
            Ok(mut ticket) => {
                if self.sabotage == Some(Sabotage::NumbersKept) {
                    let kept = self.numbers.get(&ticket.publication).copied().unwrap_or(0);
                    ticket.next_number = ticket.next_number.max(kept);
                }
                if let (Some(Sabotage::AckedBecauseInLog), Some(through)) =
                    (self.sabotage, ticket.next_number.checked_sub(1))
                {
                    net.send(conn, self.me, Msg::Acked { through });
                }
                self.pushes.insert(conn, Push { ticket, opened: false, through: None });
                self.committed = Default::default();
            }
            Err(refused) => {
                net.tell(|| format!("{} refuses a publication: {refused:?}", self.member.node));
                let answer = match refused {
                    Refused::NotActive => Msg::NotActive { epoch: self.replica.standing().epoch },
                    Refused::Gone => Msg::Refused { gone: true },
                    Refused::Busy | Refused::Ending | Refused::HeldUp => Msg::Refused { gone: false },
                };
                net.send(conn, self.me, answer);
                net.close(conn, self.me);
            }
        }
    }

    pub(super) fn pushed(&mut self, net: &mut Net, conn: Conn, msg: Msg) {
        let now = net.local(self.me);
        let Some(Push { ticket, .. }) = self.pushes.get(&conn) else { return };
        let taken = match msg {
            Msg::PushItem { number, message } => {
                if self.sabotage == Some(Sabotage::NumbersKept) {
                    self.numbers.insert(ticket.publication, number + 1);
                }
                self.replica.handle_message(ticket, number, message, now)
            }
            Msg::PushSkip { from, to } => self.replica.handle_skip(ticket, from, to, now),
            Msg::PushClose { number } => self.replica.handle_close(ticket, number),
            _ => Ok(()),
        };
        if let Err(error) = taken {
            net.tell(|| format!("{} takes no message: {error}", self.member.node));
            if error == replica::NotTaken::Gone {
                net.send(conn, self.me, Msg::Refused { gone: true });
            }
            net.close(conn, self.me);
            self.forget(conn, net);
        }
    }

    pub(super) fn pull_opened(&mut self, net: &mut Net, conn: Conn, open: PullOpen) {
        self.replica.handle_epoch(open.epoch);
        if !self.is_active() {
            self.pass_on(net, conn, Msg::PullOpen(open));
            return;
        }
        let Some(stream) = self.hub.get(&open.name) else {
            net.send(conn, self.me, Msg::NotFound);
            net.close(conn, self.me);
            return;
        };
        let start = open.after.map_or(Start::LastKeyframe, |(after, _)| Start::After(after));
        let had = open.after.filter(|(_, had_in)| *had_in > Epoch(0));
        let parted_from = had.and_then(|(after, had_in)| self.replica.parted_from(&open.name, after, had_in));
        self.pulls.insert(conn, Pull { reader: stream.subscribe(start), parted_from, told: None });
        self.committed = Default::default();
    }

    /// C8: a demoted origin resets its public connections.
    pub(super) fn close_public(&mut self, net: &mut Net) {
        let epoch = self.replica.standing().epoch;
        for conn in std::mem::take(&mut self.pushes).into_keys().chain(std::mem::take(&mut self.pulls).into_keys()) {
            net.send(conn, self.me, Msg::NotActive { epoch });
            net.close(conn, self.me);
        }
    }

    pub(super) fn flush_public(&mut self, net: &mut Net, judge: &mut Judge) {
        self.flush_pushes(net);
        self.flush_pulls(net, judge);
    }

    fn flush_pushes(&mut self, net: &mut Net) {
        let epoch = self.replica.standing().epoch;
        let mut over = Vec::new();
        for (conn, push) in &mut self.pushes {
            let Acked { open, through, closed } = *push.ticket.acked.borrow();
            if open && !push.opened {
                push.opened = true;
                net.send(*conn, self.me, Msg::Opened { epoch, next_number: push.ticket.next_number });
            }
            if let Some(acked) = through.filter(|_| push.opened && through > push.through) {
                push.through = through;
                net.send(*conn, self.me, Msg::Acked { through: acked });
            }
            if closed {
                net.send(*conn, self.me, Msg::PushEnded);
            }
            if closed || push.ticket.acked.has_changed().is_err() {
                over.push(*conn);
            }
        }
        for conn in over {
            net.close(conn, self.me);
            self.pushes.remove(&conn);
        }
    }

    fn flush_pulls(&mut self, net: &mut Net, judge: &mut Judge) {
        let standing = self.replica.standing();
        let alone = standing.alone_from.is_some();
        let mut over = Vec::new();
        for (conn, pull) in &mut self.pulls {
            let hub::StreamInfo { first_seq, committed_below, .. } = pull.reader.stream().info();
            let is_open = standing.committed.is_some() && committed_below > first_seq;
            if is_open && pull.told.is_none_or(|told| self.own >= told + HEAD_BEAT) {
                pull.told = Some(self.own);
                net.send(
                    *conn,
                    self.me,
                    Msg::Head { epoch: standing.epoch, head: committed_below - 1, parted_from: pull.parted_from },
                );
            }
            if pull.told.is_none() {
                over.extend(pull.reader.stream().has_ended().then_some(*conn));
                continue;
            }
            loop {
                let mut items = Vec::new();
                let read = pull.reader.read(Budget { items: 64, bytes: 1 << 20 }, &mut items);
                if !items.is_empty() {
                    judge.served(&self.member, standing.epoch, alone, pull.reader.stream().name(), &items);
                    net.send(*conn, self.me, Msg::Items { epoch: standing.epoch, items });
                }
                match read {
                    Read::Items | Read::Skipped(_) => {}
                    Read::Empty => break,
                    Read::Ended => {
                        over.push(*conn);
                        break;
                    }
                }
            }
        }
        for conn in over {
            net.send(conn, self.me, Msg::Ended);
            net.close(conn, self.me);
            self.pulls.remove(&conn);
        }
    }
}
