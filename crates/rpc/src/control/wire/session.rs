//! The conversation with a node.

use std::time::Duration;

use cluster::{
    Beat, Epoch, FirstFrame, Grant, KnownRecord, Member, Mishap, NodeId, Notice, PoolId, RecordVersion, Role,
    SyncChange, SyncRequest,
};
use proto::control::v1::{self as pb, node_session_request::Message as Up, node_session_response::Message as Down};

use super::{
    super::{Command, CommandResult, FromControl, FromNode, SessionsReport, StreamsReport, Welcome, fields},
    members, streams,
};
use crate::status::Failure;

/// The first message of a node.
pub(crate) fn hello(request: Option<pb::NodeSessionRequest>) -> Result<Member, Failure> {
    match request.and_then(|request| request.message) {
        Some(Up::Hello(hello)) => Ok(Member {
            node: fields::node("hello.name", &hello.name)?,
            incarnation: fields::incarnation("hello.incarnation", &hello.incarnation)?,
        }),
        _ => Err(Failure::invalid_field("hello", "must be the first message, after RegisterNode")),
    }
}

pub(crate) fn wire_hello(member: Member) -> pb::NodeSessionRequest {
    let hello = pb::NodeHello { name: member.node.resource(), incarnation: member.incarnation.to_string() };
    pb::NodeSessionRequest { message: Some(Up::Hello(hello)) }
}

/// Every further message of a node; nothing for one of a kind that is not known here.
pub(crate) fn from_node(request: pb::NodeSessionRequest) -> Result<Option<FromNode>, Failure> {
    Ok(Some(match request.message {
        None => return Ok(None),
        Some(Up::Hello(_)) => return Err(Failure::invalid_field("hello", "may come once, at the beginning")),
        Some(Up::Beat(given)) => FromNode::Beat { number: given.number, beat: Box::new(beat(given)?) },
        Some(Up::Streams(report)) => FromNode::Streams(streams_report(report)?),
        Some(Up::Sessions(report)) => FromNode::Sessions(sessions_report(report)?),
        Some(Up::CommandResult(result)) => FromNode::Result(CommandResult {
            command_id: fields::text("command_result.command_id", result.command_id, COMMAND_ID_CHARS_MAX)?,
            affected: result.affected,
            error: fields::optional_text("command_result.error", result.error, ERROR_CHARS_MAX)?,
        }),
        Some(Up::SyncRequest(request)) => FromNode::SyncRequest(sync_request(request)?),
        Some(Up::Yielded(yielded)) => FromNode::Yielded { epoch: fields::epoch("yielded.epoch", yielded.epoch)? },
        Some(Up::HandOver(asked)) => {
            FromNode::HandOver { reason: fields::text("hand_over.reason", asked.reason, REASON_CHARS_MAX)? }
        }
        Some(Up::Notice(given)) => FromNode::Notice { number: given.number, notice: notice(given)? },
    }))
}

fn beat(given: pb::NodeBeat) -> Result<Beat, Failure> {
    let pool_epochs = fields::bounded("beat.pool_epochs", given.pool_epochs.into_iter().collect(), POOLS_MAX)?;
    let pool_records = fields::bounded("beat.pool_records", given.pool_records.into_iter().collect(), POOLS_MAX)?;
    let hears = fields::bounded("beat.hears", given.hears, HEARS_MAX)?;
    Ok(Beat {
        load: members::load(given.load.unwrap_or_default())?,
        role: fields::role(given.role),
        serving: fields::serving("beat.serving_epoch", given.serving_epoch)?,
        highest_epoch: fields::epoch("beat.highest_epoch", given.highest_epoch)?,
        pool_epochs: pool_epochs.into_iter().map(pool_epoch).collect::<Result<_, _>>()?,
        pool_records: pool_records.into_iter().map(pool_record).collect::<Result<_, _>>()?,
        hears: hears.iter().map(|node| fields::node("beat.hears", node)).collect::<Result<_, _>>()?,
        head: fields::head("beat.head", given.head)?,
        follows_active: given.follows_active,
        record: given.record.map(known_record).transpose()?,
        first_frame: match fields::optional_duration("beat.first_frame", given.first_frame)? {
            Some(after) => FirstFrame::After(after),
            None if given.awaits_first_frame => FirstFrame::Awaited,
            None => FirstFrame::NotTold,
        },
    })
}

fn pool_epoch((pool, epoch): (String, u64)) -> Result<(Option<PoolId>, Epoch), Failure> {
    let named = (!pool.is_empty()).then(|| fields::pool("beat.pool_epochs", &pool)).transpose()?;
    Ok((named, fields::epoch("beat.pool_epochs", epoch)?))
}

fn pool_record((pool, given): (String, pb::RecordVersions)) -> Result<(PoolId, Vec<RecordVersion>), Failure> {
    let versions = fields::bounded("beat.pool_records.versions", given.versions, RECORDS_MAX)?;
    let version = |pb::RecordVersion { version, written_by }| {
        let written_by = fields::text("beat.pool_records.written_by", written_by, GRANTER_CHARS_MAX)?;
        Ok(RecordVersion { version, written_by })
    };
    let versions: Result<_, Failure> = versions.into_iter().map(version).collect();
    Ok((fields::pool("beat.pool_records", &pool)?, versions?))
}

fn wire_beat(number: u64, beat: Beat) -> pb::NodeBeat {
    let first_frame = match beat.first_frame {
        FirstFrame::After(after) => fields::wire_duration(after),
        FirstFrame::Awaited | FirstFrame::NotTold => None,
    };
    pb::NodeBeat {
        number,
        load: Some(members::wire_load(beat.load)),
        role: fields::wire_role(beat.role),
        serving_epoch: beat.serving.unwrap_or_default().0,
        highest_epoch: beat.highest_epoch.0,
        pool_epochs: beat.pool_epochs.into_iter().map(wire_pool_epoch).collect(),
        pool_records: beat.pool_records.into_iter().map(wire_pool_record).collect(),
        hears: beat.hears.iter().map(cluster::NodeId::resource).collect(),
        head: fields::wire_head(beat.head),
        follows_active: beat.follows_active,
        record: beat.record.map(wire_known_record),
        first_frame,
        awaits_first_frame: beat.first_frame == FirstFrame::Awaited,
    }
}

fn wire_pool_epoch((pool, epoch): (Option<PoolId>, Epoch)) -> (String, u64) {
    (pool.map(|pool| pool.resource()).unwrap_or_default(), epoch.0)
}

fn wire_pool_record((pool, records): (PoolId, Vec<RecordVersion>)) -> (String, pb::RecordVersions) {
    let version = |RecordVersion { version, written_by }| pb::RecordVersion { version, written_by };
    (pool.resource(), pb::RecordVersions { versions: records.into_iter().map(version).collect() })
}

fn known_record(given: pb::KnownRecord) -> Result<KnownRecord, Failure> {
    let in_sync = fields::bounded("beat.record.in_sync", given.in_sync, MEMBERS_MAX)?;
    let member = |member| fields::member("beat.record.in_sync", member);
    Ok(KnownRecord {
        version: given.version,
        written_by: fields::text("beat.record.written_by", given.written_by, GRANTER_CHARS_MAX)?,
        loss_epoch: fields::epoch("beat.record.loss_epoch", given.loss_epoch)?,
        in_sync: in_sync.into_iter().map(member).collect::<Result<_, _>>()?,
        epoch: fields::epoch("beat.record.epoch", given.epoch)?,
        granted_by: fields::text("beat.record.granted_by", given.granted_by, GRANTER_CHARS_MAX)?,
    })
}

fn wire_known_record(record: KnownRecord) -> pb::KnownRecord {
    pb::KnownRecord {
        version: record.version,
        written_by: record.written_by,
        loss_epoch: record.loss_epoch.0,
        in_sync: record.in_sync.into_iter().map(fields::wire_member).collect(),
        epoch: record.epoch.0,
        granted_by: record.granted_by,
    }
}

fn sync_request(given: pb::SyncRequest) -> Result<SyncRequest, Failure> {
    use pb::sync_request::Change;
    let change = match given.change {
        Some(Change::Grow(member)) => SyncChange::Grow(fields::member("sync_request.grow", member)?),
        Some(Change::Shrink(member)) => SyncChange::Shrink(fields::member("sync_request.shrink", member)?),
        Some(Change::Alone(alone)) => {
            let without = fields::bounded("sync_request.alone.without", alone.without, MEMBERS_MAX)?;
            let member = |member| fields::member("sync_request.alone.without", member);
            SyncChange::Alone { without: without.into_iter().map(member).collect::<Result<_, _>>()? }
        }
        None => return Err(Failure::invalid_field("sync_request", "is to say what changes: grow, shrink or alone")),
    };
    Ok(SyncRequest {
        pool: fields::pool("sync_request.pool", &given.pool)?,
        epoch: fields::epoch("sync_request.epoch", given.epoch)?,
        version: given.version,
        change,
    })
}

fn notice(given: pb::NodeNotice) -> Result<Notice, Failure> {
    use pb::node_notice::What;
    let what = match given.what {
        Some(What::Skipped(skipped)) => Mishap::Skipped { from: skipped.from, to: skipped.to },
        Some(What::Lost(lost)) => Mishap::Lost { from: lost.from },
        Some(What::Split(split)) => {
            Mishap::Split { node: fields::node("notice.split.node", &split.node)?, from: split.from, to: split.to }
        }
        None => return Err(Failure::invalid_field("notice", "is to say what happened: skipped, lost or split")),
    };
    Ok(Notice { stream: fields::stream("notice.stream", &given.stream)?, what })
}

fn wire_notice(number: u64, notice: Notice) -> pb::NodeNotice {
    use pb::node_notice::What;
    let what = match notice.what {
        Mishap::Skipped { from, to } => What::Skipped(pb::NoticeSkipped { from, to }),
        Mishap::Lost { from } => What::Lost(pb::NoticeLost { from }),
        Mishap::Split { node, from, to } => What::Split(pb::NoticeSplit { node: node.resource(), from, to }),
    };
    pb::NodeNotice { stream: notice.stream.resource(), what: Some(what), number }
}

fn wire_sync_request(request: SyncRequest) -> pb::SyncRequest {
    use pb::sync_request::Change;
    let change = match request.change {
        SyncChange::Grow(member) => Change::Grow(fields::wire_member(member)),
        SyncChange::Shrink(member) => Change::Shrink(fields::wire_member(member)),
        SyncChange::Alone { without } => {
            Change::Alone(pb::SyncAlone { without: without.into_iter().map(fields::wire_member).collect() })
        }
    };
    pb::SyncRequest {
        pool: request.pool.resource(),
        epoch: request.epoch.0,
        version: request.version,
        change: Some(change),
    }
}

fn streams_report(report: pb::NodeStreamsReport) -> Result<StreamsReport, Failure> {
    let put = fields::bounded("streams.put", report.put, REPORT_MAX)?;
    let removed = fields::bounded("streams.removed", report.removed, REPORT_MAX)?;
    Ok(StreamsReport {
        replace: report.replace,
        put: put.into_iter().map(streams::report).collect::<Result<_, _>>()?,
        removed: removed.iter().map(|name| fields::stream("streams.removed", name)).collect::<Result<_, _>>()?,
    })
}

fn sessions_report(report: pb::NodeSessionsReport) -> Result<SessionsReport, Failure> {
    let put = fields::bounded("sessions.put", report.put, REPORT_MAX)?;
    let removed = fields::bounded("sessions.removed", report.removed, REPORT_MAX)?;
    Ok(SessionsReport {
        replace: report.replace,
        put: put.into_iter().map(streams::local_session).collect::<Result<_, _>>()?,
        removed: removed.iter().map(|id| streams::session_id("sessions.removed", id)).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn wire_from_node(message: FromNode) -> pb::NodeSessionRequest {
    let message = match message {
        FromNode::Beat { number, beat } => Up::Beat(wire_beat(number, *beat)),
        FromNode::Streams(report) => Up::Streams(pb::NodeStreamsReport {
            replace: report.replace,
            put: report.put.into_iter().map(streams::wire_report).collect(),
            removed: report.removed.iter().map(media::StreamName::resource).collect(),
        }),
        FromNode::Sessions(report) => Up::Sessions(pb::NodeSessionsReport {
            replace: report.replace,
            put: report.put.into_iter().map(streams::wire_local_session).collect(),
            removed: report.removed,
        }),
        FromNode::Result(result) => Up::CommandResult(pb::NodeCommandResult {
            command_id: result.command_id,
            affected: result.affected,
            error: result.error.unwrap_or_default(),
        }),
        FromNode::SyncRequest(request) => Up::SyncRequest(wire_sync_request(request)),
        FromNode::Yielded { epoch } => Up::Yielded(pb::NodeYielded { epoch: epoch.0 }),
        FromNode::HandOver { reason } => Up::HandOver(pb::NodeHandOver { reason }),
        FromNode::Notice { number, notice } => Up::Notice(wire_notice(number, notice)),
    };
    pb::NodeSessionRequest { message: Some(message) }
}

pub(crate) fn wire_from_control(message: FromControl) -> pb::NodeSessionResponse {
    let message = match message {
        FromControl::Welcome(welcome) => Down::Welcome(pb::NodeWelcome {
            beat_interval: fields::wire_duration(welcome.beat_interval),
            silence_max: fields::wire_duration(welcome.silence_max),
            store_id: welcome.store_id,
        }),
        FromControl::Beat { number, route_revision } => Down::Beat(pb::ControlBeat { number, route_revision }),
        FromControl::Role(grant) => Down::Role(wire_grant(grant)),
        FromControl::Command { id, command } => wire_command(id, command),
        FromControl::NoticesKept { through } => Down::NoticesKept(pb::NoticesKept { through }),
    };
    pb::NodeSessionResponse { message: Some(message) }
}

fn wire_grant(grant: Grant) -> pb::RoleGrant {
    let active = grant.active.map(fields::wire_member).unwrap_or_default();
    pb::RoleGrant {
        pool: grant.pool.resource(),
        role: fields::wire_role(Some(grant.role)),
        epoch: grant.epoch.0,
        version: grant.version,
        written_by: grant.written_by,
        incarnation: grant.member.incarnation.to_string(),
        loss_epoch: grant.loss_epoch.0,
        store_id: grant.store,
        active: active.node,
        active_incarnation: active.incarnation,
        in_sync: grant.in_sync.into_iter().map(fields::wire_member).collect(),
        fenced: grant.fenced.iter().map(NodeId::resource).collect(),
        yields: grant.yields,
        node: grant.member.node.resource(),
    }
}

fn grant(wire: pb::RoleGrant) -> Result<Grant, Failure> {
    let member = |node, incarnation| pb::MemberId { node, incarnation };
    let active = member(wire.active, wire.active_incarnation);
    let in_sync = fields::bounded("role.in_sync", wire.in_sync, MEMBERS_MAX)?;
    let fenced = fields::bounded("role.fenced", wire.fenced, MEMBERS_MAX)?;
    Ok(Grant {
        pool: fields::pool("role.pool", &wire.pool)?,
        member: fields::member("role", member(wire.node, wire.incarnation))?,
        // Whatever a newer control plane may mean by it, it is not leave to serve.
        role: fields::role(wire.role).unwrap_or(Role::Fenced),
        epoch: fields::epoch("role.epoch", wire.epoch)?,
        version: wire.version,
        written_by: fields::text("role.written_by", wire.written_by, GRANTER_CHARS_MAX)?,
        loss_epoch: fields::epoch("role.loss_epoch", wire.loss_epoch)?,
        active: if active.node.is_empty() { None } else { Some(fields::member("role.active", active)?) },
        in_sync: in_sync.into_iter().map(|member| fields::member("role.in_sync", member)).collect::<Result<_, _>>()?,
        fenced: fenced.iter().map(|node| fields::node("role.fenced", node)).collect::<Result<_, _>>()?,
        yields: wire.yields,
        store: fields::text("role.store_id", wire.store_id, GRANTER_CHARS_MAX)?,
    })
}

fn wire_command(command_id: String, command: Command) -> Down {
    match command {
        Command::KickSession { session, reason } => {
            Down::KickSession(pb::KickSessionCommand { command_id, session_id: session, reason })
        }
        Command::KickStream { stream, reason, ban_for } => Down::KickStream(pb::KickStreamCommand {
            command_id,
            stream: stream.resource(),
            reason,
            ban_for: (!ban_for.is_zero()).then(|| fields::wire_duration(ban_for)).flatten(),
        }),
        Command::Drain { deadline, reason } => {
            let deadline = deadline.and_then(fields::wire_duration);
            Down::Drain(pb::DrainCommand { command_id, deadline, reason })
        }
    }
}

/// What the control plane says; nothing for a message of a kind that is not known here.
pub(crate) fn from_control(response: pb::NodeSessionResponse) -> Result<Option<FromControl>, Failure> {
    let command = |id, command| FromControl::Command { id, command };
    Ok(Some(match response.message {
        None => return Ok(None),
        Some(Down::Welcome(welcome)) => FromControl::Welcome(Welcome {
            beat_interval: fields::duration("welcome.beat_interval", welcome.beat_interval)?,
            silence_max: fields::duration("welcome.silence_max", welcome.silence_max)?,
            store_id: welcome.store_id,
        }),
        Some(Down::Beat(beat)) => FromControl::Beat { number: beat.number, route_revision: beat.route_revision },
        Some(Down::Role(role)) => FromControl::Role(grant(role)?),
        Some(Down::NoticesKept(kept)) => FromControl::NoticesKept { through: kept.through },
        Some(Down::KickSession(kick)) => {
            command(kick.command_id, Command::KickSession { session: kick.session_id, reason: kick.reason })
        }
        Some(Down::KickStream(kick)) => {
            let stream = fields::stream("kick_stream.stream", &kick.stream)?;
            let ban_for = fields::duration("kick_stream.ban_for", kick.ban_for)?;
            command(kick.command_id, Command::KickStream { stream, reason: kick.reason, ban_for })
        }
        Some(Down::Drain(drain)) => {
            let deadline: Option<Duration> = fields::optional_duration("drain.deadline", drain.deadline)?;
            command(drain.command_id, Command::Drain { deadline, reason: drain.reason })
        }
    }))
}

/// How many streams or sessions one report may put or remove; more go into further reports.
pub(crate) const REPORT_MAX: usize = 10_000;
/// How many nodes one node may hear.
const HEARS_MAX: usize = 1024;
/// Of how many pools an edge may tell the epoch.
const POOLS_MAX: usize = 1024;
/// How many origins a pool may have, as far as messages go.
const MEMBERS_MAX: usize = 64;
/// Which start of which store granted an epoch: two random numbers.
/// What an edge remembers of one pool.
const RECORDS_MAX: usize = 4;
pub(super) const GRANTER_CHARS_MAX: usize = 64;
/// Why an origin ends is for people.
const REASON_CHARS_MAX: usize = 256;
/// Ids of commands are made by the control plane, which knows them.
const COMMAND_ID_CHARS_MAX: usize = 64;
/// Errors are for people.
const ERROR_CHARS_MAX: usize = 1024;
