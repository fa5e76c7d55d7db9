//! Live streams in memory: one writer in, any number of readers out, one bounded ring a stream.
//!
//! ```text
//! Writer ──append──▶ ring of Items ◀──cursor── Reader, Reader, Reader …
//!  (one)              (bounded)                 (no queue, no copy of their own)
//! ```
//!
//! A [`Hub`] maps names to [`Stream`]s. Whoever opens a name holds its [`Writer`]; dropping that is how the stream
//! ends. A [`Reader`] is a cursor: it slows nobody, and when the ring has moved past it, it goes on at a keyframe.
//! The hub looks at a frame's flags, never into its payload; it has no clock, no task and no socket.

mod item;
mod limits;
mod reader;
mod registry;
mod ring;
mod setup;
mod stream;

pub use item::{Body, Event, Item, WireForm};
pub use limits::RingLimits;
pub use reader::{Budget, Read, Reader, Start};
pub use registry::{AlreadyOpen, Hub};
pub use stream::{Stream, StreamInfo, Writer};
