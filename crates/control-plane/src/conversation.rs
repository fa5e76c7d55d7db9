//! The conversation with each node: beats and reports up; beats, roles and commands down.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use cluster::{Member, NodeId, NodeKind, Registration, SessionError, SessionNumber};
use futures_util::{StreamExt, stream};
use rpc::{
    auth::Caller,
    control::{FromControl, FromControlStream, FromNode, FromNodeStream, Welcome},
    status::{Code, Failure},
};
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

use crate::{
    plane::{ControlPlane, lock},
    time::unix_ms,
};

/// The open conversations by node.
#[derive(Debug, Default)]
pub(crate) struct Links {
    open: Mutex<HashMap<NodeId, Link>>,
}

#[derive(Debug)]
struct Link {
    session: SessionNumber,
    down: mpsc::Sender<Result<FromControl, Failure>>,
    /// Ends the conversation: another one has taken its place, or the node does not take what it is told.
    end: CancellationToken,
}

impl Links {
    /// Says something to a node. `false`: it is not connected, or takes nothing, which ends its conversation.
    pub(crate) fn send(&self, node: &NodeId, message: FromControl) -> bool {
        let open = lock(&self.open);
        let Some(link) = open.get(node) else { return false };
        let sent = link.down.try_send(Ok(message)).is_ok();
        if !sent {
            link.end.cancel();
        }
        sent
    }

    fn insert(&self, node: NodeId, link: Link) {
        if let Some(before) = lock(&self.open).insert(node, link) {
            before.end.cancel();
        }
    }

    /// `false`: another conversation has taken its place.
    fn remove(&self, node: &NodeId, session: SessionNumber) -> bool {
        let mut open = lock(&self.open);
        let current = open.get(node).is_some_and(|link| link.session == session);
        if current {
            open.remove(node);
        }
        current
    }
}

impl ControlPlane {
    /// Holds the conversation of a registered node: in a task of its own, so that its end is noticed whatever the
    /// other side does.
    pub(crate) fn hold_conversation(
        &self,
        caller: Caller,
        member: Member,
        from_node: FromNodeStream,
    ) -> Result<FromControlStream, Failure> {
        let registration = self.registration(&member)?;
        admit(caller, registration.kind)?;
        let (session, change) = lock(&self.inner.members)
            .open_session(&member, Instant::now(), unix_ms())
            .map_err(|why| refused(&member, why))?;
        let (down, told) = mpsc::channel(DOWN_MAX);
        let end = CancellationToken::new();
        let link = Link { session, down: down.clone(), end: end.clone() };
        self.inner.links.insert(member.node.clone(), link);
        let limits = self.inner.config.limits();
        let welcome = Welcome {
            beat_interval: limits.beat_interval,
            silence_max: limits.silence_max,
            store_id: self.inner.store_id.clone(),
        };
        // There is room: the channel is new.
        let _ = down.try_send(Ok(FromControl::Welcome(welcome)));
        self.on_changes(change);
        self.introduce_to_pools(&member);
        let talk = Talk { control: self.clone(), member, session, down, end, beats: 0 };
        self.inner.tasks.spawn(talk.run(from_node, limits.beat_interval));
        Ok(Box::pin(stream::unfold(told, |mut told| async move { told.recv().await.map(|message| (message, told)) })))
    }

    fn registration(&self, member: &Member) -> Result<Registration, Failure> {
        let members = lock(&self.inner.members);
        let node = members.get(&member.node).ok_or_else(|| refused(member, SessionError::Unknown))?;
        Ok(node.registration.clone())
    }
}

/// A token speaks for nodes of its own kind only.
pub(crate) fn admit(caller: Caller, kind: NodeKind) -> Result<(), Failure> {
    let right = match kind {
        NodeKind::Origin => Caller::Origin,
        NodeKind::Edge => Caller::Edge,
    };
    if caller == right {
        return Ok(());
    }
    let message = format!("the token of kind {caller} does not speak for an {}", kind.as_str());
    let failure = Failure::new(Code::PermissionDenied, "CALLER_NOT_ALLOWED", message);
    Err(failure.with("caller", caller).with("kind", kind.as_str()))
}

fn refused(member: &Member, why: SessionError) -> Failure {
    let name = member.node.resource();
    let failure = match why {
        SessionError::Unknown => Failure::new(
            Code::NotFound,
            "NODE_NOT_REGISTERED",
            format!("{name} is not registered: call RegisterNode first"),
        ),
        SessionError::Replaced => Failure::new(
            Code::Aborted,
            "SESSION_REPLACED",
            format!("another session has taken the place of this one of {name}"),
        ),
    };
    failure.with("node", name).with("incarnation", member.incarnation)
}

/// One conversation.
struct Talk {
    control: ControlPlane,
    member: Member,
    session: SessionNumber,
    down: mpsc::Sender<Result<FromControl, Failure>>,
    end: CancellationToken,
    beats: u64,
}

impl Talk {
    async fn run(mut self, mut from_node: FromNodeStream, beat_interval: Duration) {
        let mut beats = time::interval(beat_interval);
        beats.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let ending = self.control.inner.ending.clone();
        let why = loop {
            tokio::select! {
                // What the node says comes first: a node that talks is not silent.
                biased;
                () = ending.cancelled() => break None,
                () = self.end.cancelled() => break Some(refused(&self.member, SessionError::Replaced)),
                () = self.down.closed() => break None,
                said = from_node.next() => match said {
                    Some(Ok(message)) => match self.handle(message) {
                        Ok(()) => {}
                        Err(why) => break Some(why),
                    },
                    Some(Err(failure)) => {
                        self.count_refusal(&failure);
                        break Some(failure);
                    }
                    None => break None,
                },
                _ = beats.tick() => {
                    if !self.beat() {
                        break None;
                    }
                }
            }
        };
        if let Some(why) = why {
            // When there is no room, the end of the stream says it too.
            let _ = self.down.try_send(Err(why));
        }
        self.close();
    }

    fn handle(&mut self, message: FromNode) -> Result<(), Failure> {
        let control = &self.control;
        match message {
            FromNode::Beat { beat, .. } => {
                let node = &self.member.node;
                let changes = lock(&control.inner.members).beat(node, self.session, *beat, Instant::now(), unix_ms());
                let changes = changes.map_err(|why| refused(&self.member, why))?;
                control.on_changes(changes);
                control.report_to_pools(node);
            }
            FromNode::Streams(report) => {
                let touched = lock(&control.inner.directory).apply_streams(&self.member.node, report);
                control.refresh_streams(touched);
            }
            FromNode::Sessions(report) => {
                lock(&control.inner.directory).apply_sessions(&self.member.node, report);
            }
            FromNode::Result(result) => control.inner.commands.handle_result(result),
            FromNode::SyncRequest(request) => control.sync_requested(&self.member, request),
            FromNode::Yielded { epoch } => {
                control.with_pools(|pool| pool.handle_yielded(&self.member, epoch, Instant::now()));
            }
            FromNode::HandOver { reason } => {
                tracing::info!(node = %self.member.node, reason, "node.hands_over");
                control.with_pools(|pool| pool.handle_hand_over(&self.member, &reason));
            }
            FromNode::Notice { number, notice } => control.noticed(&self.member, number, &notice)?,
        }
        Ok(())
    }

    /// `false`: the node takes nothing any more.
    fn beat(&mut self) -> bool {
        self.beats += 1;
        let beat = FromControl::Beat { number: self.beats, route_revision: self.control.inner.routes.revision() };
        self.down.try_send(Ok(beat)).is_ok()
    }

    fn count_refusal(&self, failure: &Failure) {
        if failure.code == Code::InvalidArgument {
            tracing::warn!(node = %self.member.node, error = %failure, "node.message_refused");
            self.control.inner.metrics.refused.with([&failure.reason]).inc();
        }
    }

    fn close(self) {
        let Self { control, member, session, .. } = self;
        if control.inner.leaving.is_cancelled() {
            // It is we who go.
            return;
        }
        let change = lock(&control.inner.members).close_session(&member.node, session, Instant::now());
        // Also what it reported after it was taken out of the list.
        if control.inner.links.remove(&member.node, session) {
            control.forget_holdings(&member.node);
        }
        // Nothing has changed when another session has taken the place of this one.
        if change.is_some() {
            control.gone_from_pools(&member);
            control.on_changes(change);
        }
    }
}

/// What may wait to be taken by a node: a few seconds of beats and what roles and commands there may be.
const DOWN_MAX: usize = 256;
