//! Nodes.

use std::collections::BTreeMap;

use cluster::{Beat, Epoch, FirstFrame, Liveness, Load, Member, NodeAddresses, NodeKind, PoolId, Registration};
use proto::control::v1 as pb;

use super::super::{Deregister, Drain, NodeInfo, Registered, fields, list::Listed};
use crate::status::Failure;

pub(crate) fn registration(request: pb::RegisterNodeRequest) -> Result<Registration, Failure> {
    let node = fields::node("name", &request.name)?;
    let kind = kind("kind", request.kind)?;
    if request.incarnation.is_empty() {
        return Err(Failure::invalid_field("incarnation", "is needed: 16 hexadecimal digits, new with each start"));
    }
    let addresses = addresses(request.addresses.unwrap_or_default())?;
    let pool = match kind {
        NodeKind::Edge => None,
        NodeKind::Origin if request.pool.is_empty() => Some(PoolId::main()),
        NodeKind::Origin => Some(fields::pool("pool", &request.pool)?),
    };
    for (field, given) in [("addresses.public", &addresses.public), ("addresses.peer", &addresses.peer)] {
        if kind == NodeKind::Origin && given.is_none() {
            return Err(Failure::invalid_field(field, "is needed of an origin, such as \"10.0.0.6:1935\""));
        }
    }
    Ok(Registration {
        member: Member { node, incarnation: fields::incarnation("incarnation", &request.incarnation)? },
        kind,
        pool,
        addresses,
        labels: labels(request.labels.into_iter().collect())?,
        version: fields::text("version", request.version, WORD_CHARS_MAX)?,
        capabilities: words("capabilities", request.capabilities)?,
        highest_epoch: fields::epoch("highest_epoch", request.highest_epoch)?,
        serving: fields::serving("serving_epoch", request.serving_epoch)?,
    })
}

pub(crate) fn wire_registration(registration: Registration) -> pb::RegisterNodeRequest {
    pb::RegisterNodeRequest {
        name: registration.member.node.resource(),
        kind: wire_kind(registration.kind).into(),
        incarnation: registration.member.incarnation.to_string(),
        addresses: Some(wire_addresses(registration.addresses)),
        labels: registration.labels.into_iter().collect(),
        version: registration.version,
        pool: registration.pool.map(|pool| pool.resource()).unwrap_or_default(),
        capabilities: registration.capabilities,
        highest_epoch: registration.highest_epoch.0,
        serving_epoch: registration.serving.unwrap_or_default().0,
    }
}

fn labels(given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
    if given.len() > WORDS_MAX {
        return Err(Failure::invalid_field("labels", format!("has {} items; at most {WORDS_MAX}", given.len())));
    }
    for (key, value) in &given {
        fields::text("labels", key.clone(), WORD_CHARS_MAX)?;
        fields::text("labels", value.clone(), WORD_CHARS_MAX)?;
    }
    Ok(given)
}

/// A short list of short words.
pub(crate) fn words(field: &str, given: Vec<String>) -> Result<Vec<String>, Failure> {
    let given = fields::bounded(field, given, WORDS_MAX)?;
    given.into_iter().map(|word| fields::text(field, word, WORD_CHARS_MAX)).collect()
}

fn kind(field: &str, kind: i32) -> Result<NodeKind, Failure> {
    match pb::NodeKind::try_from(kind) {
        Ok(pb::NodeKind::Origin) => Ok(NodeKind::Origin),
        Ok(pb::NodeKind::Edge) => Ok(NodeKind::Edge),
        Ok(pb::NodeKind::Unspecified) | Err(_) => {
            Err(Failure::invalid_field(field, "is NODE_KIND_ORIGIN or NODE_KIND_EDGE"))
        }
    }
}

fn wire_kind(kind: NodeKind) -> pb::NodeKind {
    match kind {
        NodeKind::Origin => pb::NodeKind::Origin,
        NodeKind::Edge => pb::NodeKind::Edge,
    }
}

fn addresses(given: pb::NodeAddresses) -> Result<NodeAddresses, Failure> {
    Ok(NodeAddresses {
        public: fields::optional_address("addresses.public", &given.public)?,
        peer: fields::optional_address("addresses.peer", &given.peer)?,
        http: fields::optional_address("addresses.http", &given.http)?,
        admin: fields::optional_address("addresses.admin", &given.admin)?,
    })
}

pub(crate) fn wire_addresses(addresses: NodeAddresses) -> pb::NodeAddresses {
    let text = |address: Option<cluster::Address>| address.map(|address| address.to_string()).unwrap_or_default();
    pb::NodeAddresses {
        public: text(addresses.public),
        peer: text(addresses.peer),
        http: text(addresses.http),
        admin: text(addresses.admin),
    }
}

pub(crate) fn load(given: pb::NodeLoad) -> Result<Load, Failure> {
    Ok(Load {
        sessions: given.sessions,
        viewers: given.viewers,
        streams: given.streams,
        ingress_bits_per_second: given.ingress_bits_per_second,
        egress_bits_per_second: given.egress_bits_per_second,
        task_lag: fields::duration("load.task_lag", given.task_lag)?,
    })
}

pub(crate) fn wire_load(load: Load) -> pb::NodeLoad {
    pb::NodeLoad {
        sessions: load.sessions,
        viewers: load.viewers,
        streams: load.streams,
        ingress_bits_per_second: load.ingress_bits_per_second,
        egress_bits_per_second: load.egress_bits_per_second,
        task_lag: fields::wire_duration(load.task_lag),
    }
}

pub(crate) fn wire_liveness(liveness: Liveness) -> i32 {
    let wire = match liveness {
        Liveness::Alive => pb::NodeState::Alive,
        Liveness::Silent => pb::NodeState::Silent,
        Liveness::Gone => pb::NodeState::Gone,
        Liveness::Draining => pb::NodeState::Draining,
    };
    wire.into()
}

/// What is not said counts as gone.
pub(crate) fn liveness(state: i32) -> Liveness {
    match pb::NodeState::try_from(state) {
        Ok(pb::NodeState::Alive) => Liveness::Alive,
        Ok(pb::NodeState::Silent) => Liveness::Silent,
        Ok(pb::NodeState::Draining) => Liveness::Draining,
        Ok(pb::NodeState::Gone | pb::NodeState::Unspecified) | Err(_) => Liveness::Gone,
    }
}

pub(crate) fn info(node: NodeInfo) -> pb::Node {
    let registration = node.registration;
    pb::Node {
        name: registration.member.node.resource(),
        kind: wire_kind(registration.kind).into(),
        incarnation: registration.member.incarnation.to_string(),
        addresses: Some(wire_addresses(registration.addresses)),
        labels: registration.labels.into_iter().collect(),
        version: registration.version,
        pool: registration.pool.map(|pool| pool.resource()).unwrap_or_default(),
        state: wire_liveness(node.liveness),
        register_time: fields::wire_moment(node.registered),
        heard_time: fields::wire_moment(node.heard),
        load: Some(wire_load(node.beat.load)),
        role: fields::wire_role(node.beat.role),
        serving_epoch: node.beat.serving.unwrap_or_default().0,
        capabilities: registration.capabilities,
        head: fields::wire_head(node.beat.head),
        hears: node.beat.hears.iter().map(cluster::NodeId::resource).collect(),
        follows_active: node.beat.follows_active,
    }
}

pub(crate) fn read_info(wire: pb::Node) -> Result<NodeInfo, Failure> {
    let registration = Registration {
        member: Member {
            node: fields::node("node.name", &wire.name)?,
            incarnation: fields::incarnation("node.incarnation", &wire.incarnation)?,
        },
        kind: kind("node.kind", wire.kind)?,
        pool: if wire.pool.is_empty() { None } else { Some(fields::pool("node.pool", &wire.pool)?) },
        addresses: addresses(wire.addresses.unwrap_or_default())?,
        labels: wire.labels.into_iter().collect(),
        version: wire.version,
        capabilities: wire.capabilities,
        highest_epoch: Epoch(0),
        serving: None,
    };
    let beat = Beat {
        load: load(wire.load.unwrap_or_default())?,
        role: fields::role(wire.role),
        serving: fields::serving("node.serving_epoch", wire.serving_epoch)?,
        highest_epoch: Epoch(0),
        pool_epochs: BTreeMap::new(),
        pool_records: BTreeMap::new(),
        hears: wire.hears.iter().map(|node| fields::node("node.hears", node)).collect::<Result<_, _>>()?,
        head: fields::head("node.head", wire.head)?,
        follows_active: wire.follows_active,
        record: None,
        first_frame: FirstFrame::NotTold,
    };
    Ok(NodeInfo {
        registration,
        liveness: liveness(wire.state),
        beat,
        registered: fields::moment("node.register_time", wire.register_time)?,
        heard: fields::moment("node.heard_time", wire.heard_time)?,
    })
}

pub(crate) fn registered(registered: Registered) -> pb::RegisterNodeResponse {
    pb::RegisterNodeResponse {
        node: Some(info(registered.node)),
        beat_interval: fields::wire_duration(registered.beat_interval),
        silence_max: fields::wire_duration(registered.silence_max),
        snapshot_revision: registered.route_revision,
        store_id: registered.store_id,
        granter: registered.granter,
    }
}

pub(crate) fn read_registered(wire: pb::RegisterNodeResponse) -> Result<Registered, Failure> {
    let node = wire.node.ok_or_else(|| Failure::invalid_field("node", "is missing in the answer"))?;
    Ok(Registered {
        node: read_info(node)?,
        beat_interval: fields::duration("beat_interval", wire.beat_interval)?,
        silence_max: fields::duration("silence_max", wire.silence_max)?,
        route_revision: wire.snapshot_revision,
        store_id: wire.store_id,
        granter: wire.granter,
    })
}

pub(crate) fn deregister(request: pb::DeregisterNodeRequest) -> Result<Deregister, Failure> {
    let incarnation = match request.incarnation.as_str() {
        "" => None,
        text => Some(fields::incarnation("incarnation", text)?),
    };
    Ok(Deregister {
        node: fields::node("name", &request.name)?,
        incarnation,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

pub(crate) fn drain(request: pb::DrainNodeRequest) -> Result<Drain, Failure> {
    Ok(Drain {
        node: fields::node("name", &request.name)?,
        deadline: fields::optional_duration("deadline", request.deadline)?,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

impl Listed for NodeInfo {
    const KEYS: &'static [&'static str] = &["name", "kind", "state", "pool", "version", "label."];

    fn words(key: &str) -> &'static [&'static str] {
        match key {
            "kind" => &["origin", "edge"],
            "state" => &["alive", "silent", "gone", "draining"],
            _ => &[],
        }
    }

    fn position(&self) -> String {
        self.registration.member.node.resource()
    }

    fn values(&self, key: &str) -> Vec<String> {
        let registration = &self.registration;
        match key {
            "name" => vec![registration.member.node.resource(), registration.member.node.to_string()],
            "kind" => vec![registration.kind.as_str().to_owned()],
            "state" => vec![self.liveness.as_str().to_owned()],
            "pool" => registration.pool.iter().flat_map(|pool| [pool.resource(), pool.to_string()]).collect(),
            "version" => vec![registration.version.clone()],
            label => {
                let key = label.strip_prefix("label.").unwrap_or(label);
                registration.labels.get(key).cloned().into_iter().collect()
            }
        }
    }
}

/// How many labels or capabilities a node may have.
const WORDS_MAX: usize = 32;
/// The longest of them.
const WORD_CHARS_MAX: usize = 63;
