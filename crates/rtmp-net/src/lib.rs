//! RTMP over TCP and TLS: accept, drive, limit, fan out.
//!
//! ```text
//! Server ── accepts ──▶ Connections ── greets ──▶ Connection ── asks ──▶ Service
//! (a listener)          (limits, drain, reset)    │  publish: messages go to an Ingest
//!                                                 ╰─ play: items come from a hub::Reader
//! ```
//!
//! A [`Service`] says who may publish and play, and where that goes; an origin and an edge differ in nothing else. One
//! small task shakes hands with a client; behind the handshake another one owns the socket, its [`rtmp::server::Session`]
//! and its streams. What viewers are shown at once is put together once for all of them, and mostly written by the row
//! in which they sit ([`rows`]). Whoever is behind gets shared headers and untouched payloads in one vectored write; it
//! slows nobody. [`Sessions`] lists whoever is connected and can end one; [`Stats`] counts. [`client`] is the other side
//! of the wire.

pub mod client;
mod config;
mod connection;
mod connections;
pub mod door;
mod durations;
mod ended;
pub mod metrics;
mod outbox;
mod pacing;
pub mod rows;
pub mod seat;
mod send_bounds;
mod server;
mod service;
mod sessions;
mod shared_bytes;
mod stats;
mod target;
pub mod tls;
mod transport;

pub use config::Config;
pub use connections::Connections;
pub use durations::Durations;
pub use ended::Ended;
pub use pacing::{Pressure, pace};
pub use send_bounds::SendBounds;
pub use server::{BindError, Server};
pub use service::{Ingest, IngestEnded, Play, PlayRefusal, Publish, PublishRefusal, Service};
pub use sessions::{Entry, Kind, Protocol, SessionId, SessionInfo, Sessions};
pub use shared_bytes::SharedBytes;
pub use stats::Stats;
pub use target::Query;
pub use transport::{SharedSocket, Transport};

#[cfg(test)]
mod tests;
