//! The standby dies, or freezes: the active goes on as soon as it need not wait any more.
//!
//! An active that has seen a standby drop out takes it back later each time. A promotion before each round makes that forgotten.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::crash::Frozen;
use crate::{
    Cluster,
    failover::{Round, Scene, pool::other},
    process,
    wait::SOON,
};

/// How long it is frozen.
const FROZEN: Duration = Duration::from_secs(2);

/// SIGKILL; it is started again after each round.
pub fn kill(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.promote_the_other();
        let standby = other(&before.active);
        let pid = scene.cluster.pid(standby);
        let round = scene.watch(|_| process::send(pid, Signal::SIGKILL));
        out_of_sync_in_the_same_epoch(&scene.cluster, before.epoch);
        scene.cluster.restart(standby);
        round
    })
}

/// SIGSTOP, and SIGCONT after a while.
pub fn freeze(scene: &mut Scene) -> Vec<Round> {
    let window = FROZEN + scene.form.window;
    scene.rounds(|scene| {
        let before = scene.cluster.promote_the_other();
        let pid = scene.cluster.pid(other(&before.active));
        let _wakes = Frozen(pid);
        let round = scene.watch_for(window, |cluster| {
            process::send(pid, Signal::SIGSTOP);
            thread::sleep(FROZEN);
            out_of_sync_in_the_same_epoch(cluster, before.epoch);
            process::send(pid, Signal::SIGCONT);
        });
        let after = scene.cluster.wait_in_sync();
        assert_eq!(after.epoch, before.epoch, "no promotion: {}", after.text);
        round
    })
}

/// It freezes for less than half of every second. An active that has waited for it a few times waits no more until it has kept up
/// for longer than that.
pub fn flap(scene: &mut Scene) -> Vec<Round> {
    let window = FLAP * FLAPS + scene.form.window;
    scene.rounds(|scene| {
        let before = scene.cluster.promote_the_other();
        let standby = other(&before.active);
        let pid = scene.cluster.pid(standby);
        let _wakes = Frozen(pid);
        let lapses = |cluster: &Cluster| {
            let mut events = cluster.events("code=pool.shrunk");
            events.retain(|event| event["details"]["epoch"] == *before.epoch.to_string());
            events.len()
        };
        let round = scene.watch_for(window, |cluster| {
            for _ in 0..FLAPS {
                let start = Instant::now();
                process::send(pid, Signal::SIGSTOP);
                thread::sleep(FLAP_FROZEN);
                process::send(pid, Signal::SIGCONT);
                thread::sleep((start + FLAP).saturating_duration_since(Instant::now()));
            }
            let lapses = lapses(cluster);
            assert!((1..=LAPSES_MAX).contains(&lapses), "it was waited for {lapses} times");
        });
        let after = scene.cluster.wait_in_sync();
        assert_eq!(after.epoch, before.epoch, "no promotion: {}", after.text);
        round
    })
}

/// A second in which it freezes and wakes.
const FLAP: Duration = Duration::from_secs(1);
/// For so much of it it is frozen.
const FLAP_FROZEN: Duration = Duration::from_millis(400);
/// How often.
const FLAPS: u32 = 8;
/// It must have kept up for 200 ms, then 400, then 800: longer than it is ever awake. One more if it was late.
const LAPSES_MAX: usize = 4;

#[track_caller]
fn out_of_sync_in_the_same_epoch(cluster: &Cluster, epoch: u64) {
    let pool = cluster.wait_pool("the standby to be out", SOON, |pool| pool.in_sync == [pool.active.clone()]);
    assert_eq!(pool.epoch, epoch, "no promotion: {}", pool.text);
}
