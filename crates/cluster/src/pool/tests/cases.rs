//! The failover cases that concern the control plane alone, as far as it can tell of them.

use std::time::Duration;

use super::world::{CP, World, node};
use crate::{Cause, Epoch, FirstFrame, Mode, PoolAlarm, PoolEvent, PoolRules, Unclean};

fn raised(world: &World, wanted: PoolAlarm) -> usize {
    world.told(|event| matches!(event, PoolEvent::Raised { alarm, .. } if *alarm == wanted))
}

#[test]
fn the_active_is_killed_the_standby_is_promoted_at_once_without_loss() {
    for edges in [&[][..], &["e1"], &["e1", "e2", "e3"]] {
        let mut world = World::pair(edges);
        world.kill("o1");
        assert!(world.until(100, |world| world.active() == "o2" && world.is_served()) <= 50);
        assert_eq!((world.epoch(), world.loss_epoch(), world.in_sync()), (2, 0, vec!["o2".to_owned()]));
        world.run(20_000);
        let granted = world.granted();
        let [granted] = &granted[..] else { panic!("one event for one change: {granted:?}") };
        assert_eq!((granted.cause, granted.lossy, granted.opened), (Cause::Died, false, true));
        for part in ["detect", "decide", "open"] {
            assert!(granted.durations_ms.contains_key(part), "{part}: {granted:?}");
        }
        assert!(granted.evidence.contains("o2 has not heard it"), "{}", granted.evidence);
        assert_eq!(world.epoch(), 2);
    }
}

#[test]
fn a_role_change_is_told_with_the_time_until_the_first_frame() {
    let mut world = World::pair(&["e1"]);
    world.origin("o2").first_frame = FirstFrame::Awaited;
    world.kill("o1");
    world.run(200);
    assert!(world.is_served() && world.granted().is_empty(), "it is not over yet");
    world.origin("o2").first_frame = FirstFrame::After(Duration::from_millis(70));
    world.report("o2");
    world.run(20_000);
    let granted = world.granted();
    let [granted] = &granted[..] else { panic!("one event for one change: {granted:?}") };
    assert_eq!(granted.durations_ms["first_frame"], 70);
    let recorded = &world.pool.record().last_change.as_ref().unwrap().durations_ms;
    assert_eq!(recorded, &granted.durations_ms);
    assert_eq!(world.told(|event| matches!(event, PoolEvent::FirstFrame { .. })), 0);
}

#[test]
fn a_first_frame_that_comes_late_has_an_event_of_its_own() {
    let mut world = World::pair(&["e1"]);
    world.origin("o2").first_frame = FirstFrame::Awaited;
    world.kill("o1");
    world.run(3_000);
    assert!(!world.granted()[0].durations_ms.contains_key("first_frame"), "it is told without");
    world.origin("o2").first_frame = FirstFrame::After(Duration::from_secs(3));
    world.run(20_000);
    let named = world.told(|event| matches!(event, PoolEvent::FirstFrame { after, .. } if after.as_secs() == 3));
    assert_eq!((named, world.granted().len()), (1, 1));
}

#[test]
fn the_active_freezes_and_wakes_the_standby_is_promoted_in_time_and_it_follows() {
    let mut world = World::pair(&["e1", "e2"]);
    world.freeze("o1");
    let took = world.until(1000, |world| world.active() == "o2");
    assert!((450..800).contains(&took), "{took} ms");
    world.run(5_000);
    world.thaw("o1");
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.loss_epoch()), ("o2", 2, 0));
    assert_eq!(world.origins["o1"].serving, None, "it follows");
    assert_eq!(world.in_sync(), ["o1", "o2"]);
    assert_eq!(world.granted().len(), 1);
    assert_eq!(world.granted()[0].cause, Cause::Silent);
}

#[test]
fn the_active_is_cut_off_from_everyone() {
    let mut world = World::pair(&["e1", "e2"]);
    world.cut_off("o1", &[CP, "o2", "e1", "e2"]);
    let took = world.until(1000, |world| world.active() == "o2");
    assert!((450..800).contains(&took), "{took} ms");
    world.mend();
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.loss_epoch()), ("o2", 2, 0));
}

#[test]
fn a_process_that_restarts_at_once_follows_and_the_other_is_promoted() {
    let mut world = World::pair(&["e1", "e2"]);
    world.restart("o1");
    assert!(world.until(100, |world| world.active() == "o2") <= 50);
    world.run(10_000);
    assert_eq!((world.epoch(), world.loss_epoch(), world.in_sync().len()), (2, 0, 2));
    assert_eq!(world.origins["o1"].serving, None);
    assert!(!world.pool.record().in_sync.contains(&super::world::member("o1", 1)), "the old start is nobody");
}

#[test]
fn only_the_link_to_the_control_plane_is_cut_no_role_moves_and_an_alarm_says_so() {
    for edges in [&[][..], &["e1", "e2"]] {
        let mut world = World::pair(edges);
        world.cut("o1", CP);
        world.run(20_000);
        assert_eq!((world.active().as_str(), world.epoch()), ("o1", 1));
        assert_eq!(raised(&world, PoolAlarm::ControlLink), 1);
        assert_eq!(world.pool.alarms().count(), 1);
        world.mend();
        world.run(1_000);
        let cleared = PoolEvent::Cleared { alarm: PoolAlarm::ControlLink };
        assert_eq!(world.told(|event| *event == cleared), 1);
        assert_eq!(world.pool.alarms().count(), 0);
    }
}

#[test]
fn only_the_link_between_the_origins_is_cut_the_standby_leaves_the_in_sync_set() {
    let mut world = World::pair(&["e1", "e2"]);
    world.cut("o1", "o2");
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.in_sync()), ("o1", 1, vec!["o1".to_owned()]));
    assert_eq!(world.told(|event| matches!(event, PoolEvent::Shrunk { .. })), 1);
    world.mend();
    world.run(1_000);
    assert_eq!(world.in_sync().len(), 2);
}

#[test]
fn only_one_edge_of_three_is_cut_off_from_the_active_no_role_moves() {
    let mut world = World::pair(&["e1", "e2", "e3"]);
    world.cut("e1", "o1");
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch()), ("o1", 1));
}

#[test]
fn one_edge_of_two_is_half_of_them_and_not_enough() {
    let mut world = World::pair(&["e1", "e2"]);
    world.cut("e1", "o1");
    world.run(20_000);
    assert_eq!(world.epoch(), 1);
}

#[test]
fn at_least_half_of_the_edges_miss_the_active_and_hear_the_standby() {
    for (edges, cut) in [(&["e1", "e2", "e3", "e4"][..], &["e1", "e2"][..]), (&["e1"], &["e1"])] {
        let mut world = World::pair(edges);
        world.cut_off("o1", cut);
        let took = world.until(2_000, |world| world.active() == "o2");
        assert!((400..800).contains(&took), "{took} ms");
        assert_eq!(world.granted().len() + usize::from(world.pool.record().untold.is_some()), 1);
        assert_eq!((world.loss_epoch(), world.pool.record().last_change.as_ref().unwrap().cause), (0, Cause::Unheard));
        world.run(20_000);
        assert_eq!(world.epoch(), 2, "it stays");
    }
}

#[test]
fn edges_that_do_not_hear_the_standby_either_move_nothing() {
    let mut world = World::pair(&["e1", "e2"]);
    for edge in ["e1", "e2"] {
        world.cut_off(edge, &["o1", "o2"]);
    }
    world.run(20_000);
    assert_eq!(world.epoch(), 1);
}

#[test]
fn edges_never_outvote_for_one_that_is_not_in_sync() {
    let mut world = World::pair(&["e1", "e2"]);
    world.cut("o1", "o2");
    world.run(1_000);
    world.cut_off("o1", &["e1", "e2"]);
    world.run(20_000);
    assert_eq!((world.epoch(), world.loss_epoch()), (1, 0), "the active is heard: nothing is thrown away");
}

#[test]
fn the_standby_is_killed_or_frozen_the_active_goes_on() {
    for freeze in [true, false] {
        let mut world = World::pair(&["e1"]);
        if freeze {
            world.freeze("o2")
        } else {
            world.kill("o2")
        };
        world.run(20_000);
        assert_eq!((world.active().as_str(), world.epoch(), world.in_sync()), ("o1", 1, vec!["o1".to_owned()]));
        if freeze {
            world.thaw("o2")
        } else {
            world.restart("o2")
        };
        world.run(1_000);
        assert_eq!((world.epoch(), world.in_sync().len()), (1, 2));
    }
}

#[test]
fn the_control_plane_is_away_for_an_hour_and_nothing_moves() {
    let mut world = World::pair(&["e1", "e2"]);
    world.cp_stops();
    world.run(20_000);
    let record = world.pool.record().clone();
    world.cp_starts(record, PoolRules::default());
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.granted().len()), ("o1", 1, 0));
}

#[test]
fn the_control_plane_is_away_and_the_active_dies_it_is_replaced_within_4_s_of_the_return() {
    let mut world = World::pair(&["e1", "e2"]);
    world.cp_stops();
    world.run(1_000);
    world.kill("o1");
    world.run(10_000);
    let record = world.pool.record().clone();
    world.cp_starts(record, PoolRules::default());
    let took = world.until(10_000, |world| world.active() == "o2");
    assert!((2_900..=4_000).contains(&took), "{took} ms");
    assert_eq!((world.epoch(), world.loss_epoch()), (2, 0));
}

#[test]
fn the_network_is_cut_in_two_the_others_promote_after_5_s() {
    let mut world = World::pair(&["e1", "e2", "e3"]);
    // The active with two of three edges; the control plane with the standby and the third.
    for name in ["o1", "e1", "e2"] {
        world.cut_off(name, &[CP, "o2", "e3"]);
    }
    let took = world.until(10_000, |world| world.active() == "o2");
    assert!((4_800..5_500).contains(&took), "{took} ms");
}

#[test]
fn the_active_is_cut_off_with_a_minority_of_the_edges_and_is_replaced_at_once() {
    let mut world = World::pair(&["e1", "e2", "e3"]);
    for name in ["o1", "e1"] {
        world.cut_off(name, &[CP, "o2", "e2", "e3"]);
    }
    let took = world.until(10_000, |world| world.active() == "o2");
    assert!((450..800).contains(&took), "{took} ms");
}

#[test]
fn the_active_and_three_of_its_four_edges_die_at_once() {
    let mut world = World::pair(&["e1", "e2", "e3", "e4"]);
    ["o1", "e1", "e2", "e3"].iter().for_each(|name| world.kill(name));
    let took = world.until(10_000, |world| world.active() == "o2");
    assert!((4_800..5_300).contains(&took), "{took} ms");
}

#[test]
fn the_candidate_freezes_before_it_opens_the_next_one_follows_in_the_next_epoch() {
    let mut world = World::running(&["o1", "o2", "o3"], &["e1"], PoolRules::default());
    world.origin("o2").head.1 += 1000;
    world.report("o2");
    world.origin("o2").stuck = true;
    world.kill("o1");
    world.until(100, |world| world.active() == "o2");
    let took = world.until(1_000, |world| world.active() == "o3");
    assert!((290..=320).contains(&took), "{took} ms");
    world.run(3_000);
    assert_eq!((world.epoch(), world.loss_epoch()), (3, 0));
    let told: Vec<_> = world.granted().iter().map(|granted| (granted.epoch.0, granted.cause, granted.opened)).collect();
    assert_eq!(told, [(2, Cause::Died, false), (3, Cause::NotOpened, true)], "each change is told once");
}

#[test]
fn a_control_plane_that_was_late_itself_gives_the_candidate_its_time_to_open() {
    let mut world = World::running(&["o1", "o2", "o3"], &["e1"], PoolRules::default());
    world.origin("o2").head.1 += 1000;
    world.report("o2");
    world.kill("o1");
    world.origin("o2").stuck = true;
    world.until(100, |world| world.active() == "o2");
    world.origin("o2").stuck = false;
    world.now += Duration::from_millis(400);
    world.pool.handle_late(Duration::from_millis(400), world.now);
    world.report("o3");
    world.drive();
    assert_eq!(world.epoch(), 2, "o2 may have opened long ago");
    world.origin("o2").serving = Some(Epoch(2));
    world.report("o2");
    world.run(1_000);
    assert!(world.is_served());
    assert_eq!((world.active().as_str(), world.epoch()), ("o2", 2));
}

#[test]
fn one_that_is_granted_the_role_and_never_opens_is_an_alarm_when_nobody_else_is_left() {
    let mut world = World::pair(&["e1"]);
    world.origin("o2").stuck = true;
    world.kill("o1");
    world.run(5_000);
    assert_eq!((world.active().as_str(), world.epoch()), ("o2", 2));
    assert_eq!(raised(&world, PoolAlarm::NotReplaced), 1);
    assert!(!world.granted()[0].opened, "it is told all the same");
    let (_, evidence) = world.pool.alarms().next().unwrap();
    assert!(evidence.contains("does not serve"), "{evidence}");
}

/// The one in sync is granted the role and does not open, and the other comes back with empty memory a second later.
fn granted_and_stuck(rules: PoolRules) -> World {
    let mut world = World::running(&["o1", "o2"], &["e1"], rules);
    world.origin("o2").stuck = true;
    world.kill("o1");
    world.until(100, |world| world.active() == "o2");
    world.run(1_000);
    world.restart("o1");
    world
}

#[test]
fn one_that_does_not_open_gives_way_to_one_without_memory() {
    let mut world = granted_and_stuck(PoolRules::default());
    let took = world.until(5_000, |world| world.active() == "o1" && world.is_served());
    assert!((1_200..1_500).contains(&took), "{took} ms: it had 2.3 s in all");
    assert_eq!((world.epoch(), world.loss_epoch()), (3, 3));
    world.run(20_000);
    let told: Vec<_> = world.granted().iter().map(|granted| (granted.epoch.0, granted.cause, granted.lossy)).collect();
    assert_eq!(told, [(2, Cause::Died, false), (3, Cause::NotOpened, true)]);
    assert_eq!(world.told(|event| matches!(event, PoolEvent::ResumedWithLoss { .. })), 1);
    assert_eq!(world.told(|event| matches!(event, PoolEvent::LossKnown { .. })), 1, "what the other had is named");
    assert_eq!((world.epoch(), world.in_sync().len()), (3, 2), "it follows");
}

#[test]
fn one_that_does_not_open_is_waited_for_where_unclean_is_never() {
    let mut world = granted_and_stuck(PoolRules { unclean: Unclean::Never, ..PoolRules::default() });
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch()), ("o2", 2));
    world.origin("o2").serving = Some(Epoch(2));
    world.run(1_000);
    assert!(world.is_served());
}

#[test]
fn one_that_may_serve_and_is_not_heard_here_loses_nothing() {
    let mut world = granted_and_stuck(PoolRules::default());
    world.cut("o2", CP);
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch()), ("o2", 2), "the edge hears it");
}

/// It hears nobody for a while, and another in sync later than the others.
#[test]
fn instead_of_one_that_does_not_open_another_in_sync_is_waited_for() {
    let mut world = World::running(&["o1", "o2", "o3"], &["e1"], PoolRules::default());
    world.nobody_asks = true;
    world.origin("o2").stuck = true;
    world.freeze("o3");
    world.run(100);
    world.kill("o1");
    world.until(100, |world| world.active() == "o2");
    world.restart("o1");
    world.cut_off(CP, &["o1", "o2", "o3", "e1"]);
    world.thaw("o3");
    world.run(3_000);
    world.mend();
    world.cut(CP, "o3");
    world.run(500);
    assert_eq!((world.active().as_str(), world.epoch()), ("o2", 2), "o3 has all, and may come at any moment");
    world.mend();
    world.until(200, |world| world.active() == "o3" && world.is_served());
    assert_eq!(world.loss_epoch(), 0);
}

#[test]
fn where_nobody_opens_the_role_goes_to_and_fro_no_more_often_than_for_silence() {
    let mut world = granted_and_stuck(PoolRules::default());
    world.origin("o1").stuck = true;
    world.run(300_000);
    assert_eq!((world.epoch(), world.pool.record().mode), (5, Mode::Auto));
    assert_eq!(world.pool.alarms().count(), 1);
    // The disk of one of them is mended at last.
    world.origin("o1").stuck = false;
    world.origin("o2").stuck = false;
    world.run(400_000);
    assert!(world.is_served());
}

#[test]
fn of_three_members_only_the_one_in_sync_is_promoted() {
    let mut world = World::running(&["o1", "o2", "o3"], &["e1"], PoolRules::default());
    world.cut("o1", "o2");
    world.run(1_000);
    assert_eq!(world.in_sync(), ["o1", "o3"]);
    world.origin("o2").head.1 += 1_000_000;
    world.kill("o1");
    world.until(100, |world| world.active() == "o3");
    assert_eq!(world.loss_epoch(), 0);
}

#[test]
fn the_active_and_then_the_new_active_are_killed_the_third_goes_on() {
    let mut world = World::running(&["o1", "o2", "o3"], &["e1"], PoolRules::default());
    world.kill("o1");
    world.until(100, |world| world.is_served() && world.active() == "o2");
    world.run(1_000);
    world.kill("o2");
    world.until(100, |world| world.active() == "o3");
    assert_eq!((world.epoch(), world.loss_epoch()), (3, 0));
}

#[test]
fn none_is_in_sync_and_the_active_dies_after_2_s_one_goes_on_with_loss() {
    let mut world = World::pair(&["e1"]);
    world.cut("o1", "o2");
    world.run(5_000);
    world.kill("o1");
    let took = world.until(10_000, |world| world.active() == "o2");
    assert!((1_850..2_200).contains(&took), "{took} ms");
    assert_eq!((world.epoch(), world.loss_epoch(), world.in_sync()), (2, 2, vec!["o2".to_owned()]));
    assert_eq!(world.told(|event| matches!(event, PoolEvent::ResumedWithLoss { .. })), 1);
    world.run(1_000);
    assert!(world.granted()[0].lossy);
}

#[test]
fn with_unclean_never_an_operator_decides() {
    let rules = PoolRules { unclean: Unclean::Never, ..PoolRules::default() };
    let mut world = World::running(&["o1", "o2"], &["e1"], rules);
    world.cut("o1", "o2");
    world.run(5_000);
    world.kill("o1");
    world.run(20_000);
    assert_eq!(world.epoch(), 1);
    assert_eq!(raised(&world, PoolAlarm::NotReplaced), 1);
    let [(_, evidence)] = world.pool.alarms().collect::<Vec<_>>()[..] else { panic!("one alarm") };
    assert!(evidence.contains("an operator decides"), "{evidence}");
}

#[test]
fn what_the_old_active_had_more_is_told_when_it_is_heard_again() {
    let mut world = World::pair(&["e1"]);
    world.cut("o1", "o2");
    world.run(5_000);
    world.freeze("o1");
    world.run(5_000);
    let ahead = world.origins["o1"].head;
    assert_eq!(world.loss_epoch(), 2);
    world.thaw("o1");
    world.run(1_000);
    let known = |event: &PoolEvent| matches!(event, PoolEvent::LossKnown { to, .. } if *to == ahead);
    assert_eq!(world.told(known), 1);
}

#[test]
fn what_another_had_more_is_told_also_when_it_has_cut_its_log_back_before_it_is_heard() {
    let mut world = World::pair(&["e1"]);
    world.cut("o1", "o2");
    world.run(5_000);
    world.freeze("o1");
    world.run(5_000);
    let said = world.pool.report_of(&node("o1")).unwrap().head;
    world.origin("o1").head = (Epoch(2), 1);
    world.thaw("o1");
    world.run(1_000);
    assert_eq!(world.told(|event| matches!(event, PoolEvent::LossKnown { to, .. } if *to == said)), 1);
}

#[test]
fn every_origin_restarts_with_empty_memory_one_goes_on_with_loss_at_once() {
    let mut world = World::pair(&["e1"]);
    world.kill("o1");
    world.kill("o2");
    world.run(500);
    world.restart("o1");
    world.restart("o2");
    world.until(2_500, World::is_served);
    assert_eq!(world.loss_epoch(), world.epoch());
    world.run(20_000);
    assert_eq!(world.in_sync().len(), 2);
}

#[test]
fn a_pool_of_one_is_granted_its_role_again_with_loss_when_it_restarts() {
    let mut world = World::running(&["o1"], &["e1"], PoolRules::default());
    world.restart("o1");
    assert!(world.until(1_000, |world| world.epoch() == 2 && world.is_served()) <= 50);
    assert_eq!((world.active().as_str(), world.loss_epoch()), ("o1", 2));
    world.run(3_000);
    assert_eq!(world.granted()[0].cause, Cause::Restart);
}

#[test]
fn a_returning_primary_follows() {
    let mut world = World::pair(&["e1"]);
    world.kill("o1");
    world.run(1_000);
    world.restart("o1");
    world.run(20_000);
    assert_eq!((world.active().as_str(), world.epoch(), world.granted().len()), ("o2", 2, 1));
}

#[test]
fn an_edge_that_the_control_plane_does_not_hear_is_taken_to_hear_the_active() {
    let mut world = World::pair(&["e1"]);
    world.freeze("e1");
    world.run(1_000);
    world.freeze("o1");
    let took = world.until(10_000, |world| world.active() == "o2");
    assert!((3_800..4_500).contains(&took), "{took} ms: five seconds after the edge was last heard");
}

#[test]
fn a_control_plane_that_is_often_late_still_replaces_a_process_that_died() {
    let mut world = World::pair(&["e1"]);
    world.pool.handle_late(Duration::from_millis(500), world.now);
    world.kill("o1");
    assert!(world.until(100, |world| world.active() == "o2" && world.is_served()) <= 50);
}

#[test]
fn a_control_plane_that_was_late_itself_suspects_nobody_before_it_has_listened() {
    let mut world = World::pair(&["e1"]);
    world.cut("o1", "o2");
    world.run(1_000);
    // For 5 s nothing was read; then the beat of one that does not hear the active comes first.
    world.now += std::time::Duration::from_secs(5);
    world.pool.handle_late(Duration::from_secs(5), world.now);
    world.report("o2");
    world.drive();
    world.run(20_000);
    assert_eq!(world.epoch(), 1);
}

#[test]
fn a_control_plane_that_is_late_again_and_again_counts_silence_the_longer() {
    let mut world = World::pair(&[]);
    world.freeze("o1");
    // Each of its looks comes 50 ms late: half of the time it does not see what comes.
    let mut took = 0;
    while world.active() == "o1" {
        world.run(100);
        world.pool.handle_late(Duration::from_millis(50), world.now);
        took += 100;
    }
    assert!((1_000..1_500).contains(&took), "{took} ms");
}

#[test]
fn an_active_that_says_that_it_is_late_itself_is_given_more_time() {
    for (late, at_least, at_most) in [(0, 450, 800), (100, 750, 1_100), (10_000, 1_050, 1_400)] {
        let mut world = World::pair(&["e1", "e2"]);
        world.origin("o1").late = Duration::from_millis(late);
        world.report("o1");
        world.freeze("o1");
        let took = world.until(5_000, |world| world.active() == "o2");
        assert!((at_least..at_most).contains(&took), "late by {late} ms: {took} ms");
    }
}

/// The active restarts while the control plane hears nobody, and is the first to be heard again.
#[test]
fn a_control_plane_that_was_cut_off_from_all_waits_for_the_member_in_sync() {
    let mut world = World::pair(&["e1"]);
    world.cut_off(CP, &["o1", "o2", "e1"]);
    world.run(3_000);
    world.restart("o1");
    world.mend();
    world.cut_off(CP, &["o2", "e1"]);
    world.run(500);
    assert_eq!(world.epoch(), 1, "o2 has all, and may come at any moment");
    world.mend();
    world.until(500, |world| world.active() == "o2" && world.is_served());
    assert_eq!(world.loss_epoch(), 0);
}

#[test]
fn a_control_plane_that_was_frozen_waits_for_the_member_in_sync() {
    let mut world = World::pair(&["e1"]);
    world.now += Duration::from_secs(5);
    world.pool.handle_late(Duration::from_secs(5), world.now);
    world.restart("o1");
    world.report("o1");
    world.drive();
    assert_eq!(world.epoch(), 1, "what o2 has said meanwhile is not read yet");
    world.until(500, |world| world.active() == "o2" && world.is_served());
    assert_eq!(world.loss_epoch(), 0);
}
