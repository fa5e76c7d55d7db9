//! What can be wrong with the store, and what to do about it.

use std::{io, path::PathBuf};

use redb::{DatabaseError, StorageError};

/// Why the store is not opened. Nothing of the file has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the store {} is in use (locked) by another process: one control plane at a time may have it open; end the other \
         one (`fuser {0}` names it), or give data_dir another directory", path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is not what a control plane wrote.
    #[error(
        "the store {} is damaged ({why}): restore it from a copy; or, to begin anew, move it away: route entries and \
         events are then lost, the origins keep their streams and tell the new store their epoch", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A newer program wrote it.
    #[error(
        "the store {} was written by a newer version ({what}): start that version again, or restore a copy from before \
         the upgrade", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// The file or its directory cannot be read and written.
    #[error("the store {} cannot be opened: {error}; data_dir must be a directory that this process may write to", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Why a commit is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The disk or the database refuses. The store takes no more until the process is started again.
    #[error("{0}")]
    Storage(String),
    /// Another change of the pool came first.
    #[error("the pool {pool} has version {stored}, and the change was made from {given}")]
    Version {
        /// The pool.
        pool: String,
        /// The version in the store.
        stored: u64,
        /// The version that the change was made from.
        given: u64,
    },
}

/// Any error of the database while writing.
pub(super) fn storage(error: impl Into<redb::Error>) -> CommitError {
    CommitError::Storage(error.into().to_string())
}

/// Why the contents cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("{0}")]
    Database(#[from] redb::Error),
    #[error("a value is not what was written: {0}")]
    Value(#[from] serde_json::Error),
    #[error("there is no {0}")]
    Missing(String),
    #[error("format {format}")]
    Newer { format: u64 },
}

impl Unreadable {
    pub(super) fn missing(key: &str) -> Self {
        Self::Missing(key.to_owned())
    }

    pub(super) fn at(self, path: PathBuf) -> OpenError {
        match self {
            Self::Newer { .. } => OpenError::Newer { path, what: self.to_string() },
            other => OpenError::Damaged { path, why: other.to_string() },
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for Unreadable {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        })*
    };
}

from_redb!(redb::TransactionError, redb::TableError, StorageError);

pub(super) fn opening(error: DatabaseError, path: PathBuf) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::Locked { path },
        DatabaseError::UpgradeRequired(version) => OpenError::Newer { path, what: format!("file format {version}") },
        // What is no database at all is told as an error of input.
        DatabaseError::Storage(StorageError::Io(error)) if !is_of_content(&error) => OpenError::Io { path, error },
        other => OpenError::Damaged { path, why: other.to_string() },
    }
}

fn is_of_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
