//! All the route entries that a node knows, and which of them decides.

use std::{cmp::Reverse, collections::HashSet, fmt, sync::Arc};

use media::StreamName;

use super::{RouteEntry, Target};

/// How many entries a table holds at most. They are looked through in order; so many cost some ten microseconds.
pub const ROUTES_MAX: usize = 4096;

/// The entries of the control plane and of a node's own configuration, the most specific first.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    entry: Arc<RouteEntry>,
    source: RouteSource,
}

/// Where an entry comes from. At equal specificity the control plane's wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteSource {
    /// The control plane.
    ControlPlane,
    /// The node's own configuration.
    Own,
}

/// The entry that decides where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The entry.
    pub entry: Arc<RouteEntry>,
    /// Where it comes from.
    pub source: RouteSource,
}

impl RouteTable {
    /// Puts the entries in order. Within one source no two may have the same match or the same id.
    pub fn new(control_plane: Vec<RouteEntry>, own: Vec<RouteEntry>) -> Result<Self, TableError> {
        let mut rows = Vec::with_capacity(control_plane.len() + own.len());
        for (source, entries) in [(RouteSource::ControlPlane, control_plane), (RouteSource::Own, own)] {
            if entries.len() > ROUTES_MAX {
                return Err(TableError::TooMany);
            }
            refuse_conflicts(&entries)?;
            rows.extend(entries.into_iter().map(|entry| Row { entry: Arc::new(entry), source }));
        }
        rows.sort_by_cached_key(|row| (Reverse(row.entry.matches.specificity()), row.source, row.entry.id.clone()));
        Ok(Self { rows })
    }

    /// Where the stream goes; nothing when no entry matches, or when the one that decides refuses it.
    pub fn resolve(&self, name: &StreamName) -> Option<Match> {
        self.decide(name).filter(|decided| decided.entry.target != Target::Refuse)
    }

    /// The entry that decides, also when it refuses.
    pub fn decide(&self, name: &StreamName) -> Option<Match> {
        let row = self.rows.iter().find(|row| row.entry.matches.mismatch(name).is_none())?;
        Some(Match { entry: row.entry.clone(), source: row.source })
    }

    /// Why it decides so: the entries looked at, in order, the last of them the one that decides if any does.
    pub fn trace(&self, name: &StreamName) -> Vec<TraceLine> {
        let mut lines = Vec::new();
        for row in &self.rows {
            let mismatch = row.entry.matches.mismatch(name);
            lines.push(TraceLine { entry: row.entry.clone(), source: row.source, mismatch });
            if mismatch.is_none() {
                break;
            }
        }
        lines
    }

    /// The entries, the most specific first.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<RouteEntry>, RouteSource)> {
        self.rows.iter().map(|row| (&row.entry, row.source))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn refuse_conflicts(entries: &[RouteEntry]) -> Result<(), TableError> {
    let (mut ids, mut matches) = (HashSet::new(), HashSet::new());
    for entry in entries {
        if !ids.insert(&entry.id) {
            return Err(TableError::SameId(entry.id.to_string()));
        }
        if !matches.insert(&entry.matches) {
            return Err(TableError::SameMatch(entry.matches.to_string()));
        }
    }
    Ok(())
}

/// One entry that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceLine {
    /// The entry.
    pub entry: Arc<RouteEntry>,
    /// Where it comes from.
    pub source: RouteSource,
    /// The part that did not fit; none when the entry decides.
    pub mismatch: Option<&'static str>,
}

impl fmt::Display for TraceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            RouteSource::ControlPlane => "control plane",
            RouteSource::Own => "own configuration",
        };
        write!(f, "{} ({source}) {}: ", self.entry.id, self.entry.matches)?;
        match (self.mismatch, &self.entry.target) {
            (Some(part), _) => write!(f, "no, by its {part}"),
            (None, Target::Refuse) => f.write_str("decides, and refuses"),
            (None, _) => f.write_str("decides"),
        }
    }
}

/// Why entries do not make a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// More than [`ROUTES_MAX`] from one source.
    #[error("more than {ROUTES_MAX} route entries")]
    TooMany,
    /// Two with one id.
    #[error("two route entries are called {0}")]
    SameId(String),
    /// Two with one match: it would be chance which decides.
    #[error("two route entries match {0}")]
    SameMatch(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RouteConfig;

    fn entries(list: &[&str]) -> Vec<RouteEntry> {
        RouteConfig::into_entries(list.iter().map(|json| serde_json::from_str(json).unwrap()).collect())
    }

    fn decider(table: &RouteTable, path: &str) -> Option<String> {
        let (app, name) = path.rsplit_once('/').unwrap();
        table.resolve(&StreamName::from_app("_default", app, name).unwrap()).map(|found| found.entry.id.to_string())
    }

    #[test]
    fn the_more_specific_entry_wins_whatever_the_order_and_source() {
        let own = entries(&[r#"{"name":"foo","match":{"app":"live","stream":"foo"},"to":{"pool":"p"}}"#]);
        let control = entries(&[
            r#"{"name":"all","to":{"pool":"p"}}"#,
            r#"{"name":"live","match":{"app":"live"},"to":{"pool":"p"}}"#,
            r#"{"name":"li","match":{"app":"li*"},"to":{"pool":"p"}}"#,
        ]);
        let table = RouteTable::new(control, own).unwrap();
        for (path, id) in [("live/foo", "foo"), ("live/bar", "live"), ("list/x", "li"), ("vod/x", "all")] {
            assert_eq!(decider(&table, path).as_deref(), Some(id), "{path}");
        }
    }

    #[test]
    fn at_equal_specificity_the_control_plane_wins() {
        let control = entries(&[r#"{"name":"theirs","match":{"app":"live"},"to":{"pool":"p"}}"#]);
        let own = entries(&[r#"{"name":"mine","match":{"app":"live"},"to":{"pool":"p"}}"#]);
        let table = RouteTable::new(control, own).unwrap();
        assert_eq!(decider(&table, "live/a").as_deref(), Some("theirs"));
    }

    #[test]
    fn the_vhost_weighs_more_than_the_app() {
        let table = RouteTable::new(
            entries(&[
                r#"{"name":"app","match":{"app":"live","stream":"x"},"to":{"pool":"p"}}"#,
                r#"{"name":"vhost","match":{"vhost":"_default"},"to":{"pool":"p"}}"#,
            ]),
            vec![],
        )
        .unwrap();
        assert_eq!(decider(&table, "live/x").as_deref(), Some("vhost"));
    }

    #[test]
    fn a_refusing_entry_hides_the_less_specific_ones() {
        let table = RouteTable::new(
            entries(&[r#""*:*;a:1""#, r#"{"name":"no","match":{"app":"private"},"to":{"refuse":true}}"#]),
            vec![],
        )
        .unwrap();
        assert_eq!(decider(&table, "private/x"), None);
        assert_eq!(decider(&table, "live/x").as_deref(), Some("config-1"));
        assert_eq!(decider(&RouteTable::default(), "live/x"), None);
    }

    #[test]
    fn the_trace_names_each_entry_and_what_decided() {
        let table = RouteTable::new(
            entries(&[r#""*:*;a:1""#, r#"{"name":"vod","match":{"app":"vod"},"to":{"pool":"p"}}"#]),
            vec![],
        )
        .unwrap();
        let trace = table.trace(&StreamName::from_app("_default", "live", "x").unwrap());
        let lines: Vec<_> = trace.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["vod (control plane) *:vod/*/*: no, by its app", "config-1 (control plane) *:*/*/*: decides"]
        );
    }

    #[test]
    fn two_entries_that_match_the_same_are_refused() {
        let twice = entries(&[r#""*:*;a:1""#, r#""*:*;b:1""#]);
        assert_eq!(RouteTable::new(twice, vec![]).unwrap_err(), TableError::SameMatch("*:*/*/*".into()));
    }

    #[test]
    fn a_table_has_a_bound() {
        let entry = |n: usize| format!(r#"{{"match":{{"app":"a{n}"}},"to":{{"pool":"p"}}}}"#);
        let list: Vec<_> = (0..=ROUTES_MAX).map(entry).collect();
        let list = entries(&list.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(RouteTable::new(list, vec![]).unwrap_err(), TableError::TooMany);
    }
}
