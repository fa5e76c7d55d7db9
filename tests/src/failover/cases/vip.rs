//! An encoder that publishes to the origins themselves, through a virtual IP: it is cut with the active origin, and let in again
//! by the next.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::{
    failover::{Round, Scene, Source},
    process,
    wait::{SOON, until},
};

/// The time until the encoder may publish again, in the table.
pub const ACCEPTED: &str = "accepted again";

/// SIGKILL of the active origin; the row's [`ACCEPTED`] is the time until the encoder may publish again.
pub fn kill(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| active_dies(scene, |_| {}))
}

/// An encoder leaves one edge and comes back at the other in the moment in which the active dies.
pub fn encoder_moves(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| active_dies(scene, |source| source.hang_up()))
}

/// One round in which the encoder does something, and the active is killed.
fn active_dies(scene: &mut Scene, encoder: impl Fn(&Source)) -> Round {
    let before = scene.cluster.wait_in_sync();
    let pid = scene.cluster.pid(&before.active);
    let mut fault = Instant::now();
    encoder(&scene.source);
    let mut round = scene.watch(|_| {
        fault = Instant::now();
        process::send(pid, Signal::SIGKILL);
    });
    let accepted = until("the encoder to be let in again", SOON, || scene.source.accepted_after(fault));
    round.times.push((ACCEPTED, accepted - fault));
    scene.note_encoder(fault);
    scene.cluster.restart(&before.active);
    round
}
