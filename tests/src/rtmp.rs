//! RTMP by hand: a publisher that can send what no encoder here sends, and a viewer light enough for a thousand of it.
//!
//! Written from the specification, without a line of the `rtmp` crate, so that both do not share a mistake.

mod amf;
mod chunks;
mod connection;
mod publisher;
mod viewer;

pub use amf::Value;
pub use chunks::{Message, Reader, chunks};
pub use connection::{Connection, Status, Url, status};
pub use publisher::Publisher;
pub use viewer::{Event, Recorder, Seen, Viewer};
