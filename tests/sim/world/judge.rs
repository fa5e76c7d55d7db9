//! The invariants, checked as things are served and seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use cluster::{Cause, Epoch, Granted, Member, Mishap, NodeId, Notice, PoolEvent, PoolRecord};
use hub::{Body, Budget, Event, Hub, Item, Read, Start, Stream};
use media::{PublicationId, StreamName};

use super::{
    edge::Seen,
    encoder::stamp,
    names::node_id,
    net::{Net, Party},
};

/// What is known of everything that anyone was promised.
#[derive(Debug, Default)]
pub struct Judge {
    /// What was broken, in words.
    pub broken: Vec<String>,
    /// What was served at each position, first.
    content: BTreeMap<(StreamName, u64), Served>,
    /// Positions with two contents, which an event has to name: whose was not kept.
    doubled: Vec<(StreamName, u64, Member)>,
    /// Positions that were served by an origin that was alone.
    alone: BTreeSet<(StreamName, u64)>,
    /// Epochs that began with a loss.
    losses: BTreeSet<Epoch>,
    viewers: BTreeMap<(Party, StreamName), Viewer>,
    /// Who went on alone in an epoch that was over by then, as the pool's events tell.
    splits: BTreeSet<(Member, Epoch)>,
    /// Who served in each epoch.
    pub served_by: BTreeMap<Epoch, Member>,
    audited: BTreeSet<(Epoch, Member)>,
    /// Epochs that were granted, and those of which an event was told.
    granted: BTreeSet<Epoch>,
    told_of: BTreeSet<Epoch>,
    /// Who is fenced, as events tell.
    fenced: BTreeSet<NodeId>,
    notices: Vec<Notice>,
    acked: BTreeMap<PublicationId, u64>,
    /// Messages that their edge gave up, and said so.
    skipped: BTreeMap<PublicationId, Vec<(u64, u64)>>,
    /// When each publication was opened first.
    pub opened: BTreeMap<PublicationId, u64>,
    /// Several faults at once: what was committed alone may be doubled.
    may_split: bool,
    /// So it was: an origin has served while it was alone.
    went_alone: bool,
    /// What it served: those on the other side of the cut may never get it.
    sent_alone: BTreeSet<(PublicationId, u64)>,
    /// Origins remember so little that viewers may have to skip.
    may_skip: bool,
    /// Frames of an ended epoch that edges did not take.
    pub refusals: u64,
    /// Times that viewers went on in another log.
    pub spliced: u64,
    /// Encoders that were told that their publication is over, and had not ended it.
    pub encoders_lost: u64,
    /// Times that an edge was told of a stream's end.
    pub ends_seen: u64,
    sent: BTreeMap<PublicationId, u64>,
    /// Publications that had ended at an origin before their edge could bring it what was left of them.
    ended_early: BTreeSet<PublicationId>,
    /// Publications whose encoder has said its end.
    ending: BTreeSet<PublicationId>,
    /// How many messages there were of each publication whose end was committed for its encoder.
    ended: BTreeMap<PublicationId, u64>,
    /// The last message that viewers had of a publication when they saw its stream end.
    closed: Vec<(Party, PublicationId, u64)>,
}

/// What stands at a position, and who served it first.
#[derive(Debug, Clone)]
struct Served {
    item: Arc<Item>,
    by: Member,
    epoch: Epoch,
    alone: bool,
}

/// What one edge's viewers of a stream have seen.
#[derive(Debug, Default)]
pub struct Viewer {
    last: Option<u64>,
    /// The same in the pool's numbering, which is another once they have gone on in another log.
    there: Option<u64>,
    numbers: BTreeMap<PublicationId, u64>,
    /// Whose messages they had last.
    playing: Option<PublicationId>,
    /// Their positions and numbers may jump: a loss, or a split, was named.
    excused: bool,
    pub seen_at: u64,
    /// The longest time without anything, and when it ended.
    pub longest_gap: (u64, u64),
    pub items: u64,
    /// Messages of the publication that they had last which they did not get, for whatever reason.
    pub missed: u64,
}

impl Judge {
    pub fn new(may_split: bool, may_skip: bool) -> Self {
        Self { may_split, may_skip, ..Self::default() }
    }

    fn fault(&mut self, what: String) {
        if self.broken.len() < 8 {
            self.broken.push(what);
        }
    }

    /// An origin begins or ends to serve.
    pub fn role(&mut self, member: &Member, epoch: Epoch, active: bool) {
        if !active {
            return;
        }
        let first = self.served_by.entry(epoch).or_insert_with(|| member.clone()).clone();
        if first != *member {
            self.fault(format!("epoch {epoch} is served by {first:?} and by {member:?}"));
        }
    }

    /// A record is in force: invariant 5.
    pub fn recorded(&mut self, before: &PoolRecord, after: &PoolRecord) {
        if after.epoch > before.epoch {
            self.granted.insert(after.epoch);
        }
        if after.loss_epoch > before.loss_epoch {
            self.losses.insert(after.loss_epoch);
        }
        if after.epoch < before.epoch || after.epoch == before.epoch && after.active != before.active {
            self.fault(format!(
                "epoch {} of {:?} after epoch {} of {:?}",
                after.epoch, after.active, before.epoch, before.active
            ));
        }
        if after.active.as_ref().is_some_and(|active| !after.in_sync.contains(active)) {
            self.fault(format!("v{}: the active is not in sync", after.version));
        }
        if after.active.as_ref().is_some_and(|active| after.fenced.contains(&active.node)) {
            self.fault(format!("v{}: the active is fenced", after.version));
        }
    }

    /// Each role change is told once, with its cause.
    pub fn told(&mut self, event: &PoolEvent) {
        match event {
            PoolEvent::Split { member, epoch, .. } => {
                self.splits.insert((member.clone(), *epoch));
            }
            PoolEvent::Fenced { node, .. } => {
                self.fenced.insert(node.clone());
            }
            PoolEvent::Unfenced { node, .. } => {
                self.fenced.remove(node);
            }
            _ => {}
        }
        let PoolEvent::Granted(Granted { epoch, cause, .. }) = event else { return };
        let told_before = !self.told_of.insert(*epoch);
        // A store that was replaced by an old copy learns of a grant that it has forgotten.
        if told_before && *cause != Cause::Adopted {
            self.fault(format!("the grant of epoch {epoch} is told twice"));
        }
    }

    /// A fence comes and goes only where an event tells so.
    pub fn fenced(&mut self, record: &PoolRecord) {
        if self.fenced != record.fenced {
            let (version, told) = (record.version, self.fenced.clone());
            self.fault(format!("v{version}: {:?} are fenced, and {told:?} as it was told", record.fenced));
        }
    }

    /// The store was replaced by an old copy, its events with it.
    pub fn restored(&mut self, record: &PoolRecord) {
        self.fenced.clone_from(&record.fenced);
        self.granted.clear();
        self.told_of.clear();
    }

    /// A grant of which nobody was told.
    pub fn untold(&self) -> Option<String> {
        let untold = self.granted.difference(&self.told_of).next()?;
        Some(format!("nobody was told of the grant of epoch {untold}"))
    }

    /// A stream's own mishap.
    pub fn noticed(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    pub fn has_noticed(&self, what: &str) -> bool {
        self.notices.iter().any(|notice| notice.what.as_str() == what)
    }

    pub fn sent(&mut self, publication: PublicationId, number: u64) {
        self.sent.insert(publication, number);
    }

    /// The encoder says its end, behind so many messages.
    pub fn ending(&mut self, publication: PublicationId, messages: u64) {
        self.sent.insert(publication, messages);
        self.ending.insert(publication);
    }

    pub fn opened(&mut self, now: u64, publication: PublicationId) {
        self.opened.entry(publication).or_insert(now);
    }

    pub fn published_again(&mut self, publication: PublicationId) {
        self.sent.remove(&publication);
    }

    /// The encoder has said its end, and its edge is told that the publication has ended already.
    pub fn ended_early(&mut self, publication: PublicationId) {
        self.ended_early.insert(publication);
    }

    /// The encoder has said its end after so many messages, and its edge is told that it is committed.
    pub fn ended(&mut self, publication: PublicationId, messages: u64) {
        self.ended.insert(publication, messages);
    }

    /// Viewers who saw a stream's end and not all that came before it.
    pub fn unseen(&self) -> Option<String> {
        if self.went_alone || !self.losses.is_empty() {
            return None;
        }
        let due = |publication| self.ended.get(publication).and_then(|messages| messages.checked_sub(1));
        let (edge, publication, had) = self.closed.iter().find(|(_, of, had)| due(of).is_some_and(|due| *had < due))?;
        Some(format!("{} saw the end of {publication} after its message {had}", node_id(*edge)))
    }

    pub fn skipped(&mut self, publication: PublicationId, from: u64, to: u64) {
        self.skipped.entry(publication).or_default().push((from, to));
        let acked = self.acked.get(&publication).copied();
        if self.losses.is_empty() && !self.went_alone && acked >= Some(from) {
            self.fault(format!("{publication}: {acked:?} was acked, and messages {from} to {to} are given up"));
        }
    }

    pub fn acked(&mut self, publication: PublicationId, through: u64) {
        let acked = self.acked.entry(publication).or_default();
        *acked = (*acked).max(through);
        if self.sent.get(&publication).is_none_or(|sent| *sent < through) {
            self.fault(format!("{publication}: {through} is acked, and was never sent"));
        }
    }

    /// What viewers wait from now on counts.
    pub fn forget_gaps(&mut self) {
        self.viewers.values_mut().for_each(|viewer| viewer.longest_gap = (0, 0));
    }

    pub fn refused(&mut self) {
        self.refusals += 1;
    }

    /// An origin gives items to an edge.
    pub fn served(&mut self, by: &Member, epoch: Epoch, alone: bool, name: &StreamName, items: &[Arc<Item>]) {
        for item in items.iter().filter(|item| !matches!(item.body, Body::Setup(_))) {
            let key = (name.clone(), item.seq);
            let lost = self.losses.iter().any(|loss| epoch < *loss);
            self.went_alone |= alone && self.may_split;
            if alone && self.may_split || lost {
                self.alone.insert(key.clone());
                self.sent_alone.extend(item.frame().and_then(|frame| stamp(&frame.payload)));
            }
            let now = || Served { item: item.clone(), by: by.clone(), epoch, alone };
            let first = self.content.entry(key.clone()).or_insert_with(now).clone();
            if first.item.body == item.body {
                continue;
            }
            if self.alone.contains(&key) && !self.is_below_a_loss(epoch, item.seq) {
                let loser = if first.epoch < epoch { first.by } else { by.clone() };
                self.doubled.push((name.clone(), item.seq, loser));
            } else {
                let (seq, first) = (item.seq, shown(&first.item));
                self.fault(format!("{name} {seq:#x}: {first}, and {} by {} in epoch {epoch}", shown(item), by.node));
            }
        }
    }

    /// C7: over a loss a stream goes on at the loss's own positions, and below them nothing new is ever served.
    fn is_below_a_loss(&self, epoch: Epoch, seq: u64) -> bool {
        let over = |loss: &&Epoch| **loss <= epoch && seq < loss.first_position();
        !self.went_alone && self.losses.iter().any(|loss| over(&loss))
    }

    /// An edge's viewers get an item at a position of theirs.
    pub fn seen(&mut self, net: &mut Net, edge: Party, name: &StreamName, seen: &Seen) {
        let Seen { position, at_origin, item } = seen;
        let (position, here) = (*position, *at_origin);
        let key = (edge, name.clone());
        let mut viewer = self.viewers.remove(&key).unwrap_or_default();
        let mut faults = Vec::new();
        viewer.note_time(net.now);
        // In the pool's numbering.
        let before = viewer.there.unwrap_or(here);
        match viewer.last {
            Some(last) if position <= last => faults.push(format!("{position:#x} after {last:#x}")),
            Some(last) if position > last + 1 || here > before + 1 => {
                // Over a loss the log goes on at the loss's epoch; what was alone may have been longer than what came.
                let named = |loss: &&Epoch| before < loss.first_position() && loss.first_position() <= here;
                if self.losses.iter().any(|loss| named(&loss)) || self.is_alone(name, before) || self.may_skip {
                    viewer.excused = true;
                } else if !self.ended_between(name, before, here) && !viewer.goes_on_from(&self.ended_early, item) {
                    faults.push(format!("{here:#x} after {before:#x}"));
                }
            }
            _ => {}
        }
        // Another log: only what was alone is left behind, and what viewers had of it does not come again.
        let is_another = viewer.there.is_some_and(|there| here <= there);
        self.spliced += u64::from(is_another);
        if is_another && !self.is_alone(name, before) {
            faults.push(format!("{here:#x} after {before:#x}, which was not served alone"));
        }
        let had = item.frame().and_then(|frame| stamp(&frame.payload));
        let had = had.filter(|(publication, number)| viewer.numbers.get(publication).is_some_and(|had| number <= had));
        if let Some((publication, number)) = had.filter(|_| is_another) {
            faults.push(format!("message {number} of {publication} again"));
        }
        if viewer.last.is_some() && self.is_alone(name, before) || self.is_alone(name, here) {
            viewer.excused = true;
        }
        viewer.last = viewer.last.max(Some(position));
        viewer.there = Some(here);
        viewer.playing = publication(item).or(viewer.playing);
        match &item.body {
            Body::Frame(frame) => {
                if let Some((publication, number)) = stamp(&frame.payload) {
                    // What went out alone may have left a short ring before anybody read it.
                    let was_alone = |number| self.sent_alone.contains(&(publication, number));
                    let of_other_side = |number| was_alone(number) || self.went_alone && self.may_skip;
                    // Behind a loss the encoder's edge may bring again what was had alone, where nothing is left to tell it by.
                    viewer.excused |= !self.losses.is_empty() && was_alone(number);
                    faults.extend(viewer.note_number(publication, number, of_other_side));
                }
            }
            Body::Event(Event::Skip { publication, from, to }) => {
                let told = self.skipped.get(publication).is_some_and(|told| told.contains(&(*from, *to)));
                if !told {
                    faults.push(format!("a skip of {from} to {to} that nobody told"));
                }
                let last = viewer.numbers.entry(*publication).or_default();
                *last = (*last).max(*to);
            }
            Body::Event(Event::Loss { .. }) => viewer.excused = true,
            Body::Event(Event::Close { publication }) => {
                let had = viewer.numbers.get(publication).copied();
                self.closed.extend(had.filter(|_| !viewer.excused).map(|had| (edge, *publication, had)));
            }
            Body::Event(_) | Body::Setup(_) => {}
        }
        self.viewers.insert(key, viewer);
        for fault in faults {
            net.tell(|| format!("{} sees {fault}", node_id(edge)));
            self.fault(format!("{} sees {name}: {fault}", node_id(edge)));
        }
    }

    /// The stream was served to its end meanwhile: who joins the next one starts at a keyframe.
    fn ended_between(&self, name: &StreamName, last: u64, next: u64) -> bool {
        let between = (name.clone(), last)..(name.clone(), next.max(last));
        let mut served = self.content.range(between);
        served.any(|(_, served)| matches!(served.item.body, Body::Event(Event::Close { .. })))
    }

    pub fn has_doubled(&self) -> bool {
        !self.doubled.is_empty()
    }

    /// Invariant 4: positions with two contents that nobody has named, though the one that was not kept is heard again.
    pub fn unnamed(&self, heard: impl Fn(&Member) -> bool) -> Option<String> {
        let unnamed = self.doubled.iter().find(|(name, seq, loser)| heard(loser) && !self.is_named(name, *seq));
        unnamed.map(|(name, seq, loser)| format!("{name} {seq:#x} was doubled by {}, and nobody says so", loser.node))
    }

    /// Invariant 4: what an active served while it was alone, and its successor does not have, though it is heard again.
    pub fn unnamed_loss(&self, successor: &Hub, heard: impl Fn(&Member) -> bool) -> Option<String> {
        let alone = self.content.iter().filter(|(_, served)| {
            served.alone && self.splits.contains(&(served.by.clone(), served.epoch)) && heard(&served.by)
        });
        let lost = alone.filter(|((name, seq), served)| match successor.get(name) {
            Some(stream) => lacks(&stream, *seq, served),
            // It may have had the stream, to another end.
            None => {
                let later = self.content.range((name.clone(), *seq)..).take_while(|((other, _), _)| other == name);
                !later.into_iter().any(|(_, later)| later.epoch > served.epoch)
            }
        });
        let (key, by) =
            lost.map(|(key, served)| (key, &served.by)).find(|((name, seq), _)| !self.is_named(name, *seq))?;
        Some(format!("{} {:#x} was served by {} alone, and nobody says that it is lost", key.0, key.1, by.node))
    }

    fn is_named(&self, name: &StreamName, seq: u64) -> bool {
        self.notices.iter().filter(|notice| notice.stream == *name).any(|notice| match notice.what {
            Mishap::Split { from, to, .. } => from <= seq && seq <= to,
            Mishap::Lost { from } => from <= seq,
            Mishap::Skipped { .. } => false,
        })
    }

    fn is_alone(&self, name: &StreamName, seq: u64) -> bool {
        self.alone.contains(&(name.clone(), seq))
    }

    /// An edge starts with empty memory, its viewers anew.
    pub fn edge_started(&mut self, edge: Party) {
        self.viewers.retain(|(party, _), _| *party != edge);
    }

    /// The stream has ended, and its viewers with it: whoever comes next is new.
    pub fn left(&mut self, edge: Party, name: &StreamName) {
        self.ends_seen += 1;
        if let Some(viewer) = self.viewers.get_mut(&(edge, name.clone())) {
            let Viewer { seen_at, longest_gap, items, .. } = *viewer;
            *viewer = Viewer { seen_at, longest_gap, items, ..Viewer::default() };
        }
    }

    pub fn viewer(&self, edge: Party, name: &StreamName) -> Option<&Viewer> {
        self.viewers.get(&(edge, name.clone()))
    }

    pub fn viewers(&self) -> impl Iterator<Item = (&(Party, StreamName), &Viewer)> {
        self.viewers.iter()
    }

    /// Whether viewers have seen all that this publication sent up to a number.
    pub fn has_seen(&self, edge: Party, name: &StreamName, publication: PublicationId, number: u64) -> bool {
        let seen = self.viewer(edge, name).and_then(|viewer| viewer.numbers.get(&publication));
        seen.is_some_and(|seen| *seen >= number)
    }

    /// A new active has committed what its log held: everything that was promised has to be in it.
    pub fn audit(&mut self, member: &Member, epoch: Epoch, hub: &Hub, names: &[StreamName]) {
        if !self.audited.insert((epoch, member.clone())) {
            return;
        }
        // One that was frozen may not have heard that its epoch is over: it answers for what was promised before.
        let is_over = self.served_by.keys().any(|served| *served > epoch);
        let streams = names.iter().filter(|_| !is_over).filter_map(|name| hub.get(name));
        let forgotten: Vec<_> = streams.filter_map(|stream| self.forgotten(&stream)).collect();
        forgotten.into_iter().for_each(|what| self.fault(format!("{} in epoch {epoch}: {what}", member.node)));
        let floors: Vec<u64> = self.losses.iter().map(|loss| loss.first_position()).collect();
        let mut missing = Vec::new();
        for ((name, seq), Served { item, epoch: served, .. }) in &self.content {
            if *served > epoch || self.alone.contains(&(name.clone(), *seq)) {
                continue;
            }
            let Some(stream) = hub.get(name) else {
                let rest = (Bound::Excluded((name.clone(), *seq)), Bound::Unbounded);
                let is_last = self.content.range(rest).next().is_none_or(|((next, _), _)| next != name);
                let lost = floors.iter().any(|floor| seq < floor);
                let ends = publication(item).is_none_or(|publication| self.ending.contains(&publication));
                let closed = matches!(item.body, Body::Event(Event::Close { .. }));
                if is_last && !lost && !ends && !closed {
                    missing.push(format!("{} in epoch {epoch} lacks all of {name}, up to {seq:#x}", member.node));
                }
                continue;
            };
            let info = stream.info();
            let lost = floors.iter().any(|floor| seq < floor);
            if *seq < info.first_seq || lost {
                continue;
            }
            if !has(&stream, *seq, item) {
                missing.push(format!("{} in epoch {epoch} lacks {name} {seq:#x}: {}", member.node, shown(item)));
            }
        }
        missing.into_iter().for_each(|what| self.fault(what));
    }

    /// P1: a message that was acked, and a log that begins before it lacks it, though there was no loss.
    fn forgotten(&self, stream: &Arc<Stream>) -> Option<String> {
        if self.went_alone || !self.losses.is_empty() {
            return None;
        }
        let numbers = numbers(stream);
        numbers.iter().find_map(|(publication, numbers)| {
            let acked = *self.acked.get(publication)?;
            let skipped = |number: u64| {
                let mut skips = self.skipped.get(publication).into_iter().flatten();
                skips.any(|(from, to)| (*from..=*to).contains(&number))
            };
            let lacks = |number: &u64| !numbers.contains(number) && !skipped(*number);
            let number = (*numbers.first()?..=acked).find(lacks)?;
            Some(format!("message {number} of {publication} was acked, as all up to {acked} were, and is not there"))
        })
    }
}

impl Viewer {
    /// They had one of these last, and this is of the next one.
    fn goes_on_from(&self, ended: &BTreeSet<PublicationId>, item: &Item) -> bool {
        let next = publication(item).filter(|next| !self.numbers.contains_key(next));
        next.is_some() && self.playing.is_some_and(|playing| ended.contains(&playing))
    }

    fn note_time(&mut self, now: u64) {
        if self.items > 0 {
            self.longest_gap = self.longest_gap.max((now - self.seen_at, now));
        }
        self.seen_at = now;
        self.items += 1;
    }

    /// None lost, none repeated.
    fn note_number(
        &mut self,
        publication: PublicationId,
        number: u64,
        is_elsewhere: impl Fn(u64) -> bool,
    ) -> Option<String> {
        let excused = std::mem::take(&mut self.excused);
        let last = self.numbers.insert(publication, number);
        let due = last? + 1;
        self.missed += number.saturating_sub(due);
        let excused = excused || number > due && (due..number).all(is_elsewhere);
        if number == due || excused {
            return None;
        }
        Some(match number > due {
            true => format!("messages {due} to {} of {publication} are missing", number - 1),
            false => format!("message {number} of {publication} comes after {}", due - 1),
        })
    }
}

/// Whose item this is.
fn publication(item: &Item) -> Option<PublicationId> {
    match &item.body {
        Body::Frame(frame) => stamp(&frame.payload).map(|(publication, _)| publication),
        Body::Event(Event::Open { publication } | Event::Close { publication } | Event::Skip { publication, .. }) => {
            Some(*publication)
        }
        Body::Event(Event::MetadataCleared | Event::Loss { .. }) | Body::Setup(_) => None,
    }
}

/// Whether a stream has this at that position.
fn has(stream: &Arc<Stream>, seq: u64, item: &Item) -> bool {
    let mut found = Vec::new();
    let mut reader = stream.subscribe(Start::After(seq.saturating_sub(1)));
    let read = reader.read(Budget { items: 1, bytes: 1 }, &mut found);
    read == Read::Items && found.first().is_some_and(|found| found.body == item.body)
}

/// What a log holds of each publication.
fn numbers(stream: &Arc<Stream>) -> BTreeMap<PublicationId, BTreeSet<u64>> {
    let mut items = Vec::new();
    let mut reader = stream.subscribe(Start::After(stream.info().first_seq.saturating_sub(1)));
    while let Read::Items = reader.read(Budget { items: 64, bytes: 1 << 20 }, &mut items) {}
    let mut numbers = BTreeMap::<_, BTreeSet<_>>::new();
    for (publication, number) in items.iter().filter_map(|item| stamp(&item.frame()?.payload)) {
        numbers.entry(publication).or_default().insert(number);
    }
    numbers
}

/// Whether it is known to have something else there, or nothing.
fn lacks(stream: &Arc<Stream>, seq: u64, served: &Served) -> bool {
    seq >= stream.info().first_seq && !has(stream, seq, &served.item)
}

fn shown(item: &Item) -> String {
    match &item.body {
        Body::Frame(frame) => match stamp(&frame.payload) {
            Some((publication, number)) => format!("message {number} of {:x} at {} ms", publication.bits(), frame.dts),
            None => "a frame".to_owned(),
        },
        Body::Event(event) => format!("{event:?}"),
        Body::Setup(_) => "set-up".to_owned(),
    }
}
