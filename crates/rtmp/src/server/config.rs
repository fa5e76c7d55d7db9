//! What a server says and demands.

use std::time::Duration;

use crate::limits::Limits;

/// Settings of all connections of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Bounds on what a client may send and how long it may take.
    pub limits: Limits,
    /// The window announced in both directions, in bytes.
    pub window: u32,
    /// A client of which nothing came for so long is pinged.
    pub ping_after: Duration,
    /// A publisher of which nothing came for so long is cut.
    pub publisher_silence_max: Duration,
    /// Requests out of order, refused, or withdrawn before they were decided, with none accepted between them, before the
    /// connection is cut.
    pub mistakes_max: u32,
    /// A client may publish as often as it may have message streams, and from then on once in so long; sooner is a mistake.
    pub publish_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            window: 2_500_000,
            ping_after: Duration::from_secs(20),
            publisher_silence_max: Duration::from_secs(60),
            mistakes_max: 32,
            publish_every: Duration::from_secs(1),
        }
    }
}
