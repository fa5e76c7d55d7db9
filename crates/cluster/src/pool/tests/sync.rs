//! The in-sync set.

use std::collections::BTreeSet;

use super::world::{World, member, node};
use crate::{By, Epoch, PoolChange, PoolEvent, Promotion, SyncChange, SyncRefused, SyncRequest};

fn request(world: &World, epoch: u64, version: u64, change: SyncChange) -> SyncRequest {
    SyncRequest { pool: world.pool.record().id.clone(), epoch: Epoch(epoch), version, change }
}

#[test]
fn a_request_counts_only_on_the_version_and_epoch_it_names_and_is_answered_by_the_record() {
    let mut world = World::pair(&[]);
    let (o1, o2, version) = (world.member("o1"), world.member("o2"), world.pool.record().version);
    let told = world.origins["o1"].grants.len();
    for (epoch, named) in [(1, version - 1), (1, version + 1), (0, version), (2, version)] {
        let request = request(&world, epoch, named, SyncChange::Shrink(o2.clone()));
        let stale = SyncRefused::Stale { epoch: Epoch(1), version };
        assert_eq!(world.pool.handle_sync(&o1, request), Err(stale));
    }
    world.run(10);
    assert_eq!((world.in_sync().len(), world.pool.record().version), (2, version));
    let again = &world.origins["o1"].grants[told..];
    assert!(!again.is_empty() && again.iter().all(|grant| grant.version == version), "{again:?}");
}

#[test]
fn a_shrink_sent_twice_does_not_undo_a_grow_in_between() {
    let mut world = World::pair(&[]);
    let (o1, o2, version) = (world.member("o1"), world.member("o2"), world.pool.record().version);
    let shrink = request(&world, 1, version, SyncChange::Shrink(o2.clone()));
    world.pool.handle_sync(&o1, shrink.clone()).unwrap();
    world.drive();
    assert_eq!(world.in_sync(), ["o1"]);
    world.ask("o1", SyncChange::Grow(o2)).unwrap();
    world.drive();
    assert!(world.pool.handle_sync(&o1, shrink).is_err());
    world.drive();
    assert_eq!(world.in_sync(), ["o1", "o2"]);
}

/// Three origins of which `o3` is not in sync, and nobody asks by himself.
fn without_o3() -> World {
    let mut world = World::running(&["o1", "o2", "o3"], &[], Default::default());
    world.nobody_asks = true;
    let o3 = world.member("o3");
    world.ask("o1", SyncChange::Shrink(o3)).unwrap();
    world.drive();
    assert_eq!(world.in_sync(), ["o1", "o2"]);
    world
}

fn by() -> By {
    By { author: "operator".into(), reason: "test".into() }
}

/// While this change is written, the active asks for `o3`. What the active is told from then on.
fn cross_with(world: &mut World, change: PoolChange) -> Vec<crate::Grant> {
    let told = world.origins["o1"].grants.len();
    let o3 = world.member("o3");
    world.ask("o1", SyncChange::Grow(o3)).unwrap();
    world.pool.handle_written(change.record, world.now);
    world.drive();
    world.origins["o1"].grants[told..].to_vec()
}

#[test]
fn a_request_that_crosses_with_another_change_is_answered_by_the_record_after_it() {
    let mut world = without_o3();
    let version = world.pool.record().version;
    let change = world.pool.held(None, by()).unwrap();
    let told = cross_with(&mut world, change);
    assert_eq!(world.in_sync(), ["o1", "o2", "o3"]);
    assert_eq!(told.iter().map(|grant| grant.version).collect::<Vec<_>>(), [version + 2]);
    assert!(told[0].in_sync.contains(&world.member("o3")), "it never hears of a record that seems to refuse");
}

#[test]
fn a_request_that_crosses_is_considered_anew_on_the_record_that_came_before_it() {
    let mut world = without_o3();
    let version = world.pool.record().version;
    let change = world.pool.fenced(&node("o3"), by()).unwrap().unwrap();
    let told = cross_with(&mut world, change);
    assert_eq!(world.in_sync(), ["o1", "o2"]);
    assert_eq!(told.iter().map(|grant| grant.version).collect::<Vec<_>>(), [version + 1], "which is the answer");
}

#[test]
fn a_request_that_crosses_with_a_grant_is_forgotten() {
    let mut world = without_o3();
    let to = world.pool.check_promotion(&node("o2"), Epoch(1), Promotion::Forced, world.now).unwrap();
    world.pool.promote(to, Promotion::Forced, by(), world.now);
    let change = world.pool.poll_change(world.now, 0).unwrap();
    cross_with(&mut world, change);
    assert_eq!((world.active().as_str(), world.epoch()), ("o2", 2));
    assert!(!world.pool.record().in_sync.contains(&world.member("o3")));
}

#[test]
fn a_shrink_that_crosses_with_its_own_answer_changes_nothing() {
    let mut world = World::pair(&[]);
    world.nobody_asks = true;
    let (o1, o2, version) = (world.member("o1"), world.member("o2"), world.pool.record().version);
    let shrink = request(&world, 1, version, SyncChange::Shrink(o2.clone()));
    world.pool.handle_sync(&o1, shrink.clone()).unwrap();
    let change = world.pool.poll_change(world.now, 0).unwrap();
    world.pool.handle_sync(&o1, shrink).unwrap();
    world.pool.handle_written(change.record, world.now);
    world.drive();
    assert_eq!((world.in_sync(), world.pool.record().version), (vec!["o1".to_owned()], version + 1));
    world.ask("o1", SyncChange::Grow(o2)).unwrap();
    world.drive();
    assert_eq!(world.in_sync(), ["o1", "o2"]);
}

#[test]
fn only_the_active_is_heard() {
    let mut world = World::pair(&[]);
    let o1 = world.member("o1");
    assert_eq!(world.ask("o2", SyncChange::Shrink(o1)), Err(SyncRefused::NotActive));
    world.drive();
    assert_eq!(world.in_sync().len(), 2);
}

#[test]
fn a_start_that_is_over_does_not_grow_in() {
    let mut world = World::pair(&[]);
    world.restart("o2");
    world.run(20);
    let version = world.pool.record().version;
    world.ask("o1", SyncChange::Grow(member("o2", 1))).unwrap();
    world.drive();
    assert!(!world.pool.record().in_sync.contains(&member("o2", 1)));
    assert!(world.pool.record().version > version, "the answer is a newer record without it");
}

#[test]
fn the_active_does_not_take_itself_out() {
    let mut world = World::pair(&[]);
    let (o1, o2) = (world.member("o1"), world.member("o2"));
    world.ask("o1", SyncChange::Shrink(o1.clone())).unwrap();
    world.drive();
    assert!(world.pool.record().in_sync.contains(&o1));
    world.run(1_000);
    let without = BTreeSet::from([o1.clone(), o2]);
    world.ask("o1", SyncChange::Alone { without }).unwrap();
    world.drive();
    assert_eq!(world.pool.record().in_sync, BTreeSet::from([o1]));
}

#[test]
fn whoever_went_on_alone_is_told_once() {
    let mut world = World::pair(&[]);
    let without = BTreeSet::from([world.member("o2")]);
    world.cut("o1", "o2");
    world.ask("o1", SyncChange::Alone { without: without.clone() }).unwrap();
    world.drive();
    let alone = PoolEvent::Alone { member: world.member("o1"), epoch: Epoch(1), without };
    assert_eq!(world.told(|event| *event == alone), 1);
    assert_eq!(world.in_sync(), ["o1"]);
}

#[test]
fn one_that_went_on_alone_in_an_epoch_that_is_over_split_the_streams() {
    let mut world = World::pair(&[]);
    let (o1, o2, version) = (world.member("o1"), world.member("o2"), world.pool.record().version);
    world.freeze("o1");
    world.until(1_000, |world| world.active() == "o2");
    for _ in 0..3 {
        let alone = request(&world, 1, version, SyncChange::Alone { without: BTreeSet::from([o2.clone()]) });
        assert!(world.pool.handle_sync(&o1, alone).is_err());
    }
    world.drive();
    let split = PoolEvent::Split { member: o1, epoch: Epoch(1), current: Epoch(2) };
    assert_eq!(world.told(|event| *event == split), 1);
    assert_eq!(world.active(), "o2");
}
