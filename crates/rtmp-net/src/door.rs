//! The door of a listener: who is let in, and as whom.
//!
//! ```text
//! listener ─▶ Door ── Guest ──▶ introduced: what a trusted proxy says of it ──▶ TLS, handshake, first request
//!              │                 └────────────── unfinished: holds a Pass ─────────────────────────────────┘
//!             Gate: places, all together and by address
//! ```
//!
//! Edges and origins, RTMP and HTTP come in by the same door. What has finished its handshake holds no pass and is
//! counted here no more.

mod gate;
mod guest;
mod metrics;
mod networks;
mod proxy_header;

use std::{io, time::Duration};

use telemetry::Throttle;
use tokio::{net::TcpListener, time::sleep};

pub use gate::{CalledBack, Config, Gate, Pass, TooMany};
pub use guest::{Guest, NotIntroduced};
pub use metrics::register;
pub use networks::{Network, Networks, ParseNetworkError};

use std::sync::Arc;

/// Accepts the clients of one listener.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    gate: Arc<Gate>,
    pause: Duration,
    complaints: Throttle,
}

impl Door {
    /// A door with this gate behind it; several doors may share one.
    pub fn new(listener: TcpListener, gate: Arc<Gate>) -> Self {
        Self { listener, gate, pause: PAUSE_MIN, complaints: Throttle::new(COMPLAIN_EVERY) }
    }

    /// The next client that may come in. Whoever is too much is closed meanwhile, and a want of descriptors waited out.
    /// Safe to drop at any await.
    pub async fn next(&mut self) -> Guest {
        loop {
            // A place comes before the client: there are never more unfinished handshakes than places.
            let place = self.gate.place().await;
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = PAUSE_MIN;
                    match self.gate.admit(place, peer) {
                        Ok(pass) => return Guest::new(stream, peer, pass),
                        Err(error) => guest::turn_away(&stream, peer, &error),
                    }
                }
                Err(error) => {
                    drop(place);
                    self.on_failed(&error).await;
                }
            }
        }
    }

    async fn on_failed(&mut self, error: &io::Error) {
        // One client's misfortune.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        self.gate.count_failed_accept();
        // Most likely out of file descriptors. Those of established sessions stay with them; whoever has been dawdling
        // over its handshake gives up its own. Others come free in time, but not by asking at once.
        self.gate.call_back_stale();
        if let Some(silenced) = self.complaints.allow("accept") {
            tracing::warn!(%error, silenced, "door.accept_failed");
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Between two log lines about accepts that fail.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
