//! Every row of the failover cases, as a simulation of the product's machines.
//!
//! A viewer counts messages by number and position in each of them: none lost, none repeated, unless the case says so; and
//! every role change is told of once.
//!
//! | case | tests |
//! |---|---|
//! | active killed | `the_active_is_killed` |
//! | active stopped for 5 s | `the_active_freezes_and_wakes_after_5_s` |
//! | active cut off from everyone | `the_active_is_cut_off_from_everyone` |
//! | killed, restarts within 100 ms | `the_active_is_killed_and_restarts_within_100_ms` |
//! | only control plane and active cut | `only_the_link_of_control_plane_and_active_is_cut` |
//! | only active and standby cut | `only_the_link_of_active_and_standby_is_cut` |
//! | only one edge and active cut | `only_the_link_of_one_edge_and_the_active_is_cut` |
//! | half of the edges do not hear the active | `half_of_the_edges_do_not_hear_the_active_and_hear_the_standby` |
//! | fewer than half do not | `fewer_than_half_of_the_edges_do_not_hear_the_active` |
//! | standby killed; frozen | `the_standby_is_killed`, `the_standby_freezes` |
//! | standby flaps | `a_standby_that_flaps_every_second_holds_nobody_up_for_long` |
//! | control plane away for 1 h | `the_control_plane_is_away_for_long` |
//! | … then the standby dies | `…_the_standby_dies_and_the_active_serves_alone`, `…_the_active_stalls_where_told_to` |
//! | … and the active dies | `with_the_control_plane_away_the_active_dies` |
//! | active cut off with a minority of edges | `the_active_is_cut_off_with_a_minority_of_the_edges` |
//! | network cut in two | `the_network_is_cut_in_two`, `…_and_streams_end_and_begin_on_the_side_of_the_old_active` |
//! | active and three of four edges die | `the_active_and_three_of_four_edges_die_at_once` |
//! | … and roles move for silence in between (R5) | `the_limit_of_moves_for_silence_outlives_the_control_plane` |
//! | older copy of the store | `the_control_plane_starts_with_an_old_copy_of_its_store` |
//! | candidate freezes before it opens | `the_candidate_freezes_between_grant_and_opening` |
//! | three members, one behind | `of_three_members_the_one_in_sync_is_promoted` |
//! | active, then the next killed | `the_active_and_then_the_next_are_killed` |
//! | none in sync | `nobody_is_in_sync_and_the_active_dies`, `…_and_an_unclean_promotion_is_not_wanted` |
//! | … and the encoder had come back in between | `the_one_behind_is_promoted_and_lacks_the_publication_on_air` |
//! | every origin restarts empty | `every_origin_restarts_with_empty_memory` |
//! | encoder moves while the active dies | `the_encoder_moves_to_another_edge_while_the_active_dies` |
//! | encoder at the VIP | `an_encoder_at_the_pool_itself_publishes_again` |
//! | clocks | `clocks_run_at_different_rates`, `clocks_step_by_an_hour` |
//! | 24 h of weather | `bad_weather_moves_no_role` |
//! | two operators | `of_two_operators_one_is_told_that_his_epoch_is_stale` |
//! | returning primary, fail-back | `a_returning_primary_follows`, `a_fail_back_is_a_planned_promotion` |
//! | planned, SIGTERM (R4) | `a_planned_promotion_costs_a_moment_and_so_does_the_way_back`, `an_active_that_ends_hands_over_first` |

use cluster::{Epoch, Mode, WhenAlone};

use crate::world::{
    MS, S, Setup, World,
    faults::Fault,
    names::{CONTROL, EDGES, ORIGINS, stream_name},
    net::{Party, Weather},
};

pub const O1: Party = ORIGINS;
pub const O2: Party = ORIGINS + 1;
pub const O3: Party = ORIGINS + 2;
pub const E1: Party = EDGES;
pub const E2: Party = EDGES + 1;
/// Long enough for the pool to be in sync and the stream to play.
const CALM: u64 = 8 * S;

/// A cluster that plays in peace, with its first origin active and all of them in sync.
fn playing(setup: Setup) -> World {
    let mut world = World::new(seed(), setup);
    world.run_until(CALM);
    check(&world);
    assert_eq!((world.active(), world.moves()), (Some(O1), 0), "{}", history(&world));
    assert_eq!(world.store.record.in_sync.len(), world.setup.origins, "{}", history(&world));
    world
}

pub fn seed() -> u64 {
    std::env::var("HEADWATER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

pub fn pool(origins: usize, edges: usize) -> Setup {
    Setup { origins, edges, ..Setup::default() }
}

/// Nothing is broken, and every stream plays everywhere.
#[track_caller]
fn check(world: &World) {
    if let Err(broken) = world.verdict() {
        panic!("{broken}\n{}", history(world));
    }
}

pub fn history(world: &World) -> String {
    let moves = world.store.moves.iter().map(|line| format!("  {line}\n"));
    let trace = world.net.trace.iter().flatten().map(|line| format!("{line}\n"));
    moves.chain(trace).collect()
}

/// `HEADWATER_TRACE=1` prints what led to a failure.
pub fn trace(world: &mut World) {
    if std::env::var_os("HEADWATER_TRACE").is_some() {
        world.net.trace = Some(Vec::new());
    }
}

/// Lets these happen at once, in the calm, and then so much time pass.
fn after(mut world: World, faults: impl IntoIterator<Item = Fault>, time: u64) -> World {
    trace(&mut world);
    world.judge.forget_gaps();
    faults.into_iter().for_each(|fault| world.befall(fault));
    world.run_for(time);
    world
}

/// The role has moved so often, viewers waited no longer than this, and nothing is broken.
#[track_caller]
fn assert_moved(world: &World, moves: u64, gap_ms: u64) {
    check(world);
    assert_eq!(world.moves(), moves, "{}", history(world));
    let gap = world.longest_gap_ms();
    assert!(gap <= gap_ms, "{gap} ms of nothing\n{}", history(world));
}

#[test]
fn the_active_is_killed() {
    let world = after(playing(pool(2, 2)), [Fault::Kill(O1)], 8 * S);
    assert_moved(&world, 1, 300);
    assert_eq!(world.active(), Some(O2));
}

#[test]
fn the_active_freezes_and_wakes_after_5_s() {
    let mut world = after(playing(pool(2, 2)), [Fault::Freeze(O1)], 5 * S);
    assert_moved(&world, 1, 1000);
    world.befall(Fault::Thaw(O1));
    world.run_for(8 * S);
    assert_moved(&world, 1, 1000);
    assert_eq!((world.active(), world.store.record.in_sync.len()), (Some(O2), 2), "it follows\n{}", history(&world));
}

#[test]
fn the_active_is_cut_off_from_everyone() {
    let mut world = after(playing(pool(2, 2)), [Fault::CutOff(O1)], 5 * S);
    assert_moved(&world, 1, 1000);
    world.befall(Fault::Heal);
    world.run_for(8 * S);
    assert_moved(&world, 1, 1000);
    assert_eq!(world.store.record.in_sync.len(), 2, "it follows\n{}", history(&world));
}

#[test]
fn the_active_is_killed_and_restarts_within_100_ms() {
    let mut world = after(playing(pool(2, 2)), [Fault::Kill(O1)], 80 * MS);
    world.befall(Fault::Start(O1));
    world.run_for(8 * S);
    assert_moved(&world, 1, 400);
    assert_eq!((world.active(), world.store.record.in_sync.len()), (Some(O2), 2), "{}", history(&world));
}

#[test]
fn only_the_link_of_control_plane_and_active_is_cut() {
    let mut world = after(playing(pool(2, 2)), [Fault::Cut(CONTROL, O1)], 20 * S);
    assert_moved(&world, 0, 100);
    assert!(world.store.has_told("CP_LINK"), "{}", history(&world));
    world.befall(Fault::Heal);
    world.run_for(5 * S);
    assert_moved(&world, 0, 100);
}

#[test]
fn only_the_link_of_active_and_standby_is_cut() {
    let mut world = after(playing(pool(2, 2)), [Fault::Cut(O1, O2)], 10 * S);
    assert_moved(&world, 0, 300);
    assert_eq!(world.store.record.in_sync.len(), 1, "{}", history(&world));
    world.befall(Fault::Heal);
    world.run_for(12 * S);
    assert_moved(&world, 0, 300);
    assert_eq!(world.store.record.in_sync.len(), 2, "{}", history(&world));
}

#[test]
fn only_the_link_of_one_edge_and_the_active_is_cut() {
    for edge in [E1, E2] {
        let mut world = after(playing(pool(2, 3)), [Fault::Cut(edge, O1)], 10 * S);
        assert_moved(&world, 0, 1000);
        world.befall(Fault::Heal);
        world.run_for(5 * S);
        assert_moved(&world, 0, 1000);
    }
}

#[test]
fn half_of_the_edges_do_not_hear_the_active_and_hear_the_standby() {
    let cuts = [Fault::Cut(E1, O1), Fault::Cut(E2, O1)];
    let world = after(playing(pool(2, 4)), cuts, 10 * S);
    assert_moved(&world, 1, 1000);
    assert_eq!(world.active(), Some(O2));
}

#[test]
fn fewer_than_half_of_the_edges_do_not_hear_the_active() {
    let world = after(playing(pool(2, 4)), [Fault::Cut(E2, O1)], 10 * S);
    assert_moved(&world, 0, 1000);
}

#[test]
fn the_standby_is_killed() {
    let world = after(playing(pool(2, 2)), [Fault::Kill(O2)], 5 * S);
    assert_moved(&world, 0, 40 + 50);
    assert_eq!(world.store.record.in_sync.len(), 1);
}

#[test]
fn the_standby_freezes() {
    let mut world = after(playing(pool(2, 2)), [Fault::Freeze(O2)], 5 * S);
    assert_moved(&world, 0, 250);
    world.befall(Fault::Thaw(O2));
    world.run_for(15 * S);
    assert_moved(&world, 0, 250);
    assert_eq!(world.store.record.in_sync.len(), 2, "{}", history(&world));
}

#[test]
fn a_standby_that_flaps_every_second_holds_nobody_up_for_long() {
    let mut world = playing(pool(2, 2));
    for _ in 0..30 {
        world.befall(Fault::Freeze(O2));
        world.run_for(500 * MS);
        world.befall(Fault::Thaw(O2));
        world.run_for(500 * MS);
    }
    assert_moved(&world, 0, 300);
    world.judge.forget_gaps();
    for _ in 0..5 {
        world.befall(Fault::Freeze(O2));
        world.run_for(500 * MS);
        world.befall(Fault::Thaw(O2));
        world.run_for(500 * MS);
    }
    assert_moved(&world, 0, 100);
}

#[test]
fn the_control_plane_is_away_for_long() {
    let mut world = after(playing(Setup { period: 200 * MS, ..pool(2, 2) }), [Fault::Kill(CONTROL)], 10 * S);
    world.befall(Fault::Kill(E2));
    world.run_for(S);
    world.befall(Fault::Start(E2));
    world.run_for(if drill() { 3600 * S } else { 60 * S });
    assert_moved(&world, 0, 300);
    world.befall(Fault::Start(CONTROL));
    world.run_for(10 * S);
    assert_moved(&world, 0, 300);
}

fn drill() -> bool {
    std::env::var_os("HEADWATER_DRILL").is_some()
}

#[test]
fn with_the_control_plane_away_the_standby_dies_and_the_active_serves_alone() {
    let mut world = after(playing(pool(2, 3)), [Fault::Kill(CONTROL)], 2 * S);
    world.befall(Fault::Kill(O2));
    world.run_for(5 * S);
    assert_moved(&world, 0, 750);
    assert!(world.origins[&O1].replica.standing().alone_from.is_some());
    world.plan_all([(world.net.now, Fault::Start(CONTROL)), (world.net.now, Fault::Start(O2))]);
    world.run_for(15 * S);
    assert_moved(&world, 0, 750);
    assert_eq!(world.store.record.in_sync.len(), 2, "{}", history(&world));
}

#[test]
fn with_the_control_plane_away_the_standby_dies_and_the_active_stalls_where_told_to() {
    let setup = Setup { when_alone: WhenAlone::Stall, ..pool(2, 3) };
    let mut world = after(playing(setup), [Fault::Kill(CONTROL)], 2 * S);
    world.befall(Fault::Kill(O2));
    world.run_for(5 * S);
    assert!(world.verdict().is_err(), "nothing is seen");
    world.befall(Fault::Start(CONTROL));
    world.run_for(8 * S);
    assert_moved(&world, 0, 20_000);
}

#[test]
fn with_the_control_plane_away_the_active_dies() {
    let mut world = after(playing(pool(2, 2)), [Fault::Kill(CONTROL)], 2 * S);
    world.befall(Fault::Kill(O1));
    world.run_for(3 * S);
    assert_eq!(world.active(), None);
    world.befall(Fault::Start(CONTROL));
    world.run_for(4 * S);
    assert_eq!(world.active(), Some(O2), "{}", history(&world));
    world.run_for(4 * S);
    assert_moved(&world, 1, 8000);
}

#[test]
fn the_limit_of_moves_for_silence_outlives_the_control_plane() {
    let mut world = playing(pool(2, 2));
    for moves in 1..=3 {
        let active = world.active().expect("one serves");
        world.befall(Fault::Freeze(active));
        // At the latest when 30 s have passed since the move before.
        world.run_for(32 * S);
        assert_eq!(world.moves(), moves, "{}", history(&world));
        world.befall(Fault::Kill(CONTROL));
        world.befall(Fault::Thaw(active));
        world.run_for(S);
        world.befall(Fault::Start(CONTROL));
        world.run_for(9 * S);
        check(&world);
        assert_eq!(world.store.record.in_sync.len(), 2, "{}", history(&world));
    }
    let active = world.active().expect("one serves");
    world.befall(Fault::Freeze(active));
    world.run_for(10 * S);
    assert_eq!((world.moves(), world.store.record.mode), (3, Mode::Hold), "{}", history(&world));
    world.befall(Fault::Thaw(active));
    world.run_for(8 * S);
    check(&world);
    assert_eq!((world.active(), world.moves()), (Some(active), 3), "{}", history(&world));
}

#[test]
fn the_active_is_cut_off_with_a_minority_of_the_edges() {
    let mut world = after(playing(pool(2, 3)), [Fault::Divide(vec![O1, E1])], 8 * S);
    assert_eq!((world.moves(), world.origins[&O2].is_active()), (1, true), "{}", history(&world));
    assert_eq!(world.origins[&O1].replica.standing().alone_from, None);
    world.befall(Fault::Heal);
    world.run_for(8 * S);
    assert_moved(&world, 1, 10_000);
}

#[test]
fn the_network_is_cut_in_two() {
    let setup = Setup { may_split: true, ..pool(2, 3) };
    let mut world = after(playing(setup), [Fault::Divide(vec![O1, E1, E2])], 4500 * MS);
    assert_eq!(world.moves(), 0, "{}", history(&world));
    world.run_for(5 * S);
    assert_eq!(world.moves(), 1, "{}", history(&world));
    world.befall(Fault::Heal);
    world.run_for(10 * S);
    assert_moved(&world, 1, 12_000);
    assert!(world.judge.has_noticed("SPLIT"), "{}", history(&world));
    assert!(world.judge.spliced > 0, "viewers of the one that was cut off went on in the other's log");
}

#[test]
fn an_edge_that_comes_back_late_from_the_side_of_the_old_active_goes_on_behind_what_it_had() {
    let setup = Setup { may_split: true, ..pool(2, 3) };
    let mut world = after(playing(setup), [Fault::Divide(vec![O1, E1, E2])], 5 * S);
    assert_eq!(world.moves(), 1, "{}", history(&world));
    // The encoder's edge is back at once, and the new active's log is soon longer than the old one's was.
    world.befall(Fault::Heal);
    world.befall(Fault::CutOff(E2));
    world.run_for(8 * S);
    world.befall(Fault::Heal);
    world.run_for(5 * S);
    assert_moved(&world, 1, 20_000);
    let viewer = world.judge.viewer(E2, &stream_name(0)).expect("it plays");
    assert_eq!(viewer.missed, 0, "the encoder's edge has brought it again, and all that came since");
}

#[test]
fn the_network_is_cut_in_two_and_streams_end_and_begin_on_the_side_of_the_old_active() {
    let setup = Setup { may_split: true, streams: 2, ..pool(2, 3) };
    let mut world = after(playing(setup), [Fault::Divide(vec![O1, E1, E2])], 2 * S);
    // One ends, and one of its name begins, twice.
    for _ in 0..2 {
        world.befall(Fault::CloseEncoder(E1));
        world.run_for(2 * S);
    }
    world.run_for(3 * S);
    assert_eq!(world.moves(), 1, "{}", history(&world));
    world.befall(Fault::Heal);
    world.run_for(10 * S);
    assert_moved(&world, 1, 15_000);
    assert!(world.judge.has_doubled() && world.judge.has_noticed("SPLIT"), "{}", history(&world));
}

#[test]
fn the_active_and_three_of_four_edges_die_at_once() {
    let setup = Setup { ingest: 3, ..pool(2, 4) };
    let kills = [O1, E1, E2, E2 + 1].map(Fault::Kill);
    let mut world = after(playing(setup), kills, 4500 * MS);
    assert_eq!(world.moves(), 0, "{}", history(&world));
    world.run_for(6 * S);
    assert_moved(&world, 1, 6500);
}

#[test]
fn the_control_plane_starts_with_an_old_copy_of_its_store() {
    let mut world = playing(pool(3, 2));
    world.befall(Fault::Backup);
    world.befall(Fault::Promote { to: O2, epoch: None, force: false });
    world.run_for(3 * S);
    assert_eq!(world.moves(), 1, "{}", history(&world));
    world.befall(Fault::Kill(O3));
    world.run_for(3 * S);
    world.befall(Fault::Restore);
    world.run_for(6 * S);
    check(&world);
    assert_eq!(world.active(), Some(O2), "{}", history(&world));
    assert!(world.store.record.epoch >= Epoch(2) && world.store.record.in_sync.len() <= 2, "{}", history(&world));
    let world = after(world, [Fault::Kill(O2)], 8 * S);
    check(&world);
    assert_eq!(world.active(), Some(O1), "{}", history(&world));
}

#[test]
fn the_candidate_freezes_between_grant_and_opening() {
    let mut world = after(playing(pool(3, 2)), [Fault::Kill(O1)], 0);
    for _ in 0..1000 {
        if world.moves() == 0 {
            world.run_for(MS);
        }
    }
    let candidate = world.store.active().expect("it was granted");
    world.befall(Fault::Freeze(candidate));
    world.run_for(8 * S);
    assert_moved(&world, 2, 1200);
    assert_ne!(world.active(), Some(candidate));
    world.befall(Fault::Thaw(candidate));
    world.run_for(8 * S);
    assert_moved(&world, 2, 1200);
}

#[test]
fn of_three_members_the_one_in_sync_is_promoted() {
    let mut world = after(playing(pool(3, 2)), [Fault::Freeze(O3)], 2 * S);
    assert_eq!(world.store.record.in_sync.len(), 2, "{}", history(&world));
    world.befall(Fault::Thaw(O3));
    world.befall(Fault::Kill(O1));
    world.run_for(15 * S);
    assert_moved(&world, 1, 400);
    assert_eq!((world.active(), world.store.record.in_sync.len()), (Some(O2), 2), "{}", history(&world));
}

#[test]
fn the_active_and_then_the_next_are_killed() {
    let mut world = after(playing(pool(3, 2)), [Fault::Kill(O1)], 2 * S);
    let next = world.active().expect("one serves");
    world.befall(Fault::Kill(next));
    world.run_for(8 * S);
    assert_moved(&world, 2, 400);
}

#[test]
fn nobody_is_in_sync_and_the_active_dies() {
    let mut world = after(playing(pool(2, 2)), [Fault::Freeze(O2)], 2 * S);
    world.befall(Fault::Thaw(O2));
    world.befall(Fault::Kill(O1));
    world.run_for(10 * S);
    assert_moved(&world, 1, 3500);
    assert_eq!(world.store.record.loss_epoch, world.store.record.epoch, "{}", history(&world));
}

#[test]
fn nobody_is_in_sync_and_an_unclean_promotion_is_not_wanted() {
    let setup = Setup { rules: crate::world::control::never_unclean(), ..pool(2, 2) };
    let mut world = after(playing(setup), [Fault::Freeze(O2)], 2 * S);
    world.befall(Fault::Thaw(O2));
    world.befall(Fault::Kill(O1));
    world.run_for(10 * S);
    assert_eq!((world.active(), world.moves()), (None, 0), "{}", history(&world));
}

#[test]
fn the_one_behind_is_promoted_and_lacks_the_publication_on_air() {
    let mut world = after(playing(pool(2, 3)), [Fault::Cut(O1, O2)], 2 * S);
    world.befall(Fault::MoveEncoder { from: E1, to: E2 });
    world.run_for(4 * S);
    world.befall(Fault::Kill(O1));
    world.run_for(12 * S);
    // 2 s until it is promoted, and 3 s for the publication that it knows (R2, P3).
    assert_moved(&world, 1, 6500);
    assert!(world.judge.has_noticed("RESUME_WITH_LOSS"), "{}", history(&world));
    assert_eq!(world.judge.encoders_lost, 0, "{}", history(&world));
}

#[test]
fn every_origin_restarts_with_empty_memory() {
    let mut world = after(playing(pool(2, 2)), [Fault::Kill(O1), Fault::Kill(O2)], 500 * MS);
    world.befall(Fault::Start(O1));
    world.befall(Fault::Start(O2));
    world.run_for(12 * S);
    check(&world);
    assert!(world.store.record.loss_epoch > Epoch(0), "{}", history(&world));
    assert!(world.judge.has_noticed("RESUME_WITH_LOSS"), "the stream's own loss is named\n{}", history(&world));
    assert_eq!(world.judge.encoders_lost, 0, "encoders are still there\n{}", history(&world));
}

#[test]
fn the_encoder_moves_to_another_edge_while_the_active_dies() {
    let faults = [Fault::MoveEncoder { from: E1, to: E2 }, Fault::Kill(O1)];
    let world = after(playing(pool(2, 3)), faults, 8 * S);
    // Its old publication waits for the old edge, which nobody has heard to be gone: 3 s (P3).
    assert_moved(&world, 1, 3500);
}

#[test]
fn an_encoder_at_the_pool_itself_publishes_again() {
    let setup = Setup { direct: true, ..pool(2, 3) };
    let world = after(playing(setup), [Fault::Kill(O1)], 8 * S);
    assert_moved(&world, 1, 600);
}

#[test]
fn clocks_run_at_different_rates() {
    let mut world = World::new(seed(), Setup { clocks_ppm: 100_000, ..pool(2, 2) });
    world.run_until(60 * S);
    check(&world);
    assert_eq!(world.moves(), 0, "{}", history(&world));
}

#[test]
fn clocks_step_by_an_hour() {
    let mut world = playing(pool(2, 2));
    for wrong_ms in [3_600_000, -3_600_000, 0] {
        world.befall(Fault::SetClock(wrong_ms));
        world.run_for(5 * S);
        assert_moved(&world, 0, 100);
    }
}

#[test]
fn bad_weather_moves_no_role() {
    let mut world = playing(Setup { period: 200 * MS, ..pool(2, 2) });
    let bad = Weather { delay: (100, 100 * MS), lost_percent: 5, stall_every: 500, stall: 300 * MS };
    world.befall(Fault::Weather(bad));
    world.run_for(if drill() { 24 * 3600 * S } else { 120 * S });
    world.befall(Fault::Weather(Weather::default()));
    world.run_for(5 * S);
    check(&world);
    assert_eq!(world.moves(), 0, "{}", history(&world));
}

#[test]
fn of_two_operators_one_is_told_that_his_epoch_is_stale() {
    let mut world = playing(pool(3, 2));
    let epoch = Some(world.store.record.epoch);
    world.befall(Fault::Promote { to: O2, epoch, force: false });
    world.run_for(500 * MS);
    world.befall(Fault::Promote { to: O3, epoch, force: false });
    world.run_for(5 * S);
    assert_moved(&world, 1, 400);
    assert!(world.store.refusals.iter().any(|refusal| refusal.contains("epoch")), "{:?}", world.store.refusals);
}

#[test]
fn a_planned_promotion_costs_a_moment_and_so_does_the_way_back() {
    let mut world = after(playing(pool(2, 2)), [Fault::Promote { to: O2, epoch: None, force: false }], 8 * S);
    assert_moved(&world, 1, 40 + 100);
    assert_eq!((world.active(), world.store.record.in_sync.len()), (Some(O2), 2), "it follows\n{}", history(&world));
    world.befall(Fault::Promote { to: O1, epoch: None, force: false });
    world.run_for(8 * S);
    assert_moved(&world, 2, 40 + 100);
}

#[test]
fn an_active_that_ends_hands_over_first() {
    let world = after(playing(pool(2, 2)), [Fault::Relieve(O1)], 5 * S);
    assert_moved(&world, 1, 40 + 100);
    assert_eq!(world.active(), Some(O2), "{}", history(&world));
}

#[test]
fn a_returning_primary_follows() {
    let mut world = after(playing(pool(2, 2)), [Fault::Kill(O1)], 5 * S);
    world.befall(Fault::Start(O1));
    world.run_for(20 * S);
    assert_moved(&world, 1, 300);
    assert_eq!((world.active(), world.store.record.in_sync.len()), (Some(O2), 2), "{}", history(&world));
}

#[test]
fn a_fail_back_is_a_planned_promotion() {
    let mut world = after(playing(pool(2, 2)), [Fault::Kill(O1)], 2 * S);
    world.befall(Fault::Start(O1));
    world.run_for(8 * S);
    assert_eq!((world.active(), world.store.record.in_sync.len()), (Some(O2), 2), "{}", history(&world));
    world.judge.forget_gaps();
    world.befall(Fault::FailBack);
    world.run_for(5 * S);
    assert_moved(&world, 2, 40 + 100);
    assert_eq!(world.active(), Some(O1), "{}", history(&world));
}
