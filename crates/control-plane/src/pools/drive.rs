//! Records change as the rules say, whenever something was heard or a wait is over.

use std::time::{Duration, Instant};

use cluster::{Pool, PoolChange, PoolEvent, PoolId};
use rpc::{control::FromControl, status::Failure};
use tokio::time;

use super::told;
use crate::{
    plane::{ControlPlane, WriterGuard, lock},
    store::Write,
    time::unix_ms,
};

impl ControlPlane {
    /// Changes records until the end.
    pub(crate) async fn drive_pools(self) {
        loop {
            let due = lock(&self.inner.pools).values().filter_map(Pool::poll_timeout).min();
            let asleep = Instant::now();
            let wake = due.map_or(asleep + TICK, |due| due.clamp(asleep + SHORTEST_WAIT, asleep + TICK));
            tokio::select! {
                () = self.inner.ending.cancelled() => return,
                () = self.inner.pools_changed.notified() => {}
                () = time::sleep_until(wake.into()) => {}
            }
            // Should we have been late, what nodes said meanwhile is still to be read: nobody is suspected for it.
            let now = Instant::now();
            let late = now.saturating_duration_since(wake);
            if late > ON_TIME {
                if late > NOTEWORTHY {
                    tracing::info!(late_ms = late.as_millis() as u64, "pool.late_itself");
                }
                lock(&self.inner.pools).values_mut().for_each(|pool| pool.handle_late(late, now));
            }
            let ids: Vec<_> = lock(&self.inner.pools).keys().cloned().collect();
            for id in ids {
                if let Err(error) = self.drive_pool(&id).await {
                    tracing::error!(pool = %id, %error, "pool.change_failed");
                    time::sleep(STORE_RETRY).await;
                }
            }
            self.inner.pools_driven.send_modify(|count| *count += 1);
        }
    }

    async fn drive_pool(&self, id: &PoolId) -> Result<(), Failure> {
        for made in 0.. {
            if made == CHANGES_AT_A_TIME {
                // It goes on when the others have had their turn.
                self.inner.pools_changed.notify_one();
                break;
            }
            let mut writer = self.writer().await;
            let change = {
                let mut pools = lock(&self.inner.pools);
                let Some(pool) = pools.get_mut(id) else { return Ok(()) };
                pool.poll_change(Instant::now(), unix_ms())
            };
            let Some(change) = change else { break };
            self.write_pool(&mut writer, change).await?;
        }
        self.tell_pool(id);
        self.refresh_pools();
        Ok(())
    }

    /// Writes a record with what is told of it; then it is in force, and its members hear of it.
    pub(crate) async fn write_pool(&self, writer: &mut WriterGuard<'_>, change: PoolChange) -> Result<(), Failure> {
        let PoolChange { record, after, events } = change;
        let id = record.id.clone();
        let drafts = events.iter().map(|event| told::draft(&id, event)).collect();
        writer.commit(vec![Write::PutPool { record: record.clone(), after }], drafts).await?;
        events.iter().for_each(|event| self.count(&id, event));
        if let Some(pool) = lock(&self.inner.pools).get_mut(&id) {
            pool.handle_written(record, Instant::now());
        }
        self.tell_pool(&id);
        self.refresh_pools();
        Ok(())
    }

    /// Tells members what they are to know, and everybody what has happened.
    fn tell_pool(&self, id: &PoolId) {
        let mut pools = lock(&self.inner.pools);
        let Some(pool) = pools.get_mut(id) else { return };
        while let Some(grant) = pool.poll_grant(Instant::now()) {
            let node = grant.member.node.clone();
            // A session that does not take it ends; the next one begins with it.
            self.inner.links.send(&node, FromControl::Role(grant));
        }
        while let Some(event) = pool.poll_event() {
            self.count(id, &event);
            self.tell(told::draft(id, &event));
        }
    }

    fn count(&self, id: &PoolId, event: &PoolEvent) {
        let metrics = &self.inner.metrics;
        match event {
            PoolEvent::Granted(granted) => {
                metrics.grants.with([id.as_str(), granted.cause.as_str()]).inc();
                for (part, ms) in &granted.durations_ms {
                    metrics.promotion.with([part]).observe_duration(Duration::from_millis(*ms));
                }
            }
            PoolEvent::FirstFrame { after, .. } => metrics.promotion.with(["first_frame"]).observe_duration(*after),
            PoolEvent::EpochNotBelieved { .. } => metrics.refused.with(["EPOCH_NOT_BELIEVED"]).inc(),
            _ => {}
        }
    }
}

/// A look at least so often: how late it comes shows how late we are ourselves.
const TICK: Duration = Duration::from_millis(100);
/// Between two looks at pools that wait for somebody to report.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
/// A timer that is later than this tells of a busy machine.
const ON_TIME: Duration = Duration::from_millis(20);
/// And later than this, operators may want to know.
const NOTEWORTHY: Duration = Duration::from_millis(200);
/// After the store has failed.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Records of one pool that are written before the others have their turn.
const CHANGES_AT_A_TIME: usize = 4;
