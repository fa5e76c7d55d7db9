//! A Link: an edge, or another origin, that wants to know at once who is active.

use std::sync::Arc;

use cluster::{Epoch, NodeKind, Role};
use futures_util::{StreamExt, stream};
use rpc::relay::{LinkDown, LinkHello, LinkUp, RelayError, Stream};
use tokio::sync::watch;

use super::Relay;
use crate::{
    links::{Link, Links},
    pulse::Pulse,
    role::Term,
    streams::now,
};

/// Says what this origin is: with each beat, and at once when that changes.
pub(super) fn serve(relay: &Relay, hello: LinkHello, up: Stream<LinkUp>) -> Stream<LinkDown> {
    relay.hear(hello.epoch);
    let counted = (hello.kind == NodeKind::Edge).then(|| relay.links.opened(hello.node));
    let mut term = relay.term.clone();
    // The first thing told is what we are now.
    term.mark_changed();
    let telling = Telling { relay: relay.clone(), up, term, pulse: Pulse::new(), seat: Seat::new(relay, counted) };
    stream::unfold(Some(telling), |telling| async {
        let mut telling = telling?;
        match telling.next().await {
            Ok(Some(down)) => Some((Ok(down), Some(telling))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Telling {
    relay: Relay,
    up: Stream<LinkUp>,
    term: watch::Receiver<Term>,
    pulse: Pulse,
    seat: Seat,
}

impl Telling {
    /// What is to be told next; None when the other side has left in good order.
    async fn next(&mut self) -> Result<Option<LinkDown>, RelayError> {
        loop {
            tokio::select! {
                biased;
                changed = self.term.changed() => {
                    changed.map_err(|_| RelayError::Transport("the origin is shutting down".into()))?;
                    return Ok(Some(self.beat()));
                }
                said = self.up.next() => match said {
                    Some(Ok(LinkUp::Beat { epoch, hears })) => self.handle_beat(epoch, hears),
                    Some(Ok(LinkUp::Leave { epoch })) => {
                        self.relay.hear(epoch);
                        self.seat.leave();
                        return Ok(None);
                    }
                    Some(Err(error)) => return Err(error),
                    None => return Err(RelayError::Transport("the edge has left".into())),
                },
                beat = self.pulse.next() => {
                    beat.map_err(|_silent| RelayError::Unheard)?;
                    return Ok(Some(self.beat()));
                }
            }
        }
    }

    fn handle_beat(&mut self, epoch: Epoch, hears: bool) {
        self.pulse.heard();
        self.relay.hear(epoch);
        self.seat.heard(hears);
    }

    fn beat(&mut self) -> LinkDown {
        let term = self.term.borrow_and_update().clone();
        let role = if term.serving { Role::Active } else { Role::Standby };
        LinkDown::Beat { epoch: term.epoch, role, active: term.active_at }
    }
}

/// The edge's place among those that are counted; it is given up with the Link.
struct Seat {
    links: Arc<Links>,
    counted: Option<Link>,
}

impl Seat {
    fn new(relay: &Relay, counted: Option<Link>) -> Self {
        Self { links: relay.links.clone(), counted }
    }

    fn heard(&self, hears: bool) {
        if let Some(link) = &self.counted {
            self.links.heard(link, hears);
        }
    }

    fn leave(&mut self) {
        if let Some(link) = self.counted.take() {
            self.links.left(&link);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(link) = &self.counted {
            self.links.closed(link, now());
        }
    }
}
