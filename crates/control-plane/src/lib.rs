//! The control plane: route entries, membership, and who is active.
//!
//! ```text
//! operators, tools ─▶ gRPC services ─┐                     ┌─▶ watchers (route entries, pools, nodes, streams, events)
//!                                    ├▶ ControlPlane ─▶ Store (fsync) ─▶ memory ┤
//! origins, edges ═NodeSession═▶ beats, reports ┘                └─▶ roles and commands down the NodeSessions
//! ```
//!
//! What must outlive the process (route entries, pool records, which starts of nodes there were, events) is written to
//! the `Store` before anybody is told; who is heard, streams and sessions are kept in memory and told again by the
//! nodes after a restart. The rules are those of `cluster`; this crate gives them a clock, a disk and a network. Nothing live stops when it is down.

mod commands;
mod config;
mod conversation;
mod directory;
mod events;
mod members;
mod metrics;
mod node;
mod notices;
mod plane;
mod pools;
mod routes;
mod service;
mod starts;
mod status;
mod store;
mod streams;
mod time;
mod watch;

pub use config::Config;
pub use service::serve;

#[cfg(test)]
mod tests;
