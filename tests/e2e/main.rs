//! The whole cluster on loopback, real processes, real encoders and real players.
//!
//! Each test starts a cluster of its own with [`tests::Cluster`]. One that needs a program which is not here says so on standard
//! error and passes; under `CI=true` it fails.

mod access;
mod clean_end;
mod control_plane_down;
mod failover;
mod forged;
mod forms;
mod hostile;
mod laptop;
mod load;
mod mistakes;
mod origin_restart;
mod players;
mod reconnect;
mod refusals;
mod routes;
mod siege;
mod topologies;
mod vip;

use tests::{Cluster, wait::SOON};

/// Waits until this many clients are connected to an edge: viewers that wait for their stream are not yet counted as playing.
#[track_caller]
fn waiting_viewers(cluster: &Cluster, edge: &str, count: usize) {
    let viewers = || cluster.metric(edge, "headwater_sessions", &[]).filter(|viewers| *viewers >= count as f64);
    tests::until(&format!("{count} viewers at {edge}"), SOON, viewers);
}
