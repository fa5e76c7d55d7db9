//! RTMP as a state machine: bytes in, events and bytes out.
//!
//! ```text
//! bytes ─▶ Handshake ─▶ chunk::Reader ─▶ Message ─▶ server::Session / client::Session ─▶ Event
//! bytes ◀───────────── chunk::Writer ◀── Message ◀─────────────┘        ◀── accept, refuse, send
//! ```
//!
//! Nothing here has a socket, a clock or a task: bytes and the current time come in as arguments. What a peer sends
//! cannot panic, hang or grow memory without bound; every bound is in [`Limits`].

pub mod aggregate;
pub mod amf;
pub mod chunk;
pub mod client;
pub mod command;
mod data;
pub mod handshake;
pub mod limits;
pub mod message;
pub mod server;
mod wire;

pub use handshake::Handshake;
pub use limits::{AmfLimits, Limits};
pub use message::Message;
pub use wire::WireError;
