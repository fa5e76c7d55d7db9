//! A pool of three origins.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::crash::Frozen;
use crate::{
    Cluster,
    failover::{Round, Scene, pool::Pool},
    process,
    wait::SOON,
};

/// The time until the one that can serve has been found, in the table.
pub const FOUND: &str = "until an origin serves again";

/// One member is behind, the active dies: the one in sync is promoted, and the other follows it.
pub fn one_behind(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let cluster = &scene.cluster;
        let before = cluster.wait_in_sync();
        let [next, behind] = standbys(cluster, &before);
        let frozen = Frozen(cluster.pid(&behind));
        process::send(frozen.0, Signal::SIGSTOP);
        cluster.wait_pool("one to be behind", SOON, |pool| !pool.in_sync.contains(&behind));
        let active = cluster.pid(&before.active);
        let mut round = scene.watch(|_| {
            process::send(active, Signal::SIGKILL);
            process::send(frozen.0, Signal::SIGCONT);
        });
        let after = scene.cluster.wait_epoch_above(before.epoch);
        assert_eq!((&after.active, after.loss_epoch), (&next, before.loss_epoch), "{}", after.text);
        round.times = scene.cluster.parts_of_grant(after.epoch);
        scene.cluster.restart(&before.active);
        round
    })
}

/// The active dies, and as soon as another is active, that one too: the third goes on.
pub fn one_after_the_other(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let mut second = String::new();
        let round = scene.watch(|cluster| {
            process::send(cluster.pid(&before.active), Signal::SIGKILL);
            // The third has to have all of it when its turn comes, also on a machine where it was late a moment ago.
            let next = cluster.wait_pool("the next, and the third in sync", SOON, |pool| {
                pool.epoch > before.epoch && pool.in_sync.len() == 2
            });
            process::send(cluster.pid(&next.active), Signal::SIGKILL);
            second.clone_from(&next.active);
            let last = cluster.wait_epoch_above(next.epoch);
            assert!(last.active != next.active && last.active != before.active, "the third: {}", last.text);
            assert_eq!(last.loss_epoch, before.loss_epoch, "without loss: {}", last.text);
        });
        scene.cluster.restart(&before.active);
        scene.cluster.restart(&second);
        round
    })
}

/// The one that is granted the role is frozen: the next one is, in the next epoch, and what the first does when it wakes counts
/// for nothing.
pub fn candidate_freezes(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let standbys = standbys(&scene.cluster, &before);
        // Which of the two is granted the role nobody can say: both are frozen, and the other one wakes.
        let frozen = standbys.clone().map(|node| Frozen(scene.cluster.pid(&node)));
        let mut times = Vec::new();
        let mut round = scene.watch(|cluster| {
            let start = Instant::now();
            frozen.iter().for_each(|frozen| process::send(frozen.0, Signal::SIGSTOP));
            process::send(cluster.pid(&before.active), Signal::SIGKILL);
            let granted = cluster.wait_pool("a grant", SOON, |pool| pool.epoch > before.epoch);
            let [chosen, other] = match granted.active == standbys[0] {
                true => [0, 1],
                false => [1, 0],
            };
            assert_eq!(granted.active, standbys[chosen], "one of the standbys: {}", granted.text);
            process::send(frozen[other].0, Signal::SIGCONT);
            let next = cluster.wait_epoch_above(granted.epoch);
            assert_eq!((&next.active, next.loss_epoch), (&standbys[other], before.loss_epoch), "{}", next.text);
            times.push((FOUND, start.elapsed()));
            process::send(frozen[chosen].0, Signal::SIGCONT);
        });
        scene.cluster.restart(&before.active);
        let after = scene.cluster.wait_in_sync();
        assert_eq!(after.epoch, before.epoch + 2, "the one that woke up has not the role: {}", after.text);
        round.times = times;
        round
    })
}

/// The two that are not active.
fn standbys(cluster: &Cluster, pool: &Pool) -> [String; 2] {
    let others = cluster.origins().into_iter().filter(|origin| *origin != pool.active).map(str::to_owned);
    others.collect::<Vec<_>>().try_into().expect("a pool of three")
}
