//! The other origins of the pool, with each of which this one holds a Follow.

mod follower;
mod retry;

use std::{collections::BTreeMap, sync::Arc};

use cluster::{Address, NodeId, PoolView};
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

/// A Follow that is kept, until this is dropped.
struct Standing {
    address: Address,
    task: AbortOnDropHandle<()>,
}

impl Peers {
    /// Follows the members that the control plane names, until told to stop.
    pub async fn run(self, mut pool: watch::Receiver<Option<PoolView>>, stop: CancellationToken) {
        let mut follows = BTreeMap::new();
        loop {
            self.keep_following(&mut follows, pool.borrow_and_update().as_ref());
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = pool.changed() => {}
            }
        }
    }

    /// One Follow for each other member: those that are there stay, as long as their address does.
    fn keep_following(&self, follows: &mut BTreeMap<NodeId, Standing>, view: Option<&PoolView>) {
        let others = view.into_iter().flat_map(|view| &view.members).filter(|other| other.member.node != self.me);
        let others: BTreeMap<_, _> = others.map(|other| (&other.member.node, &other.peer)).collect();
        let stands = |standing: &Standing| !standing.task.is_finished();
        follows.retain(|node, standing| others.get(node) == Some(&&standing.address) && stands(standing));
        for (node, address) in others {
            follows.entry(node.clone()).or_insert_with(|| self.follow(node, address));
        }
    }

    fn follow(&self, node: &NodeId, address: &Address) -> Standing {
        let follower = Follower {
            node: node.clone(),
            target: Target::new([address.to_string()], self.token.clone()),
            streams: self.streams.clone(),
            urgent: self.urgent.clone(),
        };
        Standing { address: address.clone(), task: AbortOnDropHandle::new(tokio::spawn(follower.run())) }
    }
}

#[cfg(test)]
mod tests;
