//! Cables are cut: the active off from everyone, or one link of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::FREEZE;
use crate::{
    Cluster,
    failover::{
        Row, Scene,
        pool::{Pool, other},
    },
    http,
    wait::{SOON, until},
};

/// How long a cut lasts.
const CUT: Duration = Duration::from_secs(5);

/// The active is cut off from everyone, and joined again: it wakes deposed.
pub fn active_off(scene: &mut Scene) -> Row {
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let round = while_cut(scene, |cluster| cluster.network().cut_off(&before.active), &before.active);
        let after = scene.cluster.wait_epoch_above(before.epoch);
        assert_eq!(after.active, other(&before.active), "the other origin is promoted: {}", after.text);
        assert_eq!(after.loss_epoch, before.loss_epoch, "without loss: {}", after.text);
        until("the origin that was cut off to know that it is deposed", SOON, || {
            let answer = http::get(scene.cluster.address(&before.active, "admin"), "/active").ok()?;
            (answer.status != 200).then_some(())
        });
        round
    });
    Row::of("active origin cut off for 5 s", FREEZE, rounds)
}

/// Only active and standby do not hear each other.
pub fn active_from_standby(scene: &mut Scene) -> Row {
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let cut = |cluster: &Cluster| cluster.network().cut_between(&before.active, other(&before.active));
        let round = while_cut(scene, cut, &before.active);
        no_promotion(scene, &before);
        round
    });
    Row::of("only active and standby cut", "no promotion; nothing lost; stall p99 ≤ 250 ms", rounds)
}

/// Only active and control plane do not hear each other.
pub fn active_from_control_plane(scene: &mut Scene) -> Row {
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let cut = |cluster: &Cluster| cluster.network().cut_between(&before.active, "control-plane");
        let round = while_cut(scene, cut, &before.active);
        no_promotion(scene, &before);
        let alarmed = scene.cluster.events().iter().any(|event| event.to_string().contains("CP_LINK"));
        assert!(alarmed, "the alarm CP_LINK: {:?}", scene.cluster.events());
        round
    });
    Row::of("only active and control plane cut", "nothing happens; alarm CP_LINK", rounds)
}

/// Only one edge and the active do not hear each other: it goes on through the standby.
pub fn active_from_an_edge(scene: &mut Scene, edge: &'static str) -> Row {
    let rounds = scene.rounds(|scene, _| {
        let before = scene.cluster.wait_in_sync();
        let cut = |cluster: &Cluster| cluster.network().cut_between(&before.active, edge);
        let round = while_cut(scene, cut, &before.active);
        no_promotion(scene, &before);
        round
    });
    Row::of(&format!("only active and {edge} cut"), "no promotion; on by `via` within 1 s", rounds)
}

/// Cuts, mends at this host after a while, and watches all of it.
fn while_cut(scene: &mut Scene, cut: impl FnOnce(&Cluster), host: &str) -> crate::failover::Round {
    let window = CUT + scene.form.window;
    scene.watch_for(window, |cluster| {
        let start = Instant::now();
        cut(cluster);
        thread::sleep((start + CUT).saturating_duration_since(Instant::now()));
        cluster.network().mend(host);
    })
}

#[track_caller]
fn no_promotion(scene: &Scene, before: &Pool) {
    let after = scene.cluster.wait_in_sync();
    assert_eq!((&after.active, after.epoch), (&before.active, before.epoch), "no promotion: {}", after.text);
}
