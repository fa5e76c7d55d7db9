//! Route entries in both forms, and their patterns: what was read is written and read again as the same. A table of them has
//! one answer for each stream.
#![no_main]

use std::collections::HashMap;

use cluster::{LoopCheck, Pattern, RouteConfig, RouteEntry, RouteMatch, RouteTable, parse_fms};
use libfuzzer_sys::fuzz_target;
use media::{DEFAULT_VHOST, StreamName, url};

/// More prove no more.
const LINES_MAX: usize = 64;

fuzz_target!(|text: &str| {
    let lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    lines.iter().for_each(|line| pattern(line));
    let entries = RouteConfig::into_entries(lines.iter().filter_map(|line| entry(line)).collect());
    let names: Vec<_> = lines.iter().filter_map(|line| url::parse_path(DEFAULT_VHOST, line).ok()).collect();
    let none = HashMap::new();
    for entry in &entries {
        // Whatever it finds, it comes to an end.
        let _found = LoopCheck { edges: &none }.check(entry, entries.iter().filter(|other| other.id != entry.id));
    }
    let own = entries.iter().skip(entries.len() / 2).cloned().collect();
    if let Ok(table) = RouteTable::new(entries.into_iter().rev().collect(), own) {
        names.iter().for_each(|name| decide(&table, name));
    }
});

fn pattern(text: &str) {
    if let Ok(pattern) = text.parse::<Pattern>() {
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
    if let Ok(matches) = RouteMatch::from_path(text) {
        assert_eq!(RouteMatch::from_path(&matches.to_string()), Ok(matches));
    }
}

/// An entry in either form.
fn entry(text: &str) -> Option<RouteConfig> {
    let classic = parse_fms(text).map(|(matches, target)| RouteConfig { name: None, matches, target });
    let config = classic.ok().or_else(|| serde_json::from_str(text).ok())?;
    let written = serde_json::to_string(&config).expect("an entry is plain data");
    let again: RouteConfig = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(again, config);
    Some(config)
}

/// The first that matches decides, and there is none that is more specific.
fn decide(table: &RouteTable, name: &StreamName) {
    let fits = |entry: &RouteEntry| entry.matches.mismatch(name).is_none();
    let decided = table.decide(name).map(|decided| decided.entry);
    assert_eq!(decided.as_ref(), table.entries().map(|(entry, _)| entry).find(|entry| fits(entry)));
    let best = table.entries().filter(|(entry, _)| fits(entry)).map(|(entry, _)| entry.matches.specificity()).max();
    assert_eq!(decided.as_ref().map(|entry| entry.matches.specificity()), best);
    let last = table.trace(name).pop().filter(|line| line.mismatch.is_none()).map(|line| line.entry);
    assert_eq!(last, decided);
}
