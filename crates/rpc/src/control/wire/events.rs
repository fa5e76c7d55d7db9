//! Events.

use proto::control::v1 as pb;

use super::super::{Event, Severity, fields, list::Listed};
use crate::status::Failure;

pub(crate) fn event(event: Event) -> pb::Event {
    let severity = match event.severity {
        Severity::Info => pb::EventSeverity::Info,
        Severity::Warning => pb::EventSeverity::Warning,
        Severity::Alarm => pb::EventSeverity::Alarm,
    };
    pb::Event {
        name: format!("events/{}", event.sequence),
        sequence: event.sequence,
        time: fields::wire_moment(event.time),
        code: event.code,
        subject: event.subject,
        message: event.message,
        author: event.author,
        reason: event.reason,
        details: event.details.into_iter().collect(),
        severity: severity.into(),
    }
}

pub(crate) fn read_event(wire: pb::Event) -> Result<Event, Failure> {
    let severity = match pb::EventSeverity::try_from(wire.severity) {
        Ok(pb::EventSeverity::Info) => Severity::Info,
        Ok(pb::EventSeverity::Alarm) => Severity::Alarm,
        // A severity that is not known here is worth a look.
        Ok(pb::EventSeverity::Warning | pb::EventSeverity::Unspecified) | Err(_) => Severity::Warning,
    };
    Ok(Event {
        sequence: wire.sequence,
        time: fields::moment("event.time", wire.time)?,
        code: wire.code,
        subject: wire.subject,
        message: wire.message,
        author: wire.author,
        reason: wire.reason,
        details: wire.details.into_iter().collect(),
        severity,
    })
}

impl Listed for Event {
    const KEYS: &'static [&'static str] = &["code", "subject", "author", "severity"];
    const ORDER: &'static str = "sequence";

    fn words(key: &str) -> &'static [&'static str] {
        if key == "severity" { &["info", "warning", "alarm"] } else { &[] }
    }

    fn position(&self) -> String {
        format!("{:020}", self.sequence)
    }

    fn values(&self, key: &str) -> Vec<String> {
        match key {
            "code" => vec![self.code.clone()],
            "subject" => vec![self.subject.clone()],
            "author" => vec![self.author.clone()],
            "severity" => vec![self.severity.as_str().to_owned()],
            _ => vec![],
        }
    }
}
