//! The highest epoch heard of, on disk, and who granted it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cluster::Epoch;

/// The highest epoch heard, on disk.
#[derive(Debug)]
pub(super) struct EpochFile {
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Held {
    epoch: Epoch,
    /// Which start of which store granted it; empty as long as only others have told of it.
    granter: String,
}

impl EpochFile {
    pub(super) fn open(data_dir: &Path) -> Result<Self, EpochFileError> {
        let path = data_dir.join("epoch");
        let error = |reason: String| EpochFileError { path: path.clone(), reason };
        fs::create_dir_all(data_dir).map_err(|e| error(e.to_string()))?;
        let held = match fs::read_to_string(&path) {
            Ok(text) => Held::parse(&text).ok_or_else(|| error("it does not begin with a number".into()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Held::default(),
            Err(e) => return Err(error(e.to_string())),
        };
        Ok(Self { path, held: Mutex::new(held) })
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.held().epoch
    }

    /// Whether a grant of this epoch by this granter is the one that is known, as far as either is.
    pub(super) fn is_of(&self, epoch: Epoch, granter: &str) -> bool {
        let held = self.held();
        held.epoch != epoch || held.granter == granter || held.granter.is_empty() || granter.is_empty()
    }

    /// Raises it, on disk before this returns: written beside, synced, renamed, and the directory synced.
    pub(super) fn store(&self, epoch: Epoch, granter: &str) -> io::Result<()> {
        let mut held = self.held();
        let names = epoch == held.epoch && held.granter.is_empty() && !granter.is_empty();
        if epoch <= held.epoch && !names {
            return Ok(());
        }
        let next = Held { epoch, granter: granter.to_owned() };
        let beside = self.path.with_extension("new");
        fs::write(&beside, format!("{} {}\n", next.epoch.0, next.granter))?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(dir) = self.path.parent() {
            fs::File::open(dir)?.sync_all()?;
        }
        *held = next;
        Ok(())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// A number, and who granted it where that is known.
    fn parse(text: &str) -> Option<Self> {
        let (epoch, granter) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        Some(Self { epoch: Epoch(epoch.parse().ok()?), granter: granter.to_owned() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_epoch_outlives_the_process_and_is_never_lowered() {
        let dir = tempfile::tempdir().unwrap();
        let file = EpochFile::open(dir.path()).unwrap();
        assert_eq!(file.epoch(), Epoch(0));
        file.store(Epoch(7), "").unwrap();
        file.store(Epoch(3), "s").unwrap();
        assert_eq!(EpochFile::open(dir.path()).unwrap().epoch(), Epoch(7));
    }

    #[test]
    fn who_granted_the_epoch_is_known_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("epoch"), "7\n").unwrap();
        let file = EpochFile::open(dir.path()).unwrap();
        assert!(file.is_of(Epoch(7), "a") && file.is_of(Epoch(7), "b"), "nobody has said");
        file.store(Epoch(7), "a").unwrap();
        file.store(Epoch(7), "b").unwrap();
        let again = EpochFile::open(dir.path()).unwrap();
        assert!(again.is_of(Epoch(7), "a") && again.is_of(Epoch(7), "") && again.is_of(Epoch(8), "b"));
        assert!(!again.is_of(Epoch(7), "b"));
    }

    #[test]
    fn a_damaged_epoch_file_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("epoch"), "seven").unwrap();
        let error = EpochFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("epoch") && error.contains("remove it"), "{error}");
    }
}
