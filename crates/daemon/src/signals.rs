//! What the operating system tells a process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{Shutdown, config::Config, reload::Reloader};

/// The signals that a service listens to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on these signals no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Turns signals into drains and reloads for ever; drop it to stop.
    pub(crate) async fn handle<C: Config>(mut self, shutdown: Shutdown, reloader: Reloader<C>) {
        loop {
            let ending = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    reloader.reload();
                    continue;
                }
            };
            match shutdown.has_begun() {
                false => shutdown.begin(ending),
                true => shutdown.expire(ending),
            }
        }
    }
}
