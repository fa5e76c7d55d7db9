//! To and from the messages of `headwater.node.v1`.

use std::time::SystemTime;

use proto::node::v1 as pb;

use super::{Load, LocalSession, LocalStream, NodeKind, NodeStatus, Ping, Role, SessionKind};
use crate::{span, status::Failure};

pub(super) fn ping(ping: Ping) -> pb::PingResponse {
    pb::PingResponse {
        node: format!("nodes/{}", ping.node),
        kind: kind(ping.kind).into(),
        incarnation: ping.incarnation,
        role: role(ping.role).into(),
        epoch: ping.epoch,
        uptime: Some(span::wire(ping.uptime)),
        load: Some(load(ping.load)),
    }
}

pub(super) fn status(status: NodeStatus) -> pb::GetStatusResponse {
    pb::GetStatusResponse {
        ping: Some(ping(status.ping)),
        version: status.version,
        pool: if status.pool.is_empty() { String::new() } else { format!("originPools/{}", status.pool) },
        draining: status.draining,
        control_connected: status.control_connected,
        config_age: status.config_age.map(span::wire),
        listeners: status.listeners.into_iter().collect(),
        notes: status.notes,
    }
}

pub(super) fn stream(stream: LocalStream) -> pb::LocalStream {
    pb::LocalStream {
        name: stream.name.resource(),
        publication: stream.publication.map(|id| id.to_string()).unwrap_or_default(),
        head: stream.head,
        head_dts: stream.head_dts,
        epoch: stream.epoch,
        viewers: stream.viewers,
        bytes_received: stream.bytes_received,
        since: Some(time(stream.since)),
    }
}

pub(super) fn session(session: LocalSession) -> pb::LocalSession {
    let kind = match session.kind {
        SessionKind::Publish => pb::SessionKind::Publish,
        SessionKind::Play => pb::SessionKind::Play,
        SessionKind::Push => pb::SessionKind::Push,
        SessionKind::Pull => pb::SessionKind::Pull,
    };
    pb::LocalSession {
        name: format!("sessions/{}", session.id),
        kind: kind.into(),
        protocol: session.protocol,
        stream: session.stream.resource(),
        peer: session.peer,
        since: Some(time(session.since)),
        bytes_received: session.bytes_received,
        bytes_sent: session.bytes_sent,
    }
}

/// The id in a resource name, or in an id given by itself.
pub(super) fn id<'a>(name: &'a str, prefix: &str) -> Result<&'a str, Failure> {
    let id = name.strip_prefix(prefix).unwrap_or(name);
    if id.is_empty() || id.contains('/') {
        return Err(Failure::invalid_field(
            "name",
            format!("is needed, such as \"{prefix}17\": an id that the list of them shows"),
        ));
    }
    Ok(id)
}

/// A moment as the protos carry it.
pub(super) fn time(at: SystemTime) -> prost_types::Timestamp {
    at.into()
}

fn load(load: Load) -> pb::Load {
    pb::Load {
        streams: load.streams,
        publishers: load.publishers,
        viewers: load.viewers,
        ingress_bytes_per_second: load.ingress_bytes_per_second,
        egress_bytes_per_second: load.egress_bytes_per_second,
    }
}

fn kind(kind: NodeKind) -> pb::NodeKind {
    match kind {
        NodeKind::ControlPlane => pb::NodeKind::ControlPlane,
        NodeKind::Origin => pb::NodeKind::Origin,
        NodeKind::Edge => pb::NodeKind::Edge,
    }
}

fn role(role: Option<Role>) -> pb::Role {
    match role {
        None => pb::Role::Unspecified,
        Some(Role::Active) => pb::Role::Active,
        Some(Role::Standby) => pb::Role::Standby,
        Some(Role::Fenced) => pb::Role::Fenced,
    }
}
