//! What this origin is in its pool now.

mod epoch_file;

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use cluster::{Epoch, Grant, Member, PoolView};
use replica::GrantRefused;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::streams::Streams;
use epoch_file::EpochFile;
pub use epoch_file::EpochFileError;

/// Active or not, in which epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Role {
    /// True while this origin is the active one.
    pub active: bool,
    /// It is active and about to hand over: it takes nothing more.
    pub yielding: bool,
    /// The highest epoch heard of.
    pub epoch: Epoch,
    /// Where the active origin's peer port is, if this one is not active and knows.
    pub active_at: Option<String>,
}

/// Whether this origin serves at this moment: the role as it has been carried out.
///
/// Follows the role: serving begins once the public port is open, and ends before anything is closed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Term {
    /// The epoch in which it serves, or the newest one it knows.
    pub epoch: Epoch,
    /// True while it serves.
    pub serving: bool,
    /// It serves and takes nothing more, because another is about to.
    pub yielding: bool,
    /// Where the active origin's peer port is, if this one knows; its own while it serves.
    pub active_at: Option<String>,
}

/// Holds the role and the highest epoch ever heard, which outlives the process.
#[derive(Debug)]
pub struct Roles {
    role: watch::Sender<Role>,
    streams: Arc<Streams>,
    heard: Arc<EpochFile>,
    /// Who is active by the newest record.
    active: Mutex<Option<Member>>,
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
        streams.with(|replica, now| replica.handle_epoch(heard.epoch(), now));
        let roles = Self {
            role: watch::Sender::default(),
            streams,
            heard,
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

    /// The control plane says what the record says. The epoch is on disk before anyone acts on it.
    pub fn handle_grant(&self, grant: Grant) -> Result<(), GrantError> {
        if !self.heard.is_of(grant.epoch, &grant.store) {
            return Err(GrantError::Doubled { epoch: grant.epoch });
        }
        self.heard.store(grant.epoch, &grant.store)?;
        let (epoch, active) = (grant.epoch, grant.active.clone());
        self.streams.with(|replica, now| replica.handle_grant(grant, now))?;
        if epoch >= self.role.borrow().epoch {
            *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active;
        }
        self.refresh();
        Ok(())
    }

    /// Somebody has heard of this epoch (REPLICATION C8).
    pub fn hear(&self, epoch: Epoch) {
        if epoch > self.role.borrow().epoch {
            self.streams.with(|replica, now| replica.handle_epoch(epoch, now));
            self.refresh();
        }
    }

    /// Asks for another origin to take over.
    pub fn ask_for_relief(&self) {
        self.relief.store(true, Ordering::Relaxed);
        self.urgent.notify_one();
    }

    /// True once after each [`Roles::ask_for_relief`], while this origin is active.
    pub fn take_request_for_relief(&self) -> bool {
        self.role.borrow().active && self.relief.swap(false, Ordering::Relaxed)
    }

    /// Keeps the role what the replica says it is, and what was heard on disk, until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut changes = self.streams.changes();
        let mut pool = self.pool.clone();
        loop {
            self.refresh();
            let epoch = self.role.borrow().epoch;
            if epoch > self.heard.epoch() {
                let heard = self.heard.clone();
                // Acted on already: the disk only has to know before this process ends.
                match tokio::task::spawn_blocking(move || heard.store(epoch, "")).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "epoch.not_stored"),
                    Err(error) => tracing::error!(%error, "epoch.not_stored"),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => changed.expect("the streams outlive this loop"),
                Ok(()) = pool.changed() => {}
            }
        }
    }

    fn refresh(&self) {
        let standing = self.streams.standing();
        let active_at = if standing.active { None } else { self.active_at() };
        let news = self.role.send_if_modified(|held| {
            let role = Role {
                active: standing.active,
                yielding: standing.yielding,
                epoch: standing.epoch,
                active_at: active_at.clone(),
            };
            let changed = *held != role;
            if changed {
                tracing::info!(active = role.active, yielding = role.yielding, epoch = role.epoch.0, "role.changed");
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
    /// The peer address of the active origin.
    fn active_at(&self) -> Option<String> {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let pool = self.pool.borrow();
        let member = pool.as_ref()?.members.iter().find(|member| member.member == active)?;
        Some(member.peer.to_string())
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
    /// The epoch cannot be put on disk, and so cannot be taken.
    #[error("cannot store the epoch: {0}")]
    Store(#[from] io::Error),
}

#[cfg(test)]
mod tests;
