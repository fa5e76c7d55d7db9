//! A pool of origins: who is active, in which epoch (REPLICATION R1-R7, and the record's side of C3-C8).
//!
//! [`Pool`] is the machine; its rules stand beside it, one idea in a file: what is heard (`hearing`), what speaks for a
//! failure (`evidence`), who may take over (`candidates`), when roles move by themselves (`automatic`) and how often
//! (`moves`), moves that somebody asked for (`plan`, `operator`), the in-sync set (`sync`), from a grant to its opening
//! (`opening`), waiting after a start (`settle`), what a loss has cost (`loss`), faults that last (`alarms`), and the
//! record in the making (`change`).

mod alarms;
mod automatic;
mod candidates;
mod change;
mod event;
mod evidence;
mod hearing;
mod loss;
mod machine;
mod moves;
mod older_copy;
mod opening;
mod operator;
mod plan;
mod record;
mod rules;
mod settle;
mod sync;

pub use change::PoolChange;
pub use event::{Granted, PlanFailed, PoolAlarm, PoolEvent};
pub use hearing::{EdgeReport, PoolReport};
pub use machine::Pool;
pub use moves::Moved;
pub use operator::{PromoteError, Promotion};
pub use plan::PlanState;
pub use record::{
    By, Cause, Hold, LastChange, Mode, PoolMember, PoolRecord, PoolView, PoolViewMember, RecordVersion, RecordsTold,
};
pub use rules::{MoveLimits, PoolRules, Unclean};
pub use sync::SyncRefused;

#[cfg(test)]
mod tests;
