//! What happened in the cluster.

use std::{collections::BTreeMap, time::SystemTime};

use super::Steps;
use crate::status::Failure;

/// Keeps the last events.
pub trait EventLog: Send + Sync + 'static {
    /// Stored events, oldest first.
    fn events(&self) -> Vec<Event>;

    /// Events after a sequence; from 0 those that happen from now on. The revision of a step is the sequence.
    fn watch_events(&self, from_sequence: u64) -> Result<Steps<Event>, Failure>;
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// 1, 2, 3 …
    pub sequence: u64,
    /// When.
    pub time: SystemTime,
    /// A stable dotted code.
    pub code: String,
    /// The resource it concerns.
    pub subject: String,
    /// One sentence for people.
    pub message: String,
    /// Who asked for it; empty: the control plane itself.
    pub author: String,
    /// The reason given.
    pub reason: String,
    /// Everything else by name.
    pub details: BTreeMap<String, String>,
    /// How bad it is.
    pub severity: Severity,
}

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// As wanted.
    Info,
    /// Worth a look.
    Warning,
    /// Somebody must act.
    Alarm,
}

impl Severity {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Alarm => "alarm",
        }
    }
}
