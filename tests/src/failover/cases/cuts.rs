//! Cables are cut: the active off from everyone, or one link of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::crash::{PROMOTED, edges_were_trusted, promoted_without_loss};
use crate::{
    Cluster,
    failover::{
        Round, Scene,
        pool::{Pool, other},
        scene::EDGES,
    },
    http,
    wait::{SOON, until},
};

/// The active is cut off from everyone, and joined again: it wakes deposed.
pub fn active_off(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let mut round = while_cut(scene, |cluster| cluster.network().cut_off(&before.active), &before.active);
        round.times = promoted_without_loss(&scene.cluster, &before);
        until("the origin that was cut off to know that it is deposed", SOON, || {
            let answer = http::get(scene.cluster.address(&before.active, "admin"), "/active").ok()?;
            (answer.status != 200).then_some(())
        });
        round
    })
}

/// Only active and standby do not hear each other.
pub fn active_from_standby(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.promote_the_other();
        let cut = |cluster: &Cluster| cluster.network().cut_between(&before.active, other(&before.active));
        let round = while_cut(scene, cut, &before.active);
        no_promotion(scene, &before);
        round
    })
}

/// Only active and control plane do not hear each other.
pub fn active_from_control_plane(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let cut = |cluster: &Cluster| cluster.network().cut_between(&before.active, "control-plane");
        let round = while_cut(scene, cut, &before.active);
        no_promotion(scene, &before);
        let alarms = scene.cluster.events("severity=alarm");
        let alarmed = alarms.iter().any(|event| event["details"]["alarm"] == "CP_LINK");
        assert!(alarmed, "the alarm CP_LINK: {:?}", scene.cluster.events(""));
        round
    })
}

/// Only one edge and the active do not hear each other: it goes on through the standby.
pub fn active_from_an_edge(scene: &mut Scene, edge: &'static str) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let cut = |cluster: &Cluster| cluster.network().cut_between(&before.active, edge);
        let round = while_cut(scene, cut, &before.active);
        no_promotion(scene, &before);
        round
    })
}

/// No edge hears the active any more, which the control plane still does: they hear the standby, and it is promoted.
pub fn active_from_all_edges(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_in_sync();
        let cut = |cluster: &Cluster| {
            EDGES.into_iter().for_each(|edge| cluster.network().cut_between(&before.active, edge));
        };
        let mut round = while_cut(scene, cut, &before.active);
        round.times = promoted_without_loss(&scene.cluster, &before);
        round
    })
}

/// The active and `edge-1` are cut off together: with half of the edges it does not go on alone, and the other is promoted.
///
/// The scene's encoder and viewers are at `edge-2`.
pub fn active_with_a_minority(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_all_heard();
        let apart = ["control-plane", other(&before.active), "edge-2"];
        let cut = |cluster: &Cluster| {
            for host in [before.active.as_str(), "edge-1"] {
                apart.iter().for_each(|other| cluster.network().cut_between(host, other));
            }
        };
        let mut round = while_cut(scene, cut, &before.active);
        scene.cluster.network().mend("edge-1");
        round.times = promoted_without_loss(&scene.cluster, &before);
        round
    })
}

/// One edge of three and the active do not hear each other, both hear the standby: fewer than half move no role.
pub fn active_from_one_of_three_edges(scene: &mut Scene) -> Vec<Round> {
    active_from_an_edge(scene, "edge-2")
}

/// The network is cut in two: the active with most of the edges, the control plane with the standby and the other one. For 5 s
/// nothing changes, and the active goes on alone; then the others are given the role too. When the network is whole again, what the
/// first committed alone is named.
pub fn in_two(scene: &mut Scene) -> Vec<Round> {
    scene.rounds(|scene| {
        let before = scene.cluster.wait_all_heard();
        let splits = scene.cluster.events("code=stream.split").len();
        let mut promoted = Duration::ZERO;
        let round = scene.watch(|cluster| {
            let start = Instant::now();
            for host in [before.active.as_str(), "edge-1", "edge-2"] {
                for far in ["control-plane", other(&before.active), "edge-3"] {
                    cluster.network().cut_between(host, far);
                }
            }
            cluster.wait_epoch_above(before.epoch);
            promoted = start.elapsed();
            [before.active.as_str(), "edge-1", "edge-2"].into_iter().for_each(|host| cluster.network().mend(host));
            until("what was committed alone to be named", SOON, || {
                (cluster.events("code=stream.split").len() > splits).then_some(())
            });
        });
        edges_were_trusted(&promoted_without_loss(&scene.cluster, &before));
        scene.cluster.wait_in_sync();
        Round { times: vec![(PROMOTED, promoted)], ..round }
    })
}

/// Cuts, mends at this host after a while, and watches all of it.
fn while_cut(scene: &mut Scene, cut: impl FnOnce(&Cluster), host: &str) -> Round {
    let lasts = scene.form.cut;
    let window = lasts + scene.form.window;
    scene.watch_for(window, |cluster| {
        let start = Instant::now();
        cut(cluster);
        thread::sleep((start + lasts).saturating_duration_since(Instant::now()));
        cluster.network().mend(host);
    })
}

#[track_caller]
fn no_promotion(scene: &Scene, before: &Pool) {
    let after = scene.cluster.wait_in_sync();
    assert_eq!((&after.active, after.epoch), (&before.active, before.epoch), "no promotion: {}", after.text);
}
