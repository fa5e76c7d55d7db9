//! Pools.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use cluster::{Cause, Epoch, LastChange, Member, Mode, NodeAddresses, PoolView, PoolViewMember, Role};
use proto::control::v1 as pb;

use super::{
    super::{PoolInfo, Promote, fields, list::Listed},
    members,
};
use crate::status::Failure;

pub(crate) fn info(pool: PoolInfo) -> pb::OriginPool {
    let PoolInfo { view, active_incarnation, mode, last_change, store_id, heard } = pool;
    let member = |member: PoolViewMember| {
        let heard = heard.get(&member.member.node);
        let addresses =
            NodeAddresses { public: Some(member.public), peer: Some(member.peer), ..NodeAddresses::default() };
        pb::OriginPoolMember {
            node: member.member.node.resource(),
            incarnation: member.member.incarnation.to_string(),
            role: fields::wire_role(Some(member.role)),
            in_sync: member.in_sync,
            addresses: Some(members::wire_addresses(addresses)),
            state: heard.map_or(pb::NodeState::Gone.into(), |(liveness, _)| members::wire_liveness(*liveness)),
            serving: heard.is_some_and(|(_, serving)| *serving),
        }
    };
    let mode = match mode {
        Mode::Auto => pb::PoolMode::Auto,
        Mode::Hold => pb::PoolMode::Hold,
    };
    pb::OriginPool {
        name: view.id.resource(),
        etag: view.version.to_string(),
        members: view.members.into_iter().map(member).collect(),
        active: view.active.map(|node| node.resource()).unwrap_or_default(),
        active_incarnation: active_incarnation.map(|start| start.to_string()).unwrap_or_default(),
        epoch: view.epoch.0,
        version: view.version,
        loss_epoch: view.loss_epoch.0,
        mode: mode.into(),
        last_change: last_change.map(change),
        store_id,
    }
}

fn change(change: LastChange) -> pb::PoolChange {
    let span = |(part, ms): (String, u64)| (part, fields::wire_duration(Duration::from_millis(ms)).unwrap_or_default());
    pb::PoolChange {
        cause: change.cause.as_str().to_owned(),
        evidence: change.evidence,
        at: fields::wire_moment(SystemTime::UNIX_EPOCH + Duration::from_millis(change.at_unix_ms)),
        durations: change.durations_ms.into_iter().map(span).collect(),
    }
}

pub(crate) fn read_info(wire: pb::OriginPool) -> Result<PoolInfo, Failure> {
    let mut heard = BTreeMap::new();
    let mut list = Vec::new();
    for member in wire.members {
        let node = fields::node("origin_pool.members.node", &member.node)?;
        let addresses = member.addresses.unwrap_or_default();
        heard.insert(node.clone(), (members::liveness(member.state), member.serving));
        list.push(PoolViewMember {
            member: Member {
                node,
                incarnation: fields::incarnation("origin_pool.members.incarnation", &member.incarnation)?,
            },
            role: fields::role(member.role).unwrap_or(Role::Fenced),
            in_sync: member.in_sync,
            public: fields::address("origin_pool.members.addresses.public", &addresses.public)?,
            peer: fields::address("origin_pool.members.addresses.peer", &addresses.peer)?,
        });
    }
    let active_incarnation = match wire.active_incarnation.as_str() {
        "" => None,
        text => Some(fields::incarnation("origin_pool.active_incarnation", text)?),
    };
    Ok(PoolInfo {
        view: PoolView {
            id: fields::pool("origin_pool.name", &wire.name)?,
            version: wire.version,
            epoch: Epoch(wire.epoch),
            loss_epoch: Epoch(wire.loss_epoch),
            active: fields::optional_node("origin_pool.active", &wire.active)?,
            members: list,
        },
        active_incarnation,
        mode: if wire.mode == i32::from(pb::PoolMode::Hold) { Mode::Hold } else { Mode::Auto },
        last_change: wire.last_change.map(read_change).transpose()?.flatten(),
        store_id: wire.store_id,
        heard,
    })
}

/// A change by a cause that is not known here is not told.
fn read_change(wire: pb::PoolChange) -> Result<Option<LastChange>, Failure> {
    let causes = [Cause::Bootstrap, Cause::Restart, Cause::Adopted, Cause::EpochHeard, Cause::Promoted];
    let Some(cause) = causes.into_iter().find(|cause| cause.as_str() == wire.cause) else { return Ok(None) };
    let at = fields::moment("origin_pool.last_change.at", wire.at)?;
    let mut durations_ms = BTreeMap::new();
    for (part, span) in wire.durations {
        let span = fields::duration("origin_pool.last_change.durations", Some(span))?;
        durations_ms.insert(part, span.as_millis() as u64);
    }
    let at_unix_ms = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    Ok(Some(LastChange { cause, evidence: wire.evidence, at_unix_ms, durations_ms }))
}

pub(crate) fn promote(request: pb::PromoteMemberRequest) -> Result<Promote, Failure> {
    let pool = fields::pool("name", &request.name)?;
    let member = fields::node("member", &request.member)?;
    if request.expected_epoch == 0 {
        return Err(Failure::invalid_field("expected_epoch", "is needed: the epoch that GetOriginPool shows"));
    }
    Ok(Promote {
        pool,
        member,
        expected_epoch: Epoch(request.expected_epoch),
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

impl Listed for PoolInfo {
    const KEYS: &'static [&'static str] = &["name", "active"];

    fn position(&self) -> String {
        self.view.id.resource()
    }

    fn values(&self, key: &str) -> Vec<String> {
        match key {
            "name" => vec![self.view.id.resource(), self.view.id.to_string()],
            "active" => self.view.active.iter().flat_map(|node| [node.resource(), node.to_string()]).collect(),
            _ => vec![],
        }
    }
}
