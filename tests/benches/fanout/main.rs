//! What it costs to send one stream to many: Headwater, nginx with its RTMP module and a bare loop in turns, on one core each.
//!
//! `make bench` builds the programs in release form and runs it. A name given on the command line runs the sets whose name has it in
//! it. Each set's tables go to their place in docs/benchmarks.md. It asserts nothing about speed.
//!
//! `HEADWATER_RUNS` (5) is how often each line of the first set is measured, and each of what stalled viewers do; `HEADWATER_SECONDS`
//! (5) for how long.

mod bare;
mod cost;
mod flood;
mod joins;
mod load;
mod most;
mod page;
mod pin;
mod profile;
mod server;
mod stalled;

use std::time::Instant;

use anyhow::Result;
use tests::limits::raise_open_files;

use self::pin::Cores;

/// What all sets are told.
#[derive(Debug, Clone, Copy)]
struct Setting {
    cores: Cores,
    /// How often what is compared is measured.
    runs: usize,
    /// How long each time.
    seconds: u64,
}

/// A set: its name, and what measures it and returns its tables.
type Set = (&'static str, fn(Setting) -> Result<String>);

const SETS: [Set; 6] = [
    ("cost", cost::run),
    ("most", most::run),
    ("joins", joins::run),
    ("stalled", stalled::run),
    ("flood", flood::run),
    ("profile", profile::run),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    raise_open_files();
    match arguments.split_first() {
        // `cargo test --benches` runs it too, with an argument that `cargo bench` does not give; there is nothing to test.
        _ if arguments.iter().any(|argument| argument == "--test") => return Ok(()),
        Some((first, rest)) if first == bare::ARGUMENT => return Ok(bare::run(rest)?),
        _ => {}
    }
    let setting = Setting {
        cores: Cores::find(),
        runs: number("HEADWATER_RUNS", 5),
        seconds: number("HEADWATER_SECONDS", 5) as u64,
    };
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| name.contains(argument.as_str()));
    let mut failed = Vec::new();
    for (name, run) in SETS.into_iter().filter(|(name, _)| wanted(name)) {
        let start = Instant::now();
        // One set that fails keeps no other from being measured.
        match run(setting) {
            Ok(text) => {
                println!("\n## {name}\n\n{text}\n{name} took {:.0?}", start.elapsed());
                page::put(name, &text);
            }
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    anyhow::ensure!(failed.is_empty(), "sets that did not end:\n{}", failed.join("\n"));
    Ok(())
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).filter(|number| *number > 0).unwrap_or(default)
}
