//! To and from the messages of `headwater.control.v1`: what comes in is checked, with each wrong field named.

pub(super) mod events;
pub(super) mod members;
pub(super) mod pools;
pub(super) mod routes;
pub(super) mod session;
pub(super) mod status;
pub(super) mod streams;
