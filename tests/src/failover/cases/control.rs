//! The control plane is gone: alone, together with an origin, or back with an old memory.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    failover::{Crowd, Round, Scene, pool::other, scene::urls},
    process,
    wait::{SOON, until},
};

/// The time until an origin is promoted, in the table.
pub const PROMOTED: &str = "promoted, once it is back";

/// It is dead for a while. The other edge is restarted meanwhile, and serves new viewers.
///
/// The scene's viewers are at `edge-1`.
pub fn dead(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let dead = scene.form.control_dead;
        let source = &scene.source;
        let start = Instant::now();
        scene.cluster.kill("control-plane");
        scene.cluster.kill("edge-2");
        scene.cluster.restart("edge-2");
        let newcomers = Crowd::join(urls(&scene.cluster, &["edge-2"], 4));
        assert_eq!(newcomers.stuck(source, SOON), 0, "new viewers at the restarted edge:\n{}", newcomers.told());
        drop(newcomers);
        let rest = dead.saturating_sub(start.elapsed());
        let round = scene.watch_for(rest + scene.form.window, |cluster| {
            thread::sleep(rest);
            cluster.restart("control-plane");
        });
        let after = scene.cluster.wait_in_sync();
        assert_eq!((&after.active, after.epoch), (&before.active, before.epoch), "no role has changed: {}", after.text);
        round
    })
}

/// It is dead, then the standby dies: with `when_alone: serve` the active goes on by itself.
pub fn dead_then_standby_dies(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.promote_the_other();
        let standby = other(&before.active);
        scene.cluster.kill("control-plane");
        let pid = scene.cluster.pid(standby);
        let round = scene.watch(|_| process::send(pid, Signal::SIGKILL));
        until("the alarm ALONE", SOON, || scene.cluster.log(&before.active).contains("ALONE").then_some(()));
        scene.cluster.restart("control-plane");
        scene.cluster.restart(standby);
        scene.cluster.wait_settled();
        let after = scene.cluster.wait_in_sync();
        assert_eq!(after.active, before.active, "no role has changed: {}", after.text);
        let reported = !scene.cluster.events("code=pool.alone").is_empty();
        assert!(reported, "it reports that it was alone: {:?}", scene.cluster.events(""));
        round
    })
}

/// The same with `when_alone: stall`: nothing is served until the control plane is back, and nothing is lost.
pub fn dead_then_standby_dies_stall(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.promote_the_other();
        let standby = other(&before.active);
        scene.cluster.kill("control-plane");
        let mut stalled = Duration::ZERO;
        let pid = scene.cluster.pid(standby);
        let mut round = scene.watch(|cluster| {
            let start = Instant::now();
            process::send(pid, Signal::SIGKILL);
            thread::sleep(Duration::from_secs(2));
            cluster.restart("control-plane");
            stalled = start.elapsed();
        });
        let least = round.sight.gaps.iter().min().copied().unwrap_or_default();
        assert!(
            least > Duration::from_millis(1500),
            "it waits for the standby, which is dead; the least pause is {least:?}"
        );
        round.times.push(("until the control plane is back", stalled));
        scene.cluster.restart(standby);
        scene.cluster.wait_settled();
        round
    })
}

/// It is dead, then the active origin dies; the control plane comes back and promotes the other.
pub fn dead_then_active_dies(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        scene.cluster.kill("control-plane");
        let pid = scene.cluster.pid(&before.active);
        let mut promoted = Duration::ZERO;
        let mut round = scene.watch(|cluster| {
            process::send(pid, Signal::SIGKILL);
            cluster.restart(&before.active);
            cluster.restart("control-plane");
            let back = Instant::now();
            cluster.wait_epoch_above(before.epoch);
            promoted = back.elapsed();
        });
        let after = scene.cluster.wait_in_sync();
        assert_eq!(after.active, other(&before.active), "the one that has the streams is promoted: {}", after.text);
        assert_eq!(after.loss_epoch, before.loss_epoch, "without loss: {}", after.text);
        round.times.push((PROMOTED, promoted));
        round
    })
}

/// Its store is put back to what it was two promotions ago: what the origins know is adopted, and no epoch comes twice.
pub fn restored_from_an_old_copy(scene: &mut Scene) -> Vec<Round> {
    let store = scene.cluster.dir().join("control-plane/control-plane.redb");
    let copy = scene.cluster.scratch().join("old.redb");
    scene.rounds(|scene| {
        scene.cluster.wait_in_sync();
        scene.cluster.kill("control-plane");
        fs::copy(&store, &copy).expect("the store can be copied");
        scene.cluster.restart("control-plane");
        scene.cluster.wait_settled();
        let mut epochs = Vec::new();
        for _ in 0..2 {
            epochs.push(scene.cluster.promote_the_other().epoch);
        }
        let round = scene.watch(|cluster| {
            cluster.kill("control-plane");
            fs::copy(&copy, &store).expect("the store can be put back");
            cluster.restart("control-plane");
            let highest = epochs.iter().max().copied().expect("two promotions");
            let adopted = cluster.wait_pool("the epoch in force to be adopted", SOON, |pool| pool.epoch >= highest);
            assert_eq!(adopted.epoch, highest, "nothing is granted for it: {}", adopted.text);
        });
        scene.cluster.wait_settled();
        epochs.push(scene.cluster.promote_the_other().epoch);
        assert!(epochs.is_sorted_by(|a, b| a < b), "no epoch is granted twice: {epochs:?}");
        round
    })
}

/// Its store is lost: it knows no member of the pool before each has told of itself. What they know is adopted.
pub fn emptied(scene: &mut Scene) -> Vec<Round> {
    let store = scene.cluster.dir().join("control-plane/control-plane.redb");
    scene.rounds(|scene| {
        let before = scene.cluster.promote_the_other();
        let round = scene.watch(|cluster| {
            cluster.kill("control-plane");
            fs::remove_file(&store).expect("the store can be removed");
            cluster.restart("control-plane");
            let adopted =
                cluster.wait_pool("the epoch in force to be adopted", SOON, |pool| pool.epoch >= before.epoch);
            assert_eq!(
                (&adopted.active, adopted.epoch),
                (&before.active, before.epoch),
                "nobody else is granted the role: {}",
                adopted.text
            );
        });
        scene.cluster.wait_settled();
        let after = scene.cluster.wait_in_sync();
        assert_eq!(after.loss_epoch, 0, "and nothing was taken for lost: {}", after.text);
        assert!(scene.cluster.promote_the_other().epoch > before.epoch, "no epoch is granted twice");
        round
    })
}
