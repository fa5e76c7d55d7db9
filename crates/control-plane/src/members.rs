//! The nodes: who is there, and who is heard.

use std::time::{Duration, Instant};

use cluster::{
    Change, DeregisterError, Incarnation, Liveness, Member, Node, NodeId, NodeKind, PoolId, PoolMember, RegisterError,
    Registration,
};
use rpc::{
    auth::Caller,
    control::{Command, Deregister, Drain, FromControlStream, FromNodeStream, Members, NodeInfo, Registered, Steps},
    status::{Code, Failure},
};
use tokio::time;

use crate::{
    conversation::admit,
    events::Draft,
    plane::{ControlPlane, lock},
    time::{moment, unix_ms},
};

impl Members for ControlPlane {
    async fn register(&self, caller: Caller, registration: Registration) -> Result<Registered, Failure> {
        admit(caller, registration.kind)?;
        if let Some(pool) = &registration.pool {
            self.ensure_pool(pool)?;
        }
        let control = self.clone();
        self.mutate(async move { control.enroll(registration).await }).await
    }

    fn converse(
        &self,
        caller: Caller,
        member: Member,
        from_node: FromNodeStream,
    ) -> Result<FromControlStream, Failure> {
        self.hold_conversation(caller, member, from_node)
    }

    async fn deregister(&self, caller: Caller, request: Deregister) -> Result<(), Failure> {
        let known = self.listed(&request.node).ok_or_else(|| unknown_node(&request.node))?;
        if caller != Caller::Operator {
            admit(caller, known.kind)?;
            if request.incarnation.is_none() {
                return Err(Failure::invalid_field("incarnation", "is needed of a node: it may speak for itself only"));
            }
        }
        let control = self.clone();
        self.mutate(async move { control.take_out(caller, request, known).await }).await
    }

    async fn drain_node(&self, caller: Caller, request: Drain) -> Result<NodeInfo, Failure> {
        let id = &request.node;
        let node = self.node(id).ok_or_else(|| unknown_node(id))?;
        if request.validate_only {
            return Ok(node);
        }
        let command = Command::Drain { deadline: request.deadline, reason: request.reason.clone() };
        self.command(id, command).await?;
        let change = lock(&self.inner.members).drain(id, Instant::now());
        self.on_changes(change);
        self.tell(Draft::info("node.drained", id.resource(), "it was told to drain").by(caller, &request.reason));
        self.node(id).ok_or_else(|| unknown_node(id))
    }

    fn node(&self, id: &NodeId) -> Option<NodeInfo> {
        lock(&self.inner.members).get(id).map(info)
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        lock(&self.inner.members).nodes().map(info).collect()
    }

    fn watch_nodes(&self, from_revision: u64) -> Result<Steps<NodeInfo>, Failure> {
        self.inner.nodes.watch_as_of(from_revision, || self.nodes())
    }
}

/// What is known of a node that is to be taken out, also where it has not come since the control plane started.
struct Listed {
    kind: NodeKind,
    incarnation: Incarnation,
    pool: Option<PoolId>,
}

impl ControlPlane {
    /// Takes a node into the list; it hears of it when its start is on disk.
    async fn enroll(&self, registration: Registration) -> Result<Registered, Failure> {
        let member = registration.member.clone();
        let change = lock(&self.inner.members)
            .register(registration, Instant::now(), unix_ms())
            .map_err(|why| self.not_registered(&member, &why))?;
        self.try_to_store_starts(&member.node).await;
        self.on_changes(change);
        let node = self.node(&member.node).ok_or_else(|| unknown_node(&member.node))?;
        let limits = self.inner.config.limits();
        Ok(Registered {
            node,
            beat_interval: limits.beat_interval,
            silence_max: limits.silence_max,
            route_revision: self.inner.routes.revision(),
            store_id: self.inner.store_id.clone(),
            granter: self.inner.granter.clone(),
        })
    }

    fn not_registered(&self, member: &Member, why: &RegisterError) -> Failure {
        let (code, reason) = match why {
            RegisterError::Replaced { .. } => (Code::Aborted, "INCARNATION_REPLACED"),
            RegisterError::OtherKind { .. } => (Code::AlreadyExists, "NODE_NAME_TAKEN"),
            RegisterError::TooMany { .. } => (Code::ResourceExhausted, "TOO_MANY_NODES"),
        };
        self.inner.metrics.refused.with([reason]).inc();
        let name = member.node.resource();
        if let RegisterError::Replaced { by } = why {
            let refused = lock(&self.inner.refused_starts).insert(member.node.clone(), member.incarnation);
            if refused != Some(member.incarnation) {
                let draft = Draft::warning("node.refused", &name, why.to_string());
                self.tell(draft.with("incarnation", member.incarnation).with("replaced_by", by));
            }
        }
        Failure::new(code, reason, format!("{name}: {why}")).with("node", name).with("incarnation", member.incarnation)
    }

    /// A node, or an origin of which only its pool still knows.
    fn listed(&self, id: &NodeId) -> Option<Listed> {
        let registered = lock(&self.inner.members).get(id).map(|node| {
            let Registration { kind, member, pool, .. } = &node.registration;
            Listed { kind: *kind, incarnation: member.incarnation, pool: pool.clone() }
        });
        let in_pool = || {
            lock(&self.inner.pools).values().find_map(|pool| {
                let record = pool.record();
                let PoolMember { incarnation, .. } = record.members.get(id)?;
                Some(Listed { kind: NodeKind::Origin, incarnation: *incarnation, pool: Some(record.id.clone()) })
            })
        };
        let absent = || {
            let members = lock(&self.inner.members);
            let starts = members.starts_of(id)?;
            Some(Listed { kind: starts.kind, incarnation: starts.current, pool: None })
        };
        registered.or_else(in_pool).or_else(absent)
    }

    async fn take_out(&self, caller: Caller, request: Deregister, known: Listed) -> Result<(), Failure> {
        let id = request.node;
        let mut writer = self.writer().await;
        let next = match &known.pool {
            Some(pool) => self.pool_without(pool, &id)?,
            None => None,
        };
        if request.incarnation.is_some_and(|only| only != known.incarnation) {
            let message = format!("{} is registered with the incarnation {}", id.resource(), known.incarnation);
            return Err(Failure::new(Code::Aborted, "OTHER_INCARNATION", message)
                .with("node", id.resource())
                .with("incarnation", known.incarnation));
        }
        if request.validate_only {
            return Ok(());
        }
        let in_pool = next.is_some();
        if let Some(change) = next {
            self.write_pool(&mut writer, change).await?;
        }
        let change = lock(&self.inner.members).deregister(&id, request.incarnation);
        // Before anybody writes again, and another start of it can come: what it said no longer counts.
        if change != Err(DeregisterError::OtherIncarnation) {
            self.left_pools(&id);
            self.forget_holdings(&id);
        }
        drop(writer);
        let change = match change {
            Ok(change) => Some(change),
            // A store of before starts were kept has it in its pool only.
            Err(DeregisterError::Unknown) if in_pool => None,
            Err(_) => return Err(unknown_node(&id)),
        };
        self.try_to_store_starts(&id).await;
        self.tell(Draft::info("node.deregistered", id.resource(), "it was taken out").by(caller, &request.reason));
        self.on_changes(change);
        Ok(())
    }

    /// Watchers, events and pools are told what has changed.
    pub(crate) fn on_changes(&self, changes: impl IntoIterator<Item = Change>) {
        let mut any = false;
        for change in changes {
            any = true;
            let (Change::Joined { member, .. }
            | Change::Liveness { member, .. }
            | Change::Updated { member }
            | Change::Left { member }) = &change;
            self.show_node(&member.node);
            if let Change::Left { member } = &change {
                self.left_pools(&member.node);
                lock(&self.inner.notices).forget(&member.node);
                lock(&self.inner.refused_starts).remove(&member.node);
                let (control, node) = (self.clone(), member.node.clone());
                self.inner.tasks.spawn(async move { control.try_to_store_starts(&node).await });
            }
            if let Some(draft) = told(&change) {
                self.tell(draft.with("incarnation", member.incarnation));
            }
        }
        if any {
            self.count_nodes();
            self.refresh_pools();
            self.inner.pools_changed.notify_one();
        }
    }

    /// Shows watchers a node as it is now.
    fn show_node(&self, id: &NodeId) {
        // Held throughout, so that the last word is the newest.
        let members = lock(&self.inner.members);
        match members.get(id) {
            Some(node) => self.inner.nodes.put(&id.resource(), info(node)),
            None => self.inner.nodes.delete(&id.resource()),
        }
    }

    fn count_nodes(&self) {
        let nodes = self.nodes();
        for kind in [NodeKind::Origin, NodeKind::Edge] {
            for state in [Liveness::Alive, Liveness::Silent, Liveness::Gone, Liveness::Draining] {
                let alike = |node: &&NodeInfo| node.registration.kind == kind && node.liveness == state;
                let count = nodes.iter().filter(alike).count();
                self.inner.metrics.nodes.with([kind.as_str(), state.as_str()]).set(count as f64);
            }
        }
    }

    /// Finds nodes that have turned silent, and forgets edges that are long gone.
    pub(crate) async fn watch_silence(self) {
        let mut ticks = time::interval(SILENCE_CHECK);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            let due = ticks.tick().await;
            // Our own lateness is not the nodes' silence: let their beats be read first. Nor is our own end.
            if due.elapsed() < OWN_LATENESS_MAX && !self.inner.leaving.is_cancelled() {
                let changes = lock(&self.inner.members).handle_timeout(Instant::now());
                self.on_changes(changes);
            }
        }
    }
}

fn told(change: &Change) -> Option<Draft> {
    Some(match change {
        Change::Joined { member, was: None } => {
            Draft::info("node.joined", member.node.resource(), "it made itself known")
        }
        Change::Joined { member, was: Some(was) } => {
            Draft::warning("node.restarted", member.node.resource(), "it came back with empty memory").with("was", was)
        }
        Change::Liveness { member, now, .. } => {
            let name = member.node.resource();
            match now {
                Liveness::Alive => Draft::info("node.alive", name, "it is heard"),
                Liveness::Silent => Draft::warning("node.silent", name, "its beats do not come"),
                Liveness::Gone => Draft::warning("node.gone", name, "its session is closed"),
                Liveness::Draining => Draft::info("node.draining", name, "it ends its sessions"),
            }
        }
        // The pool's events tell of roles.
        Change::Updated { .. } => return None,
        Change::Left { member } => Draft::info("node.left", member.node.resource(), "it is no longer in the list"),
    })
}

pub(crate) fn info(node: &Node) -> NodeInfo {
    NodeInfo {
        registration: node.registration.clone(),
        liveness: node.liveness,
        beat: node.beat.clone(),
        registered: moment(node.registered_unix_ms),
        heard: moment(node.heard_unix_ms),
    }
}

pub(crate) fn unknown_node(id: &NodeId) -> Failure {
    let message = format!("there is no node {}", id.resource());
    Failure::new(Code::NotFound, "NODE_NOT_FOUND", message).with("name", id.resource())
}

/// How often silence is looked for.
const SILENCE_CHECK: Duration = Duration::from_millis(50);
/// A check that comes later than this is skipped.
const OWN_LATENESS_MAX: Duration = Duration::from_millis(200);
