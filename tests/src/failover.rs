//! What a fault costs: a stamped stream, viewers who check every stamp, and the faults themselves.
//!
//! ```text
//! Source ─frames with numbers─▶ cluster ─▶ Crowd of watchers: number, order, arrival
//!    │ what was sent                            │
//!    └───────────────▶ Scene::round(fault) ◀────┘   ─▶ Round ─▶ Row ─▶ table
//! ```
//!
//! A [`Scene`] is a cluster with a stamped stream and viewers. A [`Case`] does something to it, round by round; each round
//! says who was cut, what was lost, repeated or out of order, and the longest pause that each viewer saw. A [`Row`] adds rounds
//! up and says whether the case's promise was kept.

pub mod body;
pub mod case;
pub mod cases;
pub mod crowd;
pub mod goal;
pub mod ledger;
pub mod nginx;
pub mod page;
pub mod pool;
pub mod row;
pub mod scene;
pub mod sets;
pub mod source;
pub mod stamp;

pub use case::{Act, Case, Place};
pub use crowd::Crowd;
pub use goal::Goal;
pub use row::{Round, Row};
pub use scene::{Form, Scene};
pub use source::Source;
