//! What is done to a cluster, case by case. Each takes a scene and gives its rounds; what must hold beside the counts is asserted here.

pub mod control;
pub mod crash;
pub mod cuts;
pub mod loss;
pub mod members;
pub mod planned;
pub mod standby;
pub mod vip;

use std::time::Duration;

use super::{Round, Scene};

/// Nothing at all: what the other rows are measured against.
pub fn undisturbed(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| scene.watch(|_| ()))
}

/// How long a frozen process stays frozen.
const FROZEN: Duration = Duration::from_secs(5);
