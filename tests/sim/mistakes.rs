//! Mistakes put in on purpose where the product's machines meet the world: the simulation finds each.
//!
//! REPLICATION.md lists fourteen. The model finds all of them, in `make test` already; the simulation those that can be put
//! in from outside the machines. Tests are named by number:
//!
//! | | mistake | `model::tests::` | here |
//! |---|---|---|---|
//! | 1 | in sync by name | `mistake_1_in_sync_by_name_is_found` | `mistake_1_…` |
//! | 2 | acked because it is in the log | `mistake_2_a_replayed_message_acked_…` | `mistake_2_…` |
//! | 3 | the whole log served at once | `mistake_3_a_new_active_that_serves_its_whole_log_is_found` | |
//! | 4 | old acks count | `mistake_4_old_acks_that_count_are_found` | |
//! | 5 | an empty follower grows in | `mistake_5_growing_in_by_the_commit_index_alone_is_found` | |
//! | 6 | a grow request given up | `mistake_6_a_grow_request_given_up_is_found` | |
//! | 7 | compared on the epoch only | `mistake_7_an_older_record_taken_is_found`, `mistake_7_a_request_compared_…` | `mistake_7_…` |
//! | 8 | settled by the last epoch alone | `mistake_8_a_tail_settled_by_the_last_epoch_alone_is_found` | |
//! | 9 | emptied before the snapshot | `mistake_9_a_log_emptied_before_its_snapshot_is_complete_is_found` | |
//! | 10 | publication numbers kept | `mistake_10_publication_numbers_kept_…` | `mistake_10_…` |
//! | 11 | a restored store keeps its in-sync set | `mistake_11_a_restored_store_…` | `mistake_11_…` |
//! | 12 | a regrant takes the active out | `mistake_12_a_regrant_that_takes_the_active_out_is_found` | `mistake_12_…` |
//! | 13 | alone without most edges, or on stale timers | `mistake_13_alone_without_…`, `mistake_13_alone_on_timers_…` | `mistake_13_…` |
//! | 14 | a loss without a cut, forgotten, or not named | `mistake_14_a_loss_without_a_cut_is_found`, `mistake_14_a_loss_forgotten_…`, `mistake_14_a_loss_that_new_streams_…` | `mistake_14_…` |

use cluster::WhenAlone;

use crate::{
    cases::{E1, E2, O1, O2, O3, history, pool, seed, trace},
    world::{MS, S, Sabotage, Setup, World, faults::Fault, names::CONTROL},
};

/// Plays the same days twice, from when a cluster is some seconds old: without the mistake all is well, so that it is the mistake
/// which is found with it.
#[track_caller]
fn assert_found(sabotage: Sabotage, setup: Setup, days: impl Fn(&mut World), word: &str) {
    let play = |sabotage| {
        let mut world = World::new(seed(), Setup { sabotage, ..setup.clone() });
        world.run_until(6 * S);
        trace(&mut world);
        days(&mut world);
        world
    };
    let sound = play(None);
    assert_eq!(sound.verdict(), Ok(()), "without the mistake:\n{}", history(&sound));
    let world = play(Some(sabotage));
    let broken = world.verdict().err().unwrap_or_default();
    assert!(broken.contains(word), "not found: {broken}\n{}", history(&world));
}

#[test]
fn mistake_1_in_sync_by_name() {
    let days = |world: &mut World| {
        world.befall(Fault::Freeze(O2));
        world.run_for(2 * S);
        world.befall(Fault::Kill(O1));
        world.run_for(50 * MS);
        world.befall(Fault::Start(O1));
        world.run_for(5 * S);
    };
    // It is active again with nothing in memory, and begins where viewers have been.
    assert_found(Sabotage::InSyncByName, pool(2, 2), days, "by o1 in epoch 1");
}

#[test]
fn mistake_2_acked_because_it_is_in_the_log() {
    let days = |world: &mut World| {
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
    };
    // Its edge has forgotten them, as it does with all that viewers have had.
    assert_found(
        Sabotage::AckedBecauseInLog,
        Setup { when_alone: WhenAlone::Stall, ..pool(2, 3) },
        days,
        "was acked, as all up to",
    );
}

#[test]
fn mistake_11_a_restored_store_keeps_its_in_sync_set() {
    let days = |world: &mut World| {
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
    };
    // Which of the two is promoted does not matter: neither has what o2 committed alone.
    assert_found(Sabotage::RestoredInSyncKept, pool(3, 2), days, "in epoch 3 lacks live/s0");
}

#[test]
fn mistake_12_a_regrant_takes_the_active_out_of_the_in_sync_set() {
    let days = |world: &mut World| {
        world.befall(Fault::Kill(O1));
        world.run_for(3 * S);
    };
    assert_found(Sabotage::RegrantDropsActive, pool(2, 2), days, "the active is not in sync");
}

#[test]
fn mistake_13_alone_without_most_edges() {
    let days = |world: &mut World| {
        // Its last messages reach nobody else before it is cut off; what comes next stands where they stood.
        world.befall(Fault::Cut(O1, O2));
        world.run_for(100 * MS);
        world.befall(Fault::CutOff(O1));
        world.befall(Fault::MoveEncoder { from: E1, to: E2 });
        world.run_for(5 * S);
    };
    assert_found(Sabotage::AloneWithoutEdges, pool(2, 3), days, "by o2 in epoch 2");
}

#[test]
fn mistake_7_an_older_record_is_taken() {
    let days = |world: &mut World| {
        // It drops out and comes back, and the active goes by the record without it.
        world.befall(Fault::Freeze(O2));
        world.run_for(S);
        world.befall(Fault::Thaw(O2));
        world.run_for(8 * S);
        world.befall(Fault::Freeze(O2));
        world.run_for(2 * S);
        world.befall(Fault::Kill(O1));
        world.befall(Fault::Thaw(O2));
        world.run_for(8 * S);
    };
    assert_found(Sabotage::OlderRecordTaken, pool(2, 2), days, "in epoch 2 lacks live/s0");
}

#[test]
fn mistake_10_publication_numbers_are_kept_although_the_log_was_cut() {
    let days = |world: &mut World| {
        // o1 takes a tail that nobody else has, and which is cut when it follows o2.
        world.befall(Fault::Cut(CONTROL, O1));
        world.befall(Fault::Cut(O1, O2));
        world.run_for(600 * MS);
        world.befall(Fault::Freeze(E1));
        world.befall(Fault::Promote { to: O2, epoch: None, force: true });
        world.run_for(500 * MS);
        world.befall(Fault::Heal);
        world.run_for(2 * S);
        world.befall(Fault::Promote { to: O1, epoch: None, force: false });
        world.run_for(S);
        world.befall(Fault::Thaw(E1));
        world.run_for(5 * S);
    };
    assert_found(Sabotage::NumbersKept, Setup { when_alone: WhenAlone::Stall, ..pool(2, 2) }, days, "are missing");
}

#[test]
fn mistake_14_a_loss_is_forgotten() {
    let days = |world: &mut World| {
        world.befall(Fault::Freeze(O2));
        // Longer than an edge keeps what is acked.
        world.run_for(4 * S);
        world.befall(Fault::Thaw(O2));
        world.befall(Fault::Kill(O1));
        world.run_for(10 * S);
    };
    // It goes on where positions stood that viewers have had: those have two contents.
    assert_found(Sabotage::LossForgotten, pool(2, 2), days, "by o2 in epoch 2");
}
