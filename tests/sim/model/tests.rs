//! What the search finds, with the rules right and wrong.

use super::{Bounds, Mistake, Model, search, state::Budget};

/// A pool of `nodes` origins, of which these are in sync; two messages and three epochs.
fn pool(nodes: usize, in_sync: &[usize]) -> Bounds {
    let budget = Budget::default();
    Bounds { nodes, in_sync: in_sync.to_vec(), messages: 2, epochs: 3, versions: 5, budget, network: false }
}

/// Nothing is found.
#[track_caller]
fn holds(bounds: Bounds) {
    let started = std::time::Instant::now();
    let outcome = search(&Model { bounds, mistake: None }, states_max());
    eprintln!("{} states, complete: {}, {:?}", outcome.states, outcome.complete, started.elapsed());
    if let Some(trace) = outcome.found {
        panic!("{trace}");
    }
}

/// The mistake is found.
#[track_caller]
fn finds(mistake: Mistake, bounds: Bounds) {
    let started = std::time::Instant::now();
    let model = Model { bounds, mistake: Some(mistake) };
    let outcome = search(&model, 2 * states_max());
    let trace = outcome.found.unwrap_or_else(|| panic!("{mistake:?} was not found in {} states", outcome.states));
    eprintln!("{:?} after {} states, {:?}: {:?}", trace.broken, outcome.states, started.elapsed(), trace.steps);
}

fn states_max() -> usize {
    if std::env::var_os("HEADWATER_DRILL").is_some() { 2_000_000 } else { 150_000 }
}

#[test]
fn two_members_lose_nothing() {
    holds(pool(2, &[0, 1]));
}

#[test]
fn three_members_lose_nothing() {
    holds(Bounds { messages: 1, ..pool(3, &[0, 1, 2]) });
}

#[test]
fn a_member_that_restarts_empty_loses_nothing() {
    let budget = Budget { restarts: 1, ..Budget::default() };
    holds(Bounds { budget, ..pool(2, &[0, 1]) });
}

#[test]
fn a_promotion_with_loss_names_all_it_costs() {
    let budget = Budget { losses: 1, ..Budget::default() };
    holds(Bounds { budget, ..pool(2, &[0]) });
}

#[test]
fn a_restored_store_loses_nothing() {
    let budget = Budget { restores: 1, losses: 1, ..Budget::default() };
    holds(Bounds { budget, ..pool(2, &[0, 1]) });
}

#[test]
fn under_a_single_fault_nothing_is_lost() {
    let budget = Budget { faults: 1, reconnects: 1, ..Budget::default() };
    holds(Bounds { budget, network: true, ..pool(2, &[0, 1]) });
}

#[test]
fn under_two_faults_all_that_is_lost_is_named() {
    let budget = Budget { faults: 2, ..Budget::default() };
    holds(Bounds { budget, network: true, messages: 1, ..pool(2, &[0, 1]) });
}

#[test]
fn mistake_1_in_sync_by_name_is_found() {
    let budget = Budget { restarts: 1, ..Budget::default() };
    finds(Mistake::InSyncByName, Bounds { budget, ..pool(2, &[0, 1]) });
}

#[test]
fn mistake_2_a_replayed_message_acked_because_it_is_in_the_log_is_found() {
    finds(Mistake::AckedBecauseInLog, pool(2, &[0, 1]));
}

#[test]
fn mistake_3_a_new_active_that_serves_its_whole_log_is_found() {
    finds(Mistake::ServesWholeLog, pool(3, &[0, 1, 2]));
}

#[test]
fn mistake_4_old_acks_that_count_are_found() {
    let budget = Budget { restarts: 1, ..Budget::default() };
    finds(Mistake::OldAcksCount, Bounds { budget, messages: 1, ..pool(2, &[0, 1]) });
}

#[test]
fn mistake_5_growing_in_by_the_commit_index_alone_is_found() {
    finds(Mistake::GrowByCommitIndex, Bounds { messages: 1, ..pool(3, &[0, 2]) });
}

#[test]
fn mistake_6_a_grow_request_given_up_is_found() {
    finds(Mistake::GrowGivenUp, pool(2, &[0]));
}

#[test]
fn mistake_7_an_older_record_taken_is_found() {
    finds(Mistake::OlderRecordTaken, pool(2, &[0, 1]));
}

#[test]
fn mistake_7_a_request_compared_on_its_epoch_alone_is_found() {
    finds(Mistake::RequestComparedOnEpoch, pool(2, &[0, 1]));
}

#[test]
fn mistake_8_a_tail_settled_by_the_last_epoch_alone_is_found() {
    finds(Mistake::SettledByLastEpoch, Bounds { messages: 1, ..pool(3, &[0, 1, 2]) });
}

#[test]
fn mistake_9_a_log_emptied_before_its_snapshot_is_complete_is_found() {
    let budget = Budget { reconnects: 1, ..Budget::default() };
    finds(Mistake::EmptiedBeforeSnapshot, Bounds { budget, ..pool(2, &[0, 1]) });
}

#[test]
fn mistake_10_publication_numbers_kept_although_the_log_was_cut_are_found() {
    finds(Mistake::NumbersKept, pool(2, &[0, 1]));
}

#[test]
fn mistake_11_a_restored_store_that_keeps_its_in_sync_set_is_found() {
    let budget = Budget { restores: 1, ..Budget::default() };
    finds(Mistake::RestoredInSyncKept, Bounds { budget, ..pool(2, &[0, 1]) });
}

#[test]
fn mistake_12_a_regrant_that_takes_the_active_out_is_found() {
    finds(Mistake::RegrantDropsActive, pool(2, &[0, 1]));
}

#[test]
fn mistake_13_alone_without_most_edges_is_found() {
    let budget = Budget { faults: 1, ..Budget::default() };
    finds(Mistake::AloneWithoutEdges, Bounds { budget, network: true, ..pool(2, &[0, 1]) });
}

#[test]
fn mistake_13_alone_on_timers_that_fired_while_it_was_frozen_is_found() {
    let budget = Budget { faults: 1, ..Budget::default() };
    finds(Mistake::AloneOnStaleTimers, Bounds { budget, network: true, ..pool(2, &[0, 1]) });
}

#[test]
fn mistake_14_a_loss_without_a_cut_is_found() {
    let budget = Budget { losses: 1, ..Budget::default() };
    finds(Mistake::LossAtOldPositions, Bounds { budget, ..pool(2, &[0]) });
}

#[test]
fn mistake_14_a_loss_forgotten_by_the_next_grant_is_found() {
    let budget = Budget { losses: 1, ..Budget::default() };
    finds(Mistake::LossForgotten, Bounds { budget, ..pool(2, &[0]) });
}

#[test]
fn mistake_14_a_loss_that_new_streams_do_not_name_is_found() {
    let budget = Budget { losses: 1, ..Budget::default() };
    finds(Mistake::LossNotInNewStreams, Bounds { budget, ..pool(2, &[0]) });
}

#[test]
fn a_missing_fence_is_found() {
    finds(Mistake::NoFence, pool(2, &[0, 1]));
}

#[test]
fn a_restored_store_that_grants_an_epoch_twice_is_found() {
    let budget = Budget { restores: 1, losses: 1, ..Budget::default() };
    finds(Mistake::RestoredGrantsBelow, Bounds { budget, ..pool(3, &[0, 1]) });
}
