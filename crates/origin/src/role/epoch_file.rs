//! The highest epoch heard of, on disk.

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
    epoch: Mutex<Epoch>,
}

impl EpochFile {
    pub(super) fn open(data_dir: &Path) -> Result<Self, EpochFileError> {
        let path = data_dir.join("epoch");
        let error = |reason: String| EpochFileError { path: path.clone(), reason };
        fs::create_dir_all(data_dir).map_err(|e| error(e.to_string()))?;
        let epoch = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Epoch).map_err(|_| error("it is not a number".into()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Epoch::default(),
            Err(e) => return Err(error(e.to_string())),
        };
        Ok(Self { path, epoch: Mutex::new(epoch) })
    }

    pub(super) fn epoch(&self) -> Epoch {
        *self.held()
    }

    /// Raises it, on disk before this returns: written beside, synced, renamed, and the directory synced.
    pub(super) fn store(&self, epoch: Epoch) -> io::Result<()> {
        let mut held = self.held();
        if epoch <= *held {
            return Ok(());
        }
        let beside = self.path.with_extension("new");
        fs::write(&beside, format!("{}\n", epoch.0))?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(dir) = self.path.parent() {
            fs::File::open(dir)?.sync_all()?;
        }
        *held = epoch;
        Ok(())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Epoch> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
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
        file.store(Epoch(7)).unwrap();
        file.store(Epoch(3)).unwrap();
        assert_eq!(EpochFile::open(dir.path()).unwrap().epoch(), Epoch(7));
    }

    #[test]
    fn a_damaged_epoch_file_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("epoch"), "seven").unwrap();
        let error = EpochFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("epoch") && error.contains("remove it"), "{error}");
    }
}
