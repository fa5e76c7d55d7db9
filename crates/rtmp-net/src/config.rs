//! Settings of a server's connections.

use std::time::Duration;

use crate::{door::Networks, pacing::Pressure, send_bounds::SendBounds};

/// Settings of all connections that a [`crate::Connections`] drives.
#[derive(Debug, Clone)]
pub struct Config {
    /// What clients are told and held to; all limits are in it.
    pub session: rtmp::server::Config,
    /// Hosts in `tcUrl` that are vhosts of their own; all others mean the default one.
    pub vhosts: Vec<String>,
    /// A viewer that skips again and again without ever catching up is cut after so long, and so is one that has not taken all of
    /// its stream so long after its end.
    pub behind_max: Duration,
    /// What the kernel keeps for each viewer.
    pub send: SendBounds,
    /// Connections that may be in the handshake at once, of all addresses together; for one more the oldest is closed.
    pub handshakes_max: usize,
    /// Proxies whose word is taken, and demanded, on who their clients are.
    pub proxies: Networks,
    /// Told how long it takes to write to all viewers.
    pub pressure: Pressure,
    /// How long what is still to be said may take at the end of a connection.
    pub farewell_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session: rtmp::server::Config::default(),
            vhosts: Vec::new(),
            behind_max: Duration::from_secs(60),
            send: SendBounds::default(),
            handshakes_max: 16_384,
            proxies: Networks::default(),
            pressure: Pressure::default(),
            farewell_timeout: Duration::from_secs(1),
        }
    }
}
