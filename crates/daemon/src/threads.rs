//! Threads for viewers and encoders alone.

use std::{io, ops::Deref};

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime beside the one that talks to other nodes: however many sessions have something to be done at once, no beat and
/// no call between nodes waits behind them. Its tasks are cut when it is dropped.
#[derive(Debug)]
pub struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// As many as the machine has cores.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("sessions").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Deref for Threads {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    /// Without waiting for them, as is needed where others wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
