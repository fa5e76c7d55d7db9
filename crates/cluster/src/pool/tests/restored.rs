//! A control plane that starts: on its own store, or on one that was restored from an older copy.

use super::world::{World, node};
use crate::{By, Cause, Epoch, Member, Mode, PoolEvent, PoolRecord, PoolRules, SyncChange, Unclean};

/// A pair whose control plane goes on with a record from before the first fail-over, so many milliseconds ago.
fn old_copy(edges: &[&'static str]) -> (World, PoolRecord) {
    let mut world = World::pair(edges);
    let old = world.pool.record().clone();
    world.kill("o1");
    world.run(1_000);
    world.restart("o1");
    world.run(2_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.in_sync().len()), ("o2", 2, 2));
    world.events.clear();
    (world, old)
}

#[test]
fn it_adopts_epoch_in_sync_and_version_of_the_active_that_serves() {
    let (mut world, old) = old_copy(&["e1"]);
    world.cut("o1", "o2");
    world.run(1_000);
    let newest = world.pool.record().clone();
    assert_eq!(world.in_sync(), ["o2"]);
    world.nobody_asks = true;
    world.cp_starts(old, PoolRules::default());
    world.run(10_000);
    let record = world.pool.record();
    assert_eq!((record.active.clone(), record.epoch), (newest.active, Epoch(2)));
    assert!(record.version > newest.version, "above every version that was heard of");
    assert_eq!(world.in_sync(), ["o2"], "not as the old copy has it");
    assert_eq!((world.granted().len(), world.granted()[0].cause), (1, Cause::Adopted));
    assert_eq!(world.origins["o2"].grants.last().unwrap().version, record.version);
}

#[test]
fn a_living_member_that_was_taken_out_since_is_not_in_sync_by_the_old_copy() {
    let mut world = World::running(&["o1", "o2", "o3"], &["e1"], PoolRules::default());
    let old = world.pool.record().clone();
    world.kill("o1");
    world.run(1_000);
    world.cut("o2", "o3");
    world.run(1_000);
    assert_eq!((world.active(), world.in_sync()), ("o2".to_owned(), vec!["o2".to_owned()]));
    world.nobody_asks = true;
    world.cp_starts(old, PoolRules::default());
    world.until(200, |world| world.epoch() == 2);
    assert_eq!(world.in_sync(), ["o2"]);
    world.run(4_000);
    world.kill("o2");
    world.run(10_000);
    assert_eq!((world.active(), world.loss_epoch()), ("o3".to_owned(), world.epoch()), "it lacks what was committed");
}

#[test]
fn it_adopts_an_in_sync_set_with_the_old_copys_active_in_it() {
    let mut world = World::pair(&["e1"]);
    let old = world.pool.record().clone();
    world.freeze("o1");
    world.until(1_000, |world| world.active() == "o2");
    world.thaw("o1");
    world.run(2_000);
    assert_eq!(world.in_sync(), ["o1", "o2"]);
    world.nobody_asks = true;
    world.cp_starts(old, PoolRules::default());
    world.until(200, |world| world.epoch() == 2);
    assert_eq!(world.in_sync(), ["o1", "o2"]);
}

#[test]
fn it_adopts_in_sync_and_version_within_the_same_epoch() {
    let mut world = World::pair(&["e1"]);
    let old = world.pool.record().clone();
    world.cut("o1", "o2");
    world.run(1_000);
    let version = world.pool.record().version;
    world.nobody_asks = true;
    world.cp_starts(old, PoolRules::default());
    // Before it has settled: no role changes by it.
    world.run(200);
    assert_eq!(world.in_sync(), ["o1"]);
    assert!(world.pool.record().version > version);
    assert_eq!(world.told(|event| matches!(event, PoolEvent::RecordAdopted { .. })), 1);
    assert_eq!(world.epoch(), 1);
}

/// A control plane that goes on with a record by which `o2` is in sync; it was taken out since, and `o1` has died.
fn taken_out_since(rules: PoolRules) -> World {
    let mut world = World::pair(&["e1"]);
    let old = world.pool.record().clone();
    world.cut("o1", "o2");
    world.run(1_000);
    world.kill("o1");
    world.cp_starts(old, rules);
    world
}

#[test]
fn an_old_in_sync_set_promotes_nobody_without_loss_when_the_active_does_not_report() {
    let mut world = taken_out_since(PoolRules::default());
    world.run(10_000);
    assert_eq!((world.active().as_str(), world.loss_epoch()), ("o2", world.epoch()), "it was taken out since");
}

#[test]
fn what_an_edge_was_told_of_later_makes_an_old_in_sync_set_doubtful_too() {
    let mut world = World::pair(&["e1"]);
    let old = world.pool.record().clone();
    // It does not hear of it that it was taken out.
    world.cut_off("o2", &[super::world::CP, "o1", "e1"]);
    world.run(1_000);
    assert_eq!(world.in_sync(), ["o1"]);
    world.kill("o1");
    world.cp_starts(old, PoolRules::default());
    world.mend();
    world.run(10_000);
    assert_eq!((world.active().as_str(), world.loss_epoch()), ("o2", world.epoch()), "it was taken out since");
}

#[test]
fn what_an_edge_tells_after_a_promotion_by_an_old_in_sync_set_names_the_loss() {
    let mut world = World::pair(&["e1"]);
    let old = world.pool.record().clone();
    world.cut_off("o2", &[super::world::CP, "o1", "e1"]);
    world.run(1_000);
    world.kill("o1");
    world.cp_starts(old, PoolRules::default());
    world.mend();
    world.cut("e1", super::world::CP);
    world.run(40_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.loss_epoch()), ("o2", 2, 0), "nobody knew");
    world.mend();
    world.run(1_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.loss_epoch()), ("o2", 3, 3));
    assert_eq!(world.granted().last().expect("it was granted").cause, Cause::RecordHeard);
    world.run(10_000);
    assert_eq!(world.epoch(), 3, "that is the end of it");
}

#[test]
fn a_version_of_its_own_is_not_taken_for_one_of_the_same_number_that_it_has_forgotten() {
    let mut world = World::pair(&["e1"]);
    let old = world.pool.record().clone();
    world.cut("o1", "o2");
    world.run(1_000);
    let forgotten = world.pool.record().clone();
    assert_eq!((forgotten.version, world.in_sync()), (old.version + 1, vec!["o1".to_owned()]));
    world.nobody_asks = true;
    world.cp_starts(old, PoolRules::default());
    let held = world.pool.held(None, By::default()).expect("it was not held");
    world.write(held);
    assert_eq!(world.pool.record().version, forgotten.version);
    world.run(1_000);
    assert_eq!(world.in_sync(), ["o1"], "as the active goes by it");
    assert!(world.pool.record().version > forgotten.version);
    // It is made good once, however often somebody tells of it.
    let version = world.pool.record().version;
    world.run(10_000);
    assert_eq!(world.pool.record().version, version);
}

#[test]
fn no_other_change_makes_an_old_in_sync_set_the_truth() {
    let mut world = taken_out_since(PoolRules::default());
    world.run(1_000);
    // Its new start is written down, in a version above every one that was heard of.
    world.restart("o1");
    world.run(10_000);
    assert!(world.epoch() > 1);
    assert_eq!(world.loss_epoch(), world.epoch(), "o2 was taken out since, and o1 is empty");
}

#[test]
fn an_old_in_sync_set_promotes_nobody_where_an_operator_decides() {
    let mut world = taken_out_since(PoolRules { unclean: Unclean::Never, ..PoolRules::default() });
    world.run(10_000);
    assert_eq!(world.epoch(), 1);
    assert_eq!(world.pool.alarms().count(), 1);
}

#[test]
fn one_that_serves_is_adopted_although_the_old_copy_has_it_fenced() {
    let mut world = World::pair(&["e1"]);
    world.fence("o2");
    let old = world.pool.record().clone();
    world.run(100);
    world.unfence("o2");
    world.until(1_000, |world| world.in_sync().len() == 2);
    world.kill("o1");
    world.until(1_000, |world| world.active() == "o2" && world.is_served());
    world.events.clear();
    world.cp_starts(old, PoolRules::default());
    world.run(10_000);
    assert!(world.is_served());
    assert_eq!((world.active().as_str(), world.epoch(), world.loss_epoch()), ("o2", 2, 0));
    assert_eq!(world.told(|event| matches!(event, PoolEvent::Unfenced { .. })), 1);
}

#[test]
fn an_epoch_that_only_others_have_heard_of_is_passed_with_loss() {
    let (mut world, old) = old_copy(&["e1"]);
    world.kill("o2");
    world.cp_starts(old.clone(), PoolRules::default());
    world.run(29_000);
    assert_eq!(world.epoch(), 1, "the other has not reported");
    world.run(2_000);
    assert_eq!((world.epoch(), world.loss_epoch()), (3, 3), "never 2 again");
    assert_eq!(world.active(), "o1");

    let (mut world, _) = old_copy(&["e1"]);
    world.kill("o2");
    let never = PoolRules { unclean: Unclean::Never, ..PoolRules::default() };
    world.cp_starts(old, never);
    world.run(40_000);
    assert_eq!(world.epoch(), 1, "an operator decides");
    let (_, evidence) = world.pool.alarms().next().expect("an alarm");
    assert!(evidence.contains("an operator decides"), "{evidence}");
}

#[test]
fn an_active_out_of_reach_that_others_hear_is_waited_for() {
    let (mut world, old) = old_copy(&["e1"]);
    world.cut("o2", super::world::CP);
    world.cp_starts(old, PoolRules::default());
    world.run(20_000);
    assert_eq!(world.epoch(), 1);
    world.mend();
    world.run(1_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.loss_epoch()), ("o2", 2, 0));
}

#[test]
fn an_active_that_only_others_hear_is_not_passed_by_however_long_it_lasts() {
    let (mut world, old) = old_copy(&["e1"]);
    world.kill("o2");
    world.run(1_000);
    world.restart("o2");
    world.run(2_000);
    assert_eq!((world.active().as_str(), world.epoch()), ("o1", 3));
    world.cut("o1", super::world::CP);
    world.cp_starts(old, PoolRules::default());
    world.run(40_000);
    assert_eq!(world.epoch(), 1);
    assert!(world.pool.alarms().count() > 0);
    world.mend();
    world.run(1_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.loss_epoch()), ("o1", 3, 0));
}

#[test]
fn grants_lie_above_what_any_edge_has_heard_and_an_edges_word_moves_no_role() {
    let mut world = World::pair(&["e1"]);
    world.pool.handle_epoch(&node("e1"), Epoch(9));
    world.run(10_000);
    assert_eq!(world.epoch(), 1);
    world.kill("o1");
    world.run(100);
    assert_eq!((world.epoch(), world.loss_epoch()), (10, 0));
}

#[test]
fn a_version_that_makes_no_sense_is_bounded() {
    let mut world = World::pair(&[]);
    world.origin("o2").record.version = u64::MAX;
    world.report("o2");
    world.run(1_000);
    let record = world.pool.record().clone();
    assert!(record.version < 1 << 57);
    let o2: Member = world.member("o2");
    world.ask("o1", SyncChange::Shrink(o2)).unwrap();
    world.run(10);
    assert_eq!(world.pool.record().active.as_ref().unwrap().node, node("o1"));
}

#[test]
fn one_that_was_granted_the_same_epoch_by_a_store_that_is_gone_yields_once_it_is_heard() {
    let mut world = World::running(&["o1", "o2", "o3"], &["e1"], PoolRules::default());
    let old = world.pool.record().clone();
    world.kill("o1");
    world.run(1_000);
    assert_eq!((world.active().as_str(), world.epoch()), ("o2", 2));
    // Nobody reaches o2; and the others, started anew, have never heard of epoch 2.
    world.cut_off("o2", &[super::world::CP, "o1", "o3", "e1"]);
    for other in ["o1", "o3"] {
        world.origin(other).highest = Epoch(1);
        world.restart(other);
    }
    world.cp_starts(old, PoolRules::default());
    world.until(60_000, |world| world.is_served() && world.epoch() == 2);
    let active = world.active();
    assert_ne!(active, "o2");
    assert_eq!(world.origins["o2"].serving, Some(Epoch(2)), "it knows nothing of this");
    world.run(5_000);
    world.mend();
    world.run(2_000);
    assert_eq!((world.active(), world.epoch()), (active.clone(), 3));
    let serving: Vec<_> = world.origins.iter().filter(|(_, origin)| origin.serving.is_some()).collect();
    assert_eq!(serving.len(), 1, "one active: {serving:?}");
    let last = world.granted().last().copied().cloned().unwrap();
    assert!(last.evidence.contains("o2 goes by another grant of epoch 2"), "{last:?}");
    assert!(!last.lossy);
    world.run(20_000);
    assert_eq!(world.epoch(), 3, "that is the end of it");
}

#[test]
fn a_control_plane_that_starts_anew_on_its_own_store_disturbs_nobody() {
    let mut world = World::pair(&["e1"]);
    let record = world.pool.record().clone();
    world.cp_starts(record, PoolRules::default());
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch()), ("o1", 1));
}

/// The active freezes until it is replaced, or until it is clear that it will not be, and wakes again.
fn freeze_the_active(world: &mut World) {
    let (active, epoch) = (world.active(), world.epoch());
    world.freeze(&active);
    for _ in 0..40 {
        if world.epoch() == epoch {
            world.run(1_000);
        }
    }
    world.thaw(&active);
    world.run(2_000);
}

#[test]
fn the_limit_of_moves_for_silence_outlives_the_control_plane() {
    let mut world = World::pair(&["e1", "e2"]);
    for moves in 1..=3 {
        freeze_the_active(&mut world);
        assert_eq!(world.epoch(), 1 + moves);
        let record = world.pool.record().clone();
        world.cp_starts(record, PoolRules::default());
        world.run(5_000);
    }
    freeze_the_active(&mut world);
    assert_eq!((world.epoch(), world.pool.record().mode), (4, Mode::Hold));
    let reason = &world.pool.record().hold.as_ref().unwrap().by.reason;
    assert!(reason.contains("roles have moved too often because of silence"), "{reason}");

    let released = world.pool.released(By::default()).unwrap();
    world.cp_starts(released.record, PoolRules::default());
    world.run(5_000);
    freeze_the_active(&mut world);
    assert_eq!((world.epoch(), world.pool.record().mode), (5, Mode::Auto), "an operator let it go");
}

#[test]
fn a_node_that_lies_about_epochs_does_not_use_them_up() {
    let mut world = World::pair(&["e1"]);
    world.pool.handle_epoch(&node("e1"), Epoch::MAX);
    world.origin("o2").highest = Epoch::MAX;
    world.origin("o2").head = (Epoch::MAX, u64::MAX);
    world.run(5_000);
    assert_eq!((world.active().as_str(), world.epoch()), ("o1", 1));
    let told = world.told(|event| matches!(event, PoolEvent::EpochNotBelieved { epoch: Epoch::MAX, .. }));
    assert_eq!(told, 2, "once for each of them");
    // However often it is done with less.
    for _ in 0..10 {
        let epoch = Epoch(world.epoch() + Epoch::JUMP_MAX);
        world.pool.handle_epoch(&node("e1"), epoch);
        world.kill("o1");
        world.run(2_000);
        world.restart("o1");
        world.run(2_000);
    }
    assert!(world.epoch() < 2 * Epoch::JUMP_MAX, "{}", world.epoch());
}
