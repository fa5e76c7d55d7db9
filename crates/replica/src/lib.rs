//! How an origin keeps its streams the same as the other origins of its pool do.

mod message;

pub use message::{Entry, FollowDown, FollowHello, FollowUp, LogState, SnapshotHead, Source};
