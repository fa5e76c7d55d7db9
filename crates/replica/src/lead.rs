//! Leading: what an active origin appends, lets out, and says to its followers (REPLICATION C1).

use cluster::{AckRefused, Mishap, SyncRequest};
use hub::Body;
use media::{Provenance, StreamName};

use crate::{
    FollowError, Replica,
    message::{FollowDown, FollowHello, FollowUp, Source},
    term::{Sending, Term},
};

impl Replica {
    /// Appends to a stream of the term.
    pub(crate) fn append(
        &mut self,
        name: &StreamName,
        body: Body,
        provenance: Option<Provenance>,
        source: Option<Source>,
    ) {
        let (Some(term), Some(log)) = (&mut self.term, self.logs.get_mut(name)) else { return };
        let item = log.append(term.epoch(), body, provenance);
        let publication = log.publication();
        term.push(name, item, publication, source);
        self.wake_connections();
        self.advance();
    }

    /// Lets out what has become committed.
    pub(crate) fn advance(&mut self) {
        let Some(term) = &mut self.term else { return };
        let Some(committed) = term.commits.committed() else { return };
        // Not all whom the record names have it, on our own word; or nobody else had to, because the record says so.
        let on_own_word = term.commits.alone().is_some();
        let alone = on_own_word || term.commits.counted().is_empty();
        let (mut noteworthy, mut others_have_it) = (false, false);
        while let Some(next) = term.pending.pop_front_if(|next| next.order <= committed) {
            // Openings have no number.
            noteworthy |= next.closes || next.number.is_none() || next.order == 0 || term.yields_until.is_some();
            others_have_it |= !alone;
            let Some(log) = self.logs.get_mut(&next.name) else { continue };
            if alone {
                self.alone.note(log);
            }
            log.commit(next.seq, next.publication, next.number, next.closes);
            if next.closes {
                if on_own_word {
                    self.alone.note_end(log);
                }
                self.gone.add(next.publication);
                self.logs.remove(&next.name);
            }
        }
        if others_have_it {
            self.forget_alone();
        }
        if noteworthy {
            self.note_change();
        }
    }

    /// Another origin opened a Follow with this one.
    pub fn follower_opened(&mut self, hello: FollowHello) -> u64 {
        self.handle_epoch(hello.epoch);
        let id = self.new_conn();
        if let Some(term) = &mut self.term {
            term.commits.follower_opened(id, hello.member.clone());
            term.sending.insert(id, Sending::New);
        }
        self.left.remove(&hello.member);
        self.followers.insert(id, hello.member);
        self.note_change();
        id
    }

    /// What a follower says. After an error its connection has to be closed.
    pub fn handle_up(&mut self, conn: u64, up: FollowUp) -> Result<(), FollowError> {
        if !self.followers.contains_key(&conn) {
            return Err(FollowError::Unknown);
        }
        self.handle_epoch(up.epoch());
        let Some(term) = &mut self.term else { return Ok(()) };
        match up {
            FollowUp::Beat { .. } => {}
            FollowUp::State { epoch, logs } => {
                let asked = matches!(term.sending.get(&conn), Some(Sending::Asked));
                if asked && epoch == term.epoch() {
                    let splits = term.settle(conn, &logs, &self.logs, self.gone.list());
                    let node = self.followers[&conn].node.clone();
                    for (name, from, to) in splits {
                        self.notice(&name, Mishap::Split { node: node.clone(), from, to });
                    }
                    self.note_change();
                }
            }
            FollowUp::Ack { epoch, order } => match term.commits.handle_ack(conn, epoch, order) {
                Ok(()) => self.advance(),
                // Given in an epoch, or of a tail, that has passed since: it counts for nothing.
                Err(AckRefused::Stale) => self.stale_refused += 1,
                Err(lie @ AckRefused::Ahead { .. }) => {
                    return Err(FollowError::FalsePosition(lie.to_string()));
                }
            },
        }
        Ok(())
    }

    /// What is to be said to a follower next.
    pub fn poll_down(&mut self, conn: u64) -> Option<FollowDown> {
        self.term.as_mut()?.poll(conn)
    }

    /// "I am there", for a follower.
    pub fn beat_down(&self) -> FollowDown {
        let committed = self.term.as_ref().map_or(0, Term::committed_below);
        FollowDown::Beat { epoch: self.highest, active: self.term.is_some(), committed }
    }

    /// A follower's connection is gone.
    pub fn follower_closed(&mut self, conn: u64) {
        if let Some(member) = self.followers.remove(&conn) {
            // Of a node that restarts for ever, the last start says as much as all of them.
            self.left.retain(|left| left.node != member.node);
            self.left.insert(member);
        }
        if let Some(term) = &mut self.term {
            term.commits.follower_closed(conn);
            term.sending.remove(&conn);
            term.forget_sent();
        }
        // A candidate that was waited for may have been the last.
        self.advance();
        self.note_change();
    }

    /// What is to be asked of the control plane.
    pub fn poll_request(&mut self) -> Option<SyncRequest> {
        self.term.as_mut()?.commits.poll_request()
    }
}
