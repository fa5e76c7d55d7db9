//! Route entries: "requests that match this go there".

mod config;
mod entry;
mod fms;
mod loops;
mod pattern;
mod table;

pub use config::RouteConfig;
pub use entry::{Addresses, Pools, Protocol, RouteEntry, RouteMatch, Target, TargetError};
pub use fms::{FmsError, parse as parse_fms};
pub use loops::{Loop, LoopCheck};
pub use pattern::{Pattern, PatternError};
pub use table::{Match, ROUTES_MAX, RouteSource, RouteTable, TableError, TraceLine};
