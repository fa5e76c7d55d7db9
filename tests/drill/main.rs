//! What faults cost, as tables: every case of [`tests::failover`] again and again, on release builds.
//!
//! `make drill` builds the programs and runs it. A name given on the command line runs the sets whose name has it in it.
//! `HEADWATER_ROUNDS` is the number of rounds, 50 by default. Each set's table goes to its place in docs/failover.md.

mod page;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use tests::{
    failover::{Form, row::HEAD, sets},
    limits::raise_open_files,
};

fn main() {
    // `cargo test --benches` runs it too, with an argument that `cargo bench` does not give; there is nothing to test.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    raise_open_files();
    let form = form();
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| name.contains(argument));
    let mut failed = Vec::new();
    for set in sets::ALL.iter().filter(|set| wanted(set.name)) {
        println!("\n{}\n\n{HEAD}", set.title);
        let start = Instant::now();
        let mut lines = Vec::new();
        let shown = |row: &tests::failover::Row| {
            println!("{}", row.line());
            lines.push(row.line());
        };
        // One set that fails keeps no other from being measured.
        if catch_unwind(AssertUnwindSafe(|| set.run(form, shown))).is_err() {
            failed.push(set.name);
            continue;
        }
        println!("\n{} took {:?}", set.name, start.elapsed());
        page::put(set, &lines);
    }
    assert!(failed.is_empty(), "sets that did not end: {failed:?}");
}

fn form() -> Form {
    let rounds = std::env::var("HEADWATER_ROUNDS").ok().and_then(|text| text.parse().ok());
    Form { rounds: rounds.unwrap_or(Form::LONG.rounds), ..Form::LONG }
}
