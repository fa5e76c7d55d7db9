//! A Link: an edge, or another origin, that wants to know at once who is active.

use std::sync::Arc;

use cluster::{Epoch, NodeKind};
use futures_util::{StreamExt, stream};
use rpc::relay::{Flow, LinkDown, LinkHello, LinkUp, RelayError};
use tokio::sync::watch;

use super::Relay;
use crate::{
    links::{Link, Links},
    pulse::Pulse,
    role::Duty,
    streams::now,
};

/// Says what this origin is: with each beat, and at once when that changes.
pub(super) fn serve(relay: &Relay, hello: LinkHello, up: Flow<LinkUp>) -> Flow<LinkDown> {
    relay.hear(hello.epoch);
    let edge = (hello.kind == NodeKind::Edge).then(|| relay.links.opened(hello.node));
    let mut duty = relay.duty.clone();
    // The first thing told is what we are now.
    duty.mark_changed();
    let counted = Counted { links: relay.links.clone(), edge };
    let answers = LinkAnswers { relay: relay.clone(), up, duty, pulse: Pulse::new(), counted };
    stream::try_unfold(answers, |mut answers| async move { Ok(answers.next().await?.map(|down| (down, answers))) })
        .boxed()
}

/// The answers to one Link: beats that say what this origin is.
struct LinkAnswers {
    relay: Relay,
    up: Flow<LinkUp>,
    duty: watch::Receiver<Duty>,
    pulse: Pulse,
    counted: Counted,
}

impl LinkAnswers {
    /// What is to be told next; None when the other side has left in good order.
    async fn next(&mut self) -> Result<Option<LinkDown>, RelayError> {
        loop {
            tokio::select! {
                biased;
                changed = self.duty.changed() => {
                    changed.map_err(|_| RelayError::Transport("the origin is shutting down".into()))?;
                    return Ok(Some(self.beat()));
                }
                said = self.up.next() => match said {
                    Some(Ok(LinkUp::Beat { epoch, hears })) => self.handle_beat(epoch, hears),
                    Some(Ok(LinkUp::Leave { epoch })) => {
                        self.relay.hear(epoch);
                        self.counted.leave();
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
        self.counted.heard(hears);
    }

    fn beat(&mut self) -> LinkDown {
        let duty = self.duty.borrow_and_update().clone();
        LinkDown::Beat { epoch: duty.epoch, role: duty.stage.into(), active: duty.active_at }
    }
}

/// This Link among those of edges, which are counted; closed there when this is dropped.
struct Counted {
    links: Arc<Links>,
    /// None: the other side is an origin, or an edge that has left in good order.
    edge: Option<Link>,
}

impl Counted {
    fn heard(&self, hears: bool) {
        if let Some(link) = &self.edge {
            self.links.heard(link, hears);
        }
    }

    fn leave(&mut self) {
        if let Some(link) = self.edge.take() {
            self.links.left(&link);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(link) = &self.edge {
            self.links.closed(link, now());
        }
    }
}
