//! Playback over HTTP: HTTP-FLV and WebSocket-FLV at `/app[/instance]/name.flv`.
//!
//! ```text
//! Server ─accepts─▶ connection (a StallGuard) ─request─▶ router ─▶ Playback::play ─▶ hub::Reader
//!                                                                                        │
//!                          body of the response, or WebSocket frames ◀── pieces ──── Feed ┘
//! ```
//!
//! The usual request, a `GET` and nothing else, needs no router: `plain` reads it off the socket and writes what is due
//! into it, as RTMP does. WebSockets and whatever else is asked go through the web server.
//!
//! Each viewer is a cursor into the hub: nothing is queued for it beyond what its connection is taking now.

mod feed;
mod plain;
mod playback;
mod router;
mod server;
mod stall;
mod stats;
mod websocket;

pub use playback::Playback;
pub use server::{Config, Server};
pub use stats::Stats;

#[cfg(test)]
mod tests;
