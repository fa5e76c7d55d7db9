//! One other origin that follows this one.

use std::sync::{Arc, atomic::Ordering};

use cluster::NodeId;
use futures_util::{StreamExt, stream};
use replica::{FollowDown, FollowHello, FollowUp};
use rpc::relay::{Flow, RelayError};
use tokio::{sync::watch, time::Interval};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    pulse::{BEAT, Pulse, beats},
    stats::Stats,
    streams::Streams,
};

/// What the follower is told, for as long as it is there. What it says is heard meanwhile, however slowly it takes our
/// words: its acks wait for nothing.
pub(crate) fn serve(
    streams: &Arc<Streams>,
    stats: &Arc<Stats>,
    hello: FollowHello,
    up: Flow<FollowUp>,
) -> Flow<FollowDown> {
    let node = hello.member.node.clone();
    let conn = streams.with(|replica, _| replica.follower_opened(hello));
    tracing::info!(follower = %node, conn, "follower.opened");
    stats.followers.fetch_add(1, Ordering::Relaxed);
    let follower = FollowerConn { streams: streams.clone(), stats: stats.clone(), node, conn };
    let answers = FollowAnswers {
        streams: streams.clone(),
        conn,
        wake: streams.wake(),
        beat: beats(BEAT),
        listening: AbortOnDropHandle::new(tokio::spawn(listen(follower, up))),
    };
    stream::try_unfold(answers, |mut answers| async move { Ok(Some((answers.next().await?, answers))) }).boxed()
}

/// Takes what the follower says, until it is gone; returns why it is.
async fn listen(follower: FollowerConn, mut up: Flow<FollowUp>) -> RelayError {
    let mut pulse = Pulse::new();
    let why = loop {
        tokio::select! {
            biased;
            said = up.next() => match said {
                Some(Ok(said)) => {
                    pulse.heard();
                    let taken = follower.streams.with(|replica, _| replica.handle_up(follower.conn, said));
                    if let Err(error) = taken {
                        break RelayError::Invalid(error.to_string());
                    }
                }
                Some(Err(error)) => break error,
                None => break RelayError::Transport("the follower has left".into()),
            },
            beat = pulse.next() => {
                if beat.is_err() {
                    break RelayError::Unheard;
                }
            }
        }
    };
    tracing::info!(follower = %follower.node, conn = follower.conn, %why, "follower.closed");
    why
}

/// The connection of one follower at the replica, closed when this is dropped.
struct FollowerConn {
    streams: Arc<Streams>,
    stats: Arc<Stats>,
    node: NodeId,
    conn: u64,
}

impl Drop for FollowerConn {
    fn drop(&mut self) {
        self.streams.with(|replica, _| replica.follower_closed(self.conn));
        self.stats.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The answers to one Follow: what the replica has for the follower, and beats.
struct FollowAnswers {
    streams: Arc<Streams>,
    conn: u64,
    wake: watch::Receiver<u64>,
    beat: Interval,
    listening: AbortOnDropHandle<RelayError>,
}

impl FollowAnswers {
    async fn next(&mut self) -> Result<FollowDown, RelayError> {
        loop {
            // Marked before it is asked, so that nothing comes in between.
            self.wake.mark_unchanged();
            if let Some(down) = self.streams.with(|replica, _| replica.poll_down(self.conn)) {
                return Ok(down);
            }
            tokio::select! {
                biased;
                gone = &mut self.listening => {
                    return Err(gone.unwrap_or_else(|error| RelayError::Transport(error.to_string())));
                }
                _ = self.beat.tick() => return Ok(self.streams.with(|replica, _| replica.beat_down())),
                changed = self.wake.changed() => changed.expect("the replica is held here"),
            }
        }
    }
}
