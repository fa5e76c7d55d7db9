//! What this origin is in its pool now.

mod epoch_file;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cluster::{Epoch, Grant, Member, PoolView};
use replica::{GrantRefused, Standing};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::streams::Streams;
use epoch_file::EpochFile;
pub use epoch_file::EpochFileError;

/// Whether an origin is the active one of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// It is not.
    #[default]
    Standby,
    /// It is.
    Active,
    /// It still is, and takes nothing more: another is about to be.
    Yielding,
}

/// What this origin is to be: what was granted, and what was heard since.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Role {
    /// Whether it is the active one.
    pub stage: Stage,
    /// The highest epoch heard of.
    pub epoch: Epoch,
    /// Where the active origin's peer port is, if this one is not active and knows.
    pub active_at: Option<String>,
}

/// What this origin does at this moment: the role as it has been carried out.
///
/// Follows the role: serving begins once the public port is open, and ends before anything is closed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Duty {
    /// Whether it serves.
    pub stage: Stage,
    /// The epoch in which it serves, or the newest one it knows.
    pub epoch: Epoch,
    /// Where the active origin's peer port is, if this one knows; its own while it serves.
    pub active_at: Option<String>,
}

impl Stage {
    fn of(standing: &Standing) -> Self {
        match (standing.active, standing.yielding) {
            (false, _) => Self::Standby,
            (true, false) => Self::Active,
            (true, true) => Self::Yielding,
        }
    }
}

impl From<Stage> for cluster::Role {
    /// One that yields is active until another is.
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Standby => Self::Standby,
            Stage::Active | Stage::Yielding => Self::Active,
        }
    }
}

impl Role {
    /// Whether this origin is the active one.
    pub fn is_active(&self) -> bool {
        self.stage != Stage::Standby
    }
}

impl Duty {
    /// Serves nothing, whatever the role, and sends callers where that says.
    pub fn standby(role: Role) -> Self {
        Self { stage: Stage::Standby, epoch: role.epoch, active_at: role.active_at }
    }

    /// The epoch in which this origin serves; None while it does not.
    pub fn serving(&self) -> Option<Epoch> {
        (self.stage != Stage::Standby).then_some(self.epoch)
    }

    /// Whether it serves and takes nothing more.
    pub fn is_yielding(&self) -> bool {
        self.stage == Stage::Yielding
    }
}

/// Holds the role and the highest epoch ever heard, which outlives the process. Nothing here waits for the disk.
#[derive(Debug)]
pub struct Roles {
    role: watch::Sender<Role>,
    /// Held by who tells of the role, so that the last word is the newest.
    telling: Mutex<()>,
    streams: Arc<Streams>,
    heard: Arc<EpochFile>,
    /// Notified when the disk is to learn of an epoch.
    unstored: Notify,
    /// The newest grant that was not taken because of the disk.
    refused: Mutex<Option<Grant>>,
    /// Who is active by the newest record that was heard here, and in which epoch.
    active: Mutex<Option<(Epoch, Member)>>,
    /// The pool, as the control plane has described it.
    pool: watch::Receiver<Option<PoolView>>,
    /// Someone is to take over, because this process is about to end.
    relief: AtomicBool,
    urgent: Arc<Notify>,
}

impl Roles {
    /// A process that starts is standby, whatever its disk says.
    pub fn standby(
        data_dir: &Path,
        streams: Arc<Streams>,
        pool: watch::Receiver<Option<PoolView>>,
        urgent: Arc<Notify>,
    ) -> Result<Self, EpochFileError> {
        let heard = Arc::new(EpochFile::open(data_dir)?);
        streams.with(|replica, _| replica.handle_epoch(heard.epoch()));
        let roles = Self {
            role: watch::Sender::default(),
            telling: Mutex::default(),
            streams,
            heard,
            unstored: Notify::new(),
            refused: Mutex::default(),
            active: Mutex::default(),
            pool,
            relief: AtomicBool::default(),
            urgent,
        };
        roles.refresh();
        Ok(roles)
    }

    /// The role, to be watched.
    pub fn watch(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// The highest epoch heard of, also before this start.
    pub fn highest_epoch(&self) -> Epoch {
        self.streams.standing().epoch
    }

    /// Nobody else keeps count of epochs, so this one is on disk before anyone acts on it.
    pub async fn handle_own_grant(&self, grant: Grant) -> Result<(), GrantError> {
        self.heard.note(grant.epoch, &grant.store);
        self.store().await.map_err(GrantError::Store)?;
        self.handle_grant(grant)
    }

    /// The control plane says what the record says.
    ///
    /// It is acted on at once: who grants has the epoch on disk, and whoever hears of it by us keeps it too. Our own disk
    /// learns of it by [`Roles::run`]. While it is waited for, this origin would beat, ack and serve nothing, and so hold up
    /// every stream of its pool. One whose disk is known to take nothing takes no role before it does.
    pub fn handle_grant(&self, grant: Grant) -> Result<(), GrantError> {
        if !self.heard.is_of(grant.epoch, &grant.store) {
            return Err(GrantError::Doubled { epoch: grant.epoch });
        }
        let serves_it = |role: &Role| role.is_active() && role.epoch == grant.epoch;
        let begins = grant.role == cluster::Role::Active && !serves_it(&self.role.borrow());
        self.check_disk(&grant, begins)?;
        self.note_heard(grant.epoch, &grant.store);
        let (epoch, active) = (grant.epoch, grant.active.clone());
        self.streams.with(|replica, now| replica.handle_grant(grant, now))?;
        if epoch >= self.role.borrow().epoch {
            *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active.map(|active| (epoch, active));
        }
        self.refresh();
        Ok(())
    }

    /// Refuses a grant that begins a term while the disk takes nothing. It is not made a second time: it is kept until there
    /// is room, or newer word.
    fn check_disk(&self, grant: &Grant, begins: bool) -> Result<(), GrantError> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.take_if(|kept| (kept.epoch, kept.version) < (grant.epoch, grant.version));
        match self.heard.failure().filter(|_| begins) {
            Some(why) => {
                refused.get_or_insert_with(|| grant.clone());
                Err(GrantError::Store(why))
            }
            None => Ok(()),
        }
    }

    /// The disk takes epochs again.
    fn take_refused(&self) {
        let Some(grant) = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let epoch = grant.epoch.0;
        if let Err(error) = self.handle_grant(grant) {
            tracing::error!(epoch, %error, "role.refused");
        }
    }

    /// Somebody has heard of this epoch (REPLICATION C8): what Relay does, seen from here at once.
    #[cfg(test)]
    pub fn hear(&self, epoch: Epoch) {
        if epoch > self.role.borrow().epoch {
            self.streams.with(|replica, _| replica.handle_epoch(epoch));
            self.refresh();
        }
    }

    /// Asks for another origin to take over, and waits until one has, or for so long.
    pub async fn hand_over(&self, wait: Duration) {
        let mut role = self.watch();
        if !role.borrow().is_active() {
            return;
        }
        self.ask_for_relief();
        match timeout(wait, role.wait_for(|role| !role.is_active())).await {
            Ok(_) => tracing::info!("role.handed_over"),
            Err(_) => tracing::warn!("role.nobody_took_over"),
        }
    }

    fn ask_for_relief(&self) {
        self.relief.store(true, Ordering::Relaxed);
        self.urgent.notify_one();
    }

    /// True once after each request of [`Roles::hand_over`], while this origin is active.
    pub fn take_request_for_relief(&self) -> bool {
        self.role.borrow().is_active() && self.relief.swap(false, Ordering::Relaxed)
    }

    /// Keeps the role what the replica says it is, and what was heard on disk, until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow_replica() => {}
            () = self.keep_on_disk() => {}
        }
        // What the disk has not been told yet it is told before the process ends.
        if let Err(error) = self.store().await {
            tracing::warn!(error, "epoch.left_unstored");
        }
    }

    async fn follow_replica(&self) {
        let mut changes = self.streams.changes();
        let mut pool = self.pool.clone();
        loop {
            self.refresh();
            tokio::select! {
                changed = changes.changed() => changed.expect("the streams outlive this loop"),
                Ok(()) = pool.changed() => {}
            }
        }
    }

    async fn keep_on_disk(&self) {
        loop {
            self.unstored.notified().await;
            while self.store().await.is_err() {
                sleep(STORE_AGAIN).await;
            }
            self.take_refused();
        }
    }

    /// Brings the disk up to what was heard, on a thread that may wait. That it takes nothing is logged once.
    async fn store(&self) -> Result<(), String> {
        let failed_before = self.heard.failure().is_some();
        let heard = self.heard.clone();
        let stored = tokio::task::spawn_blocking(move || heard.store()).await;
        let error = match stored {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if !failed_before {
            tracing::error!(error, "epoch.not_stored");
        }
        Err(error)
    }

    /// The disk is to learn of it.
    fn note_heard(&self, epoch: Epoch, granter: &str) {
        if self.heard.note(epoch, granter) {
            self.unstored.notify_one();
        }
    }

    fn refresh(&self) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = self.streams.standing();
        self.note_heard(standing.epoch, "");
        let active_at = if standing.active { None } else { self.active_at(&standing) };
        let role = Role { stage: Stage::of(&standing), epoch: standing.epoch, active_at };
        let news = self.role.send_if_modified(|held| {
            let changed = *held != role;
            if changed {
                let (active, yielding) = (role.is_active(), role.stage == Stage::Yielding);
                tracing::info!(active, yielding, epoch = role.epoch.0, "role.changed");
                *held = role;
            }
            changed
        });
        if news || standing.yielded {
            self.urgent.notify_one();
        }
    }
}

impl Roles {
    /// The peer address of the active origin: the one that is followed, or the one that the record of this epoch names.
    /// One that was active in an epoch before, or before it started again, is nobody to go to: it may be this origin.
    fn active_at(&self, standing: &Standing) -> Option<String> {
        let granted = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let by_record = granted.as_ref().filter(|(epoch, _)| *epoch == standing.epoch).map(|(_, active)| active);
        let pool = self.pool.borrow();
        let active = pool.as_ref()?.members.iter().find(|known| match &standing.follows {
            Some(node) => known.member.node == *node,
            None => Some(&known.member) == by_record,
        })?;
        Some(active.peer.to_string())
    }
}

/// Why a grant is not taken.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// It goes by a grant of the same epoch that another store, or another start of it, has made: one of the two has been
    /// restored from an old copy. The next epoch ends both.
    #[error("epoch {epoch} was granted otherwise before: the control plane's store was restored from an old copy")]
    Doubled {
        /// The epoch of the grant.
        epoch: Epoch,
    },
    /// The replica does not take it.
    #[error(transparent)]
    Refused(#[from] GrantRefused),
    /// The disk takes no epochs, and so none is taken.
    #[error("cannot store epochs: {0}")]
    Store(String),
}

/// A disk that does not take an epoch is asked again after so long: operators make room, or mount it anew.
const STORE_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
