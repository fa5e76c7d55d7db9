//! The other origins of the pool, with each of which this one holds a Follow.

mod follower;
mod retry;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cluster::{Address, Epoch, NodeId, PoolView};
use rpc::{auth::Token, channel::Target};
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::streams::Streams;
use follower::Follower;

/// Keeps a Follow with every other member of the pool, whoever is active: it is warm when the role moves.
#[derive(Debug)]
pub struct Peers {
    /// This node.
    pub me: NodeId,
    /// What follows.
    pub streams: Arc<Streams>,
    /// What is presented to the others.
    pub token: Option<Token>,
    /// Notified when another member is heard, or heard no more.
    pub urgent: Arc<Notify>,
}

/// The Follows that are kept, until this is dropped.
#[derive(Default)]
struct Follows {
    kept: BTreeMap<NodeId, Kept>,
    /// Notified when one that stood is broken.
    broken: Arc<Notify>,
}

/// A Follow, and what speaks for it.
struct Kept {
    address: Address,
    /// Epoch and version of the newest record that names the member at this address.
    named: (Epoch, u64),
    line: Arc<Line>,
    task: AbortOnDropHandle<()>,
}

/// Whether a Follow stands, as its task says.
#[derive(Debug)]
struct Line {
    stands: AtomicBool,
    broken: Arc<Notify>,
}

impl Line {
    fn opened(&self) {
        self.stands.store(true, Ordering::Relaxed);
    }

    fn broke(&self) {
        if self.stands.swap(false, Ordering::Relaxed) {
            self.broken.notify_one();
        }
    }

    fn stands(&self) -> bool {
        self.stands.load(Ordering::Relaxed)
    }
}

impl Peers {
    /// Follows the members that the control plane names, until told to stop.
    pub async fn run(self, mut pool: watch::Receiver<Option<PoolView>>, stop: CancellationToken) {
        let mut follows = Follows::default();
        loop {
            self.keep_following(&mut follows, pool.borrow_and_update().as_ref());
            tokio::select! {
                () = stop.cancelled() => return,
                () = follows.broken.notified() => {}
                Ok(()) = pool.changed() => {}
            }
        }
    }

    /// One Follow for each other member. Those that stand stay, unless a newer record takes the member out or moves it: a
    /// control plane that starts on an empty or an old store does not know yet who is there, and without us nothing is
    /// committed. One that is broken is tried again only where the record in force says.
    fn keep_following(&self, follows: &mut Follows, view: Option<&PoolView>) {
        // By the epoch first: a store that lost its past takes over versions before it knows who is active, and every
        // record of an epoch has its active among the members.
        let record = view.map(|view| (view.epoch, view.version)).unwrap_or_default();
        let others = view.into_iter().flat_map(|view| &view.members).filter(|other| other.member.node != self.me);
        let others: BTreeMap<_, _> = others.map(|other| (&other.member.node, &other.peer)).collect();
        follows.kept.retain(|node, kept| {
            let is_named = others.get(node) == Some(&&kept.address);
            if is_named {
                kept.named = kept.named.max(record);
            }
            !kept.task.is_finished() && (is_named || (kept.line.stands() && record <= kept.named))
        });
        let broken = &follows.broken;
        for (node, address) in others {
            follows.kept.entry(node.clone()).or_insert_with(|| self.follow(node, address, record, broken.clone()));
        }
    }

    fn follow(&self, node: &NodeId, address: &Address, named: (Epoch, u64), broken: Arc<Notify>) -> Kept {
        let line = Arc::new(Line { stands: AtomicBool::new(false), broken });
        let follower = Follower {
            node: node.clone(),
            target: Target::new([address.to_string()], self.token.clone()),
            streams: self.streams.clone(),
            urgent: self.urgent.clone(),
            line: line.clone(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(follower.run()));
        Kept { address: address.clone(), named, line, task }
    }
}

#[cfg(test)]
mod tests;
