//! Logs, metrics and traces: set up and exported here only.
//!
//! ```text
//! tracing::info!(stream = %name, "publish.started")   the message is the event's stable dotted code
//!        └─▶ logs::init ─▶ text on a terminal, one JSON object a line otherwise, spans to OTLP when asked
//! metrics::Registry ─▶ Counter, Gauge, Histogram (plain handles) ─▶ Registry::render, OpenMetrics text
//! process::Process  ─▶ build_info, uptime, rss, fds, CPU time, panics, task lag
//! ```
//!
//! It never opens a listening port: `daemon` serves what is rendered here.

pub mod logs;
pub mod metrics;
pub mod process;
mod rate;
mod throttle;
mod traces;

pub use rate::Rate;
pub use throttle::Throttle;
