//! The door of a listener: who is let in, and as whom.
//!
//! ```text
//! listener ─▶ porter ── Guest ──▶ introduced: what a trusted proxy says of it ──▶ TLS, handshake, first request
//!               │                  └────────────── unfinished: holds a Pass ─────────────────────────────────┘
//!              Gate: places, all together and by address
//! ```
//!
//! Edges and origins, RTMP and HTTP come in by the same door. What has finished its handshake holds no pass and is
//! counted here no more.

mod gate;
mod guest;
mod metrics;
mod networks;
mod porter;
mod proxy_header;
mod turned_away;

use std::{sync::Arc, thread};

use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

pub use gate::{CalledBack, Config, Gate, Pass, TooMany};
pub use guest::{Guest, NotIntroduced};
pub use metrics::register;
pub use networks::{Network, Networks, ParseNetworkError};
pub use turned_away::TurnedAway;

/// Accepts the clients of one listener, on a thread of its own: however much there is to do for thousands that are in
/// already, nobody waits in the kernel for that, whose queue is short and drops whoever finds it full for a second.
#[derive(Debug)]
pub struct Door {
    /// Those that were let in. Each has a place: there are never more of them than places.
    guests: mpsc::UnboundedReceiver<Guest>,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Door {
    /// A door with this gate behind it; several doors may share one. Call it on the runtime that serves the clients;
    /// dropping it closes the port.
    pub fn new(listener: TcpListener, gate: Arc<Gate>) -> Self {
        let (sender, guests) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let thread = porter::start(listener, gate, sender, stop.clone());
        Self { guests, stop, thread: Some(thread.expect("a door takes a thread and a queue of events")) }
    }

    /// The next client that may come in. Whoever is too much is closed meanwhile, and a want of descriptors waited out.
    /// Safe to drop at any await.
    pub async fn next(&mut self) -> Guest {
        // Those that have come are taken at once: to let others run between them costs them more than it gains those.
        match self.guests.try_recv() {
            Ok(guest) => guest,
            Err(_) => self.guests.recv().await.expect("the porter is there as long as the door is"),
        }
    }
}

impl Drop for Door {
    /// Waits until the port is closed: the porter has nothing to finish.
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("door.porter_panicked");
        }
    }
}
