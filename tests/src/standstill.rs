//! Whether the machine stood still. A hypervisor that gives the cores of a virtual machine to others stops all that runs on them:
//! what is measured meanwhile says nothing of the programs.
//!
//! On each core a process of real-time priority, which no other here keeps waiting, sleeps again and again, and tells how late it
//! wakes. It is this program, started again under `chrt` and `taskset`.

use std::{
    env,
    io::{self, BufRead as _, BufReader},
    os::unix::process::parent_id,
    process::{ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The argument that says that this is such a process: it calls [`run`].
pub const ARGUMENT: &str = "standstill";

/// It sleeps so long.
const SLEEP: Duration = Duration::from_millis(2);
/// Less is told of nobody: a busy kernel is as late.
const TOLD: Duration = Duration::from_millis(5);
const WATCHING: &str = "watching";

/// What was told since [`watch`].
static TOLD_SO_FAR: OnceLock<Mutex<Vec<Standstill>>> = OnceLock::new();

/// A core that stood still.
#[derive(Debug, Clone, Copy)]
struct Standstill {
    /// When it went on, in milliseconds since 1970.
    until_ms: u64,
    ms: u64,
}

/// Watches all cores for as long as this process lives.
///
/// # Errors
/// Nobody may have real-time priority here, or a program is missing.
pub fn watch() -> io::Result<()> {
    for core in 0..thread::available_parallelism()?.get() {
        let mut command = Command::new("chrt");
        command.args(["--fifo", "50", "taskset", "--cpu-list", &core.to_string()]);
        command.arg(env::current_exe()?).arg(ARGUMENT);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut lines = child.stdout.take().map(BufReader::new).ok_or(io::ErrorKind::BrokenPipe)?;
        let mut first = String::new();
        lines.read_line(&mut first)?;
        if first.trim_end() != WATCHING {
            return Err(io::Error::other(format!("core {core} is not watched: {}", child.wait()?)));
        }
        thread::spawn(move || {
            note(lines);
            // It ends with us, or was ended: then nothing is told of its core any more.
            eprintln!("core {core} is watched no more: {:?}", child.wait());
        });
    }
    Ok(())
}

fn note(lines: BufReader<ChildStdout>) {
    for line in lines.lines().map_while(Result::ok) {
        let numbers = line.split_once(' ').and_then(|(at, ms)| Some((at.parse().ok()?, ms.parse().ok()?)));
        if let Some((until_ms, ms)) = numbers {
            told().push(Standstill { until_ms, ms });
        }
    }
}

fn told() -> MutexGuard<'static, Vec<Standstill>> {
    TOLD_SO_FAR.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// For how long a core stood still at the longest, of all that were still at some moment of this time. Zero, too, if nobody
/// watches.
pub fn longest(from: SystemTime, to: SystemTime) -> Duration {
    longest_of(&told(), from, to)
}

fn longest_of(told: &[Standstill], from: SystemTime, to: SystemTime) -> Duration {
    let [from_ms, to_ms] = [from, to].map(since_1970);
    let touches = |still: &&Standstill| still.until_ms >= from_ms && still.until_ms.saturating_sub(still.ms) <= to_ms;
    Duration::from_millis(told.iter().filter(touches).map(|still| still.ms).max().unwrap_or_default())
}

/// Tells how late it wakes, on a line each time: when, and how many milliseconds. Until whoever started it is gone.
pub fn run() {
    println!("{WATCHING}");
    let parent = parent_id();
    while parent_id() == parent {
        let asleep = Instant::now();
        thread::sleep(SLEEP);
        let late = asleep.elapsed().saturating_sub(SLEEP);
        if late >= TOLD {
            println!("{} {}", since_1970(SystemTime::now()), late.as_millis());
        }
    }
}

fn since_1970(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_the_time_counts() {
        let told = [(100, 30), (200, 10), (300, 50)].map(|(until_ms, ms)| Standstill { until_ms, ms });
        let longest = |from, to| {
            let [from, to] = [from, to].map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
            longest_of(&told, from, to).as_millis()
        };
        assert_eq!(longest(0, 60), 0);
        assert_eq!(longest(0, 70), 30);
        assert_eq!(longest(101, 240), 10);
        assert_eq!(longest(101, 260), 50);
        assert_eq!(longest(301, 900), 0);
    }
}
