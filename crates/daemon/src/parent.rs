//! A process that ends with the one that started it.

use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, getppid},
};

/// Why a process could not be tied to its parent.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// The parent has ended already, or the process was started by somebody else.
    #[error("process {expected} was to be the parent, but it is {actual}")]
    Orphan {
        /// The process id given on the command line.
        expected: i32,
        /// The parent's real process id.
        actual: i32,
    },
    /// The kernel refuses.
    #[error("cannot ask the kernel to end this process with its parent: {0}")]
    Kernel(#[from] nix::Error),
}

/// Asks the kernel to kill this process when the thread of `parent` that started it ends, however it ends.
pub fn die_with(parent: i32) -> Result<(), ParentError> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before the line above; then nobody would tell.
    let actual = getppid();
    if actual != Pid::from_raw(parent) {
        return Err(ParentError::Orphan { expected: parent, actual: actual.as_raw() });
    }
    Ok(())
}
