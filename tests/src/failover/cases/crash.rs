//! The active origin dies, or freezes.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::FROZEN;
use crate::{
    Cluster,
    failover::{
        Round, Scene,
        pool::{Pool, other},
    },
    http, process,
};

/// SIGKILL; it is started again after each round, and follows.
pub fn kill(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let mut round = scene.watch(|_| process::send(pid, Signal::SIGKILL));
        round.times = promoted_without_loss(&scene.cluster, &before);
        scene.cluster.restart(&before.active);
        round
    })
}

/// SIGKILL, and started again at once: by then nobody may have noticed, but the memory is gone.
pub fn kill_and_start_at_once(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let mut round = scene.watch(|cluster| {
            process::send(pid, Signal::SIGKILL);
            cluster.restart(&before.active);
        });
        round.times = promoted_without_loss(&scene.cluster, &before);
        round
    })
}

/// SIGSTOP, and SIGCONT after a while: it wakes deposed, and nothing that it sends is taken.
pub fn freeze(scene: &mut Scene) -> Vec<Round> {
    let window = FROZEN + scene.form.window;
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let _wakes = Frozen(pid);
        let mut round = scene.watch_for(window, |_| {
            let start = Instant::now();
            process::send(pid, Signal::SIGSTOP);
            thread::sleep((start + FROZEN).saturating_duration_since(Instant::now()));
            process::send(pid, Signal::SIGCONT);
        });
        round.times = promoted_without_loss(&scene.cluster, &before);
        let woken = http::get(scene.cluster.address(&before.active, "admin"), "/active").expect("it has woken");
        assert_ne!(woken.status, 200, "the origin that was frozen says that it is active");
        round
    })
}

/// Wakes a process however the test ends.
pub struct Frozen(pub u32);

impl Drop for Frozen {
    fn drop(&mut self) {
        process::send(self.0, Signal::SIGCONT);
    }
}

/// The origin that has the streams is active now, in a new epoch; how long the parts of that took.
#[track_caller]
pub fn promoted_without_loss(cluster: &Cluster, before: &Pool) -> Vec<(&'static str, Duration)> {
    let after = cluster.wait_epoch_above(before.epoch);
    assert_eq!(after.active, other(&before.active), "the other origin is promoted: {}", after.text);
    assert_eq!(after.loss_epoch, before.loss_epoch, "without loss: {}", after.text);
    cluster.parts_of_grant(after.epoch)
}
