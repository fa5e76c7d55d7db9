//! What the model knows of a small pool, its control plane's store, and what was promised to viewers and encoders.

use std::fmt;

/// Origins at most.
pub const NODES: usize = 3;
/// Epochs at most, one more.
pub const EPOCHS: usize = 6;
/// Positions after a loss in epoch `n` begin at `n * LOSS_STEP`: the product's `epoch << 40`.
pub const LOSS_STEP: u8 = 16;

/// One start of one origin. The model has two of each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member(pub u8);

impl Member {
    pub fn new(node: usize, incarnation: u8) -> Self {
        Self(node as u8 * 2 + incarnation)
    }

    pub fn node(self) -> usize {
        usize::from(self.0 / 2)
    }

    pub fn incarnation(self) -> u8 {
        self.0 % 2
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(b'a' + self.0 / 2), if self.incarnation() == 0 { "" } else { "'" })
    }
}

/// A set of members.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Set(u8);

impl Set {
    pub fn of(members: impl IntoIterator<Item = Member>) -> Self {
        members.into_iter().fold(Self::default(), Self::with)
    }

    pub fn with(self, member: Member) -> Self {
        Self(self.0 | 1 << member.0)
    }

    pub fn without(self, member: Member) -> Self {
        Self(self.0 & !(1 << member.0))
    }

    pub fn has(self, member: Member) -> bool {
        self.0 & (1 << member.0) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Member> {
        (0..2 * NODES as u8).map(Member).filter(move |member| self.has(*member))
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What stands at a position. Two items are the same when all of this is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Item {
    pub seq: u8,
    pub epoch: u8,
    /// Which message of the one publication it is; [`LOSS`] for the entry that names a loss.
    pub message: u8,
}

/// The message number of a loss entry.
pub const LOSS: u8 = 0;

/// The pool's record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Record {
    pub version: u8,
    pub epoch: u8,
    pub active: Member,
    pub in_sync: Set,
    pub loss_epoch: u8,
}

/// One origin.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    pub incarnation: u8,
    /// The highest epoch it has heard of; kept on disk.
    pub heard: u8,
    /// The newest record it has taken.
    pub known: Option<Record>,
    pub log: Vec<Item>,
    /// The first message that is not in its log.
    pub next_message: u8,
    /// All below is committed, as far as it knows.
    pub committed: u8,
    /// Whose log it follows, and in which epoch, since its tail was settled.
    pub following: Option<(Member, u8)>,
    /// Set while it is active.
    pub term: Option<Term>,
    /// It was frozen and has not read yet what came meanwhile.
    pub stale: bool,
}

/// An origin's time as active in one epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Term {
    pub epoch: u8,
    /// Without these nothing is committed.
    pub counted: Set,
    /// All below was in its log when the term began.
    pub held: u8,
    /// All below is committed by acks of this term.
    pub watermark: u8,
    /// Its followers: which incarnation is connected, and below which position it has acked.
    pub followers: [Option<(u8, Option<u8>)>; NODES],
    /// It took members out on its own word.
    pub alone: bool,
}

/// A follower holds all below `seq`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ack {
    pub from: Member,
    pub to: usize,
    pub epoch: u8,
    pub seq: u8,
}

/// An active asks for a change of the in-sync set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Request {
    pub from: Member,
    pub epoch: u8,
    pub version: u8,
    pub member: Member,
    pub grow: bool,
}

/// What was served, or acked to the encoder's edge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Promise {
    pub item: Item,
    /// An event has named it lost, or doubled.
    pub named: bool,
}

/// What may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    pub restarts: u8,
    pub reconnects: u8,
    pub losses: u8,
    pub restores: u8,
    pub faults: u8,
}

/// The network. Parties: 0 the control plane, 1.. the origins, then two edges.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Network {
    /// One bit a pair of parties.
    pub cut: u64,
    pub frozen: Option<u8>,
    pub faults: u8,
}

/// The control plane.
pub const CONTROL: usize = 0;
/// The edges.
pub const EDGES: [usize; 2] = [NODES + 1, NODES + 2];

/// The party that an origin is.
pub fn party(node: usize) -> usize {
    node + 1
}

impl Network {
    fn bit(a: usize, b: usize) -> u64 {
        1 << (a.min(b) * 8 + a.max(b))
    }

    pub fn cut(&mut self, a: usize, b: usize) {
        self.cut |= Self::bit(a, b);
    }

    pub fn cut_off(&mut self, party: usize) {
        (0..=NODES + EDGES.len()).filter(|other| *other != party).for_each(|other| self.cut(party, other));
    }

    pub fn hears(&self, a: usize, b: usize) -> bool {
        let awake = |party: usize| self.frozen.is_none_or(|node| self::party(usize::from(node)) != party);
        self.cut & Self::bit(a, b) == 0 && awake(a) && awake(b)
    }
}

/// A broken invariant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Broken {
    /// A position was seen with two contents.
    TwoContents,
    /// A message was seen twice.
    SeenTwice,
    /// A message was seen, and an earlier one never will be.
    NeverSeen,
    /// A member in sync lacks what was committed.
    MissingInSync,
    /// A member in sync lacks what the encoder's edge may have forgotten.
    AckedAndGone,
    /// The record does not have the active in sync.
    ActiveNotInSync,
    /// Two members served in one epoch.
    EpochTwice,
}

/// Everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub nodes: Vec<Node>,
    pub record: Record,
    /// Records written that some origin may still take.
    pub sent: Vec<Record>,
    pub requests: Vec<Request>,
    pub acks: Vec<Ack>,
    /// An old copy of the store.
    pub copy: Option<Record>,
    /// The store is an old copy: nothing is granted before the origins were heard.
    pub restored: bool,
    pub promised: Vec<Promise>,
    /// Messages that the encoder's edge was told to be safe: it may have forgotten them.
    pub acked: u8,
    /// Acked messages that an event has named lost, one bit each.
    pub excused: u8,
    /// Who served in each epoch.
    pub served: [Option<Member>; EPOCHS],
    pub network: Network,
    pub left: Budget,
    pub broken: Option<Broken>,
}

impl State {
    /// Origin `a` is active in epoch 1; all follow it, and those of `in_sync` are in sync.
    pub fn new(nodes: usize, in_sync: &[usize], left: Budget) -> Self {
        let active = Member::new(0, 0);
        let in_sync = Set::of(in_sync.iter().map(|node| Member::new(*node, 0)));
        let record = Record { version: 1, epoch: 1, active, in_sync, loss_epoch: 0 };
        let mut followers = [None; NODES];
        followers[1..nodes].fill(Some((0, Some(0))));
        let node = |node| Node {
            incarnation: 0,
            heard: 1,
            known: Some(record),
            log: Vec::new(),
            next_message: 1,
            committed: 0,
            following: (node > 0).then_some((active, 1)),
            term: (node == 0).then_some(Term {
                epoch: 1,
                counted: in_sync,
                held: 0,
                watermark: 0,
                followers,
                alone: false,
            }),
            stale: false,
        };
        let mut served = [None; EPOCHS];
        served[1] = Some(active);
        Self {
            nodes: (0..nodes).map(node).collect(),
            record,
            sent: Vec::new(),
            requests: Vec::new(),
            acks: Vec::new(),
            copy: None,
            restored: false,
            promised: Vec::new(),
            acked: 0,
            excused: 0,
            served,
            network: Network::default(),
            left,
            broken: None,
        }
    }

    pub fn member(&self, node: usize) -> Member {
        Member::new(node, self.nodes[node].incarnation)
    }

    pub fn epoch_of(&self, node: usize) -> Option<u8> {
        self.nodes[node].term.as_ref().map(|term| term.epoch)
    }

    pub fn is_excused(&self, message: u8) -> bool {
        self.excused & (1 << message) != 0
    }
}

impl Node {
    /// One more than the last position.
    pub fn next_seq(&self) -> u8 {
        self.log.last().map_or(0, |item| item.seq + 1)
    }

    pub fn has(&self, item: &Item) -> bool {
        self.log.contains(item)
    }

    pub fn has_message(&self, message: u8) -> bool {
        self.log.iter().any(|item| item.message == message)
    }

    /// The epoch of the last loss that its log names.
    pub fn loss_epoch(&self) -> u8 {
        self.log.iter().filter(|item| item.message == LOSS).map(|item| item.epoch).max().unwrap_or(0)
    }

    /// Forgets all from `end` on.
    pub fn cut(&mut self, end: u8) {
        self.log.retain(|item| item.seq < end);
        self.committed = self.committed.min(self.next_seq());
    }

    /// Publication numbers as the log has them.
    pub fn number_from_log(&mut self) {
        self.next_message = self.log.iter().map(|item| item.message + 1).max().unwrap_or(1).max(1);
    }
}
