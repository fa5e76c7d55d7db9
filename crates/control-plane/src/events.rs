//! What happened: made here, stored by the writer, told to watchers.

use std::{collections::BTreeMap, fmt};

use rpc::{
    auth::Caller,
    control::{Event, EventLog, Severity, Steps},
    status::Failure,
};
use serde::{Deserialize, Serialize};

use crate::{notices::Receipt, plane::ControlPlane, time};

/// Something that happened and has no sequence yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    code: &'static str,
    subject: String,
    message: String,
    author: String,
    reason: String,
    details: BTreeMap<String, String>,
    severity: Severity,
    at_unix_ms: u64,
    receipt: Option<Receipt>,
}

impl Draft {
    /// As wanted: the stable code, the resource it concerns, one sentence.
    pub(crate) fn info(code: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            subject: subject.into(),
            message: message.into(),
            author: String::new(),
            reason: String::new(),
            details: BTreeMap::new(),
            severity: Severity::Info,
            at_unix_ms: time::unix_ms(),
            receipt: None,
        }
    }

    /// Worth a look.
    pub(crate) fn warning(code: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::info(code, subject, message) }
    }

    /// Somebody should be woken.
    pub(crate) fn alarm(code: &'static str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Alarm, ..Self::info(code, subject, message) }
    }

    /// Who asked for it, and why.
    pub(crate) fn by(self, caller: Caller, reason: &str) -> Self {
        self.asked_by(&caller.to_string(), reason)
    }

    /// As `by`, for one who asked a while ago; nobody when the author is empty.
    pub(crate) fn asked_by(self, author: &str, reason: &str) -> Self {
        Self { author: author.to_owned(), reason: reason.to_owned(), ..self }
    }

    /// One more detail.
    pub(crate) fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.details.insert(key.to_owned(), value.to_string());
        self
    }

    /// To be acknowledged to the node that told of it, once it is stored.
    pub(crate) fn answered_by(self, receipt: Receipt) -> Self {
        Self { receipt: Some(receipt), ..self }
    }

    /// What is to be acknowledged.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        self.receipt.clone()
    }

    /// With its place in the order; logged on the way.
    pub(crate) fn numbered(self, sequence: u64) -> StoredEvent {
        let Self { code, subject, message, author, reason, details, severity, at_unix_ms, receipt: _ } = self;
        match severity {
            Severity::Info => tracing::info!(subject, author, reason, told = message, "{code}"),
            Severity::Warning => tracing::warn!(subject, author, reason, told = message, "{code}"),
            Severity::Alarm => tracing::error!(subject, author, reason, told = message, "{code}"),
        }
        let severity = severity.as_str().to_owned();
        StoredEvent { sequence, at_unix_ms, code: code.to_owned(), subject, message, author, reason, details, severity }
    }
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEvent {
    pub(crate) sequence: u64,
    at_unix_ms: u64,
    code: String,
    subject: String,
    message: String,
    author: String,
    reason: String,
    details: BTreeMap<String, String>,
    severity: String,
}

impl From<StoredEvent> for Event {
    fn from(stored: StoredEvent) -> Self {
        let severities = [Severity::Info, Severity::Alarm];
        let severity = severities.into_iter().find(|severity| severity.as_str() == stored.severity);
        Self {
            sequence: stored.sequence,
            time: time::moment(stored.at_unix_ms),
            code: stored.code,
            subject: stored.subject,
            message: stored.message,
            author: stored.author,
            reason: stored.reason,
            details: stored.details,
            severity: severity.unwrap_or(Severity::Warning),
        }
    }
}

impl EventLog for ControlPlane {
    fn events(&self) -> Vec<Event> {
        self.inner.events.kept()
    }

    fn watch_events(&self, from_sequence: u64) -> Result<Steps<Event>, Failure> {
        self.inner.events.watch_from_now(from_sequence)
    }
}
