//! How an origin keeps its streams the same as the other origins of its pool do.
//!
//! [`Replica`] is the machine of one origin. While it is active it gives everything that its publications bring a position
//! in a stream's log and an *order* in its term, sends both to its followers, and lets out what all members in sync have.
//! While it stands by it follows: its logs become the active's, word by word. The rules are REPLICATION.md's; the count of
//! acks is [`cluster::Commits`].
//!
//! ```text
//! publish, handle_message ─▶ Log ─▶ journal ─▶ poll_down ──Follow──▶ handle_down ─▶ Log
//!                             ▲                                           │
//!             commit_below ───┴── Commits ◀── handle_up ◀────Follow────── poll_up
//! ```

mod alone;
mod follow;
mod gone;
mod journal;
mod lead;
mod log;
mod message;
mod publication;
mod replica;
mod role;
mod term;

pub use follow::FollowError;
pub use message::{Entry, FollowDown, FollowHello, FollowUp, LogState, SnapshotHead, Source};
pub use publication::{Acked, NotTaken, Publish, Refused, Ticket};
pub use replica::{Config, Listed, Replica, Standing};
pub use role::GrantRefused;

#[cfg(test)]
mod tests;
