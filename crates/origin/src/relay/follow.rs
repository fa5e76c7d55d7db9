//! One other origin that follows this one.

use std::sync::{Arc, atomic::Ordering};

use cluster::NodeId;
use futures_util::{StreamExt, stream};
use replica::{FollowDown, FollowHello, FollowUp};
use rpc::relay::{RelayError, Stream};
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
    up: Stream<FollowUp>,
) -> Stream<FollowDown> {
    let node = hello.member.node.clone();
    let conn = streams.with(|replica, now| replica.follower_opened(hello, now));
    tracing::info!(follower = %node, conn, "follower.opened");
    stats.followers.fetch_add(1, Ordering::Relaxed);
    let seat = Seat { streams: streams.clone(), stats: stats.clone(), node, conn };
    let telling = Telling {
        streams: streams.clone(),
        conn,
        wake: streams.wake(),
        beat: beats(BEAT),
        listening: AbortOnDropHandle::new(tokio::spawn(listen(seat, up))),
    };
    stream::unfold(Some(telling), |telling| async {
        let mut telling = telling?;
        match telling.next().await {
            Ok(down) => Some((Ok(down), Some(telling))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// Takes what the follower says, until it is gone; returns why it is.
async fn listen(seat: Seat, mut up: Stream<FollowUp>) -> RelayError {
    let mut pulse = Pulse::new();
    let why = loop {
        tokio::select! {
            biased;
            said = up.next() => match said {
                Some(Ok(said)) => {
                    pulse.heard();
                    if let Err(error) = seat.streams.with(|replica, now| replica.handle_up(seat.conn, said, now)) {
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
    tracing::info!(follower = %seat.node, conn = seat.conn, %why, "follower.closed");
    why
}

/// The replica's end of the Follow, which goes with it.
struct Seat {
    streams: Arc<Streams>,
    stats: Arc<Stats>,
    node: NodeId,
    conn: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.streams.with(|replica, _| replica.follower_closed(self.conn));
        self.stats.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What goes to the follower.
struct Telling {
    streams: Arc<Streams>,
    conn: u64,
    wake: watch::Receiver<u64>,
    beat: Interval,
    listening: AbortOnDropHandle<RelayError>,
}

impl Telling {
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
