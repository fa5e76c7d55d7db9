//! The Follow that this origin holds with one other.

use std::{sync::Arc, time::Duration};

use cluster::NodeId;
use futures_util::StreamExt;
use replica::{FollowDown, FollowError, FollowUp};
use rpc::{
    channel::Target,
    relay::{Client, Flow, RelayError},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Line, retry::Retry};
use crate::{
    pulse::{Pulse, Silent},
    streams::Streams,
};

/// Follows one other origin for as long as it is driven.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) node: NodeId,
    pub(super) target: Target,
    pub(super) streams: Arc<Streams>,
    pub(super) urgent: Arc<Notify>,
    pub(super) line: Arc<Line>,
}

/// Why a Follow ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The other side ended it in order: its process ends.
    #[error("the other side ended it")]
    Ended,
    /// The call failed.
    #[error(transparent)]
    Call(#[from] RelayError),
    /// Nothing came for too long.
    #[error(transparent)]
    Silent(#[from] Silent),
    /// What came cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The other side answers nothing, or takes nothing.
    #[error("no answer in {} ms", ANSWER_MAX.as_millis())]
    NoAnswer,
}

/// How long the other side may take to admit us, and to take what we say.
const ANSWER_MAX: Duration = Duration::from_millis(400);
/// Words that the connection has not taken yet.
const UNSENT_MAX: usize = 64;

impl Follower {
    /// Opens the Follow again whenever it ends.
    pub(super) async fn run(self) {
        let mut retry = Retry::default();
        let mut told = String::new();
        // Of a Follow that the other side ended because it had not heard us: its answer is a sign of life, and it counts as
        // heard until it is clear whether it can be followed again.
        let mut kept = None;
        loop {
            let opened = self.open().await;
            drop(kept.take());
            let broken = match opened {
                Ok(talk) => {
                    retry = Retry::default();
                    told.clear();
                    self.line.opened();
                    tracing::info!(peer = %self.node, "follow.opened");
                    let (broken, leader) = talk.go_on().await;
                    if let Broken::Call(RelayError::Unheard) = broken {
                        tracing::info!(peer = %self.node, "follow.we_were_late");
                        kept = Some(leader);
                        continue;
                    }
                    broken
                }
                Err(broken) => broken,
            };
            self.line.broke();
            // Said once for each reason, however often it is tried.
            let reason = broken.to_string();
            if reason != told {
                tracing::info!(peer = %self.node, reason, "follow.broken");
                told = reason;
            }
            sleep(retry.next_delay()).await;
        }
    }

    async fn open(&self) -> Result<Talk, Broken> {
        let opening = async {
            let client = Client::connect(&self.target).await?;
            let (up, said) = mpsc::channel(UNSENT_MAX);
            let hello = self.streams.with(|replica, _| replica.hello());
            let down = client.follow(hello, ReceiverStream::new(said)).await?;
            Ok(Talk::begin(self.node.clone(), self.streams.clone(), self.urgent.clone(), up, down))
        };
        timeout(ANSWER_MAX, opening).await.unwrap_or(Err(Broken::NoAnswer))
    }
}

impl Drop for Follower {
    /// However its task ends: when it panics, it is to be started anew.
    fn drop(&mut self) {
        self.line.ended();
    }
}

/// A Follow that stands.
pub(super) struct Talk {
    leader: LeaderConn,
    up: mpsc::Sender<FollowUp>,
    down: Flow<FollowDown>,
    pulse: Pulse,
}

impl Talk {
    pub(super) fn begin(
        node: NodeId,
        streams: Arc<Streams>,
        urgent: Arc<Notify>,
        up: mpsc::Sender<FollowUp>,
        down: Flow<FollowDown>,
    ) -> Self {
        Self { leader: LeaderConn::open(node, streams, urgent), up, down, pulse: Pulse::new() }
    }

    /// Follows until that is no longer possible, and says why. Until the connection is dropped, the leader counts as heard.
    pub(super) async fn go_on(mut self) -> (Broken, LeaderConn) {
        loop {
            if let Err(broken) = self.step().await {
                return (broken, self.leader);
            }
        }
    }

    async fn step(&mut self) -> Result<(), Broken> {
        tokio::select! {
            biased;
            said = self.down.next() => {
                let said = said.ok_or(Broken::Ended)??;
                self.pulse.heard();
                self.leader.streams.with(|replica, now| replica.handle_down(self.leader.conn, said, now))?;
                while let Some(up) = self.leader.streams.with(|replica, _| replica.poll_up(self.leader.conn)) {
                    self.say(up).await?;
                }
            }
            beat = self.pulse.next() => {
                beat?;
                let up = self.leader.streams.with(|replica, _| replica.beat_up());
                self.say(up).await?;
            }
        }
        Ok(())
    }

    async fn say(&mut self, up: FollowUp) -> Result<(), Broken> {
        match timeout(ANSWER_MAX, self.up.send(up)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Broken::Ended),
            Err(_) => Err(Broken::NoAnswer),
        }
    }
}

/// The connection of one leader at the replica, closed when this is dropped. The control plane hears of both.
pub(super) struct LeaderConn {
    streams: Arc<Streams>,
    urgent: Arc<Notify>,
    conn: u64,
}

impl LeaderConn {
    fn open(node: NodeId, streams: Arc<Streams>, urgent: Arc<Notify>) -> Self {
        let conn = streams.with(|replica, _| replica.leader_opened(node));
        urgent.notify_one();
        Self { streams, urgent, conn }
    }
}

impl Drop for LeaderConn {
    fn drop(&mut self) {
        self.streams.with(|replica, _| replica.leader_closed(self.conn));
        self.urgent.notify_one();
    }
}
