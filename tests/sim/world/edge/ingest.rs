//! An encoder at a simulated edge, and the edge's own replay of what it sends (REPLICATION P2, P3).

use std::time::{Duration, Instant};

use carry::{Entry, Limits, Piece, Replay};
use cluster::{Epoch, NodeId};
use media::PublicationId;

use super::{
    super::{
        encoder::Encoder,
        judge::Judge,
        message::{Msg, PushOpen},
        net::{Conn, Net, Party},
    },
    VIA_SILENCE, Way,
};

/// What an edge keeps of a publication by default.
const KEPT: Limits = Limits { bytes: 32 << 20, duration: Duration::from_secs(10) };
/// So much goes to an origin at a time.
const BATCH_BYTES: usize = 64 << 10;

/// An encoder, and what of it is kept.
#[derive(Debug)]
pub struct Ingest {
    pub encoder: Encoder,
    replay: Replay,
    pub(super) push: Option<Push>,
    pub(super) retry_at: u64,
    /// It has said its end.
    pub(super) closing: bool,
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
            replay: Replay::new(KEPT),
            push: None,
            retry_at: 0,
            closing: false,
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
        !self.over && !self.closing
    }

    pub fn publication(&self) -> PublicationId {
        self.encoder.publication
    }

    /// Takes what the encoder sends, while there is room or some can be made.
    pub(super) fn listen(&mut self, net: &Net, judge: &mut Judge, me: Party) {
        let now = net.local(me);
        while self.has_room(now)
            && let Some((number, message)) = self.encoder.poll(net.now)
        {
            judge.sent(self.encoder.publication, number);
            self.replay.append(Entry::Message(message), now);
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        while self.replay.is_full(now) {
            if self.replay.drop_acked() {
                continue;
            }
            if self.replay.patience(now).is_some() {
                return false;
            }
            self.replay.skip_gop();
        }
        true
    }

    /// All up to this number is committed.
    pub(super) fn acked(&mut self, through: u64, now: Instant) {
        self.replay.ack_below(through + 1, now);
        while self.forgets && self.replay.drop_acked() {}
    }

    /// Its encoder begins anew, in a session of its own.
    pub(super) fn begin_again(&mut self) {
        self.replay = Replay::new(KEPT);
        self.encoder.begin_again();
    }

    /// Sends what is due the way that the edge goes.
    pub(super) fn go(&mut self, net: &mut Net, judge: &mut Judge, from: &From<'_>, way: Way) {
        let From { me, edge, epoch, own } = *from;
        if self.over || !self.encoder.has_begun(net.now) {
            return;
        }
        let elsewhere = self.push.as_ref().is_some_and(|push| push.way != way);
        let stuck = |push: &Push| way.via && push.next.is_none() && own >= push.opened_at + VIA_SILENCE;
        if elsewhere || self.push.as_ref().is_some_and(stuck) {
            self.leave(net, me, own);
        }
        if self.push.is_none() && own >= self.retry_at {
            let (name, publication) = (self.encoder.name.clone(), self.encoder.publication);
            let first_number = self.replay.lowest();
            let open = PushOpen { name, publication, first_number, edge: edge.cloned(), epoch, via: way.via };
            let conn = net.open(me, way.to, Msg::PushOpen(open));
            self.push = Some(Push { conn, way, opened_at: own, next: None, close_sent: false });
        }
        self.send(net, judge, me);
    }

    fn send(&mut self, net: &mut Net, judge: &mut Judge, me: Party) {
        let Some(push) = &mut self.push else { return };
        let Some(next) = &mut push.next else { return };
        loop {
            let pieces = self.replay.pieces(*next, BATCH_BYTES, self.closing);
            let Some(last) = pieces.last() else { break };
            *next = last.next_number().max(*next);
            for piece in pieces {
                let msg = match piece {
                    Piece::Entry(number, Entry::Message(message)) => Msg::PushItem { number, message },
                    Piece::Entry(_, Entry::MetadataCleared) => unreachable!("these encoders have no metadata"),
                    Piece::Skip { from, to } => {
                        judge.skipped(self.encoder.publication, from, to);
                        Msg::PushSkip { from, to }
                    }
                };
                net.send(push.conn, me, msg);
            }
        }
        if self.closing && !push.close_sent {
            push.close_sent = true;
            net.send(push.conn, me, Msg::PushClose { number: self.replay.next_number() });
        }
    }
}
