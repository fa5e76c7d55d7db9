//! Streams between edges and origins.
//!
//! Push brings a publication to the active origin, Pull takes a stream from it, Follow keeps two origins the same, Link
//! tells an edge who is active. All are bounded by awaiting: neither side reads more from its caller than the connection
//! takes. What does not fit the types here was refused.

mod client;
mod error;
mod link;
mod service;
mod types;
mod wire;

pub use client::Client;
pub use error::{PublishRefusal, RelayError};
pub use hub::{Body, Event, Placed};
pub use link::{LinkDown, LinkHello, LinkUp};
pub use replica::{Entry, FollowDown, FollowHello, FollowUp, LogState, SnapshotHead, Source};
pub use types::{Flow, PublishKey, PullDown, PullFrom, PullRequest, PushDown, PushHello, PushUp, Relay};

/// A batch closes when it holds so much payload; a frame that is larger travels alone.
pub const BATCH_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests;
