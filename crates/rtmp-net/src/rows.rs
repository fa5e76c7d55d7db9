//! Viewers who are all sent the same sit in rows: one task writes for a whole row, socket after socket.
//!
//! What it costs to send something to a viewer is the kernel's write, and after it the memory that is touched beside. A row
//! touches a line of its list and the viewer's seat. A task for each viewer would touch its queue, its connection, its cursor
//! and its place among those who wait as well.
//!
//! A viewer sits down once it has been sent all that was shown. It gets up when its connection has something else to say, when
//! it wants less than all, or when its socket is full: from then on its own task writes, and it holds nobody up.

mod row;
mod watching;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use hub::{Item, Stream, WireForm};
use tokio::runtime::Handle;

pub use self::{
    row::Row,
    watching::{Due, Watching},
};
use crate::{outbox::chunks, pacing::Pressure};

/// The rows of all streams for viewers of one kind.
#[derive(Debug)]
pub struct Rows {
    manner: Arc<Manner>,
    register: Mutex<Register>,
}

/// What viewers of a kind are sent.
pub struct Manner {
    /// What their protocol makes of a group.
    pub form: WireForm,
    /// Makes it.
    pub make: fn(&[Arc<Item>]) -> Bytes,
    /// Where it is counted what all of them were sent.
    pub totals: Arc<dyn Totals>,
    /// Told how long it took to write to all.
    pub pressure: Pressure,
}

/// Where it is counted what a server has sent.
pub trait Totals: Send + Sync + 'static {
    /// So much more.
    fn add_sent(&self, bytes: u64, frames: u64);
}

/// Rows by the address of their stream; a row holds its stream, so no other stream gets that address.
#[derive(Debug, Default)]
struct Register {
    rows: HashMap<usize, Vec<Weak<Row>>>,
    /// So many streams are looked through for rows that are gone.
    sweep_at: usize,
}

/// So many viewers are no work for a second task.
const ROW_SEATS: usize = 64;
/// The least that is worth looking through.
const SWEEP_MIN: usize = 64;

impl Rows {
    /// None yet.
    pub fn new(manner: Manner) -> Self {
        Self { manner: Arc::new(manner), register: Mutex::default() }
    }

    /// None yet, for viewers who play a connection's first message stream.
    pub(crate) fn of_rtmp(totals: Arc<dyn Totals>, pressure: Pressure) -> Self {
        Self::new(Manner { form: WireForm::Rtmp, make: chunks, totals, pressure })
    }

    /// The row of the stream's viewers that has most room, of as many as there are threads for; a new one begins at `seq`.
    /// Its task runs where this is called.
    pub fn row(&self, stream: &Arc<Stream>, seq: u64) -> Arc<Row> {
        let mut register = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = register.of(stream);
        rows.retain(|row| row.upgrade().is_some_and(|row| row.is_open()));
        let emptiest = rows.iter().filter_map(Weak::upgrade).min_by_key(Arc::strong_count);
        if let Some(row) = emptiest
            && (Arc::strong_count(&row) <= ROW_SEATS || rows.len() >= Handle::current().metrics().num_workers())
        {
            return row;
        }
        let row = Row::begin(stream, seq, self.manner.clone());
        rows.push(Arc::downgrade(&row));
        row
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        let register = self.register.lock().unwrap_or_else(PoisonError::into_inner);
        register.rows.values().flatten().filter_map(Weak::upgrade).filter(|row| row.is_open()).count()
    }
}

impl Register {
    fn of(&mut self, stream: &Arc<Stream>) -> &mut Vec<Weak<Row>> {
        if self.rows.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.rows.retain(|_, rows| rows.iter().any(|row| row.strong_count() > 0));
            self.sweep_at = self.rows.len() * 2;
        }
        self.rows.entry(Arc::as_ptr(stream).addr()).or_default()
    }
}

impl fmt::Debug for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manner").field("form", &self.form).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
