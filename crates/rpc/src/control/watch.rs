//! What every watch gives.

use std::pin::Pin;

use futures_util::Stream;

use crate::status::Failure;

/// The steps of a watch: a snapshot (unless it resumes) and its bookmark, then changes and heartbeats, without end.
///
/// Whoever receives them keeps what it knew until the first step, and gives it up at the bookmark of a snapshot.
pub type Steps<T> = Pin<Box<dyn Stream<Item = Result<Step<T>, Failure>> + Send>>;

/// One step of a watch.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<T> {
    /// Everything up to here has been told once this step is applied; a watch may resume from it.
    pub revision: u64,
    /// What it tells.
    pub event: Watched<T>,
}

/// What a step tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched<T> {
    /// One of the things that there are.
    Snapshot(T),
    /// These were all, or the revision to resume from is accepted.
    Bookmark,
    /// A thing that is new or has changed.
    Put(T),
    /// The resource name of a thing that is gone.
    Deleted(String),
    /// Nothing has changed; the server is alive.
    Heartbeat,
}

impl<T> Step<T> {
    /// The same step of a watch over something made of these things.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Step<U> {
        let event = match self.event {
            Watched::Snapshot(thing) => Watched::Snapshot(make(thing)),
            Watched::Put(thing) => Watched::Put(make(thing)),
            Watched::Bookmark => Watched::Bookmark,
            Watched::Deleted(name) => Watched::Deleted(name),
            Watched::Heartbeat => Watched::Heartbeat,
        };
        Step { revision: self.revision, event }
    }
}
