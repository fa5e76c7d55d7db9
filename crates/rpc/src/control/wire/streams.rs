//! Streams and sessions.

use std::time::Duration;

use cluster::Epoch;
use proto::control::v1 as pb;

use super::{
    super::{
        Holder, Holding, KickSession, KickStream, Located, SessionInfo, StreamInfo, StreamReport, fields, list::Listed,
    },
    members,
};
use crate::{
    node::{LocalSession, SessionKind},
    status::Failure,
};

pub(crate) fn report(given: pb::NodeStream) -> Result<StreamReport, Failure> {
    let session = given.publisher_session;
    Ok(StreamReport {
        name: fields::stream("streams.put.name", &given.name)?,
        holding: holding("streams.put.holding", given.holding)?,
        publication: fields::optional_publication("streams.put.publication", &given.publication)?,
        publisher_session: (!session.is_empty())
            .then(|| session_id("streams.put.publisher_session", &session))
            .transpose()?,
        ingest_node: fields::optional_node("streams.put.ingest_node", &given.ingest_node)?,
        live: given.live,
        head: given.head_position,
        head_timestamp_ms: given.head_timestamp_ms,
        epoch: Epoch(given.epoch),
        viewers: given.viewers,
        bits_per_second: given.bits_per_second,
        codecs: members::words("streams.put.codecs", given.codecs)?,
        since: fields::moment("streams.put.since", given.since)?,
    })
}

pub(crate) fn wire_report(report: StreamReport) -> pb::NodeStream {
    pb::NodeStream {
        name: report.name.resource(),
        holding: wire_holding(report.holding),
        publication: report.publication.map(|id| id.to_string()).unwrap_or_default(),
        publisher_session: report.publisher_session.unwrap_or_default(),
        ingest_node: report.ingest_node.map(|node| node.resource()).unwrap_or_default(),
        live: report.live,
        head_position: report.head,
        head_timestamp_ms: report.head_timestamp_ms,
        epoch: report.epoch.0,
        viewers: report.viewers,
        bits_per_second: report.bits_per_second,
        codecs: report.codecs,
        since: fields::wire_moment(report.since),
    }
}

fn holding(field: &str, holding: i32) -> Result<Holding, Failure> {
    match pb::StreamHolding::try_from(holding) {
        Ok(pb::StreamHolding::Origin) => Ok(Holding::Origin),
        Ok(pb::StreamHolding::Ingest) => Ok(Holding::Ingest),
        Ok(pb::StreamHolding::Pull) => Ok(Holding::Pull),
        Ok(pb::StreamHolding::Unspecified) | Err(_) => {
            let known = "is STREAM_HOLDING_ORIGIN, STREAM_HOLDING_INGEST or STREAM_HOLDING_PULL";
            Err(Failure::invalid_field(field, known))
        }
    }
}

fn wire_holding(holding: Holding) -> i32 {
    let wire = match holding {
        Holding::Origin => pb::StreamHolding::Origin,
        Holding::Ingest => pb::StreamHolding::Ingest,
        Holding::Pull => pb::StreamHolding::Pull,
    };
    wire.into()
}

/// The id of a session on its node.
pub(crate) fn session_id(field: &str, id: &str) -> Result<String, Failure> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if id.is_empty() || id.len() > SESSION_ID_BYTES_MAX || !id.bytes().all(plain) {
        let rule = format!("a session's id is 1 to {SESSION_ID_BYTES_MAX} letters, digits, - and _");
        return Err(Failure::invalid_field(field, rule));
    }
    Ok(id.to_owned())
}

pub(crate) fn local_session(given: pb::LocalSession) -> Result<LocalSession, Failure> {
    Ok(LocalSession {
        id: session_id("sessions.put.id", &given.id)?,
        kind: session_kind("sessions.put.kind", given.kind)?,
        protocol: fields::text("sessions.put.protocol", given.protocol, PROTOCOL_CHARS_MAX)?,
        stream: fields::stream("sessions.put.stream", &given.stream)?,
        peer: fields::text("sessions.put.peer", given.peer, PEER_CHARS_MAX)?,
        since: fields::moment("sessions.put.since", given.since)?,
        bytes_received: given.bytes_in,
        bytes_sent: given.bytes_out,
    })
}

pub(crate) fn wire_local_session(session: LocalSession) -> pb::LocalSession {
    pb::LocalSession {
        id: session.id,
        kind: wire_session_kind(session.kind),
        protocol: session.protocol,
        stream: session.stream.resource(),
        peer: session.peer,
        since: fields::wire_moment(session.since),
        bytes_in: session.bytes_received,
        bytes_out: session.bytes_sent,
    }
}

fn session_kind(field: &str, kind: i32) -> Result<SessionKind, Failure> {
    match pb::SessionKind::try_from(kind) {
        Ok(pb::SessionKind::Publish) => Ok(SessionKind::Publish),
        Ok(pb::SessionKind::Play) => Ok(SessionKind::Play),
        Ok(pb::SessionKind::Push) => Ok(SessionKind::Push),
        Ok(pb::SessionKind::Pull) => Ok(SessionKind::Pull),
        Ok(pb::SessionKind::Unspecified) | Err(_) => {
            Err(Failure::invalid_field(field, "is SESSION_KIND_PUBLISH, _PLAY, _PUSH or _PULL"))
        }
    }
}

fn wire_session_kind(kind: SessionKind) -> i32 {
    let wire = match kind {
        SessionKind::Publish => pb::SessionKind::Publish,
        SessionKind::Play => pb::SessionKind::Play,
        SessionKind::Push => pb::SessionKind::Push,
        SessionKind::Pull => pb::SessionKind::Pull,
    };
    wire.into()
}

pub(crate) fn stream(stream: StreamInfo) -> pb::Stream {
    let node = |node: Option<cluster::NodeId>| node.map(|node| node.resource()).unwrap_or_default();
    let state = if stream.live { pb::StreamState::Live } else { pb::StreamState::Grace };
    pb::Stream {
        path: stream.name.to_string(),
        name: stream.name.resource(),
        state: state.into(),
        publication: stream.publication.map(|id| id.to_string()).unwrap_or_default(),
        viewers: stream.viewers(),
        publisher_session: stream.publisher_session.unwrap_or_default(),
        ingest_node: node(stream.ingest_node),
        origin: node(stream.origin),
        epoch: stream.epoch.0,
        head_position: stream.head,
        head_timestamp_ms: stream.head_timestamp_ms,
        bits_per_second: stream.bits_per_second,
        codecs: stream.codecs,
        since: fields::wire_moment(stream.since),
        holders: stream.holders.into_iter().map(holder).collect(),
    }
}

fn holder(holder: Holder) -> pb::StreamHolder {
    pb::StreamHolder {
        node: holder.node.resource(),
        holding: wire_holding(holder.holding),
        viewers: holder.viewers,
        head_position: holder.head,
        lag_ms: holder.lag_ms,
    }
}

pub(crate) fn read_stream(wire: pb::Stream) -> Result<StreamInfo, Failure> {
    let read_holder = |wire: pb::StreamHolder| {
        Ok::<_, Failure>(Holder {
            node: fields::node("stream.holders.node", &wire.node)?,
            holding: holding("stream.holders.holding", wire.holding)?,
            viewers: wire.viewers,
            head: wire.head_position,
            lag_ms: wire.lag_ms,
        })
    };
    Ok(StreamInfo {
        name: fields::stream("stream.name", &wire.name)?,
        live: wire.state == i32::from(pb::StreamState::Live),
        publication: fields::optional_publication("stream.publication", &wire.publication)?,
        publisher_session: Some(wire.publisher_session).filter(|id| !id.is_empty()),
        ingest_node: fields::optional_node("stream.ingest_node", &wire.ingest_node)?,
        origin: fields::optional_node("stream.origin", &wire.origin)?,
        epoch: Epoch(wire.epoch),
        head: wire.head_position,
        head_timestamp_ms: wire.head_timestamp_ms,
        bits_per_second: wire.bits_per_second,
        codecs: wire.codecs,
        since: fields::moment("stream.since", wire.since)?,
        holders: wire.holders.into_iter().map(read_holder).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn located(located: Located) -> pb::LocateStreamResponse {
    pb::LocateStreamResponse {
        stream: Some(stream(located.stream)),
        active_origin: located.active_origin.map(|node| node.resource()).unwrap_or_default(),
        epoch: located.epoch.0,
    }
}

pub(crate) fn read_located(wire: pb::LocateStreamResponse) -> Result<Located, Failure> {
    Ok(Located {
        stream: read_stream(wire.stream.unwrap_or_default())?,
        active_origin: fields::optional_node("active_origin", &wire.active_origin)?,
        epoch: Epoch(wire.epoch),
    })
}

pub(crate) fn kick_stream(request: pb::KickStreamRequest) -> Result<KickStream, Failure> {
    let ban_for = fields::duration("ban_for", request.ban_for)?;
    if ban_for > BAN_MAX {
        return Err(Failure::invalid_field("ban_for", "is at most 24 hours (\"86400s\")"));
    }
    Ok(KickStream {
        name: fields::stream_or_path("name", &request.name)?,
        ban_for,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

pub(crate) fn kick_session(request: pb::KickSessionRequest) -> Result<KickSession, Failure> {
    Ok(KickSession {
        id: fields::session("name", &request.name)?,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

pub(crate) fn session(info: SessionInfo) -> pb::Session {
    pb::Session {
        name: format!("sessions/{}", info.id()),
        node: info.node.resource(),
        kind: wire_session_kind(info.session.kind),
        protocol: info.session.protocol,
        stream: info.session.stream.resource(),
        peer: info.session.peer,
        since: fields::wire_moment(info.session.since),
        bytes_in: info.session.bytes_received,
        bytes_out: info.session.bytes_sent,
    }
}

pub(crate) fn read_session(wire: pb::Session) -> Result<SessionInfo, Failure> {
    let id = fields::session("session.name", &wire.name)?;
    let id = id.split_once('.').map_or(id.as_str(), |(_, id)| id).to_owned();
    Ok(SessionInfo {
        node: fields::node("session.node", &wire.node)?,
        session: LocalSession {
            id,
            kind: session_kind("session.kind", wire.kind)?,
            protocol: wire.protocol,
            stream: fields::stream("session.stream", &wire.stream)?,
            peer: wire.peer,
            since: fields::moment("session.since", wire.since)?,
            bytes_received: wire.bytes_in,
            bytes_sent: wire.bytes_out,
        },
    })
}

impl Listed for StreamInfo {
    const KEYS: &'static [&'static str] =
        &["name", "path", "vhost", "app", "instance", "state", "node", "origin", "ingest_node"];

    fn words(key: &str) -> &'static [&'static str] {
        if key == "state" { &["live", "grace"] } else { &[] }
    }

    fn position(&self) -> String {
        self.name.resource()
    }

    fn values(&self, key: &str) -> Vec<String> {
        let both = |node: &cluster::NodeId| [node.resource(), node.to_string()];
        match key {
            "name" => vec![self.name.resource(), self.name.name().to_owned()],
            "path" => vec![self.name.to_string()],
            "vhost" => vec![self.name.vhost().to_owned()],
            "app" => vec![self.name.app().to_owned()],
            "instance" => vec![self.name.instance().to_owned()],
            "state" => vec![if self.live { "live" } else { "grace" }.to_owned()],
            "node" => self.holders.iter().flat_map(|holder| both(&holder.node)).collect(),
            "origin" => self.origin.iter().flat_map(both).collect(),
            "ingest_node" => self.ingest_node.iter().flat_map(both).collect(),
            _ => vec![],
        }
    }
}

impl Listed for SessionInfo {
    const KEYS: &'static [&'static str] = &["name", "node", "kind", "protocol", "stream", "peer"];

    fn words(key: &str) -> &'static [&'static str] {
        if key == "kind" { &["publish", "play", "push", "pull"] } else { &[] }
    }

    fn position(&self) -> String {
        format!("sessions/{}", self.id())
    }

    fn values(&self, key: &str) -> Vec<String> {
        let kind = match self.session.kind {
            SessionKind::Publish => "publish",
            SessionKind::Play => "play",
            SessionKind::Push => "push",
            SessionKind::Pull => "pull",
        };
        match key {
            "name" => vec![self.position(), self.id()],
            "node" => vec![self.node.resource(), self.node.to_string()],
            "kind" => vec![kind.to_owned()],
            "protocol" => vec![self.session.protocol.clone()],
            "stream" => vec![self.session.stream.resource(), self.session.stream.to_string()],
            "peer" => vec![self.session.peer.clone()],
            _ => vec![],
        }
    }
}

/// The longest id of a session on its node.
const SESSION_ID_BYTES_MAX: usize = 64;
/// The longest name of a protocol.
const PROTOCOL_CHARS_MAX: usize = 32;
/// The longest address of a peer.
const PEER_CHARS_MAX: usize = 64;
/// The longest ban: whoever wants more changes the keys.
const BAN_MAX: Duration = Duration::from_secs(86_400);
