//! What is done to a cluster, case by case. Each takes a scene and gives a row; what must hold beside the counts is asserted here.

pub mod control;
pub mod crash;
pub mod cuts;
pub mod loss;
pub mod planned;
pub mod standby;
pub mod vip;

use std::time::Duration;

use super::{Row, Scene};

/// The promise for crashes, in the table.
const CRASH: &str = "nobody cut, nothing lost; median ≤ 100 ms, p99 ≤ 400 ms";
/// The promise for freezes and cuts.
const FREEZE: &str = "nobody cut, nothing lost; p99 ≤ 1 s";
/// The promise for what operators do.
const PLANNED: &str = "nothing lost; ≤ 2 frames more than undisturbed";

/// Nothing at all: what the other rows are measured against.
pub fn undisturbed(scene: &mut Scene) -> Row {
    let rounds = scene.rounds(|scene, _| scene.watch(|_| ()));
    Row::of("nothing happens", "the stream's own", rounds)
}

/// How long a frozen process stays frozen.
const FROZEN: Duration = Duration::from_secs(5);
