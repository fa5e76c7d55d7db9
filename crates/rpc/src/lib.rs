//! gRPC between services, spoken in our own types.
//!
//! Generated types stop here: each message becomes a type of ours, or is refused. Servers are generic over a trait
//! that a service implements; clients give the same types back.
//!
//! | module | |
//! |---|---|
//! | [`server`] | health, reflection, limits, and how a server ends |
//! | [`channel`] | the client's connection: addresses, token, how its death is noticed |
//! | [`auth`] | who may call what |
//! | [`status`] | errors on the wire |
//! | [`node`] | what every process answers about itself |
//! | [`relay`] | streams between edges and origins |
//! | [`beat`] | signs of life: how often, how late, how long missed |
//! | [`control`] | the control plane's services, from both sides |
//! | [`agent`] | a node's standing conversation with the control plane |

pub mod agent;
pub mod auth;
pub mod beat;
pub mod channel;
pub mod control;
pub mod node;
pub mod relay;
pub mod server;
mod span;
pub mod status;

#[cfg(test)]
mod testing;
