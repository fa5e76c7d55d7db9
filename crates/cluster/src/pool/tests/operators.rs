//! What operators ask for, and what they are told.

use super::world::{World, node};
use crate::{By, Epoch, PlanFailed, PlanState, PoolEvent, PromoteError, Promotion, Role, SyncChange};

fn by() -> By {
    By { author: "operator".into(), reason: "test".into() }
}

#[test]
fn a_promotion_needs_the_epoch_in_force_and_a_living_member_in_sync() {
    let mut world = World::running(&["o1", "o2", "o3"], &[], Default::default());
    let check = |world: &World, name, epoch, how| world.pool.check_promotion(&node(name), Epoch(epoch), how, world.now);
    let stale = PromoteError::StaleEpoch { expected: Epoch(7), current: Epoch(1) };
    assert_eq!(check(&world, "o2", 7, Promotion::Graceful), Err(stale));
    assert_eq!(check(&world, "o9", 1, Promotion::Graceful), Err(PromoteError::NotAMember));
    assert_eq!(check(&world, "o1", 1, Promotion::Forced), Err(PromoteError::AlreadyActive));
    assert_eq!(check(&world, "o2", 1, Promotion::Graceful), Ok(world.member("o2")));
    world.cut("o1", "o2");
    world.run(1_000);
    assert_eq!(check(&world, "o2", 1, Promotion::Graceful), Err(PromoteError::NotInSync));
    assert_eq!(check(&world, "o2", 1, Promotion::Forced), Ok(world.member("o2")));
    world.kill("o2");
    world.run(10);
    assert_eq!(check(&world, "o2", 1, Promotion::Forced), Err(PromoteError::NotAlive));
    let to = check(&world, "o3", 1, Promotion::Graceful).unwrap();
    world.pool.promote(to, Promotion::Graceful, by(), world.now);
    assert_eq!(check(&world, "o3", 1, Promotion::Graceful), Err(PromoteError::UnderWay));
}

#[test]
fn of_two_operators_who_promote_at_once_one_has_seen_a_stale_epoch() {
    let mut world = World::running(&["o1", "o2", "o3"], &[], Default::default());
    let first = world.pool.check_promotion(&node("o2"), Epoch(1), Promotion::Forced, world.now).unwrap();
    world.pool.promote(first, Promotion::Forced, by(), world.now);
    world.run(10);
    let second = world.pool.check_promotion(&node("o3"), Epoch(1), Promotion::Forced, world.now);
    assert_eq!(second, Err(PromoteError::StaleEpoch { expected: Epoch(1), current: Epoch(2) }));
}

#[test]
fn a_forced_promotion_of_one_that_is_not_in_sync_is_one_with_loss() {
    let mut world = World::pair(&["e1"]);
    world.cut("o1", "o2");
    world.run(1_000);
    let to = world.pool.check_promotion(&node("o2"), Epoch(1), Promotion::Forced, world.now).unwrap();
    world.pool.promote(to, Promotion::Forced, by(), world.now);
    world.run(10);
    assert_eq!((world.active().as_str(), world.epoch(), world.loss_epoch()), ("o2", 2, 2));
}

#[test]
fn a_fail_back_goes_to_the_configured_origin_or_to_the_one_before() {
    let mut world = World::pair(&["e1"]);
    world.kill("o1");
    world.run(1_000);
    world.restart("o1");
    world.run(1_000);
    assert_eq!(world.pool.first_choice(), Some(&node("o1")));
    let to = world.pool.check_promotion(&node("o1"), Epoch(2), Promotion::Graceful, world.now).unwrap();
    world.pool.fail_back(to, by(), world.now);
    world.until(100, |world| world.active() == "o1" && world.is_served());
    assert_eq!((world.epoch(), world.loss_epoch()), (3, 0));
    world.run(2_000);
    assert_eq!(world.granted().last().unwrap().by, by());
    assert_eq!(world.pool.record().before, Some(node("o2")));
}

#[test]
fn a_fenced_member_holds_no_role_and_is_waited_for_by_nobody() {
    let mut world = World::running(&["o1", "o2", "o3"], &["e1"], Default::default());
    let fenced = world.pool.fenced(&node("o2"), by()).unwrap().unwrap();
    assert_eq!(fenced.events, [PoolEvent::Fenced { node: node("o2"), by: by() }]);
    world.pool.handle_written(fenced.record, world.now);
    world.run(100);
    assert_eq!(world.origins["o2"].grants.last().unwrap().role, Role::Fenced);
    assert_eq!(world.in_sync(), ["o1", "o3"], "it may not grow in, though it asks");
    assert_eq!(world.pool.fenced(&node("o2"), by()), Ok(None));
    assert_eq!(world.pool.fenced(&node("o1"), by()), Err(PromoteError::StillActive));
    assert_eq!(world.pool.fenced(&node("o9"), by()), Err(PromoteError::NotAMember));
    let refused = world.pool.check_promotion(&node("o2"), Epoch(1), Promotion::Forced, world.now);
    assert_eq!(refused, Err(PromoteError::Fenced));
    world.kill("o1");
    world.until(100, |world| world.active() == "o3");
    world.kill("o3");
    world.run(20_000);
    assert_eq!(world.active(), "o3", "nobody else is left");

    let unfenced = world.pool.unfenced(&node("o2"), by()).unwrap().unwrap();
    world.pool.handle_written(unfenced.record, world.now);
    world.until(100, |world| world.active() == "o2");
    assert_eq!(world.loss_epoch(), world.epoch());
}

#[test]
fn a_fence_stays_when_its_node_leaves_the_pool_and_comes_back() {
    let mut world = World::pair(&["e1"]);
    world.fence("o2");
    world.kill("o2");
    world.run(100);
    let left = world.pool.without(&node("o2")).unwrap();
    world.pool.handle_written(left.record, world.now);
    world.pool.handle_left(&node("o2"));
    assert_eq!(world.pool.record().members.len(), 1);
    assert_eq!(world.pool.unfenced(&node("o9"), by()), Err(PromoteError::NotAMember));
    let unfenced = world.pool.unfenced(&node("o2"), by()).unwrap().unwrap();
    assert!(unfenced.record.fenced.is_empty(), "also while it is away");
    world.restart("o2");
    world.run(2_000);
    assert_eq!(world.origins["o2"].grants.last().unwrap().role, Role::Fenced);
    assert_eq!(world.in_sync(), ["o1"]);
    world.unfence("o2");
    world.until(1_000, |world| world.in_sync() == ["o1", "o2"]);
}

#[test]
fn one_that_is_fenced_while_its_promotion_is_asked_for_is_not_promoted() {
    let mut world = World::pair(&["e1"]);
    // The fence is on its way to the disk.
    let fenced = world.pool.fenced(&node("o2"), by()).unwrap().unwrap();
    let to = world.pool.check_promotion(&node("o2"), Epoch(1), Promotion::Forced, world.now).unwrap();
    let plan = world.pool.promote(to, Promotion::Forced, by(), world.now);
    world.pool.handle_written(fenced.record, world.now);
    world.run(1_000);
    assert_eq!(world.pool.plan_state(plan), PlanState::Failed(PlanFailed::NotReady));
    assert_eq!((world.active().as_str(), world.epoch(), world.is_served()), ("o1", 1, true));
}

#[test]
fn a_fenced_member_that_is_asked_in_is_answered_and_not_for_ever() {
    let mut world = World::running(&["o1", "o2", "o3"], &[], Default::default());
    world.fence("o2");
    world.run(10);
    let version = world.pool.record().version;
    let member = world.member("o2");
    world.ask("o1", SyncChange::Grow(member)).unwrap();
    world.run(10_000);
    let answers = world.pool.record().version - version;
    assert!((1..=11).contains(&answers), "{answers} records in 10 s");
}

#[test]
fn the_active_cannot_be_taken_out_and_a_standby_can() {
    let world = World::pair(&[]);
    assert_eq!(world.pool.without(&node("o1")), None);
    let change = world.pool.without(&node("o2")).unwrap();
    assert_eq!((change.record.members.len(), change.record.in_sync.len()), (1, 1));
    assert_eq!((change.after + 1, change.record.version), (change.record.version, world.pool.record().version + 1));
}
