//! The highest epoch heard of, on disk, and who granted it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cluster::Epoch;

/// The highest epoch heard. What is known is asked for and raised at once; the disk learns of it by [`EpochFile::store`],
/// which takes as long as a disk likes and holds up nobody but its caller.
#[derive(Debug)]
pub(super) struct EpochFile {
    path: PathBuf,
    known: Mutex<Held>,
    /// What is on disk, and locked while that changes.
    stored: Mutex<Held>,
    /// Why the disk did not take what it was last told.
    failed: Mutex<Option<String>>,
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
        Ok(Self { path, known: Mutex::new(held.clone()), stored: Mutex::new(held), failed: Mutex::default() })
    }

    /// The highest that is known.
    pub(super) fn epoch(&self) -> Epoch {
        lock(&self.known).epoch
    }

    /// Whether a grant of this epoch by this granter is the one that is known, as far as either is.
    pub(super) fn is_of(&self, epoch: Epoch, granter: &str) -> bool {
        let known = lock(&self.known);
        known.epoch != epoch || known.granter == granter || known.granter.is_empty() || granter.is_empty()
    }

    /// Raises what is known. True: the disk is to be told.
    pub(super) fn note(&self, epoch: Epoch, granter: &str) -> bool {
        let mut known = lock(&self.known);
        let names = epoch == known.epoch && known.granter.is_empty() && !granter.is_empty();
        let news = epoch > known.epoch || names;
        if news {
            *known = Held { epoch, granter: granter.to_owned() };
        }
        news
    }

    /// Brings the disk up to what is known: written beside, synced, renamed, and the directory synced. Blocks.
    pub(super) fn store(&self) -> io::Result<()> {
        let mut stored = lock(&self.stored);
        let known = lock(&self.known).clone();
        if *stored == known {
            return Ok(());
        }
        let written = self.write(&known);
        *lock(&self.failed) = written.as_ref().err().map(io::Error::to_string);
        written?;
        *stored = known;
        Ok(())
    }

    /// Why the disk did not take what it was last told, if it did not.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failed).clone()
    }

    /// As if it were being written, for as long as this is held.
    #[cfg(test)]
    pub(super) fn be_written(&self) -> impl Sized + '_ {
        lock(&self.stored)
    }

    fn write(&self, held: &Held) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        fs::write(&beside, format!("{} {}\n", held.epoch.0, held.granter))?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &self.path)?;
        match self.path.parent() {
            Some(dir) => fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// A panic while a lock was held left what it guards as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(file.note(Epoch(7), ""));
        file.store().unwrap();
        assert!(!file.note(Epoch(3), "s"));
        file.store().unwrap();
        assert_eq!(EpochFile::open(dir.path()).unwrap().epoch(), Epoch(7));
    }

    #[test]
    fn who_granted_the_epoch_is_known_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("epoch"), "7\n").unwrap();
        let file = EpochFile::open(dir.path()).unwrap();
        assert!(file.is_of(Epoch(7), "a") && file.is_of(Epoch(7), "b"), "nobody has said");
        assert!(file.note(Epoch(7), "a") && !file.note(Epoch(7), "b"));
        file.store().unwrap();
        let again = EpochFile::open(dir.path()).unwrap();
        assert!(again.is_of(Epoch(7), "a") && again.is_of(Epoch(7), "") && again.is_of(Epoch(8), "b"));
        assert!(!again.is_of(Epoch(7), "b"));
    }

    #[test]
    fn a_disk_that_takes_its_time_holds_up_nobody_who_asks() {
        let dir = tempfile::tempdir().unwrap();
        let file = EpochFile::open(dir.path()).unwrap();
        let _written = file.be_written();
        assert!(file.note(Epoch(7), "a"));
        assert_eq!((file.epoch(), file.is_of(Epoch(7), "b"), file.failure()), (Epoch(7), false, None));
    }

    #[test]
    fn a_disk_that_takes_nothing_is_known_until_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = EpochFile::open(dir.path()).unwrap();
        fs::create_dir(dir.path().join("epoch.new")).unwrap();
        file.note(Epoch(7), "a");
        assert!(file.store().is_err() && file.failure().is_some());
        fs::remove_dir(dir.path().join("epoch.new")).unwrap();
        file.store().unwrap();
        assert_eq!((file.failure(), EpochFile::open(dir.path()).unwrap().epoch()), (None, Epoch(7)));
    }

    #[test]
    fn a_damaged_epoch_file_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("epoch"), "seven").unwrap();
        let error = EpochFile::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("epoch") && error.contains("remove it"), "{error}");
    }
}
