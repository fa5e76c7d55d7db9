//! The cluster on one page: for grpcurl, for a browser, for probes.

use std::time::{Duration, SystemTime};

use cluster::Liveness;
use daemon::admin::{Cell, Inspect, Page};
use rpc::control::{Cluster, ClusterStatus, Members, NodeCounts, NodeInfo, PoolInfo, Pools, StoreStatus, Streams};

use crate::plane::{ControlPlane, lock};

impl Cluster for ControlPlane {
    fn cluster_status(&self) -> ClusterStatus {
        let (pools, nodes) = (self.pools(), self.nodes());
        let store = self.store_state();
        let (streams, (publishers, viewers)) = {
            let directory = lock(&self.inner.directory);
            (directory.stream_count() as u32, directory.session_counts())
        };
        ClusterStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.inner.started.elapsed(),
            time: SystemTime::now(),
            counts: counts(&nodes),
            problems: problems(&pools, &nodes, self.pool_problems(), store.error.as_deref()),
            routes: self.inner.routes.len() as u32,
            streams,
            publishers,
            viewers,
            store: StoreStatus {
                kind: "redb".to_owned(),
                id: self.inner.store_id.clone(),
                revision: store.revision,
                error: store.error,
                last_commit: store.last_commit,
            },
            events: self.inner.events.newest(RECENT_EVENTS),
            pools,
            nodes,
        }
    }
}

fn counts(nodes: &[NodeInfo]) -> NodeCounts {
    let mut counts = NodeCounts::default();
    for node in nodes {
        match node.liveness {
            Liveness::Alive => counts.alive += 1,
            Liveness::Silent => counts.silent += 1,
            Liveness::Gone => counts.gone += 1,
            Liveness::Draining => counts.draining += 1,
        }
    }
    counts
}

fn problems(pools: &[PoolInfo], nodes: &[NodeInfo], of_pools: Vec<String>, store: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(error) = store {
        problems.push(format!("the store cannot be written: {error}"));
    }
    for pool in pools {
        let name = pool.view.id.resource();
        let Some(active) = &pool.view.active else {
            problems.push(format!("{name} has no active origin yet"));
            continue;
        };
        match pool.heard.get(active) {
            Some((Liveness::Alive | Liveness::Draining, true)) => {}
            Some((Liveness::Alive | Liveness::Draining, false)) => {
                problems.push(format!("{name}: {} is active but does not serve", active.resource()));
            }
            _ => problems
                .push(format!("{name}: the control plane does not hear the active origin {}", active.resource())),
        }
    }
    problems.extend(of_pools);
    let unheard = |node: &&NodeInfo| matches!(node.liveness, Liveness::Silent | Liveness::Gone);
    for node in nodes.iter().filter(unheard) {
        problems.push(format!("{} is {}", node.registration.member.node.resource(), node.liveness.as_str()));
    }
    problems
}

impl Inspect for ControlPlane {
    fn missing(&self) -> Vec<String> {
        self.store_state().error.map(|error| format!("a store that can be written: {error}")).into_iter().collect()
    }

    fn status(&self) -> Page {
        let status = self.cluster_status();
        let problems = status.problems.iter().map(|problem| vec![Cell::from(problem.clone())]).collect();
        Page::new(format!("Headwater control plane {}", self.inner.config.node))
            .table("Problems", &["problem"], problems)
            .table(
                "Streams",
                &["stream", "state", "ingest", "origin", "head_ms", "kbit_s", "viewers"],
                self.stream_rows(),
            )
            .table("Pools", &["pool", "epoch", "active", "cause", "evidence", "since"], pool_rows(&status))
            .table("Members", &["pool", "node", "role", "state", "serving", "public", "peer"], member_rows(&status))
            .table("Nodes", &["node", "kind", "state", "version", "streams", "viewers", "heard"], node_rows(&status))
            .table("Events", &["time", "code", "subject", "message", "author", "reason"], event_rows(&status))
            .facts(
                "Cluster",
                [
                    ("version", Cell::from(status.version.clone())),
                    ("uptime_s", Cell::from(status.uptime.as_secs())),
                    ("route_entries", Cell::from(u64::from(status.routes))),
                    ("streams", Cell::from(u64::from(status.streams))),
                    ("publishers", Cell::from(u64::from(status.publishers))),
                    ("viewers", Cell::from(u64::from(status.viewers))),
                    ("store", Cell::from(self.inner.store_path.display().to_string())),
                    ("store_revision", Cell::from(status.store.revision)),
                ],
            )
    }
}

impl ControlPlane {
    fn stream_rows(&self) -> Vec<Vec<Cell>> {
        let mut streams = self.streams();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        let node = |node: &Option<cluster::NodeId>| node.as_ref().map(ToString::to_string).unwrap_or_default();
        let row = |stream: rpc::control::StreamInfo| -> Vec<Cell> {
            let viewers = u64::from(stream.viewers());
            vec![
                stream.name.to_string().into(),
                if stream.live { "live" } else { "grace" }.into(),
                node(&stream.ingest_node).into(),
                node(&stream.origin).into(),
                stream.head_timestamp_ms.into(),
                (stream.bits_per_second / 1000).into(),
                viewers.into(),
            ]
        };
        streams.into_iter().take(ROWS_MAX).map(row).collect()
    }
}

fn pool_rows(status: &ClusterStatus) -> Vec<Vec<Cell>> {
    let row = |pool: &PoolInfo| -> Vec<Cell> {
        let change = pool.last_change.as_ref();
        vec![
            pool.view.id.to_string().into(),
            pool.view.epoch.0.into(),
            pool.view.active.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            change.map(|change| change.cause.as_str()).unwrap_or_default().into(),
            change.map(|change| change.evidence.clone()).unwrap_or_default().into(),
            change
                .map(|change| ago(SystemTime::UNIX_EPOCH + Duration::from_millis(change.at_unix_ms)))
                .unwrap_or_default()
                .into(),
        ]
    };
    status.pools.iter().map(row).collect()
}

fn member_rows(status: &ClusterStatus) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for pool in &status.pools {
        for member in &pool.view.members {
            let heard = pool.heard.get(&member.member.node);
            rows.push(vec![
                pool.view.id.to_string().into(),
                member.member.node.to_string().into(),
                member.role.as_str().into(),
                heard.map_or("gone", |(liveness, _)| liveness.as_str()).into(),
                heard.is_some_and(|(_, serving)| *serving).into(),
                member.public.to_string().into(),
                member.peer.to_string().into(),
            ]);
        }
    }
    rows
}

fn node_rows(status: &ClusterStatus) -> Vec<Vec<Cell>> {
    let row = |node: &NodeInfo| -> Vec<Cell> {
        vec![
            node.registration.member.node.to_string().into(),
            node.registration.kind.as_str().into(),
            node.liveness.as_str().into(),
            node.registration.version.clone().into(),
            u64::from(node.beat.load.streams).into(),
            u64::from(node.beat.load.viewers).into(),
            ago(node.heard).into(),
        ]
    };
    status.nodes.iter().take(ROWS_MAX).map(row).collect()
}

fn event_rows(status: &ClusterStatus) -> Vec<Vec<Cell>> {
    let row = |event: &rpc::control::Event| -> Vec<Cell> {
        vec![
            ago(event.time).into(),
            event.code.clone().into(),
            event.subject.clone().into(),
            event.message.clone().into(),
            event.author.clone().into(),
            event.reason.clone().into(),
        ]
    };
    status.events.iter().map(row).collect()
}

fn ago(at: SystemTime) -> String {
    let seconds = at.elapsed().unwrap_or_default().as_secs();
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

/// Events on the page.
const RECENT_EVENTS: usize = 20;
/// Rows of one table; the API has them all.
const ROWS_MAX: usize = 200;
