//! The program: the laptop cluster and the operator's tools.
//!
//! | command | module |
//! |---|---|
//! | `headwater dev`, `headwater dev restart` | [`dev`]: starts the real binaries as child processes on loopback |
//! | `headwater publish`, `headwater play` | [`publish`], [`play`]: an encoder and a viewer that say what they saw |
//! | `headwater load` | [`load`]: many viewers, and what they got |
//! | `headwater status`, `headwater probe` | [`status`], [`probe`]: what the admin ports tell |
//! | `headwater pools`, `headwater events` | [`pools`], [`events`]: what the control plane does, and has done |
//!
//! It never serves media itself.

pub mod cli;
mod control;
pub mod dev;
pub mod events;
mod http;
pub mod load;
mod output;
pub mod play;
pub mod pools;
pub mod probe;
pub mod publish;
pub mod status;
mod table;
mod target;
