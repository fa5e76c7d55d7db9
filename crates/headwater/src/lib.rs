//! The program: the laptop cluster and the operator's tools.
//!
//! | command | module |
//! |---|---|
//! | `headwater dev`, `headwater dev restart` | [`dev`]: starts the real binaries as child processes on loopback |
//! | `headwater publish`, `headwater play` | [`publish`], [`play`]: an encoder and a viewer that say what they saw |
//! | `headwater status`, `headwater probe` | [`status`], [`probe`]: what the admin ports tell |
//!
//! It never serves media itself.

pub mod cli;
pub mod dev;
mod http;
mod output;
pub mod play;
pub mod probe;
pub mod publish;
pub mod status;
mod target;
