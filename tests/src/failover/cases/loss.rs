//! More is gone at once than one origin: viewers and encoders stay, and what is lost is named.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;

use super::crash::Frozen;
use crate::{
    Cluster,
    failover::{
        Round, Scene,
        pool::{Pool, other},
    },
    process,
    wait::SOON,
};

/// The standby is frozen and so out of sync, the active dies, the standby wakes: after 2 s it is promoted, with loss.
pub fn none_in_sync(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| without_one_in_sync(scene, |_, _| {}))
}

/// The same where an operator decides: nothing happens until he makes the one that is left active.
pub fn an_operator_decides(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        without_one_in_sync(scene, |cluster, before| {
            // Longer than it takes where nobody is asked.
            thread::sleep(UNDECIDED);
            let pool = cluster.pool().expect("the control plane answers");
            assert_eq!(pool.epoch, before.epoch, "nobody is promoted: {}", pool.text);
            let alarms = cluster.events("code=pool.not_replaced");
            assert!(!alarms.is_empty(), "an alarm says so: {:?}", cluster.events(""));
            cluster.force(other(&before.active), before.epoch);
        })
    })
}

/// One round in which the active dies while the standby, frozen, is out of sync; the standby wakes, somebody may do
/// something, and it is promoted with loss.
fn without_one_in_sync(scene: &mut Scene, meanwhile: impl Fn(&Cluster, &Pool)) -> Round {
    let before = scene.cluster.promote_the_other();
    let active = scene.cluster.pid(&before.active);
    let frozen = Frozen(scene.cluster.pid(other(&before.active)));
    process::send(frozen.0, Signal::SIGSTOP);
    scene.cluster.wait_pool("the standby to be out", SOON, |pool| pool.in_sync == [pool.active.clone()]);
    let round = scene.watch(|cluster| {
        process::send(active, Signal::SIGKILL);
        process::send(frozen.0, Signal::SIGCONT);
        meanwhile(cluster, &before);
        promoted_with_loss(cluster, &before, &before.active);
    });
    scene.cluster.restart(&before.active);
    round
}

/// For so long an operator thinks.
const UNDECIDED: Duration = Duration::from_millis(3500);

/// Both origins are killed and start again with nothing in memory.
pub fn all_restart(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let pids = ["origin-1", "origin-2"].map(|origin| scene.cluster.pid(origin));
        scene.watch(|cluster| {
            pids.into_iter().for_each(|pid| process::send(pid, Signal::SIGKILL));
            ["origin-1", "origin-2"].into_iter().for_each(|origin| cluster.restart(origin));
            promoted_with_loss(cluster, &before, "");
        })
    })
}

/// A new epoch with the mark of loss, and the event that names it. An epoch without it may come first: a member that is
/// killed in the same moment is still taken for alive.
#[track_caller]
fn promoted_with_loss(cluster: &Cluster, before: &Pool, not: &str) {
    let after = cluster.wait_pool("a promotion with loss", SOON, |pool| pool.loss_epoch > before.epoch);
    assert_ne!(after.active, not, "{}", after.text);
    let named = !cluster.events("code=pool.resumed_with_loss").is_empty();
    assert!(named, "no event names the loss: {:?}", cluster.events(""));
}
