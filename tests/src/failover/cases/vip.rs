//! An encoder that publishes to the origins themselves, through a virtual IP: it is cut with the active origin, and let in again
//! by the next.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::{
    failover::{Row, Scene, row::Promise},
    process,
    wait::{SOON, until},
};

/// SIGKILL of the active origin; the row's `accepted` is the time until the encoder may publish again.
pub fn kill(scene: &mut Scene) -> Row {
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let mut fault = Instant::now();
        let mut round = scene.watch(|_| {
            fault = Instant::now();
            process::send(pid, Signal::SIGKILL);
        });
        let accepted = until("the encoder to be let in again", SOON, || scene.source.accepted_after(fault));
        round.times.push(("accepted again", accepted - fault));
        scene.cluster.restart(&before.active);
        round
    });
    Row::of(
        "kill -9 the active origin, encoder at the VIP",
        "no viewer cut, time never falls; accepted ≤ 300 ms; lost: what was on its way into the dead process",
        rounds,
    )
    .promising(Promise::EncoderComesBack)
}

/// An encoder leaves one edge and comes back at the other in the moment in which the active dies.
pub fn encoder_moves(scene: &mut Scene) -> Row {
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let mut fault = Instant::now();
        scene.source.hang_up();
        let mut round = scene.watch(|_| {
            fault = Instant::now();
            process::send(pid, Signal::SIGKILL);
        });
        let accepted = until("the encoder to be let in again", SOON, || scene.source.accepted_after(fault));
        round.times.push(("accepted again", accepted - fault));
        scene.cluster.restart(&before.active);
        round
    });
    Row::of(
        "encoder moves to the other edge while the active dies",
        "one timeline: no viewer cut, nothing twice, time never falls",
        rounds,
    )
    .promising(Promise::EncoderComesBack)
}
