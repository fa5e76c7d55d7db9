//! What befalls a cluster.

use std::collections::BTreeSet;

use cluster::{Epoch, Member};

use super::{
    Forgotten, MS, S, World,
    control::Asked,
    edge::Ingest,
    names::{CONTROL, EDGES, node_id},
    net::{Party, Weather},
};

/// One thing that happens at a time.
#[derive(Debug, Clone)]
pub enum Fault {
    Kill(Party),
    Start(Party),
    Freeze(Party),
    Thaw(Party),
    Cut(Party, Party),
    /// A party loses all its links.
    CutOff(Party),
    /// These are cut off from all others, and not from each other.
    Divide(Vec<Party>),
    /// One link works again.
    Mend(Party, Party),
    Heal,
    /// The control plane's store is copied.
    Backup,
    /// The control plane starts with the copy.
    Restore,
    /// An operator asks for another active.
    Promote {
        to: Party,
        epoch: Option<Epoch>,
        force: bool,
    },
    /// An operator asks for the first choice to be active again.
    FailBack,
    /// An operator takes an origin out of service.
    Fence(Party),
    /// An operator lets it in again.
    Unfence(Party),
    /// An origin that ends takes itself out of the pool.
    Leave(Party),
    /// The wall clock is set wrong by so many milliseconds.
    SetClock(i64),
    /// The process of an origin is told to end: it hands over first.
    Relieve(Party),
    Weather(Weather),
    /// An encoder's connection is gone, and it publishes at another edge.
    MoveEncoder {
        from: Party,
        to: Party,
    },
    /// An encoder ends its stream, and publishes anew a moment later.
    CloseEncoder(Party),
}

impl World {
    pub fn befall(&mut self, fault: Fault) {
        self.net.tell(|| format!("*** {fault:?}"));
        self.last_fault = self.net.now;
        match fault {
            Fault::Kill(party) if self.net.processes[party].alive => self.kill(party),
            Fault::Start(party) if !self.net.processes[party].alive => self.start(party),
            Fault::Kill(_) | Fault::Start(_) => {}
            Fault::Freeze(party) => self.net.freeze(party),
            Fault::Thaw(party) => self.net.thaw(party),
            Fault::Cut(a, b) => self.net.cut(a, b),
            Fault::CutOff(party) => self.divide(&[party]),
            Fault::Divide(parties) => self.divide(&parties),
            Fault::Mend(a, b) => self.net.mend(a, b),
            Fault::Heal => self.net.heal(),
            Fault::Backup => self.store.back_up(),
            Fault::Restore => {
                self.kill(CONTROL);
                let in_sync = self.store.record.in_sync.clone();
                self.store.restore();
                self.forgotten = Some(self.forgotten(in_sync));
                self.judge.restored(&self.store.record);
                self.start(CONTROL);
            }
            Fault::Promote { to, epoch, force } => self.promote(to, epoch, force),
            Fault::FailBack => self.fail_back(),
            Fault::Fence(party) => self.ask(Asked::Fence(node_id(party))),
            Fault::Unfence(party) => self.ask(Asked::Unfence(node_id(party))),
            Fault::Leave(party) => {
                if let Some(origin) = self.origins.get(&party) {
                    self.ask(Asked::Leave(origin.member.clone()));
                }
            }
            Fault::SetClock(wrong_ms) => self.net.wall_wrong_ms = wrong_ms,
            Fault::Relieve(party) => self.relieve(party),
            Fault::Weather(weather) => self.net.weather = weather,
            Fault::MoveEncoder { from, to } => self.move_encoder(from, to),
            Fault::CloseEncoder(edge) => self.close_encoder(edge),
        }
    }

    /// What a store with this in-sync set has lost to the copy that is in its place.
    fn forgotten(&self, in_sync: BTreeSet<Member>) -> Forgotten {
        let copy = &self.store.record;
        let origins = self.origins.iter().map(|(party, origin)| (*party, origin.knows()));
        let edges = self.edges.iter().map(|(party, edge)| (*party, edge.knows()));
        let knowing = origins.chain(edges).filter(|(_, version)| *version > copy.version);
        let witnesses = knowing.map(|(party, _)| (party, self.net.processes[party].start)).collect();
        Forgotten { in_sync, copied: copy.epoch, witnesses }
    }

    fn kill(&mut self, party: Party) {
        self.net.kill(party);
        match party {
            CONTROL => drop(self.control.take()),
            EDGES.. => {
                self.edges.remove(&party);
                self.judge.edge_started(party);
            }
            _ => drop(self.origins.remove(&party)),
        }
    }

    fn divide(&mut self, inside: &[Party]) {
        let all = [CONTROL].into_iter().chain(self.origin_parties()).chain(self.edge_parties());
        for other in all.filter(|party| !inside.contains(party)) {
            inside.iter().for_each(|party| self.net.cut(*party, other));
        }
    }

    fn promote(&mut self, to: Party, epoch: Option<Epoch>, force: bool) {
        let expected = epoch.unwrap_or(self.store.record.epoch);
        let Self { net, store, control, .. } = self;
        if let Some(control) = control {
            control.promote(net, store, &node_id(to), expected, force);
        }
    }

    fn ask(&mut self, asked: Asked) {
        if let Some(control) = &mut self.control {
            control.ask(asked);
        }
    }

    fn fail_back(&mut self) {
        let Self { net, store, control, .. } = self;
        if let Some(control) = control {
            control.fail_back(net, store);
        }
    }

    fn relieve(&mut self, party: Party) {
        if let (Some(control), Some(origin)) = (&mut self.control, self.origins.get(&party)) {
            control.relieve(&origin.member);
        }
        let ends = self.net.now + 800 * MS;
        self.plan(ends, Fault::Kill(party));
    }

    fn move_encoder(&mut self, from: Party, to: Party) {
        let Some(edge) = self.edges.get_mut(&from) else { return };
        let Some(at) = edge.encoders.iter().position(Ingest::is_live) else { return };
        edge.drop_encoder(&mut self.net, &mut self.judge, at, false);
        let name = edge.encoders[at].encoder.name.clone();
        let Some(stream) = self.streams.iter().position(|stream| *stream == name) else { return };
        if self.edges.contains_key(&to) {
            let begins = self.net.now + 50 * MS;
            self.encode(to, stream, begins);
        }
    }

    fn close_encoder(&mut self, edge: Party) {
        let Some(holder) = self.edges.get_mut(&edge) else { return };
        let Some(at) = holder.encoders.iter().position(Ingest::is_live) else { return };
        holder.drop_encoder(&mut self.net, &mut self.judge, at, true);
        let name = holder.encoders[at].encoder.name.clone();
        if let Some(stream) = self.streams.iter().position(|stream| *stream == name) {
            let begins = self.net.now + S;
            self.encode(edge, stream, begins);
        }
    }

    pub fn plan_all(&mut self, faults: impl IntoIterator<Item = (u64, Fault)>) {
        faults.into_iter().for_each(|(at, fault)| self.plan(at, fault));
    }
}
