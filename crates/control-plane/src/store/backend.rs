//! The file under the database, with its fsync timed.

use std::{fs::File, io, ops::Bound, time::Instant};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};
use telemetry::metrics::Histogram;

/// A file whose fsyncs are measured.
#[derive(Debug)]
pub(super) struct TimedFile {
    file: FileBackend,
    fsync: Histogram,
}

impl TimedFile {
    pub(super) fn new(file: File, fsync: Histogram) -> Result<Self, DatabaseError> {
        Ok(Self { file: FileBackend::new(file)?, fsync })
    }
}

impl StorageBackend for TimedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let began = Instant::now();
        self.file.sync_data()?;
        self.fsync.observe_duration(began.elapsed());
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}
