//! Playback over HTTP: HTTP-FLV and WebSocket-FLV at `/app[/instance]/name.flv`.
//!
//! ```text
//! Server ─accepts─▶ connection (a StallGuard) ─request─▶ router ─▶ Playback::play ─▶ hub::Reader
//!                                                                                        │
//!                        Sending (a row, mostly), or a response's body ◀── pieces ─ FlvFile ┘
//! ```
//!
//! The usual request, a `GET` and nothing else, needs no router: `plain` reads it off the socket, and `usual` knows it. Whatever
//! else is asked goes to the web server, which hands WebSockets over once they are open. Either way `sending` writes what is due
//! into the socket, as RTMP does, wrapped as `framing` says.
//!
//! Each viewer is a cursor into the hub: nothing is queued for it beyond what its connection is taking now.

mod contents;
mod flv_file;
mod framing;
mod plain;
mod playback;
mod router;
mod sending;
mod server;
mod stall;
mod stats;
mod upgraded;
mod usual;
mod websocket;

pub use server::{Config, Server};
pub use stats::Stats;

#[cfg(test)]
mod tests;
