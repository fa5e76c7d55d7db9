//! docs/failover.md: each set's table in its place.

use std::fs;

use tests::failover::{row::HEAD, sets::Set};

/// Puts the table of a set between its marks, with the machine that it was measured on.
pub fn put(set: &Set, lines: &[String]) {
    let file = tests::root().join("docs/failover.md");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (begin, end) = (format!("<!-- drill: {} -->\n", set.name), format!("<!-- end: {} -->", set.name));
    let place = text.find(&begin).map(|at| at + begin.len()).zip(text.find(&end));
    let Some((from, to)) = place.filter(|(from, to)| from <= to) else {
        return eprintln!("{} has no place for {}", file.display(), set.name);
    };
    let table = format!("{}\n\n{HEAD}\n{}\n", machine(), lines.join("\n"));
    let page = [&text[..from], &table, &text[to..]].concat();
    fs::write(&file, page).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// What was measured on.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, {cores} cores, Linux {}, release build.", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}
