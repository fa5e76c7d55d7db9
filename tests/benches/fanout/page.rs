//! docs/benchmarks.md: each set's tables in their place.

use std::fs;

/// Puts text between the marks of a set, with the machine that it was measured on.
pub fn put(set: &str, text: &str) {
    let file = tests::root().join("docs/benchmarks.md");
    let page = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    match placed(&page, set, &format!("{}\n\n{text}", machine())) {
        Some(page) => fs::write(&file, page).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
        None => eprintln!("{} has no place for {set}", file.display()),
    }
}

/// The page with this text between the marks of a set.
fn placed(page: &str, set: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- bench: {set} -->\n"), format!("<!-- end: {set} -->"));
    let from = page.find(&begin)? + begin.len();
    let to = from + page[from..].find(&end)?;
    Some([&page[..from], text.trim_end(), "\n", &page[to..]].concat())
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

/// A table from its head and rows.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = "|---".to_owned() + &"|---:".repeat(head.len() - 1) + "|\n";
    [line(&head), rule, rows.iter().map(|row| line(row)).collect()].concat()
}

/// The middle of some numbers; of an even count the lower one.
pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len().saturating_sub(1) / 2).copied()
}
