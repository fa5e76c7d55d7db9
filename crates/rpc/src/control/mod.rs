//! The control plane's services, from both sides.
//!
//! A control plane implements the traits, one for each service; [`crate::server::Builder::control`] serves them. A
//! [`Client`] gives nodes and tools the same types back. Between the two, each message is checked and becomes a type of
//! ours, or is refused with the field named; lists are filtered, ordered and cut into pages here.

mod client;
mod events;
mod fields;
mod list;
mod members;
mod pools;
mod routes;
mod service;
mod status;
mod streams;
mod watch;
mod wire;

pub use client::{Client, Page, Query};
pub use events::{Event, EventLog, Severity};
pub use fields::rfc3339;
pub use members::{
    Command, CommandResult, Deregister, Drain, FromControl, FromControlStream, FromNode, FromNodeStream, Members,
    NodeInfo, Registered, SessionsReport, StreamsReport, Welcome,
};
pub use pools::{FailBack, FenceMember, HoldPool, PoolInfo, Pools, Promote, PromoteMode, ReleasePool};
pub use routes::{CreateRoute, DeleteRoute, Resolution, RouteChange, RouteInfo, RouteMatchChange, Routes, UpdateRoute};
pub use status::{Cluster, ClusterStatus, NodeCounts, StoreStatus};
pub use streams::{
    Holder, Holding, KickSession, KickStream, Located, SessionInfo, Sessions, StreamInfo, StreamReport, Streams,
};
pub use watch::{Step, Steps, Watched};

#[cfg(test)]
mod tests;
