//! The origin service: keeps each stream whole and hands it to edges.
//!
//! ```text
//! encoder ─RTMP─▶ Public ─▶ rtmp::Service ─┐
//! edge ═Push═▶ Public or peer port ─▶ Relay ┴▶ Streams (splice + hub) ─▶ Relay ═Pull═▶ edge
//!                  ▲ open while active: Roles ◀── the control plane
//! ```

mod config;
mod first_frame;
mod links;
mod metrics;
mod node;
mod notices;
mod peers;
mod public;
mod public_port;
mod pulse;
mod relay;
mod reload;
mod role;
mod rtmp;
mod service;
mod standalone;
mod stats;
mod streams;

pub use config::Config;
pub use service::serve;
