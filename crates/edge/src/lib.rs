//! The edge service: takes viewers and encoders in, fetches each stream once, fans it out.
//!
//! ```text
//! encoder ─▶ rtmp-net ─▶ Ingests ─Push─▶ ┐            ┌ ─Pull─▶ Pulls ─▶ hub ─▶ Reader ─▶ rtmp-net, http ─▶ viewers
//!                                        └ active origin ┘
//! ```
//!
//! `Upstream` hears all origins and finds the one that serves a stream; `Pulls` fetches each stream once, and goes on
//! where it was, whoever is active next; `Ingests` keeps what an encoder sent until the origins have it safe, and a
//! little longer. Sessions live here and never depend on which origin is active.

mod config;
mod front;
mod http;
mod ingest;
mod latency;
mod metrics;
mod node;
mod patience;
mod pulls;
mod reload;
mod retry;
mod service;
mod upstream;

pub use config::Config;
pub use service::serve;
