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
        pool::{DETECT, Pool, other},
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

/// The active and all edges but `edge-4` die at once: who is not heard any more counts as hearing the active for 5 s, then it is
/// promoted.
///
/// The scene's encoder and viewers are at `edge-4`.
pub fn kill_with_most_edges(scene: &mut Scene) -> Vec<Round> {
    let edges = ["edge-1", "edge-2", "edge-3"];
    scene.rounds(|scene| {
        let before = scene.cluster.wait_all_heard();
        let mut promoted = Duration::ZERO;
        let mut round = scene.watch(|cluster| {
            let start = Instant::now();
            for node in edges.into_iter().chain([before.active.as_str()]) {
                process::send(cluster.pid(node), Signal::SIGKILL);
            }
            cluster.wait_epoch_above(before.epoch);
            promoted = start.elapsed();
        });
        edges_were_trusted(&promoted_without_loss(&scene.cluster, &before));
        round.times = vec![(PROMOTED, promoted)];
        for node in edges.into_iter().chain([before.active.as_str()]) {
            scene.cluster.restart(node);
        }
        round
    })
}

/// Nobody was promoted before the edges that are not heard had counted for 5 s as hearing the active.
#[track_caller]
pub fn edges_were_trusted(parts: &[(&'static str, Duration)]) {
    let decided = parts.iter().find(|(name, _)| *name == DETECT).map(|(_, time)| *time);
    assert!(decided.is_some_and(|decided| decided > TRUSTED), "decided after {decided:?}");
}

/// Five seconds, less the time from an edge's last beat to the first sign of a fault.
const TRUSTED: Duration = Duration::from_millis(4500);

/// The time until another is promoted, in the table.
pub const PROMOTED: &str = "promoted";

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
