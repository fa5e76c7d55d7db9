//! Pools.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use cluster::{Cause, Epoch, LastChange, Member, Mode, NodeAddresses, PoolView, PoolViewMember, Role};
use proto::control::v1 as pb;
use serde::{Deserialize, de::IntoDeserializer};

use super::{
    super::{FailBack, FenceMember, HoldPool, PoolInfo, Promote, PromoteMode, ReleasePool, fields, list::Listed},
    members,
    session::GRANTER_CHARS_MAX,
};
use crate::status::Failure;

pub(crate) fn info(pool: PoolInfo) -> pb::OriginPool {
    let PoolInfo { view, active_incarnation, mode, hold_until, last_change, store_id, heard } = pool;
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
        written_by: view.written_by,
        loss_epoch: view.loss_epoch.0,
        mode: mode.into(),
        last_change: last_change.map(change),
        store_id,
        hold_until_time: hold_until.and_then(fields::wire_moment),
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
            written_by: fields::text("origin_pool.written_by", wire.written_by, GRANTER_CHARS_MAX)?,
            epoch: Epoch(wire.epoch),
            loss_epoch: Epoch(wire.loss_epoch),
            active: fields::optional_node("origin_pool.active", &wire.active)?,
            members: list,
        },
        active_incarnation,
        mode: if wire.mode == i32::from(pb::PoolMode::Hold) { Mode::Hold } else { Mode::Auto },
        hold_until: match wire.hold_until_time {
            None => None,
            given => Some(fields::moment("origin_pool.hold_until_time", given)?),
        },
        last_change: wire.last_change.map(read_change).transpose()?.flatten(),
        store_id: wire.store_id,
        heard,
    })
}

/// A change by a cause that is not known here is not told.
fn read_change(wire: pb::PoolChange) -> Result<Option<LastChange>, Failure> {
    let named: Result<Cause, serde::de::value::Error> = Cause::deserialize(wire.cause.as_str().into_deserializer());
    let Ok(cause) = named else { return Ok(None) };
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
    let mode = match pb::PromoteMode::try_from(request.mode) {
        Ok(pb::PromoteMode::Graceful | pb::PromoteMode::Unspecified) => PromoteMode::Graceful,
        Ok(pb::PromoteMode::Force) => PromoteMode::Force,
        Err(_) => {
            return Err(Failure::invalid_field("mode", "is PROMOTE_MODE_GRACEFUL or PROMOTE_MODE_FORCE"));
        }
    };
    Ok(Promote {
        pool,
        member,
        mode,
        expected_epoch: fields::seen_epoch(request.expected_epoch)?,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

pub(crate) fn wire_promote(request: Promote) -> pb::PromoteMemberRequest {
    let mode = match request.mode {
        PromoteMode::Graceful => pb::PromoteMode::Graceful,
        PromoteMode::Force => pb::PromoteMode::Force,
    };
    pb::PromoteMemberRequest {
        name: request.pool.resource(),
        member: request.member.resource(),
        expected_epoch: Some(request.expected_epoch.0),
        validate_only: request.validate_only,
        reason: request.reason,
        mode: mode.into(),
    }
}

pub(crate) fn fail_back(request: pb::FailBackRequest) -> Result<FailBack, Failure> {
    Ok(FailBack {
        pool: fields::pool("name", &request.name)?,
        expected_epoch: fields::expected_epoch(request.expected_epoch)?,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

pub(crate) fn wire_fail_back(request: FailBack) -> pb::FailBackRequest {
    pb::FailBackRequest {
        name: request.pool.resource(),
        expected_epoch: request.expected_epoch.0,
        validate_only: request.validate_only,
        reason: request.reason,
    }
}

pub(crate) fn hold(request: pb::HoldPoolRequest) -> Result<HoldPool, Failure> {
    let duration = fields::optional_duration("duration", request.duration)?;
    if let Some(wrong) = duration.filter(|duration| duration.is_zero() || *duration > HOLD_MAX) {
        let description = format!("is {} s; above 0 and at most {} s", wrong.as_secs_f64(), HOLD_MAX.as_secs());
        return Err(Failure::invalid_field("duration", description));
    }
    Ok(HoldPool {
        pool: fields::pool("name", &request.name)?,
        expected_epoch: fields::serving("expected_epoch", request.expected_epoch)?,
        duration,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

pub(crate) fn wire_hold(request: HoldPool) -> pb::HoldPoolRequest {
    pb::HoldPoolRequest {
        name: request.pool.resource(),
        expected_epoch: request.expected_epoch.unwrap_or_default().0,
        validate_only: request.validate_only,
        reason: request.reason,
        duration: request.duration.and_then(fields::wire_duration),
    }
}

pub(crate) fn release(request: pb::ReleasePoolRequest) -> Result<ReleasePool, Failure> {
    Ok(ReleasePool {
        pool: fields::pool("name", &request.name)?,
        expected_epoch: fields::serving("expected_epoch", request.expected_epoch)?,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

pub(crate) fn wire_release(request: ReleasePool) -> pb::ReleasePoolRequest {
    pb::ReleasePoolRequest {
        name: request.pool.resource(),
        expected_epoch: request.expected_epoch.unwrap_or_default().0,
        validate_only: request.validate_only,
        reason: request.reason,
    }
}

pub(crate) fn fence(request: pb::FenceMemberRequest) -> Result<FenceMember, Failure> {
    Ok(FenceMember {
        pool: fields::pool("name", &request.name)?,
        member: fields::node("member", &request.member)?,
        expected_epoch: fields::expected_epoch(request.expected_epoch)?,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

pub(crate) fn wire_fence(request: FenceMember) -> pb::FenceMemberRequest {
    pb::FenceMemberRequest {
        name: request.pool.resource(),
        member: request.member.resource(),
        expected_epoch: request.expected_epoch.0,
        validate_only: request.validate_only,
        reason: request.reason,
    }
}

pub(crate) fn unfence(request: pb::UnfenceMemberRequest) -> Result<FenceMember, Failure> {
    let pb::UnfenceMemberRequest { name, member, expected_epoch, validate_only, reason } = request;
    fence(pb::FenceMemberRequest { name, member, expected_epoch, validate_only, reason })
}

pub(crate) fn wire_unfence(request: FenceMember) -> pb::UnfenceMemberRequest {
    let pb::FenceMemberRequest { name, member, expected_epoch, validate_only, reason } = wire_fence(request);
    pb::UnfenceMemberRequest { name, member, expected_epoch, validate_only, reason }
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

/// A pool that is to be held for longer is held until it is released.
const HOLD_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
