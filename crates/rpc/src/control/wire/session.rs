//! The conversation with a node.

use std::time::Duration;

use cluster::{Beat, Epoch, Member, Role};
use proto::control::v1::{self as pb, node_session_request::Message as Up, node_session_response::Message as Down};

use super::{
    super::{Command, CommandResult, FromControl, FromNode, RoleGrant, SessionsReport, StreamsReport, Welcome, fields},
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
        Some(Up::Beat(given)) => FromNode::Beat { number: given.number, beat: beat(given)? },
        Some(Up::Streams(report)) => FromNode::Streams(streams_report(report)?),
        Some(Up::Sessions(report)) => FromNode::Sessions(sessions_report(report)?),
        Some(Up::CommandResult(result)) => FromNode::Result(CommandResult {
            command_id: fields::text("command_result.command_id", result.command_id, COMMAND_ID_CHARS_MAX)?,
            affected: result.affected,
            error: fields::optional_text("command_result.error", result.error, ERROR_CHARS_MAX)?,
        }),
    }))
}

fn beat(given: pb::NodeBeat) -> Result<Beat, Failure> {
    let hears = fields::bounded("beat.hears", given.hears, HEARS_MAX)?;
    Ok(Beat {
        load: members::load(given.load.unwrap_or_default())?,
        role: fields::role(given.role),
        serving: fields::serving("beat.serving_epoch", given.serving_epoch)?,
        highest_epoch: fields::epoch("beat.highest_epoch", given.highest_epoch)?,
        hears: hears.iter().map(|node| fields::node("beat.hears", node)).collect::<Result<_, _>>()?,
    })
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
        FromNode::Beat { number, beat } => Up::Beat(pb::NodeBeat {
            number,
            load: Some(members::wire_load(beat.load)),
            role: fields::wire_role(beat.role),
            serving_epoch: beat.serving.unwrap_or_default().0,
            highest_epoch: beat.highest_epoch.0,
            hears: beat.hears.iter().map(cluster::NodeId::resource).collect(),
        }),
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
        FromControl::Role(grant) => Down::Role(pb::RoleGrant {
            pool: grant.pool.resource(),
            role: fields::wire_role(Some(grant.role)),
            epoch: grant.epoch.0,
            version: grant.version,
            incarnation: grant.incarnation.to_string(),
            loss_epoch: grant.loss_epoch.0,
            store_id: grant.store_id,
            active: grant.active.map(|node| node.resource()).unwrap_or_default(),
        }),
        FromControl::Command { id, command } => wire_command(id, command),
    };
    pb::NodeSessionResponse { message: Some(message) }
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
        Some(Down::Role(grant)) => FromControl::Role(RoleGrant {
            pool: fields::pool("role.pool", &grant.pool)?,
            // Whatever a newer control plane may mean by it, it is not leave to serve.
            role: fields::role(grant.role).unwrap_or(Role::Fenced),
            epoch: Epoch(grant.epoch),
            version: grant.version,
            incarnation: fields::incarnation("role.incarnation", &grant.incarnation)?,
            loss_epoch: Epoch(grant.loss_epoch),
            store_id: grant.store_id,
            active: fields::optional_node("role.active", &grant.active)?,
        }),
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
const HEARS_MAX: usize = 64;
/// Ids of commands are made by the control plane, which knows them.
const COMMAND_ID_CHARS_MAX: usize = 64;
/// Errors are for people.
const ERROR_CHARS_MAX: usize = 1024;
