//! What operators ask of pools.

use std::time::{Duration, Instant};

use cluster::{By, Epoch, Member, NodeId, PlanFailed, PlanState, Pool, PoolChange, PoolId, PromoteError, Promotion};
use rpc::{
    auth::Caller,
    control::{FailBack, FenceMember, HoldPool, PoolInfo, Pools, Promote, PromoteMode, ReleasePool, Steps},
    status::{Code, Failure},
};
use tokio::time;

use super::unknown_pool;
use crate::{
    plane::{ControlPlane, lock},
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
        let how = match request.mode {
            PromoteMode::Graceful => Promotion::Graceful,
            PromoteMode::Force => Promotion::Forced,
        };
        let Promote { pool, member, expected_epoch, validate_only, reason, .. } = request;
        let asked = Asked { pool, expected: Some(expected_epoch), validate_only, by: by(caller, reason) };
        let control = self.clone();
        self.mutate(async move {
            let begin = |pool: &mut Pool, to, by| pool.promote(to, how, by, Instant::now());
            control.move_role(asked, member, how, begin).await
        })
        .await
    }

    async fn fail_back(&self, caller: Caller, request: FailBack) -> Result<PoolInfo, Failure> {
        let FailBack { pool, expected_epoch, validate_only, reason } = request;
        let Some(member) = self.with_pool(&pool, |pool| pool.first_choice().cloned())? else {
            let message = format!("{} has no first_active, and its role has never moved", pool.resource());
            let failure = Failure::new(Code::FailedPrecondition, "NO_FIRST_CHOICE", message);
            return Err(failure.with("pool", pool.resource()));
        };
        let asked = Asked { pool, expected: Some(expected_epoch), validate_only, by: by(caller, reason) };
        let control = self.clone();
        self.mutate(async move {
            let begin = |pool: &mut Pool, to, by| pool.fail_back(to, by, Instant::now());
            control.move_role(asked, member, Promotion::Graceful, begin).await
        })
        .await
    }

    async fn hold_pool(&self, caller: Caller, request: HoldPool) -> Result<PoolInfo, Failure> {
        let HoldPool { pool, expected_epoch: expected, duration, validate_only, reason } = request;
        let asked = Asked { pool, expected, validate_only, by: by(caller, reason) };
        let lasts = duration.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        let until = lasts.map(|lasts| unix_ms().saturating_add(lasts));
        self.change_pool(asked, None, move |pool, by| Ok(pool.held(until, by))).await
    }

    async fn release_pool(&self, caller: Caller, request: ReleasePool) -> Result<PoolInfo, Failure> {
        let ReleasePool { pool, expected_epoch: expected, validate_only, reason } = request;
        let asked = Asked { pool, expected, validate_only, by: by(caller, reason) };
        self.change_pool(asked, None, |pool, by| Ok(pool.released(by))).await
    }

    async fn fence_member(&self, caller: Caller, request: FenceMember) -> Result<PoolInfo, Failure> {
        let FenceMember { pool, member, expected_epoch, validate_only, reason } = request;
        let asked = Asked { pool, expected: Some(expected_epoch), validate_only, by: by(caller, reason) };
        self.change_pool(asked, Some(member.clone()), move |pool, by| pool.fenced(&member, by)).await
    }

    async fn unfence_member(&self, caller: Caller, request: FenceMember) -> Result<PoolInfo, Failure> {
        let FenceMember { pool, member, expected_epoch, validate_only, reason } = request;
        let asked = Asked { pool, expected: Some(expected_epoch), validate_only, by: by(caller, reason) };
        self.change_pool(asked, Some(member.clone()), move |pool, by| pool.unfenced(&member, by)).await
    }
}

/// What all requests have in common.
struct Asked {
    pool: PoolId,
    expected: Option<Epoch>,
    validate_only: bool,
    by: By,
}

fn by(caller: Caller, reason: String) -> By {
    By { author: caller.to_string(), reason }
}

impl ControlPlane {
    fn with_pool<T>(&self, id: &PoolId, look: impl FnOnce(&mut Pool) -> T) -> Result<T, Failure> {
        let mut pools = lock(&self.inner.pools);
        match pools.get_mut(id) {
            Some(pool) => Ok(look(pool)),
            None => Err(unknown_pool(id, pools.keys())),
        }
    }

    fn info_of(&self, id: &PoolId) -> Result<PoolInfo, Failure> {
        use rpc::control::Pools as _;
        self.pool(id).ok_or_else(|| unknown_pool(id, lock(&self.inner.pools).keys()))
    }

    /// Why not, and for a node that is no member, who is.
    fn refused(&self, id: &PoolId, member: Option<&NodeId>, why: &PromoteError) -> Failure {
        let mut failure = refused(id, member, why);
        if *why == PromoteError::NotAMember
            && let Some(pool) = lock(&self.inner.pools).get(id)
        {
            let members: Vec<_> = pool.record().members.keys().map(NodeId::resource).collect();
            let members = members.join(", ");
            failure.message = format!("{}; its members are {members}", failure.message);
            failure = failure.with("members", members);
        }
        failure
    }

    /// Changes a record at once.
    async fn change_pool(
        &self,
        asked: Asked,
        member: Option<NodeId>,
        change: impl FnOnce(&Pool, By) -> Result<Option<PoolChange>, PromoteError> + Send + 'static,
    ) -> Result<PoolInfo, Failure> {
        let control = self.clone();
        let work = async move {
            let Asked { pool: id, expected, validate_only, by } = asked;
            let mut writer = control.writer().await;
            let change = control.with_pool(&id, |pool| {
                expected.map_or(Ok(()), |expected| pool.check_epoch(expected))?;
                change(pool, by)
            })?;
            let change = change.map_err(|why| control.refused(&id, member.as_ref(), &why))?;
            if let Some(change) = change.filter(|_| !validate_only) {
                control.write_pool(&mut writer, change).await?;
            }
            drop(writer);
            control.inner.pools_changed.notify_one();
            control.info_of(&id)
        };
        self.mutate(work).await
    }

    /// Moves the role, and waits until the member serves.
    async fn move_role(
        &self,
        asked: Asked,
        member: NodeId,
        how: Promotion,
        begin: impl FnOnce(&mut Pool, Member, By) -> u64,
    ) -> Result<PoolInfo, Failure> {
        let Asked { pool: id, expected, validate_only, by } = asked;
        let mut driven = self.inner.pools_driven.subscribe();
        let mut end = time::Instant::now() + MOVE_WAIT;
        let mut begin = Some(|pool: &mut Pool, to| begin(pool, to, by));
        let plan = loop {
            let plan = self.with_pool(&id, |pool| {
                let expected = expected.unwrap_or(pool.record().epoch);
                let to = pool.check_promotion(&member, expected, how, Instant::now())?;
                Ok(begin.take().filter(|_| !validate_only).map(|begin| begin(pool, to)))
            })?;
            match plan {
                // Another's move: once it is over, the epoch that this caller has seen is too, or it is this one's turn.
                Err(PromoteError::UnderWay)
                    if !validate_only && time::timeout_at(end, driven.changed()).await.is_ok() => {}
                plan => break plan.map_err(|why| self.refused(&id, Some(&member), &why))?,
            }
        };
        let Some(plan) = plan else { return self.info_of(&id) };
        self.inner.pools_changed.notify_one();
        end = time::Instant::now() + MOVE_WAIT;
        let mut granted = None;
        loop {
            let (state, served, epoch) =
                self.with_pool(&id, |pool| (pool.plan_state(plan), pool.is_served(), pool.record().epoch))?;
            match state {
                PlanState::Granted(epoch) => granted = Some(epoch),
                PlanState::Failed(why) if granted.is_none() => return Err(given_up(&id, &member, why)),
                PlanState::Failed(_) | PlanState::Pending => {}
            }
            if granted == Some(epoch) && served {
                self.refresh_pools();
                return self.info_of(&id);
            }
            let moved_on = granted.is_some_and(|granted| granted < epoch);
            if moved_on || time::timeout_at(end, driven.changed()).await.is_err() {
                return Err(not_opened(&id, &member, granted));
            }
        }
    }
}

fn refused(pool: &PoolId, member: Option<&NodeId>, why: &PromoteError) -> Failure {
    let (code, reason) = match why {
        PromoteError::StaleEpoch { .. } => (Code::FailedPrecondition, "STALE_EPOCH"),
        PromoteError::NotAMember => (Code::FailedPrecondition, "NOT_A_MEMBER"),
        PromoteError::NotAlive => (Code::FailedPrecondition, "MEMBER_NOT_ALIVE"),
        PromoteError::AlreadyActive | PromoteError::StillActive => (Code::FailedPrecondition, "ALREADY_ACTIVE"),
        PromoteError::NotInSync => (Code::FailedPrecondition, "MEMBER_NOT_IN_SYNC"),
        PromoteError::Fenced => (Code::FailedPrecondition, "MEMBER_FENCED"),
        PromoteError::UnderWay => (Code::Aborted, "MOVE_UNDER_WAY"),
        PromoteError::Settling => (Code::Unavailable, "SETTLING"),
    };
    let pool = pool.resource();
    let message = match member {
        Some(member) => format!("{} of {pool}: {why}", member.resource()),
        None => format!("{pool}: {why}"),
    };
    let mut failure = Failure::new(code, reason, message).with("pool", &pool);
    if let Some(member) = member {
        failure = failure.with("member", member.resource());
    }
    match why {
        PromoteError::StaleEpoch { expected, current } => failure
            .with("expected_epoch", expected)
            .with("epoch", current)
            .with_precondition("EPOCH", pool, "read the pool again, then decide"),
        PromoteError::Settling => failure.with_retry_after(Duration::from_secs(1)),
        _ => failure,
    }
}

fn given_up(pool: &PoolId, member: &NodeId, why: PlanFailed) -> Failure {
    let (code, reason) = match why {
        PlanFailed::NotYielded => (Code::DeadlineExceeded, "ACTIVE_HAS_NOT_YIELDED"),
        PlanFailed::NotReady => (Code::FailedPrecondition, "MEMBER_NOT_READY"),
        PlanFailed::Overtaken => (Code::Aborted, "ROLE_MOVED_OTHERWISE"),
    };
    let message = format!("{} was not made active in {}: {why}", member.resource(), pool.resource());
    Failure::new(code, reason, message).with("pool", pool.resource()).with("member", member.resource())
}

fn not_opened(pool: &PoolId, member: &NodeId, granted: Option<Epoch>) -> Failure {
    let message = match granted {
        Some(epoch) => format!("{} was granted epoch {epoch} but has not opened", member.resource()),
        None => format!("{} has not been granted the role in time", member.resource()),
    };
    Failure::new(Code::DeadlineExceeded, "MEMBER_HAS_NOT_OPENED", message)
        .with("pool", pool.resource())
        .with("member", member.resource())
        .with("epoch", granted.unwrap_or_default())
}

/// How long a move may take from asking to opening, before the caller is told that it has not come to its end.
const MOVE_WAIT: Duration = Duration::from_secs(5);
