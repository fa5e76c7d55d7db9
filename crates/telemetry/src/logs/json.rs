//! One event as one line of JSON.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Formats events: `{"ts":…,"level":…,"event":…,<fields of the event, its spans, the process>,"target":…}`.
///
/// The message is the event's code, e.g. `info!(stream = %name, "publish.started")`. Where an outer field has the name
/// of an inner one, the inner one is shown.
pub(super) struct Events {
    constant: Vec<(&'static str, String)>,
}

impl Events {
    pub(super) fn new(constant: Vec<(&'static str, String)>) -> Self {
        Self { constant }
    }
}

impl<S, N> FormatEvent<S, N> for Events
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in ctx.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(text) = extensions.get::<FormattedFields<N>>() else { continue };
            let Ok(outer) = serde_json::from_str::<Map<String, Value>>(text) else { continue };
            outer.into_iter().for_each(|(name, value)| fields.add(&name, value));
        }
        for (name, value) in &self.constant {
            fields.add(name, Value::from(value.as_str()));
        }
        fields.add("target", Value::from(event.metadata().target()));
        let mut ts = String::new();
        SystemTime.format_time(&mut Writer::new(&mut ts))?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        write!(out, "{{\"ts\":\"{ts}\",\"level\":\"{level}\",\"event\":{}", Value::from(fields.event))?;
        for (name, value) in fields.rest {
            write!(out, ",{}:{value}", Value::from(name))?;
        }
        out.write_str("}\n")
    }
}

/// The fields of an event in the order in which they were given.
#[derive(Default)]
struct Fields {
    event: String,
    rest: Vec<(String, Value)>,
}

impl Fields {
    fn add(&mut self, name: &str, value: Value) {
        if !matches!(name, "ts" | "level" | "event") && !self.rest.iter().any(|(known, _)| known == name) {
            self.rest.push((name.to_owned(), value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail; a Debug that fails leaves what it wrote.
            let _ = write!(self.event, "{value:?}");
        } else {
            self.add(field.name(), Value::from(format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.event),
            name => self.add(name, Value::from(value)),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn lines_of(work: impl FnOnce()) -> Vec<Value> {
        let page = Page::default();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(tracing_subscriber::fmt::format::JsonFields::new())
            .event_format(Events::new(vec![("node", "edge-1".into())]))
            .with_writer(page.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = page.0.lock().expect("not poisoned").clone();
        let text = String::from_utf8(bytes).expect("JSON is UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    #[test]
    fn event_is_one_line_with_its_code_and_typed_fields() {
        let lines = lines_of(|| tracing::info!(stream = %"live/a", epoch = 7, took = 0.5, "publish.started"));
        let line = &lines[0];
        assert_eq!(lines.len(), 1);
        assert_eq!(line["event"], "publish.started");
        assert_eq!(line["level"], "info");
        assert_eq!((&line["stream"], &line["epoch"], &line["took"]), (&"live/a".into(), &7.into(), &0.5.into()));
        assert_eq!(line["node"], "edge-1");
        assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z') && ts.contains('T')));
    }

    #[test]
    fn span_fields_are_shown_and_the_inner_one_wins() {
        let lines = lines_of(|| {
            let span = tracing::info_span!("session", peer = %"192.0.2.1", stream = "outer");
            span.in_scope(|| tracing::warn!(stream = "inner", "session.closed"));
        });
        assert_eq!(lines[0]["peer"], "192.0.2.1");
        assert_eq!(lines[0]["stream"], "inner");
    }

    #[test]
    fn line_breaks_and_quotes_cannot_forge_a_line() {
        let lines = lines_of(|| tracing::info!(name = "a\"}\n{\"event\":\"forged\"", "publish.refused"));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["event"], "publish.refused");
    }
}
