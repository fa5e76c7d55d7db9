//! Opening the file, or making it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use redb::{Builder, Database};

use super::{Contents, EVENTS, FORMAT, META, OpenError, POOLS, ROUTES, SEEDED, Store, backend::TimedFile, error, put};
use crate::metrics::StoreMetrics;

impl Store {
    /// Opens the store in a directory and reads all of it, or makes a new one where there is none. Blocks.
    pub(crate) fn open(dir: &Path, metrics: StoreMetrics) -> Result<(Self, Contents), OpenError> {
        let path = dir.join(FILE_NAME);
        let io = |error| OpenError::Io { path: path.clone(), error };
        fs::create_dir_all(dir).map_err(io)?;
        if !path.try_exists().map_err(io)? {
            create(dir, &path, &metrics)?;
        }
        if fs::metadata(&path).map_err(io)?.len() == 0 {
            // The database would take it for a new one.
            return Err(OpenError::Damaged { path, why: "it is empty".to_owned() });
        }
        let db = open_file(&path, &metrics)?;
        let store = Self { db, path: path.clone(), metrics };
        let contents = store.read().map_err(|unreadable| unreadable.at(path))?;
        store.metrics.revision.set(contents.revision as f64);
        Ok((store, contents))
    }
}

/// Checks every page: a file that was altered since it was written is not trusted.
fn open_file(path: &Path, metrics: &StoreMetrics) -> Result<Database, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
    let open = || {
        let backend = TimedFile::new(file, metrics.fsync.clone())?;
        builder().set_check_integrity_on_open(true).create_with_backend(backend)
    };
    // The library may panic on a file that it did not write; that too is a damaged file.
    let opened = catch_unwind(AssertUnwindSafe(open));
    let why = || "its content makes no sense".to_owned();
    let opened = opened.map_err(|_| OpenError::Damaged { path: path.to_owned(), why: why() })?;
    opened.map_err(|error| error::opening(error, path.to_owned()))
}

/// Makes the file under another name and moves it into place when it is whole: a crash leaves no half of a store.
fn create(dir: &Path, path: &Path, metrics: &StoreMetrics) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let temporary = dir.join(format!("{FILE_NAME}.new"));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary).map_err(io)?;
    let fill = || -> Result<(), redb::Error> {
        fill(&builder().create_with_backend(TimedFile::new(file, metrics.fsync.clone())?)?)
    };
    fill().map_err(|error| io(io::Error::other(error)))?;
    fs::rename(&temporary, path).map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

/// Makes a database a store without content.
pub(super) fn fill(db: &Database) -> Result<(), redb::Error> {
    let txn = db.begin_write()?;
    {
        let mut meta = txn.open_table(META)?;
        let id = format!("{:016x}", rand::random::<u64>());
        let written = put(&mut meta, "format", &FORMAT)
            .and_then(|()| put(&mut meta, "id", &id))
            .and_then(|()| put(&mut meta, "revision", &FIRST_REVISION))
            .and_then(|()| put(&mut meta, "routes_revision", &FIRST_REVISION));
        written.map_err(|error| redb::Error::Corrupted(error.to_string()))?;
        for table in [ROUTES, SEEDED, POOLS] {
            txn.open_table(table)?;
        }
        txn.open_table(EVENTS)?;
    }
    txn.commit()?;
    Ok(())
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// The file in `data_dir`.
const FILE_NAME: &str = "control-plane.redb";
/// The whole store fits.
const CACHE_BYTES: usize = 16 << 20;
/// A watch from revision 0 asks for a snapshot: revisions that somebody has begin at 1.
const FIRST_REVISION: u64 = 1;
