//! A pool of origins: who is active, in which epoch.

mod machine;
mod record;

pub use machine::{Pool, PoolReport, PoolRules, PromoteError};
pub use record::{Cause, LastChange, Mode, PoolMember, PoolRecord, PoolView, PoolViewMember};
