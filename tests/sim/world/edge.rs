//! A simulated edge: Links to every origin, encoders whose messages it keeps until they are acked, and pulls that resume.

mod ingest;
mod pull;

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Epoch, NodeId, RecordsTold};
use hub::{Hub, RingLimits};
use ingest::From;
pub use ingest::Ingest;
use media::StreamName;
pub use pull::Seen;
use pull::{Pull, Taken};

use super::{
    encoder::Encoder,
    judge::Judge,
    message::{Beat, Msg, PullOpen},
    names::{CONTROL, node_id},
    net::{Conn, Net, Party},
};

const LINK_SILENCE: u64 = 400_000;
const SESSION_SILENCE: u64 = 600_000;
const BEAT: u64 = 100_000;
const SESSION_BEAT: u64 = 150_000;
const TICK: u64 = 25_000;
const RETRY: u64 = 50_000;
/// A call by way of another origin that brings nothing for so long is tried another way.
const VIA_SILENCE: u64 = 1_000_000;

/// One start of an edge.
#[derive(Debug)]
pub struct Edge {
    me: Party,
    /// None: it stands for an encoder that publishes to the pool directly and keeps nothing.
    edge: Option<NodeId>,
    links: BTreeMap<Party, Link>,
    highest: Epoch,
    /// The records that it was shown.
    records: RecordsTold,
    session: Option<(Conn, u64)>,
    session_beat: u64,
    session_retry: u64,
    told: BTreeSet<NodeId>,
    own: u64,
    ticked: u64,
    beaten: u64,
    pub encoders: Vec<Ingest>,
    hub: Hub,
    pulls: Vec<Pull>,
    way: Option<Way>,
    detours: usize,
}

/// A Link, and what was last said on it.
#[derive(Debug, Default)]
struct Link {
    conn: Option<Conn>,
    opened: u64,
    heard: Option<u64>,
    epoch: Epoch,
    active: bool,
}

/// Where calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    to: Party,
    via: bool,
}

impl Edge {
    pub fn new(me: Party, origins: &[Party], streams: &[StreamName], net: &Net) -> Self {
        Self {
            me,
            edge: Some(node_id(me)),
            links: origins.iter().map(|origin| (*origin, Link::default())).collect(),
            highest: Epoch(0),
            records: RecordsTold::default(),
            session: None,
            session_beat: 0,
            session_retry: 0,
            told: BTreeSet::new(),
            own: 0,
            ticked: net.now,
            beaten: 0,
            encoders: Vec::new(),
            hub: Hub::new(RingLimits::default()),
            pulls: streams.iter().map(Pull::new).collect(),
            way: None,
            detours: 0,
        }
    }

    /// It stands for an encoder at the pool's public port.
    pub fn without_memory(mut self) -> Self {
        self.edge = None;
        self
    }

    pub fn add(&mut self, encoder: Encoder) {
        self.encoders.push(Ingest::new(encoder));
    }

    /// The version of the record that it was shown last.
    pub fn knows(&self) -> u64 {
        self.records.version()
    }

    /// The encoder's connection to this edge is gone, or it has said its end.
    pub fn drop_encoder(&mut self, net: &mut Net, judge: &mut Judge, at: usize, cleanly: bool) {
        let ingest = &mut self.encoders[at];
        if cleanly {
            ingest.closing = true;
            judge.ending(ingest.encoder.publication, ingest.encoder.next);
        } else {
            ingest.over = true;
            if let Some(push) = ingest.push.take() {
                net.close(push.conn, self.me);
            }
        }
    }

    pub fn tick(&mut self, net: &mut Net, judge: &mut Judge) {
        let passed = (net.now - self.ticked).min(3 * TICK);
        self.ticked = net.now;
        self.own += passed;
        self.hold_links(net);
        if self.own >= self.beaten + BEAT {
            self.beaten = self.own;
            self.beat(net);
        }
        self.hold_session(net);
        for ingest in self.encoders.iter_mut().filter(|ingest| ingest.is_live()) {
            ingest.listen(net, judge, self.me);
        }
        self.go(net, judge);
        net.tick_after(self.me, TICK);
    }

    fn hears(&self) -> BTreeSet<NodeId> {
        let heard = self.links.iter().filter(|(_, link)| link.is_heard(self.own));
        heard.map(|(party, _)| node_id(*party)).collect()
    }

    fn hold_links(&mut self, net: &mut Net) {
        for (party, link) in &mut self.links {
            let since = link.heard.unwrap_or(link.opened);
            if let Some(conn) = link.conn.filter(|_| self.own >= since + LINK_SILENCE) {
                net.close(conn, self.me);
                link.close(self.own);
            }
            if link.conn.is_none() && self.own >= link.opened + RETRY {
                link.opened = self.own;
                let hello = Msg::LinkUp { epoch: self.highest, hears: false };
                link.conn = Some(net.open(self.me, *party, hello));
            }
        }
    }

    fn beat(&mut self, net: &mut Net) {
        for link in self.links.values() {
            if let Some(conn) = link.conn {
                let hears = link.is_heard(self.own);
                net.send(conn, self.me, Msg::LinkUp { epoch: self.highest, hears });
            }
        }
    }

    fn hold_session(&mut self, net: &mut Net) {
        if self.edge.is_none() {
            return;
        }
        if let Some((conn, _)) = self.session.filter(|(_, heard)| self.own >= heard + SESSION_SILENCE) {
            net.close(conn, self.me);
            self.session = None;
        }
        let hears = self.hears();
        let (epoch, records) = (self.highest, self.records.all().to_vec());
        let beat = Msg::Beat(Beat { hears: hears.clone(), epoch, records, origin: None });
        match self.session {
            Some((conn, _)) if hears != self.told || self.own >= self.session_beat + SESSION_BEAT => {
                net.send(conn, self.me, beat);
            }
            None if self.own >= self.session_retry => {
                self.session = Some((net.open(self.me, CONTROL, beat), self.own));
                self.session_retry = self.own + RETRY;
            }
            _ => return,
        }
        self.session_beat = self.own;
        self.told = hears;
    }

    pub fn handle(&mut self, net: &mut Net, judge: &mut Judge, conn: Conn, msg: Msg) {
        let own = self.own;
        if let Some((_, heard)) = self.session.as_mut().filter(|(session, _)| *session == conn) {
            *heard = own;
            match msg {
                Msg::Closed => self.session = None,
                Msg::Shown(record) => {
                    self.records.note(record.version, &record.written_by);
                }
                _ => {}
            }
            return;
        }
        if let Some(link) = self.links.values_mut().find(|link| link.conn == Some(conn)) {
            match msg {
                Msg::LinkDown { epoch, active } => {
                    link.heard = Some(own);
                    (link.epoch, link.active) = (epoch, active);
                    self.highest = self.highest.max(epoch);
                }
                _ => link.close(own),
            }
        } else if let Some(at) = self.pulls.iter().position(|pull| pull.call.is_some_and(|(call, _)| call == conn)) {
            self.pulled(net, judge, at, msg);
        } else if let Some(at) = self.encoders.iter().position(|ingest| ingest.conn() == Some(conn)) {
            self.pushed(net, judge, at, msg);
        }
        self.hold_session(net);
        self.go(net, judge);
    }

    /// L3: frames only from an epoch not below the highest known.
    fn pulled(&mut self, net: &mut Net, judge: &mut Judge, at: usize, msg: Msg) {
        let pull = &mut self.pulls[at];
        pull.heard = self.own;
        match msg {
            Msg::Items { epoch, items } if epoch >= self.highest => {
                self.highest = self.highest.max(epoch);
                let Taken { seen, closed } = pull.take(epoch, &items);
                for seen in seen {
                    judge.seen(net, self.me, &pull.name, &seen);
                }
                if closed {
                    judge.left(self.me, &pull.name);
                    pull.end();
                }
            }
            Msg::Head { epoch, head, parted_from } if epoch >= self.highest => {
                if pull.note_head(&self.hub, head, parted_from) {
                    net.tell(|| format!("{} has more of {} than its origin", node_id(self.me), pull.name));
                    pull.leave(net, self.me, self.own);
                }
            }
            Msg::Head { .. } => {}
            _ => {
                match msg {
                    Msg::NotActive { epoch } => self.highest = self.highest.max(epoch),
                    Msg::Items { .. } => judge.refused(),
                    Msg::Ended => {
                        judge.left(self.me, &pull.name);
                        pull.end();
                    }
                    _ => {}
                }
                pull.leave(net, self.me, self.own + RETRY);
            }
        }
    }

    fn pushed(&mut self, net: &mut Net, judge: &mut Judge, at: usize, msg: Msg) {
        let ingest = &mut self.encoders[at];
        let gone = matches!(msg, Msg::Refused { gone: true });
        match msg {
            Msg::Opened { epoch, next_number } => {
                self.highest = self.highest.max(epoch);
                if let Some(push) = &mut ingest.push {
                    push.next = Some(next_number);
                    judge.opened(net.now, ingest.encoder.publication);
                }
            }
            Msg::Acked { through } => {
                judge.acked(ingest.encoder.publication, through);
                ingest.acked(through, net.local(self.me));
            }
            Msg::PushEnded => {
                if ingest.closing {
                    judge.ended(ingest.encoder.publication, ingest.encoder.next);
                }
                ingest.over = true;
            }
            _ => {
                judge.encoders_lost += u64::from(gone);
                if let Msg::NotActive { epoch } = msg {
                    self.highest = self.highest.max(epoch);
                }
                ingest.leave(net, self.me, self.own + RETRY);
            }
        }
        if gone && ingest.closing {
            // It has no session in which to publish anew.
            judge.ended_early(ingest.encoder.publication);
            ingest.over = true;
        }
        if (gone || self.edge.is_none()) && ingest.push.is_none() && !ingest.over {
            // Its session ends, and it publishes anew.
            ingest.begin_again();
            judge.published_again(ingest.encoder.publication);
        }
    }

    /// The active that is known, or a detour to it.
    fn find_way(&mut self) -> Option<Way> {
        let highest = self.highest;
        let active = self.links.iter().find(|(_, link)| link.active && link.epoch == highest);
        let (to, _) = active.filter(|(_, link)| link.is_heard(self.own)).unzip();
        if let Some(to) = to {
            return Some(Way { to: *to, via: false });
        }
        if let Some(way) = self.way.filter(|way| way.via && self.links[&way.to].is_heard(self.own)) {
            return Some(way);
        }
        let others: Vec<Party> =
            self.links.iter().filter(|(_, link)| link.is_heard(self.own)).map(|(p, _)| *p).collect();
        self.edge.as_ref().filter(|_| !others.is_empty())?;
        self.detours += 1;
        Some(Way { to: others[self.detours % others.len()], via: true })
    }

    /// Calls go where the active is; those that went elsewhere come along.
    fn go(&mut self, net: &mut Net, judge: &mut Judge) {
        let way = self.find_way();
        if way != self.way {
            net.tell(|| format!("{} goes to {way:?} in epoch {}", node_id(self.me), self.highest));
            self.way = way;
        }
        let Some(way) = way else { return };
        for pull in &mut self.pulls {
            let silent = way.via && self.own >= pull.heard + VIA_SILENCE;
            if pull.call.is_some_and(|(_, went)| went != way || silent) {
                pull.leave(net, self.me, self.own);
                if silent {
                    self.way = None;
                }
            }
            if pull.call.is_none() && self.own >= pull.retry_at {
                let (epoch, via) = (self.highest, way.via);
                let open = PullOpen { name: pull.name.clone(), after: pull.after(), epoch, via };
                pull.begin((net.open(self.me, way.to, Msg::PullOpen(open)), way));
                pull.heard = self.own;
            }
        }
        let from = From { me: self.me, edge: self.edge.as_ref(), epoch: self.highest, own: self.own };
        self.encoders.iter_mut().for_each(|ingest| ingest.go(net, judge, &from, way));
    }
}

impl Link {
    fn is_heard(&self, own: u64) -> bool {
        self.conn.is_some() && self.heard.is_some_and(|heard| own < heard + LINK_SILENCE)
    }

    fn close(&mut self, own: u64) {
        *self = Self { opened: own, ..Self::default() };
    }
}
