//! What faults cost: the sets of [`tests::failover::sets`] in their short form. Viewers and encoders notice what is promised, no more.

use tests::failover::{Form, sets};

#[test]
fn nobody_notices_that_the_active_origin_is_killed() {
    kept("crash");
}

#[test]
fn nobody_notices_that_the_active_origin_freezes() {
    kept("freeze");
}

#[test]
fn nobody_notices_that_the_role_moves_on_purpose() {
    kept("planned");
}

#[test]
fn nobody_notices_that_the_standby_dies_or_freezes() {
    kept("standby");
}

#[test]
fn nobody_notices_that_the_control_plane_is_gone() {
    kept("control");
}

#[test]
fn an_active_that_may_not_go_on_alone_waits_and_loses_nothing() {
    kept("stall");
}

#[test]
fn an_encoder_at_the_vip_is_let_in_again_and_viewers_stay() {
    kept("vip");
}

#[test]
fn an_encoder_may_move_while_the_active_dies() {
    kept("move");
}

#[test]
fn viewers_and_encoders_stay_when_streams_are_lost() {
    kept("loss");
}

#[test]
fn nobody_notices_that_two_of_three_origins_fail() {
    kept("members");
}

#[test]
fn an_edge_that_is_left_goes_on_when_the_active_and_the_others_die() {
    kept("edges");
}

#[test]
fn a_network_cut_in_two_cuts_no_encoder_and_names_what_was_committed_alone() {
    kept("sides");
}

#[test]
fn nobody_notices_that_the_active_origin_is_cut_off() {
    kept("cables");
}

#[test]
fn nobody_notices_that_one_cable_of_the_active_is_cut() {
    kept("links");
}

/// Runs a set; every row must keep its promise.
fn kept(set: &str) {
    sets::find(set).expect("the set exists").run(Form::SHORT, |row| {
        println!("{}", row.line());
        row.assert_promise();
    });
}
