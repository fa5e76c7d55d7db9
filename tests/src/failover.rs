//! What a fault costs: a stamped stream, viewers who check every stamp, and the faults themselves.
//!
//! ```text
//! Source ─frames with numbers─▶ cluster ─▶ Crowd of watchers: number, order, arrival
//!    │ what was sent                            │
//!    └───────────────▶ Scene::round(fault) ◀────┘   ─▶ Round ─▶ Row ─▶ table
//! ```
//!
//! A [`Scene`] is a cluster with a stamped stream and viewers. A case (see [`cases`]) does something to it, round by round; each round
//! says who was cut, what was lost, repeated or out of order, and the longest pause that each viewer saw.

pub mod body;
pub mod cases;
pub mod crowd;
pub mod ledger;
pub mod nginx;
pub mod pool;
pub mod row;
pub mod scene;
pub mod sets;
pub mod source;
pub mod stamp;

pub use crowd::Crowd;
pub use row::{Round, Row};
pub use scene::{Form, Scene};
pub use source::Source;
