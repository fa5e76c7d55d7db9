//! The other origins of the pool, with each of which this one holds a Follow.

mod follower;
mod retry;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cluster::{Address, Epoch, NodeId, PoolView};
use rpc::{auth::Token, channel::Target};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
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
    /// Notified when one that stood is broken, and when the task of one is over.
    broken: Arc<Notify>,
}

/// A Follow, and what speaks for it.
struct Kept {
    address: Address,
    /// Epoch and version of the newest record that names the member at this address.
    named: (Epoch, u64),
    line: Arc<Line>,
    _task: AbortOnDropHandle<()>,
}

/// How a Follow is, as its task says.
#[derive(Debug)]
struct Line {
    state: watch::Sender<State>,
    broken: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is being opened, as often as that takes.
    Opening,
    Stands,
    /// Nobody opens it any more: its task has panicked.
    Over,
}

impl Line {
    fn new(broken: Arc<Notify>) -> Self {
        Self { state: watch::Sender::new(State::Opening), broken }
    }

    fn opened(&self) {
        self.state.send_replace(State::Stands);
    }

    fn broke(&self) {
        if self.state.send_replace(State::Opening) == State::Stands {
            self.broken.notify_one();
        }
    }

    fn ended(&self) {
        self.state.send_replace(State::Over);
        self.broken.notify_one();
    }

    fn stands(&self) -> bool {
        *self.state.borrow() == State::Stands
    }

    fn is_over(&self) -> bool {
        *self.state.borrow() == State::Over
    }
}

impl Peers {
    /// Follows the members that the control plane names, until told to stop.
    pub async fn run(self, pool: watch::Receiver<Option<PoolView>>, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow_all(Follows::default(), pool)).await;
    }

    async fn follow_all(&self, mut follows: Follows, mut pool: watch::Receiver<Option<PoolView>>) {
        loop {
            self.keep_following(&mut follows, pool.borrow_and_update().as_ref());
            let broken = async {
                follows.broken.notified().await;
                sleep(PAUSE).await;
            };
            tokio::select! {
                () = broken => {}
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
            !kept.line.is_over() && (is_named || (kept.line.stands() && record <= kept.named))
        });
        let broken = &follows.broken;
        for (node, address) in others {
            follows.kept.entry(node.clone()).or_insert_with(|| self.follow(node, address, record, broken.clone()));
        }
    }

    fn follow(&self, node: &NodeId, address: &Address, named: (Epoch, u64), broken: Arc<Notify>) -> Kept {
        let line = Arc::new(Line::new(broken));
        let follower = Follower {
            node: node.clone(),
            target: Target::new([address.to_string()], self.token.clone()),
            streams: self.streams.clone(),
            urgent: self.urgent.clone(),
            line: line.clone(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(follower.run()));
        Kept { address: address.clone(), named, line, _task: task }
    }
}

/// How long a Follow that is broken is left to itself: a task that panics once more when it is started anew must not be
/// started as fast as it can.
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
