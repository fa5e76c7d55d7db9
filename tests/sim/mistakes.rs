//! Mistakes put in on purpose where the product's machines meet the world: the simulation finds each.
//!
//! The model finds all that are known; these show that the simulation looks, too.

use cluster::WhenAlone;

use crate::{
    cases::{E1, E2, O1, O2, O3, history, pool, seed, trace},
    world::{MS, S, Sabotage, Setup, World, faults::Fault, names::CONTROL},
};

/// A cluster with a mistake in it, some seconds old.
fn with(sabotage: Sabotage, setup: Setup) -> World {
    let mut world = World::new(seed(), Setup { sabotage: Some(sabotage), ..setup });
    world.run_until(6 * S);
    trace(&mut world);
    world
}

#[track_caller]
fn assert_found(world: &World, word: &str) {
    let broken = world.verdict().err().unwrap_or_default();
    assert!(broken.contains(word), "not found: {broken}\n{}", history(world));
}

#[test]
fn mistake_1_in_sync_by_name() {
    let mut world = with(Sabotage::InSyncByName, pool(2, 2));
    world.befall(Fault::Freeze(O2));
    world.run_for(2 * S);
    world.befall(Fault::Kill(O1));
    world.run_for(50 * MS);
    world.befall(Fault::Start(O1));
    world.run_for(5 * S);
    assert_found(&world, "was acked, and messages");
}

#[test]
fn mistake_2_acked_because_it_is_in_the_log() {
    let mut world = with(Sabotage::AckedBecauseInLog, Setup { when_alone: WhenAlone::Stall, ..pool(2, 3) });
    // An active with an uncommitted tail: its standby does not hear it, and nobody takes that out.
    world.befall(Fault::Kill(CONTROL));
    world.befall(Fault::Cut(O1, O2));
    world.run_for(100 * MS);
    world.befall(Fault::Cut(E1, O1));
    world.run_for(600 * MS);
    world.befall(Fault::Mend(E1, O1));
    world.run_for(200 * MS);
    world.befall(Fault::Kill(O1));
    world.befall(Fault::Start(CONTROL));
    world.run_for(10 * S);
    assert_found(&world, "are given up");
}

#[test]
fn mistake_11_a_restored_store_keeps_its_in_sync_set() {
    let mut world = with(Sabotage::RestoredInSyncKept, pool(3, 2));
    world.befall(Fault::Backup);
    world.befall(Fault::Promote { to: O2, epoch: None, force: false });
    world.run_for(S);
    world.befall(Fault::Freeze(O3));
    world.befall(Fault::Freeze(O1));
    world.run_for(3 * S);
    world.befall(Fault::Restore);
    world.run_for(5 * S);
    world.befall(Fault::Kill(O2));
    world.befall(Fault::Thaw(O3));
    world.befall(Fault::Thaw(O1));
    world.run_for(8 * S);
    // Which of the two is promoted does not matter: neither has what o2 committed alone.
    assert_found(&world, "in epoch 3 lacks live/s0");
}

#[test]
fn mistake_12_a_regrant_takes_the_active_out_of_the_in_sync_set() {
    let mut world = with(Sabotage::RegrantDropsActive, pool(2, 2));
    world.befall(Fault::Kill(O1));
    world.run_for(3 * S);
    assert_found(&world, "the active is not in sync");
}

#[test]
fn mistake_13_alone_without_most_edges() {
    let mut world = with(Sabotage::AloneWithoutEdges, pool(2, 3));
    // Its last messages reach nobody else before it is cut off; what comes next stands where they stood.
    world.befall(Fault::Freeze(O2));
    world.run_for(100 * MS);
    world.befall(Fault::CutOff(O1));
    world.befall(Fault::MoveEncoder { from: E1, to: E2 });
    world.befall(Fault::Thaw(O2));
    world.run_for(5 * S);
    assert_found(&world, "by o2 in epoch 2");
}
