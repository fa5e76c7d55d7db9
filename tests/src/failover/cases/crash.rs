//! The active origin dies, or freezes.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{CRASH, FREEZE, FROZEN};
use crate::{
    failover::{Row, Scene, pool::other},
    http, process,
};

/// SIGKILL; it is started again after each round, and follows.
pub fn kill(scene: &mut Scene) -> Row {
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let round = scene.watch(|_| process::send(pid, Signal::SIGKILL));
        let after = scene.cluster.wait_epoch_above(before.epoch);
        assert_eq!(after.active, other(&before.active), "the other origin is promoted: {}", after.text);
        assert_eq!(after.loss_epoch, before.loss_epoch, "without loss: {}", after.text);
        scene.cluster.restart(&before.active);
        round
    });
    Row::of("kill -9 the active origin", CRASH, rounds)
}

/// SIGKILL, and started again at once: by then nobody may have noticed, but the memory is gone.
pub fn kill_and_start_at_once(scene: &mut Scene) -> Row {
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let round = scene.watch(|cluster| {
            process::send(pid, Signal::SIGKILL);
            cluster.restart(&before.active);
        });
        let after = scene.cluster.wait_epoch_above(before.epoch);
        assert_eq!(after.active, other(&before.active), "the one that has the stream is promoted: {}", after.text);
        assert_eq!(after.loss_epoch, before.loss_epoch, "without loss: {}", after.text);
        round
    });
    Row::of("kill -9 the active origin, started again at once", CRASH, rounds)
}

/// SIGSTOP, and SIGCONT after a while: it wakes deposed, and nothing that it sends is taken.
pub fn freeze(scene: &mut Scene) -> Row {
    let window = FROZEN + scene.form.window;
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let _wakes = Frozen(pid);
        let round = scene.watch_for(window, |_| {
            let start = Instant::now();
            process::send(pid, Signal::SIGSTOP);
            thread::sleep((start + FROZEN).saturating_duration_since(Instant::now()));
            process::send(pid, Signal::SIGCONT);
        });
        let after = scene.cluster.wait_epoch_above(before.epoch);
        assert_eq!(after.active, other(&before.active), "the other origin is promoted: {}", after.text);
        assert_eq!(after.loss_epoch, before.loss_epoch, "without loss: {}", after.text);
        let woken = http::get(scene.cluster.address(&before.active, "admin"), "/active").expect("it has woken");
        assert_ne!(woken.status, 200, "the origin that was frozen says that it is active");
        round
    });
    Row::of("SIGSTOP of the active origin for 5 s", FREEZE, rounds)
}

/// Wakes a process however the test ends.
pub struct Frozen(pub u32);

impl Drop for Frozen {
    fn drop(&mut self) {
        process::send(self.0, Signal::SIGCONT);
    }
}

/// How long a frozen process and its pool may take to agree again.
pub const WOKEN: Duration = Duration::from_secs(30);
