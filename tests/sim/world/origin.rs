//! A simulated origin: the product's `Replica`, and around it what an origin's tasks do with connections and timers.

mod public;

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Epoch, Grant, KnownRecord, Member, NodeId, Surroundings};
use hub::{Hub, RingLimits};
use media::PublicationId;
use public::{Pull, Push};
use replica::{FollowHello, Replica};
use tokio::sync::watch;

use super::{
    Sabotage,
    judge::Judge,
    message::{Beat, Msg, OriginBeat},
    names::{CONTROL, node_id, party_of},
    net::{Conn, Net, Party},
};

/// Silence on a Link or a Follow (L2), in microseconds.
const LINK_SILENCE: u64 = 400_000;
/// The control plane answers each beat; so long after the last answer it does not.
const CONTROL_SILENCE: u64 = 350_000;
const BEAT: u64 = 100_000;
const SESSION_BEAT: u64 = 150_000;
/// The active counts its followers' acks by the tick.
const TICK: u64 = 10_000;
const STANDBY_TICK: u64 = 25_000;
const RETRY: u64 = 50_000;
/// An edge whose Link is gone counts as one of ours for so long, and longer while nobody can be asked.
const EDGE_REMEMBERED: u64 = 60_000_000;

/// One start of an origin.
#[derive(Debug)]
pub struct Origin {
    me: Party,
    others: Vec<Party>,
    pub member: Member,
    pub replica: Replica,
    pub hub: Hub,
    known: Option<Grant>,
    /// Time that passes by our own on-time ticks only.
    own: u64,
    ticked: u64,
    session: Option<Peer>,
    session_beat: u64,
    session_retry: u64,
    /// Follows that we hold, and the replica's numbers of them.
    leaders: BTreeMap<Conn, Peer>,
    leader_retry: BTreeMap<Party, u64>,
    /// Follows that others hold.
    followers: BTreeMap<Conn, Peer>,
    links: BTreeMap<Conn, Peer>,
    /// Edges by what was last heard of them: when, and whether they hear us.
    edges: BTreeMap<Party, (u64, bool)>,
    pushes: BTreeMap<Conn, Push>,
    pulls: BTreeMap<Conn, Pull>,
    /// Calls that go on to the active one, both ways.
    relays: BTreeMap<Conn, Conn>,
    beaten: u64,
    /// Members that we hear.
    hears: BTreeSet<NodeId>,
    told: Told,
    wake: watch::Receiver<u64>,
    /// What was committed when edges were served last.
    committed: (Epoch, Option<u64>),
    sabotage: Option<Sabotage>,
    /// For mistakes: a record that said less, and the numbers that publications had come to.
    smaller: Option<Grant>,
    numbers: BTreeMap<PublicationId, u64>,
}

/// The other end of a connection.
#[derive(Debug)]
struct Peer {
    conn: Conn,
    party: Party,
    /// The replica's number.
    id: u64,
    opened: u64,
    heard: Option<u64>,
}

impl Peer {
    fn last(&self) -> u64 {
        self.heard.unwrap_or(self.opened)
    }
}

/// What the others were told last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Told {
    epoch: Epoch,
    active: bool,
    hears: BTreeSet<NodeId>,
    yielded: bool,
}

impl Origin {
    pub fn new(
        me: Party,
        others: Vec<Party>,
        member: Member,
        disk: Epoch,
        config: replica::Config,
        ring: RingLimits,
        net: &Net,
    ) -> Self {
        let hub = Hub::new(ring);
        let mut replica = Replica::new(member.clone(), hub.clone(), config);
        replica.handle_epoch(disk);
        let wake = replica.wake();
        Self {
            me,
            others,
            member,
            replica,
            hub,
            known: None,
            own: 0,
            ticked: net.now,
            session: None,
            session_beat: 0,
            session_retry: 0,
            leaders: BTreeMap::new(),
            leader_retry: BTreeMap::new(),
            followers: BTreeMap::new(),
            links: BTreeMap::new(),
            edges: BTreeMap::new(),
            pushes: BTreeMap::new(),
            pulls: BTreeMap::new(),
            relays: BTreeMap::new(),
            beaten: 0,
            hears: BTreeSet::new(),
            told: Told::default(),
            wake,
            committed: Default::default(),
            sabotage: None,
            smaller: None,
            numbers: BTreeMap::new(),
        }
    }

    pub fn sabotaged(self, sabotage: Option<Sabotage>) -> Self {
        Self { sabotage, ..self }
    }

    pub fn is_active(&self) -> bool {
        self.replica.standing().active
    }

    pub fn tick(&mut self, net: &mut Net, judge: &mut Judge) {
        // Who was frozen does not hold it against others.
        let passed = (net.now - self.ticked).min(3 * STANDBY_TICK);
        self.ticked = net.now;
        self.own += passed;
        self.leave_silent(net);
        self.connect(net);
        if self.own >= self.beaten + BEAT {
            self.beaten = self.own;
            self.beat(net);
        }
        if self.own >= self.session_beat + SESSION_BEAT {
            self.report(net);
        }
        let around = self.surroundings();
        self.replica.handle_timeout(net.local(self.me), around);
        self.flush(net, judge);
        net.tick_after(self.me, if self.told.active { TICK } else { STANDBY_TICK });
    }

    fn surroundings(&mut self) -> Surroundings {
        let control_heard =
            self.session.as_ref().and_then(|peer| peer.heard).is_some_and(|heard| self.own < heard + CONTROL_SILENCE);
        if control_heard {
            self.edges.retain(|_, (heard, _)| self.own < *heard + EDGE_REMEMBERED);
        }
        let hearing = self.edges.values().filter(|(heard, hears)| *hears && self.own < heard + LINK_SILENCE).count();
        if self.sabotage == Some(Sabotage::AloneWithoutEdges) {
            return Surroundings { control_heard, edges: 1, edges_hearing: 1 };
        }
        Surroundings { control_heard, edges: self.edges.len(), edges_hearing: hearing }
    }

    fn leave_silent(&mut self, net: &mut Net) {
        let silent = |peer: &&Peer| self.own >= peer.last() + LINK_SILENCE;
        let lost: Vec<Conn> =
            self.leaders.values().chain(self.followers.values()).filter(silent).map(|p| p.conn).collect();
        for conn in lost {
            net.close(conn, self.me);
            self.forget(conn, net);
        }
    }

    fn connect(&mut self, net: &mut Net) {
        for to in self.others.clone() {
            let held = self.leaders.values().any(|peer| peer.party == to);
            if held || self.leader_retry.get(&to).is_some_and(|at| self.own < *at) {
                continue;
            }
            let conn = net.open(self.me, to, Msg::FollowOpen(self.replica.hello()));
            let id = self.replica.leader_opened(node_id(to));
            self.leaders.insert(conn, self.peer(conn, to, id));
        }
        let silent = self.session.as_ref().is_some_and(|peer| self.own >= peer.last() + 2 * LINK_SILENCE);
        if silent && let Some(peer) = self.session.take() {
            net.close(peer.conn, self.me);
        }
        if self.session.is_none() && self.own >= self.session_retry {
            let conn = net.open(self.me, CONTROL, Msg::Beat(self.report_now()));
            self.session = Some(self.peer(conn, CONTROL, 0));
            self.session_beat = self.own;
            self.session_retry = self.own + RETRY;
        }
    }

    fn peer(&self, conn: Conn, party: Party, id: u64) -> Peer {
        Peer { conn, party, id, opened: self.own, heard: None }
    }

    fn beat(&mut self, net: &mut Net) {
        let (up, down) = (self.replica.beat_up(), self.replica.beat_down());
        self.leaders.keys().for_each(|conn| net.send(*conn, self.me, Msg::FollowUp(up.clone())));
        self.followers.keys().for_each(|conn| net.send(*conn, self.me, Msg::FollowDown(down.clone())));
        self.beat_links(net);
    }

    fn beat_links(&mut self, net: &mut Net) {
        let standing = self.replica.standing();
        let beat = Msg::LinkDown { epoch: standing.epoch, active: standing.active };
        self.links.keys().for_each(|conn| net.send(*conn, self.me, beat.clone()));
    }

    fn note_heard(&mut self, conn: Conn) {
        let own = self.own;
        let peers = [&mut self.leaders, &mut self.followers, &mut self.links];
        let peer = peers.into_iter().find_map(|peers| peers.get_mut(&conn));
        if peer.is_some_and(|peer| peer.heard.replace(own).is_none()) {
            self.note_hears();
        }
    }

    fn note_hears(&mut self) {
        let heard = self.leaders.values().filter(|peer| peer.heard.is_some());
        self.hears = heard.map(|peer| node_id(peer.party)).collect();
    }

    fn report_now(&self) -> Beat {
        let standing = self.replica.standing();
        let epoch = standing.epoch;
        Beat {
            hears: self.hears.clone(),
            epoch,
            records: Vec::new(),
            origin: Some(OriginBeat { member: self.member.clone(), record: self.known_record(), standing }),
        }
    }

    /// Of a record that it took by mistake it says nothing, or the control plane would adopt it.
    fn known_record(&self) -> Option<KnownRecord> {
        self.replica.known_record().filter(|_| self.sabotage != Some(Sabotage::OlderRecordTaken))
    }

    fn report(&mut self, net: &mut Net) {
        self.session_beat = self.own;
        if let Some(peer) = &self.session {
            net.send(peer.conn, self.me, Msg::Beat(self.report_now()));
        }
    }

    pub fn handle(&mut self, net: &mut Net, judge: &mut Judge, conn: Conn, msg: Msg) {
        let now = net.local(self.me);
        if let Some(to) = self.relays.get(&conn).copied() {
            self.relay(net, conn, to, msg);
            return;
        }
        self.note_heard(conn);
        match msg {
            Msg::Closed => self.forget(conn, net),
            Msg::FollowOpen(hello) => self.follower_opened(net, conn, hello),
            Msg::FollowUp(up) => {
                let Some(peer) = self.followers.get(&conn) else { return };
                if let Err(error) = self.replica.handle_up(peer.id, up) {
                    net.tell(|| format!("{} closes a follower: {error}", self.member.node));
                    net.close(conn, self.me);
                    self.forget(conn, net);
                }
            }
            Msg::FollowDown(down) => {
                let Some(peer) = self.leaders.get(&conn) else { return };
                if let Err(error) = self.replica.handle_down(peer.id, down, now) {
                    net.tell(|| format!("{} leaves a leader: {error}", self.member.node));
                    net.close(conn, self.me);
                    self.forget(conn, net);
                }
            }
            Msg::LinkUp { epoch, hears } => {
                let party = net.peer(conn, self.me);
                self.edges.insert(party, (self.own, hears));
                self.links.entry(conn).or_insert(Peer { conn, party, id: 0, opened: self.own, heard: Some(self.own) });
                self.replica.handle_epoch(epoch);
            }
            Msg::PushOpen(open) => self.push_opened(net, conn, open),
            Msg::PullOpen(open) => self.pull_opened(net, conn, open),
            Msg::PushItem { .. } | Msg::PushSkip { .. } | Msg::PushClose { .. } => self.pushed(net, conn, msg),
            Msg::Answer => self.heard_control(conn),
            Msg::Grant(grant) => {
                self.heard_control(conn);
                self.granted(net, grant);
            }
            other => unreachable!("not for an origin: {other:?}"),
        }
        self.flush(net, judge);
    }

    fn heard_control(&mut self, conn: Conn) {
        if let Some(peer) = self.session.as_mut().filter(|peer| peer.conn == conn) {
            peer.heard = Some(self.own);
        }
    }

    /// The active, as the newest word of the record has it.
    fn known_active(&self) -> Option<Party> {
        self.known.as_ref()?.active.as_ref().map(|active| party_of(&active.node))
    }

    /// The version of the record that it was told of last.
    pub fn knows(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.version)
    }

    /// What a mistake makes of a grant, and what it makes the origin take after it.
    fn spoil(&mut self, mut grant: Grant) -> (Grant, Option<Grant>) {
        match self.sabotage {
            Some(Sabotage::LossForgotten) => grant.loss_epoch = Epoch(0),
            Some(Sabotage::OlderRecordTaken) if grant.in_sync.len() == 1 => {
                let shrunk = self.known.as_ref().is_some_and(|known| known.in_sync.len() > 1);
                self.smaller = Some(grant.clone()).filter(|_| shrunk);
            }
            Some(Sabotage::OlderRecordTaken) => {
                let older = self.smaller.take().filter(|older| older.epoch == grant.epoch);
                let again = older.map(|older| Grant { version: grant.version + 1, ..older });
                return (grant, again);
            }
            _ => {}
        }
        (grant, None)
    }

    fn granted(&mut self, net: &mut Net, grant: Grant) {
        let (grant, again) = self.spoil(grant);
        self.take_grant(net, grant);
        again.into_iter().for_each(|again| self.take_grant(net, again));
    }

    fn take_grant(&mut self, net: &mut Net, grant: Grant) {
        let Grant { epoch, version, role, ref in_sync, .. } = grant;
        let in_sync: Vec<_> = in_sync.iter().map(|member| member.node.to_string()).collect();
        if self.known.as_ref().is_none_or(|known| (known.epoch, known.version) < (epoch, version)) {
            self.known = Some(grant.clone());
        }
        let taken = self.replica.handle_grant(grant, net.local(self.me));
        net.tell(|| {
            format!("{} is told v{version} epoch {epoch} {role:?} in sync {in_sync:?}: {taken:?}", self.member.node)
        });
        // It says at once how it stands now.
        self.report(net);
    }

    fn follower_opened(&mut self, net: &mut Net, conn: Conn, hello: FollowHello) {
        let party = net.peer(conn, self.me);
        let id = self.replica.follower_opened(hello);
        self.followers.insert(conn, self.peer(conn, party, id));
    }

    fn forget(&mut self, conn: Conn, net: &mut Net) {
        if let Some(peer) = self.leaders.remove(&conn) {
            self.replica.leader_closed(peer.id);
            self.leader_retry.insert(peer.party, self.own + RETRY);
            self.note_hears();
        }
        if let Some(peer) = self.followers.remove(&conn) {
            self.replica.follower_closed(peer.id);
        }
        if let Some(push) = self.pushes.remove(&conn) {
            self.replica.handle_lost(&push.ticket, net.local(self.me));
        }
        self.pulls.remove(&conn);
        self.links.remove(&conn);
        if self.session.as_ref().is_some_and(|peer| peer.conn == conn) {
            self.session = None;
        }
        if let Some(other) = self.relays.remove(&conn) {
            self.relays.remove(&other);
            net.close(other, self.me);
        }
    }

    /// Says all that is to be said.
    fn flush(&mut self, net: &mut Net, judge: &mut Judge) {
        let standing = self.replica.standing();
        let told = Told {
            epoch: standing.epoch,
            active: standing.active,
            hears: self.hears.clone(),
            yielded: standing.yielded,
        };
        if told != self.told {
            if (told.epoch, told.active) != (self.told.epoch, self.told.active) {
                net.tell(|| {
                    format!(
                        "{} is in epoch {}{}",
                        self.member.node,
                        told.epoch,
                        if told.active { ", active" } else { "" }
                    )
                });
                judge.role(&self.member, told.epoch, told.active);
                self.beat_links(net);
                if !told.active {
                    self.close_public(net);
                }
            }
            let yields = told.yielded && !self.told.yielded;
            self.told = told;
            self.report(net);
            if let Some(peer) = self.session.as_ref().filter(|_| yields) {
                net.send(peer.conn, self.me, Msg::Yielded { epoch: standing.epoch });
            }
        }
        let woken = self.wake.has_changed().unwrap_or(true);
        let committed = (standing.epoch, standing.committed);
        let public = woken || std::mem::replace(&mut self.committed, committed) != committed;
        if woken {
            self.wake.mark_unchanged();
            self.flush_follows(net);
        }
        if let Some(peer) = &self.session
            && let Some(request) = self.replica.poll_request()
        {
            net.tell(|| format!("{} asks at v{}: {:?}", self.member.node, request.version, request.change));
            net.send(peer.conn, self.me, Msg::Ask(request));
        }
        if public {
            self.flush_public(net, judge);
        }
        while let Some(notice) = self.replica.poll_notice() {
            net.tell(|| format!("{} notices {notice:?}", self.member.node));
            judge.noticed(notice);
        }
    }

    fn flush_follows(&mut self, net: &mut Net) {
        for (conn, peer) in &self.followers {
            while let Some(down) = self.replica.poll_down(peer.id) {
                net.send(*conn, self.me, Msg::FollowDown(down));
            }
        }
        for (conn, peer) in &self.leaders {
            while let Some(up) = self.replica.poll_up(peer.id) {
                net.send(*conn, self.me, Msg::FollowUp(up));
            }
        }
    }
}
