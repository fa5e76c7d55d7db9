//! Planned moves.

use super::world::{World, node};
use crate::{By, Cause, Epoch, PlanFailed, PlanState, PoolEvent, PoolRules, Promotion};

fn promote(world: &mut World, to: &str) -> u64 {
    let epoch = world.pool.record().epoch;
    let to = world.pool.check_promotion(&node(to), epoch, Promotion::Graceful, world.now).unwrap();
    let by = By { author: "operator".into(), reason: "kernel patch".into() };
    world.pool.promote(to, Promotion::Graceful, by, world.now)
}

#[test]
fn the_active_yields_then_the_role_moves_and_the_old_one_hears_of_it_when_the_new_one_has_opened() {
    let mut world = World::pair(&["e1"]);
    world.origin("o1").stubborn = true;
    world.origin("o2").stuck = true;
    let plan = promote(&mut world, "o2");
    world.run(100);
    assert_eq!((world.epoch(), world.pool.plan_state(plan)), (1, PlanState::Pending), "it has not yielded");
    assert!(world.origins["o1"].grants.last().unwrap().yields);
    assert_eq!(world.origins["o1"].serving, Some(Epoch(1)), "it still serves");
    world.origin("o1").stubborn = false;
    world.run(10);
    assert_eq!((world.epoch(), world.pool.plan_state(plan)), (2, PlanState::Granted(Epoch(2))));
    assert_eq!(world.pool.shown().epoch, Epoch(1), "watchers wait");
    assert_eq!(world.origins["o2"].grants.last().unwrap().epoch, Epoch(2));
    assert_eq!(world.origins["o1"].grants.last().unwrap().epoch, Epoch(1), "it is not told yet");
    world.origin("o2").serving = Some(Epoch(2));
    world.report("o2");
    world.run(10);
    assert_eq!(world.origins["o1"].grants.last().unwrap().epoch, Epoch(2));
    assert_eq!(world.pool.shown().epoch, Epoch(2));
    world.run(3_000);
    let granted = world.granted();
    let [granted] = &granted[..] else { panic!("one event for one change: {granted:?}") };
    assert_eq!((granted.cause, granted.evidence.as_str(), granted.lossy), (Cause::Promoted, "kernel patch", false));
    assert_eq!(granted.by.author, "operator");
    assert!(granted.durations_ms["yield"] >= 90 && granted.durations_ms.contains_key("open"), "{granted:?}");
}

#[test]
fn the_old_active_leaves_the_in_sync_set_with_the_grant() {
    let mut world = World::running(&["o1", "o2", "o3"], &[], PoolRules::default());
    world.nobody_asks = true;
    promote(&mut world, "o2");
    world.run(1_000);
    assert_eq!((world.epoch(), world.in_sync()), (2, vec!["o2".to_owned(), "o3".to_owned()]));
}

#[test]
fn an_active_that_does_not_yield_keeps_its_role_and_goes_on() {
    let mut world = World::pair(&["e1"]);
    world.origin("o1").stubborn = true;
    let plan = promote(&mut world, "o2");
    world.run(1_100);
    assert_eq!(world.pool.plan_state(plan), PlanState::Failed(PlanFailed::NotYielded));
    world.run(100);
    let last = world.origins["o1"].grants.last().unwrap();
    assert!(!last.yields && last.epoch == Epoch(1), "{last:?}");
    assert_eq!(world.told(|event| matches!(event, PoolEvent::NotMoved { .. })), 1);
    world.run(20_000);
    assert_eq!((world.epoch(), world.granted().len()), (1, 0));
}

#[test]
fn a_member_that_leaves_the_in_sync_set_meanwhile_is_not_promoted() {
    let mut world = World::pair(&["e1"]);
    world.origin("o1").stubborn = true;
    let plan = promote(&mut world, "o2");
    world.run(50);
    world.cut("o1", "o2");
    world.run(600);
    assert_eq!(world.pool.plan_state(plan), PlanState::Failed(PlanFailed::NotReady));
    assert!(!world.origins["o1"].grants.last().unwrap().yields);
}

#[test]
fn an_active_that_dies_while_it_yields_is_replaced_without_loss() {
    let mut world = World::pair(&["e1"]);
    world.origin("o1").stubborn = true;
    promote(&mut world, "o2");
    world.run(50);
    world.kill("o1");
    world.until(50, |world| world.active() == "o2" && world.is_served());
    assert_eq!((world.epoch(), world.loss_epoch()), (2, 0));
}

#[test]
fn a_yield_of_another_epoch_or_by_another_member_counts_for_nothing() {
    let mut world = World::pair(&["e1"]);
    world.origin("o1").stubborn = true;
    promote(&mut world, "o2");
    world.run(50);
    let (o1, o2) = (world.member("o1"), world.member("o2"));
    world.pool.handle_yielded(&o1, Epoch(9), world.now);
    world.pool.handle_yielded(&o2, Epoch(1), world.now);
    world.run(50);
    assert_eq!(world.epoch(), 1);
}

#[test]
fn an_active_that_is_about_to_end_is_relieved() {
    let mut world = World::pair(&["e1"]);
    let o2 = world.member("o2");
    world.pool.handle_hand_over(&o2, "SIGTERM");
    world.run(1_000);
    assert_eq!(world.epoch(), 1, "it has no role to hand over");
    let o1 = world.member("o1");
    world.pool.handle_hand_over(&o1, "SIGTERM");
    world.until(50, |world| world.active() == "o2" && world.is_served());
    world.run(3_000);
    let granted = world.granted();
    assert_eq!((granted[0].cause, granted[0].evidence.as_str()), (Cause::HandedOver, "SIGTERM"));
    assert_eq!((granted.len(), world.loss_epoch(), world.epoch()), (1, 0, 2), "and stays relieved");
}

#[test]
fn an_active_that_is_about_to_end_waits_for_somebody_in_sync() {
    let mut world = World::pair(&["e1"]);
    world.cut("o1", "o2");
    world.run(1_000);
    let o1 = world.member("o1");
    world.pool.handle_hand_over(&o1, "SIGTERM");
    world.run(1_000);
    assert_eq!(world.epoch(), 1);
    world.mend();
    world.until(500, |world| world.active() == "o2");
    assert_eq!(world.loss_epoch(), 0);
}

#[test]
fn a_control_plane_that_ended_in_the_middle_lets_the_active_go_on() {
    let mut world = World::pair(&["e1"]);
    world.origin("o1").stubborn = true;
    promote(&mut world, "o2");
    world.run(50);
    let record = world.pool.record().clone();
    assert!(record.yields_to.is_some());
    world.cp_starts(record, PoolRules::default());
    world.run(200);
    let last = world.origins["o1"].grants.last().unwrap();
    assert!(!last.yields && last.epoch == Epoch(1), "at once: {last:?}");
}

#[test]
fn a_grant_whose_control_plane_ended_is_told_by_the_next_one() {
    let mut world = World::pair(&["e1"]);
    promote(&mut world, "o2");
    world.until(50, |world| world.epoch() == 2);
    let record = world.pool.record().clone();
    assert!(record.untold.is_some());
    world.cp_starts(record, PoolRules::default());
    world.run(10_000);
    let granted = world.granted();
    assert_eq!((granted.len(), granted[0].epoch, granted[0].by.author.as_str()), (1, Epoch(2), "operator"));
}
