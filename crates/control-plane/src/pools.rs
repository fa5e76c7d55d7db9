//! Pools: the rules of `cluster` on a clock, a disk and a network.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use cluster::{Epoch, Grant, Member, NodeId, NodeKind, Pool, PoolId, PoolRecord, PoolReport, PromoteError, Role};
use rpc::{
    auth::Caller,
    control::{FailBack, FenceMember, FromControl, HoldPool, PoolInfo, Pools, Promote, ReleasePool, Steps},
    status::{Code, Failure},
};
use tokio::time;

use crate::{
    events::Draft,
    plane::{ControlPlane, lock},
    store::Write,
    time::unix_ms,
};

impl Pools for ControlPlane {
    fn pool(&self, id: &PoolId) -> Option<PoolInfo> {
        self.inner.pool_infos.get(&id.resource())
    }

    fn pools(&self) -> Vec<PoolInfo> {
        self.inner.pool_infos.list()
    }

    fn watch_pools(&self, from_revision: u64) -> Result<Steps<PoolInfo>, Failure> {
        self.inner.pool_infos.watch(from_revision)
    }

    async fn promote(&self, caller: Caller, request: Promote) -> Result<PoolInfo, Failure> {
        let control = self.clone();
        self.mutate(async move {
            let _alone = control.inner.promoting.lock().await;
            control.promote_now(caller, request).await
        })
        .await
    }

    async fn fail_back(&self, _: Caller, _: FailBack) -> Result<PoolInfo, Failure> {
        Err(not_implemented("FailBack"))
    }

    async fn hold_pool(&self, _: Caller, _: HoldPool) -> Result<PoolInfo, Failure> {
        Err(not_implemented("HoldPool"))
    }

    async fn release_pool(&self, _: Caller, _: ReleasePool) -> Result<PoolInfo, Failure> {
        Err(not_implemented("ReleasePool"))
    }

    async fn fence_member(&self, _: Caller, _: FenceMember) -> Result<PoolInfo, Failure> {
        Err(not_implemented("FenceMember"))
    }

    async fn unfence_member(&self, _: Caller, _: FenceMember) -> Result<PoolInfo, Failure> {
        Err(not_implemented("UnfenceMember"))
    }
}

fn not_implemented(method: &str) -> Failure {
    let message = format!("{method} is not served by this control plane");
    Failure::new(Code::Unimplemented, "NOT_IMPLEMENTED", message).with("method", method)
}

impl ControlPlane {
    /// A pool begins with its first origin.
    pub(crate) fn ensure_pool(&self, id: &PoolId) -> Result<(), Failure> {
        let mut pools = lock(&self.inner.pools);
        if !pools.contains_key(id) && pools.len() >= POOLS_MAX {
            let message = format!("there are {POOLS_MAX} pools already");
            return Err(Failure::new(Code::ResourceExhausted, "TOO_MANY_POOLS", message));
        }
        let rules = || self.inner.config.rules(id);
        pools.entry(id.clone()).or_insert_with(|| Pool::new(PoolRecord::new(id.clone()), rules(), self.inner.started));
        Ok(())
    }

    /// What a node last said of itself is told to its pool; what an edge has heard, to the only pool there is.
    pub(crate) fn report_to_pool(&self, id: &NodeId) {
        let Some(node) = lock(&self.inner.members).get(id).cloned() else { return };
        let mut pools = lock(&self.inner.pools);
        let registration = node.registration;
        if registration.kind == NodeKind::Edge {
            if let (1, Some(pool)) = (pools.len(), pools.values_mut().next()) {
                pool.handle_epoch(node.beat.highest_epoch);
            }
            return;
        }
        let pool = registration.pool.as_ref().and_then(|pool| pools.get_mut(pool));
        let addresses = registration.addresses;
        let (Some(pool), Some(public), Some(peer)) = (pool, addresses.public, addresses.peer) else { return };
        let said = node.beat.role.is_some() || node.beat.serving.is_some();
        let report = PoolReport {
            member: registration.member,
            public,
            peer,
            highest_epoch: node.beat.highest_epoch.max(registration.highest_epoch),
            serving: if said { node.beat.serving } else { registration.serving },
        };
        if pool.report_of(id) != Some(&report) {
            pool.handle_report(report, Instant::now());
            drop(pools);
            self.inner.pools_changed.notify_one();
        }
    }

    /// The session of an origin ended.
    pub(crate) fn gone_from_pool(&self, member: &Member) {
        lock(&self.inner.pools).values_mut().for_each(|pool| pool.handle_gone(member));
    }

    /// The record of a pool without a node; none when it is not in it. The active cannot be taken out.
    pub(crate) fn pool_without(&self, id: &PoolId, node: &NodeId) -> Result<Option<PoolRecord>, Failure> {
        let pools = lock(&self.inner.pools);
        let Some(pool) = pools.get(id) else { return Ok(None) };
        if pool.record().active.as_ref().is_some_and(|active| active.node == *node) {
            let message = format!("{} is the active origin of {}", node.resource(), id.resource());
            return Err(Failure::new(Code::FailedPrecondition, "NODE_IS_ACTIVE", message)
                .with("node", node.resource())
                .with("pool", id.resource())
                .with_precondition("ROLE", id.resource(), "promote another member first"));
        }
        Ok(pool.without(node))
    }

    /// Changes records as the rules say, whenever something was reported or a wait is over, until the end.
    pub(crate) async fn drive_pools(self) {
        loop {
            let due = lock(&self.inner.pools).values().filter_map(Pool::poll_timeout).min();
            let due = due.map(time::Instant::from_std).unwrap_or_else(|| time::Instant::now() + IDLE_CHECK);
            tokio::select! {
                () = self.inner.ending.cancelled() => return,
                () = self.inner.pools_changed.notified() => {}
                () = time::sleep_until(due.max(time::Instant::now() + SHORTEST_WAIT)) => {}
            }
            let ids: Vec<_> = lock(&self.inner.pools).keys().cloned().collect();
            for id in ids {
                if let Err(error) = self.drive_pool(&id).await {
                    tracing::error!(pool = %id, %error, "pool.change_failed");
                    time::sleep(STORE_RETRY).await;
                }
            }
        }
    }

    async fn drive_pool(&self, id: &PoolId) -> Result<(), Failure> {
        let mut writer = self.writer().await;
        let (before, next) = {
            let mut pools = lock(&self.inner.pools);
            let Some(pool) = pools.get_mut(id) else { return Ok(()) };
            let before = pool.record().epoch;
            (before, pool.poll_change(Instant::now(), unix_ms()))
        };
        let Some(next) = next else { return Ok(()) };
        let events = granted(before, &next).into_iter().collect();
        writer.commit(vec![Write::PutPool(next.clone())], events).await?;
        self.count_grant(before, &next);
        self.pool_written(next.clone());
        drop(writer);
        self.send_roles(&next);
        Ok(())
    }

    /// A record is on disk: it is in force.
    pub(crate) fn pool_written(&self, record: PoolRecord) {
        if let Some(pool) = lock(&self.inner.pools).get_mut(&record.id) {
            pool.handle_written(record);
        }
        self.refresh_pools();
    }

    fn count_grant(&self, before: Epoch, record: &PoolRecord) {
        let pool = record.id.as_str();
        if let Some(change) = record.last_change.as_ref().filter(|_| record.epoch != before) {
            self.inner.metrics.grants.with([pool, change.cause.as_str()]).inc();
        }
    }

    /// Brings what watchers see of each pool up to date.
    pub(crate) fn refresh_pools(&self) {
        let _alone = lock(&self.inner.pool_refresh);
        let records: Vec<_> = lock(&self.inner.pools).values().map(|pool| pool.record().clone()).collect();
        for record in records {
            let pool = record.id.as_str();
            self.inner.metrics.epoch.with([pool]).set(record.epoch.0 as f64);
            self.inner.metrics.in_sync.with([pool]).set(record.in_sync.len() as f64);
            let name = record.id.resource();
            let info = self.pool_info(record);
            if self.inner.pool_infos.get(&name).as_ref() != Some(&info) {
                self.inner.pool_infos.put(&name, info);
            }
        }
    }

    fn pool_info(&self, record: PoolRecord) -> PoolInfo {
        let members = lock(&self.inner.members);
        let heard = |node: &NodeId| {
            let known = members.get(node)?;
            Some((node.clone(), (known.liveness, known.beat.serving == Some(record.epoch))))
        };
        PoolInfo {
            heard: record.members.keys().filter_map(heard).collect::<BTreeMap<_, _>>(),
            active_incarnation: record.active.as_ref().map(|active| active.incarnation),
            mode: record.mode,
            hold_until: None,
            last_change: record.last_change.clone(),
            store_id: self.inner.store_id.clone(),
            view: record.view(),
        }
    }

    /// Tells an origin its role by the record in force. One that serves in a higher epoch is not told: it is about to
    /// be adopted.
    pub(crate) fn send_role(&self, member: &Member) {
        let pools = lock(&self.inner.pools);
        let record = pools.values().find_map(|pool| {
            let report = pool.report_of(&member.node)?;
            (report.serving <= Some(pool.record().epoch)).then(|| pool.record().clone())
        });
        drop(pools);
        if let Some(record) = record {
            self.send_role_of(&record, member);
        }
    }

    /// Tells all origins of a pool their roles: first those that stand by.
    fn send_roles(&self, record: &PoolRecord) {
        let mut members: Vec<_> = self.members_of(record);
        members.sort_by_key(|member| record.role_of(member) == Role::Active);
        members.iter().for_each(|member| self.send_role_of(record, member));
    }

    fn members_of(&self, record: &PoolRecord) -> Vec<Member> {
        let member = |(node, member): (&NodeId, &cluster::PoolMember)| Member {
            node: node.clone(),
            incarnation: member.incarnation,
        };
        record.members.iter().map(member).collect()
    }

    fn send_role_of(&self, record: &PoolRecord, member: &Member) {
        let grant = Grant {
            pool: record.id.clone(),
            member: member.clone(),
            role: record.role_of(member),
            epoch: record.epoch,
            version: record.version,
            loss_epoch: record.loss_epoch,
            active: record.active.clone(),
            in_sync: record.in_sync.clone(),
            yields: false,
            store: self.inner.store_id.clone(),
        };
        self.inner.links.send(&member.node, FromControl::Role(grant));
    }

    /// The record says at once who is next; the old active is told to step down, then the member to serve.
    async fn promote_now(&self, caller: Caller, request: Promote) -> Result<PoolInfo, Failure> {
        let id = &request.pool;
        let mut writer = self.writer().await;
        let unknown = || {
            let message = format!("there is no origin pool {}", id.resource());
            Failure::new(Code::NotFound, "ORIGIN_POOL_NOT_FOUND", message).with("name", id.resource())
        };
        let checked = {
            let pools = lock(&self.inner.pools);
            let pool = pools.get(id).ok_or_else(unknown)?;
            pool.check_promotion(&request.member, request.expected_epoch)
        };
        let (member, old) = checked.map_err(|why| not_promoted(&request, &why))?;
        if request.validate_only {
            return self.pool(id).ok_or_else(unknown);
        }
        let evidence = if request.reason.is_empty() { "asked for".to_owned() } else { request.reason.clone() };
        let (before, next) = {
            let mut pools = lock(&self.inner.pools);
            let pool = pools.get_mut(id).ok_or_else(unknown)?;
            let before = pool.record().epoch;
            pool.promote(member.clone(), evidence);
            (before, pool.poll_change(Instant::now(), unix_ms()))
        };
        let next = next.ok_or_else(|| not_promoted(&request, &PromoteError::NotAlive))?;
        let event = granted(before, &next).map(|event| event.by(caller, &request.reason));
        writer.commit(vec![Write::PutPool(next.clone())], event.into_iter().collect()).await?;
        self.count_grant(before, &next);
        self.pool_written(next.clone());
        drop(writer);

        let began = Instant::now();
        if let Some(old) = &old {
            self.send_role_of(&next, old);
            let closed = self.wait_serving(old, |serving| serving.is_none()).await;
            if !closed {
                tracing::warn!(node = %old.node, "pool.old_active_has_not_confirmed");
            }
        }
        let stepped_down = began.elapsed();
        self.send_roles(&next);
        let opened = self.wait_serving(&member, |serving| serving == Some(next.epoch)).await;
        self.inner.metrics.promotion.with(["step_down"]).observe_duration(stepped_down);
        self.inner.metrics.promotion.with(["open"]).observe_duration(began.elapsed() - stepped_down);
        if !opened {
            let message = format!("{} was granted epoch {} but has not opened yet", member.node.resource(), next.epoch);
            return Err(Failure::new(Code::DeadlineExceeded, "MEMBER_HAS_NOT_OPENED", message)
                .with("member", member.node.resource())
                .with("epoch", next.epoch));
        }
        self.refresh_pools();
        self.pool(id).ok_or_else(unknown)
    }

    /// Waits until a member says so of itself, or is gone; `false` when it takes too long.
    async fn wait_serving(&self, member: &Member, wanted: impl Fn(Option<Epoch>) -> bool) -> bool {
        let look = || {
            let members = lock(&self.inner.members);
            let node = members.get(&member.node);
            node.map(|node| node.beat.serving).is_none_or(&wanted)
        };
        let end = time::Instant::now() + CONFIRM_WAIT;
        while !look() {
            if time::Instant::now() >= end {
                return false;
            }
            time::sleep(CONFIRM_CHECK).await;
        }
        true
    }
}

/// The event of a record with a new epoch.
fn granted(before: Epoch, record: &PoolRecord) -> Option<Draft> {
    if record.epoch == before {
        return None;
    }
    let (active, change) = (record.active.as_ref()?, record.last_change.as_ref()?);
    let (node, epoch, cause) = (active.node.resource(), record.epoch, change.cause.as_str());
    let message = format!("{node} is active in epoch {epoch}: {}", change.evidence);
    let lossy = record.loss_epoch == record.epoch;
    let draft = if lossy { Draft::warning } else { Draft::info };
    let draft = draft("pool.granted", record.id.resource(), message)
        .with("cause", cause)
        .with("evidence", &change.evidence)
        .with("epoch", epoch)
        .with("version", record.version)
        .with("member", node)
        .with("incarnation", active.incarnation);
    Some(draft)
}

fn not_promoted(request: &Promote, why: &PromoteError) -> Failure {
    let (code, reason) = match why {
        PromoteError::StaleEpoch { .. } => (Code::FailedPrecondition, "STALE_EPOCH"),
        PromoteError::NotAMember => (Code::FailedPrecondition, "NOT_A_MEMBER"),
        PromoteError::NotAlive => (Code::FailedPrecondition, "MEMBER_NOT_ALIVE"),
        PromoteError::AlreadyActive => (Code::FailedPrecondition, "ALREADY_ACTIVE"),
        PromoteError::Settling => (Code::Unavailable, "SETTLING"),
    };
    let (pool, member) = (request.pool.resource(), request.member.resource());
    let failure = Failure::new(code, reason, format!("{member} cannot be made active in {pool}: {why}"));
    let failure = failure.with("pool", &pool).with("member", member).with("expected_epoch", request.expected_epoch);
    match why {
        PromoteError::StaleEpoch { current, .. } => {
            failure.with("epoch", current).with_precondition("EPOCH", pool, "read the pool again, then decide")
        }
        PromoteError::Settling => failure.with_retry_after(Duration::from_secs(1)),
        _ => failure,
    }
}

/// Pools that a control plane may keep.
const POOLS_MAX: usize = 256;
/// When nothing is due.
const IDLE_CHECK: Duration = Duration::from_secs(1);
/// Between two looks at pools that wait for somebody to report.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
/// After the store has failed.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// How long a member may take to close or open its public port: several beats.
const CONFIRM_WAIT: Duration = Duration::from_secs(1);
/// Between two looks at its beats.
const CONFIRM_CHECK: Duration = Duration::from_millis(5);
