//! The cluster on one page.

use proto::control::v1 as pb;

use super::{
    super::{ClusterStatus, NodeCounts, StoreStatus, fields},
    events, members, pools,
};
use crate::status::Failure;

pub(crate) fn status(status: ClusterStatus) -> pb::GetStatusResponse {
    let NodeCounts { alive, silent, gone, draining } = status.counts;
    pb::GetStatusResponse {
        version: status.version,
        uptime: fields::wire_duration(status.uptime),
        time: fields::wire_moment(status.time),
        origin_pools: status.pools.into_iter().map(pools::info).collect(),
        nodes: status.nodes.into_iter().map(members::info).collect(),
        node_counts: Some(pb::NodeCounts { alive, silent, gone, draining }),
        route_entries: status.routes,
        streams: status.streams,
        publishers: status.publishers,
        viewers: status.viewers,
        problems: status.problems,
        store: Some(pb::StoreStatus {
            kind: status.store.kind,
            id: status.store.id,
            revision: status.store.revision,
            error: status.store.error.unwrap_or_default(),
            last_commit: fields::wire_duration(status.store.last_commit),
        }),
        recent_events: status.events.into_iter().map(events::event).collect(),
    }
}

pub(crate) fn read_status(wire: pb::GetStatusResponse) -> Result<ClusterStatus, Failure> {
    let pb::NodeCounts { alive, silent, gone, draining } = wire.node_counts.unwrap_or_default();
    let store = wire.store.unwrap_or_default();
    Ok(ClusterStatus {
        version: wire.version,
        uptime: fields::duration("uptime", wire.uptime)?,
        time: fields::moment("time", wire.time)?,
        pools: wire.origin_pools.into_iter().map(pools::read_info).collect::<Result<_, _>>()?,
        nodes: wire.nodes.into_iter().map(members::read_info).collect::<Result<_, _>>()?,
        counts: NodeCounts { alive, silent, gone, draining },
        routes: wire.route_entries,
        streams: wire.streams,
        publishers: wire.publishers,
        viewers: wire.viewers,
        problems: wire.problems,
        store: StoreStatus {
            kind: store.kind,
            id: store.id,
            revision: store.revision,
            error: Some(store.error).filter(|error| !error.is_empty()),
            last_commit: fields::duration("store.last_commit", store.last_commit)?,
        },
        events: wire.recent_events.into_iter().map(events::read_event).collect::<Result<_, _>>()?,
    })
}
