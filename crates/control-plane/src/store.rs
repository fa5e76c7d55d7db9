//! The file that outlives the process: route entries, pool records, starts of nodes, events.
//!
//! An embedded redb database. A commit is on disk (fsync) before anybody is told of it; one process at a time may have
//! the file open; a file that is damaged, or that a newer program wrote, is refused with what to do about it.

mod backend;
mod error;
mod open;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use cluster::{NodeId, PoolId, PoolRecord, RouteId, Starts};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};

pub use error::{CommitError, OpenError};

use crate::{events::StoredEvent, metrics::StoreMetrics, routes::RouteRecord};

const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
const ROUTES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("routes");
const SEEDED: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("seeded");
const POOLS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("pools");
/// A store of before there was this table is as one in which it is empty.
const STARTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("starts");
const EVENTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("events");

/// The layout of the tables; a program refuses a higher one than its own.
const FORMAT: u64 = 1;

/// The open file.
pub struct Store {
    db: Database,
    path: PathBuf,
    metrics: StoreMetrics,
}

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Contents {
    /// Random, new with each store.
    pub(crate) id: String,
    /// Of the last commit.
    pub(crate) revision: u64,
    /// Of the last commit that changed a route entry.
    pub(crate) routes_revision: u64,
    /// The route entries.
    pub(crate) routes: Vec<RouteRecord>,
    /// Which entries of the configuration have been taken over, with a digest of each.
    pub(crate) seeded: BTreeMap<String, String>,
    /// The pool records.
    pub(crate) pools: Vec<PoolRecord>,
    /// Which starts of each node there were.
    pub(crate) starts: Vec<Starts>,
    /// The last events, oldest first.
    pub(crate) events: Vec<StoredEvent>,
}

/// One change of the file.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// A route entry that is new or has changed.
    PutRoute(RouteRecord),
    /// A route entry that is gone.
    DeleteRoute(RouteId),
    /// An entry of the configuration that was taken over, with its digest.
    Seed(String, String),
    /// An entry that is no longer in the configuration.
    Unseed(String),
    /// A pool record, made from the one that has this version.
    PutPool {
        /// The record.
        record: PoolRecord,
        /// That version.
        after: u64,
    },
    /// The starts of a node.
    PutStarts(Starts),
    /// A node is no longer known.
    DeleteStarts(NodeId),
}

/// Changes that are made together or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Their revision: one above that of the batch before.
    pub(crate) revision: u64,
    /// What changes.
    pub(crate) writes: Vec<Write>,
    /// What is to be remembered.
    pub(crate) events: Vec<StoredEvent>,
    /// Events up to this sequence go.
    pub(crate) forget_events_through: u64,
}

impl Store {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the changes and returns once they are on disk. Blocks: call it where that is allowed.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(), CommitError> {
        let began = Instant::now();
        let txn = self.db.begin_write().map_err(error::storage)?;
        apply(&txn, batch)?;
        txn.commit().map_err(error::storage)?;
        self.metrics.commit.observe_duration(began.elapsed());
        self.metrics.revision.set(batch.revision as f64);
        Ok(())
    }

    fn read(&self) -> Result<Contents, error::Unreadable> {
        let txn = self.db.begin_read()?;
        let meta = txn.open_table(META)?;
        let text = |key: &str| -> Result<String, error::Unreadable> {
            let value = meta.get(key)?.ok_or_else(|| error::Unreadable::missing(key))?;
            decode(value.value())
        };
        let number = |key: &str| -> Result<u64, error::Unreadable> {
            let value = meta.get(key)?.ok_or_else(|| error::Unreadable::missing(key))?;
            decode(value.value())
        };
        let format = number("format")?;
        if format > FORMAT {
            return Err(error::Unreadable::Newer { format });
        }
        Ok(Contents {
            id: text("id")?,
            revision: number("revision")?,
            routes_revision: number("routes_revision")?,
            routes: values(&txn.open_table(ROUTES)?)?,
            seeded: pairs(&txn.open_table(SEEDED)?)?,
            pools: values(&txn.open_table(POOLS)?)?,
            starts: match txn.open_table(STARTS) {
                Ok(starts) => values(&starts)?,
                Err(TableError::TableDoesNotExist(_)) => Vec::new(),
                Err(error) => return Err(error.into()),
            },
            events: values(&txn.open_table(EVENTS)?)?,
        })
    }
}

fn values<K: redb::Key + 'static, T: DeserializeOwned>(
    table: &impl ReadableTable<K, &'static [u8]>,
) -> Result<Vec<T>, error::Unreadable> {
    let mut values = Vec::new();
    for row in table.iter()? {
        values.push(decode(row?.1.value())?);
    }
    Ok(values)
}

fn pairs(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<BTreeMap<String, String>, error::Unreadable> {
    let mut pairs = BTreeMap::new();
    for row in table.iter()? {
        let (key, value) = row?;
        pairs.insert(key.value().to_owned(), decode(value.value())?);
    }
    Ok(pairs)
}

fn apply(txn: &WriteTransaction, batch: &Batch) -> Result<(), CommitError> {
    let mut meta = txn.open_table(META).map_err(error::storage)?;
    let changes_routes = |write: &Write| matches!(write, Write::PutRoute(_) | Write::DeleteRoute(_));
    put(&mut meta, "revision", &batch.revision)?;
    if batch.writes.iter().any(changes_routes) {
        put(&mut meta, "routes_revision", &batch.revision)?;
    }
    for write in &batch.writes {
        match write {
            Write::PutRoute(route) => put_in(txn, ROUTES, route.entry.id.as_str(), route)?,
            Write::DeleteRoute(id) => delete_in(txn, ROUTES, id.as_str())?,
            Write::Seed(id, digest) => put_in(txn, SEEDED, id, digest)?,
            Write::Unseed(id) => delete_in(txn, SEEDED, id)?,
            Write::PutStarts(starts) => put_in(txn, STARTS, starts.node.as_str(), starts)?,
            Write::DeleteStarts(node) => delete_in(txn, STARTS, node.as_str())?,
            Write::PutPool { record: pool, after } => {
                let stored = stored_version(txn, &pool.id)?;
                if *after != stored || pool.version <= stored {
                    return Err(CommitError::Version { pool: pool.id.to_string(), stored, given: *after });
                }
                put_in(txn, POOLS, pool.id.as_str(), pool)?;
            }
        }
    }
    let mut events = txn.open_table(EVENTS).map_err(error::storage)?;
    for event in &batch.events {
        events.insert(event.sequence, encode(event).as_slice()).map_err(error::storage)?;
    }
    events.retain_in(..=batch.forget_events_through, |_, _| false).map_err(error::storage)?;
    Ok(())
}

fn stored_version(txn: &WriteTransaction, pool: &PoolId) -> Result<u64, CommitError> {
    let pools = txn.open_table(POOLS).map_err(error::storage)?;
    let stored = pools.get(pool.as_str()).map_err(error::storage)?;
    let Some(stored) = stored else { return Ok(0) };
    let record: PoolRecord = decode(stored.value()).map_err(|why| CommitError::Storage(why.to_string()))?;
    Ok(record.version)
}

fn put_in(
    txn: &WriteTransaction,
    table: TableDefinition<'static, &'static str, &'static [u8]>,
    key: &str,
    value: &impl Serialize,
) -> Result<(), CommitError> {
    put(&mut txn.open_table(table).map_err(error::storage)?, key, value)
}

fn delete_in(
    txn: &WriteTransaction,
    table: TableDefinition<'static, &'static str, &'static [u8]>,
    key: &str,
) -> Result<(), CommitError> {
    txn.open_table(table).map_err(error::storage)?.remove(key).map_err(error::storage)?;
    Ok(())
}

fn put(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    key: &str,
    value: &impl Serialize,
) -> Result<(), CommitError> {
    table.insert(key, encode(value).as_slice()).map_err(error::storage)?;
    Ok(())
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data can be written as JSON")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, error::Unreadable> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
pub(crate) mod tests;
