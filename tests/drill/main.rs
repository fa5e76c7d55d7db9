//! What faults cost, as tables: every case of [`tests::failover`] again and again, on release builds.
//!
//! `make faults` builds the programs and runs it. Names on the command line choose what is run, in their order: `SET`, or `SET:CASE`.
//! `HEADWATER_ROUNDS` is the number of rounds, 50 by default; `HEADWATER_LANES` how many cases run side by side, each in a cluster
//! of its own, 1 by default. Each row goes to its place in docs/failover.md as soon as it is there; the rows of other cases stay.

mod wanted;

use std::{
    collections::VecDeque,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tests::{
    failover::{
        Form, Row, case, page,
        row::HEAD,
        sets::{self, Set},
    },
    limits::raise_open_files,
    standstill,
};
use wanted::{Wanted, wanted};

fn main() {
    // `cargo test --benches` runs it too, with an argument that `cargo bench` does not give; there is nothing to test.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if arguments == [standstill::ARGUMENT] {
        return standstill::run();
    }
    let queue = match wanted(&arguments) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    raise_open_files();
    if let Err(error) = standstill::watch() {
        eprintln!("whether the machine stands still is not watched: {error}");
    }
    let drill = Drill {
        form: Form { rounds: number("HEADWATER_ROUNDS").unwrap_or(Form::LONG.rounds), ..Form::LONG },
        lanes: number("HEADWATER_LANES").unwrap_or(1).max(1),
        queue: Mutex::new(queue.into()),
        done: Mutex::new(Done::default()),
    };
    std::thread::scope(|scope| (0..drill.lanes).for_each(|_| drop(scope.spawn(|| drill.lane()))));
    let done = lock(&drill.done);
    for set in sets::ALL {
        let of_set = |row: &&Row| set.cases.iter().any(|case| std::ptr::eq(case, row.case));
        let lines: Vec<String> = done.rows.iter().filter(of_set).map(Row::line).collect();
        if !lines.is_empty() {
            println!("\n{}\n\n{HEAD}\n{}", set.title, lines.join("\n"));
        }
    }
    assert!(done.failed.is_empty(), "cases that did not end: {:?}", done.failed);
}

/// What is to be done, and what came of it.
struct Drill {
    form: Form,
    lanes: usize,
    queue: Mutex<VecDeque<Wanted>>,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    rows: Vec<Row>,
    failed: Vec<String>,
}

impl Drill {
    /// Runs one case after the other, until none is left.
    fn lane(&self) {
        loop {
            let Some(Wanted { set, case }) = lock(&self.queue).pop_front() else { return };
            let name = format!("{}:{}", set.name, case.name);
            let start = Instant::now();
            let cases = std::slice::from_ref(case);
            // One case that fails keeps no other from being measured.
            let run = || case::run(cases, self.form, &mut |row| self.show(set, row));
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                lock(&self.done).failed.push(name.clone());
            }
            let took = start.elapsed();
            let each = took / u32::try_from(self.form.rounds.max(1)).unwrap_or(u32::MAX);
            println!("{name} took {took:.0?}, {each:.1?} a round");
        }
    }

    fn show(&self, set: &Set, row: &Row) {
        let mut done = lock(&self.done);
        println!("{}", row.line());
        for cut in row.viewer_cuts.iter().take(CUTS_SHOWN) {
            println!("  cut: {cut}");
        }
        if !row.failures.is_empty() {
            done.failed.push(format!("{}:{}, {:?}", set.name, row.case.name, row.failures));
        }
        done.rows.push(row.clone());
        let file = tests::root().join("docs/failover.md");
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        match page::with_row(&text, set, row, &self.machine()) {
            Some(page) => fs::write(&file, page).unwrap_or_else(|error| panic!("{}: {error}", file.display())),
            None => eprintln!("{} has no place for {}", file.display(), set.name),
        }
    }

    /// What was measured on, and how.
    fn machine(&self) -> String {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
        let kernel = read("/proc/sys/kernel/osrelease");
        let (model, kernel) = (model.trim_start_matches([' ', '\t', ':']), kernel.trim());
        let beside = match self.lanes {
            1 => String::new(),
            lanes => format!(", up to {lanes} clusters side by side"),
        };
        let viewers = self.form.viewers;
        format!("{model}, {cores} cores, Linux {kernel}, release build, {viewers} viewers{beside}.")
    }
}

/// Of so many viewers that were cut the reason is printed.
const CUTS_SHOWN: usize = 5;

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What a lane that panicked has left counts all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
