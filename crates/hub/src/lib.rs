//! Live streams in memory: one writer in, any number of readers out, one bounded ring a stream.
//!
//! ```text
//! Writer ──append──▶ ring of Items, committed ◀──cursor── Reader, Reader, Reader …
//!  (one)              (bounded)   up to a mark             (no queue, no copy of their own)
//! ```
//!
//! A [`Hub`] maps names to [`Stream`]s. Whoever opens a name holds its [`Writer`]; dropping that is how the stream
//! ends. What the writer appends nobody sees before the writer says that it is committed. A [`Reader`] is a cursor: it
//! slows nobody, and when the ring has moved past it, it goes on at a keyframe. A writer can also cut its log back,
//! and hand it on as a [`Snapshot`]: two rings that hold the same items serve the same.
//!
//! Where many read, a [`Pacer`] says when: the paced readers of a stream see what came in between as one [`Group`], whose
//! bytes are put together once. All others see each item as soon as it is committed.
//!
//! The hub looks at a frame's flags, never into its payload; it has no clock, no task and no socket.

mod group;
mod item;
mod limits;
mod pace;
mod pacer;
mod reader;
mod registry;
mod ring;
#[cfg(test)]
mod samples;
mod setup;
mod stream;
mod tally;
mod waiters;

pub use group::Group;
pub use item::{Body, Event, Item, Placed, WireForm};
pub use limits::RingLimits;
pub use pace::{Latency, Pace};
pub use pacer::{News, Pacer};
pub use reader::{Budget, Cause, Read, Reader, Skip, Start};
pub use registry::{AlreadyOpen, Hub};
pub use ring::Snapshot;
pub use stream::{Stream, StreamInfo, Writer};
