//! Connect, publish and play: asked of the service, decided now or later.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use media::StreamName;
use rtmp::{
    command::status::{Status, code},
    server::{ConnectRequest, PlayRequest, PublishRequest},
};
use tokio::time::Instant;

use super::{Connection, publishing::Publishing, viewing::Viewing};
use crate::{
    rows::Watching,
    service::{Play, PlayRefusal, Publish, PublishRefusal, Service},
    stats::add,
    target::Target,
    transport::Transport,
};

/// A request that the service is thinking about.
pub(super) struct Pending<I> {
    pub(super) msid: u32,
    thinking: Pin<Box<dyn Future<Output = Decision<I>> + Send>>,
}

/// What the service has decided.
pub(super) enum Decision<I> {
    Publish { request: PublishRequest, stream: StreamName, outcome: Result<I, PublishRefusal> },
    Play { request: PlayRequest, stream: StreamName, outcome: Result<hub::Reader, PlayRefusal> },
}

/// The next decision; pending for ever if nothing is asked.
pub(super) fn poll_decision<I>(pending: &mut [Pending<I>], cx: &mut Context<'_>) -> Poll<(usize, Decision<I>)> {
    for (at, pending) in pending.iter_mut().enumerate() {
        if let Poll::Ready(decision) = pending.thinking.as_mut().poll(cx) {
            return Poll::Ready((at, decision));
        }
    }
    Poll::Pending
}

impl<S: Service, T: Transport> Connection<S, T> {
    pub(super) fn on_connect(&mut self, request: ConnectRequest) {
        match Target::new(&request.app, &request.tc_url, &self.shared.config.vhosts) {
            Ok(target) => {
                self.target = Some(target);
                // The session cannot have ended since it gave the request.
                let _gone = request.accept(&mut self.wire.session, Instant::now().into_std());
            }
            Err(error) => {
                let status = Status::failed(code::CONNECT_REJECTED, error.to_string());
                request.reject(&mut self.wire.session, &status);
            }
        }
    }

    pub(super) fn on_publish(&mut self, mut request: PublishRequest) {
        let named = self.target.as_ref().map(|target| target.stream(&request.name));
        let (stream, query) = match named {
            Some(Ok(named)) => named,
            Some(Err(error)) => {
                let status = Status::failed(code::PUBLISH_BAD_NAME, error.to_string());
                return self.refuse_publish(request, &status);
            }
            None => return,
        };
        forget_query(&mut request.name);
        let session = self.interrupts.entry.id();
        let asked = Publish { stream: stream.clone(), query, kind: request.kind, peer: self.peer, session };
        let shared = self.shared.clone();
        self.think(request.msid, async move {
            let outcome = shared.service.publish(asked).await;
            Decision::Publish { request, stream, outcome }
        });
    }

    pub(super) fn on_play(&mut self, mut request: PlayRequest) {
        let named = self.target.as_ref().map(|target| target.stream(&request.name));
        let (stream, query) = match named {
            Some(Ok(named)) => named,
            Some(Err(error)) => {
                return self.refuse_play(request, &Status::failed(code::PLAY_NOT_FOUND, error.to_string()));
            }
            None => return,
        };
        forget_query(&mut request.name);
        let session = self.interrupts.entry.id();
        let asked = Play { stream: stream.clone(), query, start: request.start, peer: self.peer, session };
        let shared = self.shared.clone();
        self.think(request.msid, async move {
            let outcome = shared.service.play(asked).await;
            Decision::Play { request, stream, outcome }
        });
    }

    /// The session asks once a message stream, so there are never more of these than message streams.
    fn think(&mut self, msid: u32, thinking: impl Future<Output = Decision<S::Ingest>> + Send + 'static) {
        self.forget_pending(msid);
        self.pending.push(Pending { msid, thinking: Box::pin(thinking) });
    }

    pub(super) fn forget_pending(&mut self, msid: u32) {
        self.pending.retain(|pending| pending.msid != msid);
    }

    pub(super) fn on_decision(&mut self, at: usize, decision: Decision<S::Ingest>) {
        self.pending.swap_remove(at);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        match decision {
            Decision::Publish { request, stream, outcome: Ok(ingest) } => self.begin_publish(request, stream, ingest),
            Decision::Publish { request, stream, outcome: Err(refusal) } => {
                if let Some(silenced) = self.shared.refusals.allow_peer(self.peer.ip()) {
                    tracing::info!(%stream, peer = %self.peer, reason = %refusal, silenced, "publish.refused");
                }
                self.refuse_publish(request, &refusal.status());
            }
            Decision::Play { request, stream, outcome: Ok(reader) } => self.begin_play(request, &stream, reader),
            Decision::Play { request, stream, outcome: Err(refusal) } => {
                tracing::debug!(%stream, peer = %self.peer, reason = %refusal, "play.refused");
                self.refuse_play(request, &refusal.status());
            }
        }
    }

    fn begin_publish(&mut self, request: PublishRequest, stream: StreamName, ingest: S::Ingest) {
        let msid = request.msid;
        if request.accept(&mut self.wire.session, Instant::now().into_std()).is_err() {
            return;
        }
        add(&self.shared.stats.publishes, 1);
        tracing::info!(%stream, peer = %self.peer, session = %self.interrupts.entry.id(), "publish.began");
        self.publishing.push(Publishing::new(msid, stream, ingest));
        self.note_role();
    }

    fn begin_play(&mut self, request: PlayRequest, stream: &StreamName, reader: hub::Reader) {
        let msid = request.msid;
        if request.accept(&mut self.wire.session).is_err() {
            return;
        }
        add(&self.shared.stats.plays, 1);
        tracing::debug!(%stream, peer = %self.peer, session = %self.interrupts.entry.id(), "play.began");
        self.wire.bound(&self.shared.config.send);
        // Two streams on one connection take turns.
        self.get_up();
        // Nearly all play one stream.
        self.viewing.reserve_exact(1);
        self.viewing.push(Viewing::new(msid, Watching::new(reader, self.shared.config.behind_max)));
        self.note_role();
    }

    fn refuse_publish(&mut self, request: PublishRequest, status: &Status) {
        add(&self.shared.stats.publishes_refused, 1);
        // Whoever has left in the meantime needs no answer.
        let _gone = request.refuse(&mut self.wire.session, status, Instant::now().into_std());
    }

    fn refuse_play(&mut self, request: PlayRequest, status: &Status) {
        add(&self.shared.stats.plays_refused, 1);
        // Whoever has left in the meantime needs no answer.
        let _gone = request.refuse(&mut self.wire.session, status, Instant::now().into_std());
    }
}

/// What is kept of a name while the service thinks: its query is held already, as parameters.
fn forget_query(name: &mut String) {
    let end = name.find('?').unwrap_or(name.len());
    name.truncate(end);
    name.shrink_to_fit();
}
