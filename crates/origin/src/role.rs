//! What this origin is in its pool now.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cluster::Epoch;
use tokio::sync::watch;

/// Active or not, in which epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Role {
    /// True exactly while this origin serves as the active one.
    pub active: bool,
    /// The epoch of the newest word from the control plane.
    pub epoch: Epoch,
    /// Where the active origin's peer port is, if this one is not active and knows.
    pub active_at: Option<String>,
}

/// Whether this origin serves at this moment: the role as it has been carried out.
///
/// Follows the role: serving begins once the public port is open and positions are above those of earlier epochs, and
/// ends before anything is closed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Term {
    /// The epoch in which it serves, or the newest one it knows.
    pub epoch: Epoch,
    /// True while it serves.
    pub serving: bool,
    /// Where the active origin's peer port is, if this one does not serve and knows.
    pub active_at: Option<String>,
}

/// Holds the role and the highest epoch ever heard, which outlives the process.
#[derive(Debug)]
pub struct Roles {
    role: watch::Sender<Role>,
    heard: EpochFile,
}

impl Roles {
    /// A process that starts is standby, whatever its disk says.
    pub fn standby(data_dir: &Path) -> Result<Self, EpochFileError> {
        Ok(Self { role: watch::Sender::default(), heard: EpochFile::open(data_dir)? })
    }

    /// The role, to be watched.
    pub fn watch(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// The highest epoch heard of, also before this start.
    pub fn highest_epoch(&self) -> Epoch {
        self.heard.epoch().max(self.role.borrow().epoch)
    }

    /// The control plane says that this origin is active in `epoch`. A grant below the highest epoch heard is refused.
    pub fn grant(&self, epoch: Epoch) -> Result<(), GrantError> {
        let highest = self.highest_epoch();
        if epoch < highest {
            return Err(GrantError::Stale { epoch, highest });
        }
        self.heard.store(epoch)?;
        self.set(Role { active: true, epoch, active_at: None });
        Ok(())
    }

    /// Another origin is active, or none is known. Word from an older epoch is left unheard.
    pub fn stand_by(&self, epoch: Epoch, active_at: Option<String>) -> Result<(), GrantError> {
        if epoch < self.role.borrow().epoch {
            return Ok(());
        }
        self.heard.store(epoch.max(self.heard.epoch()))?;
        self.set(Role { active: false, epoch, active_at });
        Ok(())
    }

    fn set(&self, role: Role) {
        self.role.send_if_modified(|held| {
            let changed = *held != role;
            if changed {
                tracing::info!(active = role.active, epoch = role.epoch.0, "role.changed");
                *held = role;
            }
            changed
        });
    }
}

/// The highest epoch heard, on disk.
#[derive(Debug)]
struct EpochFile {
    path: PathBuf,
    epoch: watch::Sender<Epoch>,
}

impl EpochFile {
    fn open(data_dir: &Path) -> Result<Self, EpochFileError> {
        let path = data_dir.join("epoch");
        let error = |reason: String| EpochFileError { path: path.clone(), reason };
        fs::create_dir_all(data_dir).map_err(|e| error(e.to_string()))?;
        let epoch = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Epoch).map_err(|_| error("it is not a number".into()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Epoch::default(),
            Err(e) => return Err(error(e.to_string())),
        };
        Ok(Self { path, epoch: watch::Sender::new(epoch) })
    }

    fn epoch(&self) -> Epoch {
        *self.epoch.borrow()
    }

    /// On disk before anyone acts on it: written beside, synced, renamed.
    fn store(&self, epoch: Epoch) -> io::Result<()> {
        if epoch == self.epoch() {
            return Ok(());
        }
        let beside = self.path.with_extension("new");
        fs::write(&beside, format!("{}\n", epoch.0))?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &self.path)?;
        self.epoch.send_replace(epoch);
        Ok(())
    }
}

/// The highest epoch cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot use {}: {reason}; it must hold the highest epoch this origin has heard of. If it is damaged, remove it: \
     the control plane grants above every epoch that any node reports",
    path.display()
)]
pub struct EpochFileError {
    path: PathBuf,
    reason: String,
}

/// Why a grant is not taken.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// It is older than what this origin has heard.
    #[error("epoch {} is below {}, which was heard before", epoch.0, highest.0)]
    Stale {
        /// The epoch of the grant.
        epoch: Epoch,
        /// The highest heard.
        highest: Epoch,
    },
    /// The epoch cannot be put on disk, and so cannot be taken.
    #[error("cannot store the epoch: {0}")]
    Store(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_epoch_outlives_the_process_and_older_grants_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let roles = Roles::standby(dir.path()).unwrap();
        assert_eq!(*roles.watch().borrow(), Role::default());
        roles.grant(Epoch(7)).unwrap();
        assert!(roles.watch().borrow().active);
        roles.stand_by(Epoch(3), None).unwrap();
        assert!(roles.watch().borrow().active, "old word is left unheard");
        roles.stand_by(Epoch(8), Some("o2:9000".into())).unwrap();
        assert!(!roles.watch().borrow().active);

        let again = Roles::standby(dir.path()).unwrap();
        assert!(!again.watch().borrow().active, "a process that starts is standby");
        assert!(matches!(again.grant(Epoch(7)), Err(GrantError::Stale { .. })));
        again.grant(Epoch(9)).unwrap();
    }

    #[test]
    fn a_damaged_epoch_file_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("epoch"), "seven").unwrap();
        let error = Roles::standby(dir.path()).unwrap_err().to_string();
        assert!(error.contains("epoch") && error.contains("remove it"), "{error}");
    }
}
