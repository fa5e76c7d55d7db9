//! One process of the cluster.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child as Process, Command},
    time::{Instant, sleep_until},
};

use super::{files::Files, plan::Node};

/// How long a process has between SIGTERM and SIGKILL: more than its drain.
const PATIENCE: Duration = Duration::from_secs(6);

/// A process that was started, living or dead.
#[derive(Debug)]
pub(super) struct Child {
    /// Who it is.
    pub node: Node,
    binary: PathBuf,
    process: Option<Process>,
    kill_at: Option<Instant>,
}

/// How a process ended.
#[derive(Debug)]
pub(super) struct End {
    /// The id it had.
    pub pid: u32,
    /// True when it was asked to.
    pub asked: bool,
    /// As the system tells it.
    pub status: ExitStatus,
}

impl Child {
    /// A process that is not started yet.
    pub(super) fn new(node: Node, binary: PathBuf) -> Self {
        Self { node, binary, process: None, kill_at: None }
    }

    /// True while it runs, as far as is known.
    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The id of the running process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Starts it, with its output in its log file and its id in its pid file.
    ///
    /// It ends with the thread that calls this: call it from the main thread.
    pub(super) fn start(&mut self, files: &Files) -> anyhow::Result<()> {
        let name = self.node.name;
        let log = files.log(name);
        let out = append(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let err = out.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        let process = Command::new(&self.binary)
            .arg("--config")
            .arg(files.config(name))
            .arg("--dev")
            .arg("--die-with-parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C reaches this program alone, which ends the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        let pid = process.id().expect("a process that has just started has an id");
        let path = files.pid(name);
        std::fs::write(&path, format!("{pid}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        self.process = Some(process);
        self.kill_at = None;
        Ok(())
    }

    /// Asks it to end; [`Child::ended`] then kills it if it takes too long.
    pub(super) fn stop(&mut self) {
        self.kill_at.get_or_insert_with(|| Instant::now() + PATIENCE);
        self.signal(Signal::SIGTERM);
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        self.kill_at.get_or_insert_with(Instant::now);
        self.signal(Signal::SIGKILL);
    }

    /// Waits until it has ended; for ever when it does not run. May be dropped at any time.
    pub(super) async fn ended(&mut self) -> End {
        let Some(process) = &mut self.process else { return std::future::pending().await };
        let pid = process.id().unwrap_or_default();
        let status = match self.kill_at {
            None => process.wait().await,
            Some(deadline) => tokio::select! {
                status = process.wait() => status,
                () = sleep_until(deadline) => {
                    send(process, Signal::SIGKILL);
                    process.wait().await
                }
            },
        };
        let status = status.expect("a child of this process can be waited for");
        self.process = None;
        End { pid, asked: self.kill_at.take().is_some(), status }
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            send(process, signal);
        }
    }
}

/// The id is the child's own until it is waited for, so nobody else can be hit.
fn send(process: &Process, signal: Signal) {
    if let Some(pid) = process.id().and_then(|pid| i32::try_from(pid).ok())
        && let Err(error) = kill(Pid::from_raw(pid), signal)
    {
        tracing::debug!(pid, %error, "child.not_signalled");
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}
