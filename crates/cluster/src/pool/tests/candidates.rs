//! Who takes over, and who is believed.

use std::collections::BTreeSet;

use super::world::{CP, World, member, node};
use crate::{EdgeReport, Epoch, PoolRules};

fn three() -> World {
    World::running(&["o1", "o2", "o3"], &["e1"], PoolRules::default())
}

#[test]
fn of_those_in_sync_the_one_with_the_longest_log_takes_over() {
    let mut world = three();
    world.origin("o3").head.1 += 1;
    world.report("o3");
    world.kill("o1");
    world.until(100, |world| world.active() == "o3");
    assert_eq!(world.loss_epoch(), 0);
}

#[test]
fn one_that_no_longer_says_how_far_its_log_goes_still_has_it() {
    let mut world = three();
    world.origin("o3").head.1 += 1;
    world.report("o3");
    // It no longer follows anybody.
    world.origin("o3").head = (Epoch(0), 0);
    world.report("o3");
    world.kill("o1");
    world.until(100, |world| world.active() == "o3");
}

#[test]
fn one_that_was_not_heard_for_300_ms_is_passed_over() {
    let mut world = three();
    world.origin("o2").head.1 += 1000;
    world.report("o2");
    world.freeze("o2");
    world.run(350);
    world.kill("o1");
    world.until(100, |world| world.active() == "o3");
    assert_eq!(world.loss_epoch(), 0);
}

#[test]
fn a_standby_that_restarted_empty_is_not_in_sync_by_its_name() {
    let mut world = World::pair(&["e1"]);
    world.restart("o2");
    world.kill("o1");
    world.run(1_500);
    assert_eq!(world.epoch(), 1, "whoever was in sync may come back");
    world.until(1_000, |world| world.active() == "o2");
    assert_eq!(world.loss_epoch(), 2);
}

/// What the only edge says: which of the origins it hears.
fn edge_hears(world: &mut World, names: &[&str]) {
    start_of_edge_hears(world, 1, names);
}

fn start_of_edge_hears(world: &mut World, start: u64, names: &[&str]) {
    let hears = names.iter().map(|name| node(name)).collect::<BTreeSet<_>>();
    let (edge, epoch) = (member("e1", start), Epoch(1));
    let (records, late) = (vec![], std::time::Duration::ZERO);
    let report = EdgeReport { edge, highest_epoch: epoch, pool_epoch: epoch, records, hears, late };
    let now = world.now;
    world.pool.handle_edge(report, now);
}

#[test]
fn an_edge_that_has_just_come_outvotes_nobody() {
    let mut world = World::pair(&[]);
    edge_hears(&mut world, &["o2"]);
    for _ in 0..9 {
        world.run(100);
        edge_hears(&mut world, &["o2"]);
    }
    edge_hears(&mut world, &["o1", "o2"]);
    world.run(10_000);
    assert_eq!(world.epoch(), 1, "its Link to the active took a while");
}

#[test]
fn an_edge_that_came_back_is_no_witness_against_whom_its_former_start_heard() {
    let mut world = World::pair(&[]);
    world.cut("o1", CP);
    for _ in 0..10 {
        edge_hears(&mut world, &["o1", "o2"]);
        world.run(100);
    }
    assert_eq!(world.epoch(), 1, "it is heard elsewhere");
    let now = world.now;
    world.pool.handle_edge_gone(&node("e1"), now);
    world.run(100);
    for hears in [&[][..], &["o2"], &["o2"], &["o1", "o2"]] {
        start_of_edge_hears(&mut world, 2, hears);
        world.run(100);
        assert_eq!(world.epoch(), 1, "its Links stand one after the other");
    }
    for _ in 0..50 {
        start_of_edge_hears(&mut world, 2, &["o2"]);
        world.run(100);
    }
    assert_eq!(world.active(), "o2", "it has heard it, and does no longer");
}

#[test]
fn a_link_that_comes_back_at_once_outvotes_nobody() {
    let mut world = World::pair(&[]);
    edge_hears(&mut world, &["o1", "o2"]);
    for _ in 0..10 {
        edge_hears(&mut world, &["o2"]);
        world.run(150);
        edge_hears(&mut world, &["o1", "o2"]);
        world.run(150);
    }
    assert_eq!(world.epoch(), 1);
    edge_hears(&mut world, &["o2"]);
    world.run(200);
    assert_eq!(world.epoch(), 2);
}

#[test]
fn edges_that_lost_it_before_it_was_granted_the_role_are_given_time_to_find_it() {
    let mut world = World::running(&["o1", "o2", "o3"], &[], PoolRules::default());
    world.nobody_asks = true;
    edge_hears(&mut world, &["o1", "o2", "o3"]);
    // Two standbys are frozen, the active dies, and one of the two wakes: its Links take a while to stand again.
    world.freeze("o2");
    edge_hears(&mut world, &["o1", "o3"]);
    world.run(700);
    world.thaw("o2");
    world.report("o2");
    world.origin("o2").head.1 += 1000;
    world.report("o2");
    world.kill("o1");
    edge_hears(&mut world, &["o3"]);
    world.until(100, |world| world.active() == "o2");
    let epoch = world.epoch();
    for _ in 0..9 {
        world.run(100);
        edge_hears(&mut world, &["o3"]);
    }
    assert_eq!((world.active(), world.epoch()), ("o2".into(), epoch), "it was deaf to it before");
    world.run(200);
    edge_hears(&mut world, &["o3"]);
    world.until(100, |world| world.active() == "o3");
}
