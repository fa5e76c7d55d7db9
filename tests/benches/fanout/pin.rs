//! Which core does what.

use std::fs;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// One core for the server that is measured, another for everything else.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    /// The server.
    pub server: usize,
    /// Its viewers, its encoder, and what stands behind it.
    pub load: usize,
}

impl Cores {
    /// The first two that this process may use; a machine with one has it do both.
    pub fn find() -> Self {
        let may = sched_getaffinity(Pid::from_raw(0)).expect("a process knows its cores");
        let mut found = (0..CpuSet::count()).filter(|core| may.is_set(*core).unwrap_or(false));
        let server = found.next().expect("a process has a core");
        Self { server, load: found.next().unwrap_or(server) }
    }
}

/// What this thread starts from now on runs on this core.
pub fn children_on(core: usize) {
    pin(Pid::from_raw(0), core);
}

/// Moves all threads of a process. One that has ended meanwhile is fine.
pub fn moved(pid: u32, core: usize) {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap_or_else(|error| panic!("process {pid}: {error}"));
    for thread in threads.flatten() {
        if let Some(id) = thread.file_name().to_str().and_then(|name| name.parse().ok()) {
            pin(Pid::from_raw(id), core);
        }
    }
}

fn pin(thread: Pid, core: usize) {
    let mut set = CpuSet::new();
    set.set(core).expect("the core is one of this machine's");
    match sched_setaffinity(thread, &set) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => panic!("core {core} cannot be taken: {error}"),
    }
}
