//! A program that a test starts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::wait;

/// A running program. Its output goes to files; it is killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts the command; its output goes to `DIR/NAME.out` and `DIR/NAME.err`.
    #[track_caller]
    pub fn spawn(name: &str, dir: &Path, command: Command) -> Self {
        Self::spawn_reading(name, dir, command, Stdio::null())
    }

    #[track_caller]
    fn spawn_reading(name: &str, dir: &Path, mut command: Command, input: Stdio) -> Self {
        let (stdout, stderr) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let file = |path: &Path| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        command.stdin(input).stdout(file(&stdout)).stderr(file(&stderr));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { name: name.to_owned(), child, ended: None, stdout, stderr }
    }

    /// The same; what is written to the handle is its input.
    #[track_caller]
    pub fn spawn_with_input(name: &str, dir: &Path, command: Command) -> (Self, ChildStdin) {
        let mut this = Self::spawn_reading(name, dir, command, Stdio::piped());
        let input = this.child.stdin.take().expect("it was asked for");
        (this, input)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Its status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the child is ours to wait for");
        }
        self.ended
    }

    /// Waits for its end; panics with its errors when that does not come.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match wait::maybe(limit, || self.ended()) {
            Some(status) => status,
            None => panic!("{} did not end within {limit:?}; it says:\n{}", self.name, tail(&self.stderr())),
        }
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub fn wait_success(&mut self, limit: Duration) {
        let status = self.wait(limit);
        assert!(status.success(), "{} ended with {status}; it says:\n{}", self.name, tail(&self.stderr()));
    }

    /// Panics if it has ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} ended with {status}; it says:\n{}", self.name, tail(&self.stderr()));
        }
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            send(self.pid(), signal);
        }
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended = self.child.wait().ok().or(self.ended);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}, standard error:\n{}", self.name, tail(&self.stderr()));
        }
    }
}

/// Sends a signal to a process that the test, or its cluster, has started. One that is gone is fine.
pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("process ids fit");
    let _gone = signal::kill(Pid::from_raw(pid), signal);
}

/// Whether a process with this id runs.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may hold anything but ends with the last bracket.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// The CPU time that a process has used.
#[track_caller]
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|error| panic!("process {pid}: {error}"));
    // User and system time are fields 14 and 15, in hundredths of a second; the name in field 2 may hold spaces.
    let fields = stat.rsplit(')').next().into_iter().flat_map(str::split_whitespace);
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The resident memory of a process, in KiB.
#[track_caller]
pub fn resident_kib(pid: u32) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_else(|error| panic!("process {pid}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number of KiB")
}

/// The last lines of a log.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
