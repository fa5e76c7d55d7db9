//! What an edge keeps of an encoder's messages until they are acked, and how it sends them (REPLICATION P2, P3).

use std::collections::VecDeque;

use cluster::{Epoch, NodeId};
use media::{MediaMessage, PublicationId};

use super::{
    super::{
        encoder::Encoder,
        judge::Judge,
        message::{Msg, PushOpen},
        net::{Conn, Net, Party},
    },
    VIA_SILENCE, Way,
};

/// What is acked is kept for so long, and what is not, for so long at most.
const ACKED_KEPT: u64 = 2_000_000;
const UNACKED_KEPT: u64 = 10_000_000;

/// An encoder, and what of it is kept.
#[derive(Debug)]
pub struct Ingest {
    pub encoder: Encoder,
    /// Number, message, and when it came.
    pub(super) outbox: VecDeque<(u64, MediaMessage, u64)>,
    pub(super) acked: Option<u64>,
    pub(super) push: Option<Push>,
    pub(super) retry_at: u64,
    /// The number of its end, once it has said that.
    pub(super) closing: Option<u64>,
    pub over: bool,
    /// It keeps nothing that is acked.
    pub forgets: bool,
}

#[derive(Debug)]
pub(super) struct Push {
    pub(super) conn: Conn,
    way: Way,
    opened_at: u64,
    /// The first number that was not sent; none before it is opened.
    pub(super) next: Option<u64>,
    close_sent: bool,
}

/// Who sends, and when.
pub(super) struct From<'a> {
    pub(super) me: Party,
    pub(super) edge: Option<&'a NodeId>,
    pub(super) epoch: Epoch,
    pub(super) own: u64,
}

impl Ingest {
    pub(super) fn new(encoder: Encoder) -> Self {
        Self {
            encoder,
            outbox: VecDeque::new(),
            acked: None,
            push: None,
            retry_at: 0,
            closing: None,
            over: false,
            forgets: false,
        }
    }

    pub(super) fn conn(&self) -> Option<Conn> {
        self.push.as_ref().map(|push| push.conn)
    }

    pub(super) fn leave(&mut self, net: &mut Net, me: Party, retry_at: u64) {
        if let Some(push) = self.push.take() {
            net.close(push.conn, me);
        }
        self.retry_at = retry_at;
    }

    /// Its encoder is there and has not said its end.
    pub fn is_live(&self) -> bool {
        !self.over && self.closing.is_none()
    }

    pub fn publication(&self) -> PublicationId {
        self.encoder.publication
    }

    /// Sends what is due the way that the edge goes.
    pub(super) fn go(&mut self, net: &mut Net, judge: &mut Judge, from: &From<'_>, way: Way) {
        let From { me, edge, epoch, own } = *from;
        if self.over || !self.encoder.has_begun(net.now) {
            return;
        }
        self.forget(net.now);
        let elsewhere = self.push.as_ref().is_some_and(|push| push.way != way);
        let stuck = |push: &Push| way.via && push.next.is_none() && own >= push.opened_at + VIA_SILENCE;
        if elsewhere || self.push.as_ref().is_some_and(stuck) {
            self.leave(net, me, own);
        }
        if self.push.is_none() && own >= self.retry_at {
            let first_number = self.outbox.front().map_or(self.encoder.next, |(number, ..)| *number);
            let (name, publication) = (self.encoder.name.clone(), self.encoder.publication);
            let open = PushOpen { name, publication, first_number, edge: edge.cloned(), epoch, via: way.via };
            let conn = net.open(me, way.to, Msg::PushOpen(open));
            self.push = Some(Push { conn, way, opened_at: own, next: None, close_sent: false });
        }
        let Some(push) = &mut self.push else { return };
        let Some(next) = &mut push.next else { return };
        let first = self.outbox.front().map_or(self.encoder.next, |(number, ..)| *number);
        if *next < first {
            judge.skipped(self.encoder.publication, *next, first - 1);
            net.send(push.conn, me, Msg::PushSkip { from: *next, to: first - 1 });
            *next = first;
        }
        let from = usize::try_from(*next - first).expect("a short outbox").min(self.outbox.len());
        for (number, message, _) in self.outbox.range(from..) {
            net.send(push.conn, me, Msg::PushItem { number: *number, message: message.clone() });
            *next = number + 1;
        }
        if let Some(number) = self.closing.filter(|_| !push.close_sent) {
            push.close_sent = true;
            net.send(push.conn, me, Msg::PushClose { number });
        }
    }

    /// P2: what is acked stays for a while; what is not, for longer.
    fn forget(&mut self, now: u64) {
        while let Some((number, _, came)) = self.outbox.front() {
            let acked_kept = if self.forgets { 0 } else { ACKED_KEPT };
            let kept = if Some(*number) <= self.acked { acked_kept } else { UNACKED_KEPT };
            if now < came + kept {
                break;
            }
            self.outbox.pop_front();
        }
    }
}
