//! What operators do on purpose: the active hands over, and nothing is lost.

use std::thread;

use nix::sys::signal::Signal;

use super::crash::promoted_without_loss;
use crate::{
    failover::{Round, Scene, pool::other},
    process,
    wait::{self, SOON},
};

/// PromoteMember of the standby.
pub fn promote(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let mut round = scene.watch(|cluster| cluster.promote_as_asked(&before));
        round.times = promoted_without_loss(&scene.cluster, &before);
        round
    })
}

/// SIGTERM of the active: it asks to be relieved first. It is started again after each round.
pub fn terminate(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let pid = scene.cluster.pid(&before.active);
        let mut round = scene.watch(|_| process::send(pid, Signal::SIGTERM));
        round.times = promoted_without_loss(&scene.cluster, &before);
        crate::until("the origin to have ended", SOON, || (!process::runs(pid)).then_some(()));
        scene.cluster.restart(&before.active);
        round
    })
}

/// Both origins are restarted, one after the other, as an upgrade does it.
pub fn rolling_restart(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let mut round = scene.watch(|cluster| {
            for origin in [other(&before.active), &before.active] {
                cluster.restart(origin);
                cluster.wait_in_sync();
            }
        });
        round.times = promoted_without_loss(&scene.cluster, &before);
        round
    })
}

/// Two operators promote at once: one of them is told that the epoch is another now.
pub fn two_operators(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let mut round = scene.watch(|cluster| {
            let member = other(&before.active);
            let both = thread::scope(|scope| {
                let calls = [(); 2].map(|()| scope.spawn(|| cluster.promote(member, before.epoch)));
                calls.map(|call| call.join().expect("a call ends"))
            });
            let refused: Vec<_> = both.iter().filter_map(|answer| answer.as_ref().err()).collect();
            assert_eq!(refused.len(), 1, "one of two is refused: {both:?}");
            assert_eq!(refused[0].code, "FailedPrecondition");
            assert!(refused[0].text.contains("STALE_EPOCH"), "{}", refused[0].text);
        });
        round.times = promoted_without_loss(&scene.cluster, &before);
        let after = scene.cluster.wait_in_sync();
        assert_eq!(after.epoch, before.epoch + 1, "one promotion: {}", after.text);
        round
    })
}

/// The first origin dies and comes back, which changes nothing, until FailBack.
pub fn fail_back(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let first = "origin-1";
        let mut before = scene.cluster.wait_in_sync();
        if before.active == first {
            scene.cluster.kill(first);
            // Before that it would be seen as it was: active, and in sync.
            scene.cluster.wait_epoch_above(before.epoch);
            scene.cluster.restart(first);
            before = scene.cluster.wait_in_sync();
        }
        assert_eq!(before.active, other(first), "no fail-back by itself: {}", before.text);
        scene.assert_plays();
        let mut round = scene.watch(|cluster| {
            let mut told = String::new();
            let moved = wait::maybe(SOON, || match cluster.pool_verb("FailBack", before.epoch) {
                Ok(_) => Some(()),
                Err(refusal) => {
                    told = refusal.text;
                    None
                }
            });
            assert!(moved.is_some(), "FailBack: {told}");
        });
        round.times = promoted_without_loss(&scene.cluster, &before);
        round
    })
}
