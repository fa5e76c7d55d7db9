//! Fields of requests: read, or refused with their name and what would be right.

use std::time::{Duration, SystemTime};

use cluster::{Address, Epoch, Incarnation, Member, NodeId, PoolId, Role, RouteId};
use media::{PublicationId, StreamName};
use proto::control::v1 as pb;

use crate::{span, status::Failure};

/// A resource name of the collection, or the id alone.
pub(super) fn node(field: &str, text: &str) -> Result<NodeId, Failure> {
    needed(field, text, if field == "member" { "nodes/origin-2" } else { "nodes/edge-1" })?;
    of_collection(field, text, NodeId::COLLECTION)?;
    NodeId::from_resource(text).map_err(|why| Failure::invalid_field(field, why.to_string()))
}

/// As [`node`], or nothing when nothing is given.
pub(super) fn optional_node(field: &str, text: &str) -> Result<Option<NodeId>, Failure> {
    if text.is_empty() { Ok(None) } else { node(field, text).map(Some) }
}

/// A resource name of the collection, or the id alone.
pub(super) fn pool(field: &str, text: &str) -> Result<PoolId, Failure> {
    needed(field, text, "originPools/main")?;
    of_collection(field, text, PoolId::COLLECTION)?;
    PoolId::from_resource(text).map_err(|why| Failure::invalid_field(field, why.to_string()))
}

/// A resource name of the collection, or the id alone.
pub(super) fn route(field: &str, text: &str) -> Result<RouteId, Failure> {
    needed(field, text, "routeEntries/live-default")?;
    of_collection(field, text, RouteId::COLLECTION)?;
    RouteId::from_resource(text).map_err(|why| Failure::invalid_field(field, why.to_string()))
}

/// A session's id, with or without its collection.
pub(super) fn session(field: &str, text: &str) -> Result<String, Failure> {
    needed(field, text, "sessions/edge-1.17")?;
    let id = text.strip_prefix("sessions/").unwrap_or(text);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if id.is_empty() || id.len() > SESSION_BYTES_MAX || !id.bytes().all(plain) {
        return Err(Failure::invalid_field(field, "a session is called sessions/NODE.ID, as ListSessions shows"));
    }
    Ok(id.to_owned())
}

/// A stream's resource name.
pub(super) fn stream(field: &str, text: &str) -> Result<StreamName, Failure> {
    needed(field, text, "streams/_default/live/_definst_/foo")?;
    StreamName::from_resource(text).map_err(|why| Failure::invalid_field(field, why.to_string()))
}

/// A stream's resource name, or a path such as `live/foo` in the default vhost.
pub(super) fn stream_or_path(field: &str, text: &str) -> Result<StreamName, Failure> {
    if text.starts_with("streams/") || text.is_empty() {
        return stream(field, text);
    }
    let (vhost, path) = text.split_once(':').unwrap_or((media::DEFAULT_VHOST, text));
    let Some((app, name)) = path.rsplit_once('/') else {
        return Err(Failure::invalid_field(field, "give streams/VHOST/APP/INSTANCE/NAME, or a path such as live/foo"));
    };
    StreamName::from_app(vhost, app, name).map_err(|why| Failure::invalid_field(field, why.to_string()))
}

/// HOST:PORT.
pub(super) fn address(field: &str, text: &str) -> Result<Address, Failure> {
    text.parse().map_err(|why: cluster::AddressError| Failure::invalid_field(field, format!("\"{text}\": {why}")))
}

/// HOST:PORT, or nothing when nothing is given.
pub(super) fn optional_address(field: &str, text: &str) -> Result<Option<Address>, Failure> {
    if text.is_empty() { Ok(None) } else { address(field, text).map(Some) }
}

/// 16 hexadecimal digits.
pub(super) fn incarnation(field: &str, text: &str) -> Result<Incarnation, Failure> {
    text.parse().map_err(|why: cluster::ParseIncarnationError| Failure::invalid_field(field, why.to_string()))
}

/// 32 hexadecimal digits, or nothing when nothing is given.
pub(super) fn optional_publication(field: &str, text: &str) -> Result<Option<PublicationId>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|why: media::ParsePublicationIdError| Failure::invalid_field(field, why.to_string()))
}

/// A text with a bound.
pub(super) fn text(field: &str, text: String, chars_max: usize) -> Result<String, Failure> {
    let chars = text.chars().count();
    if chars > chars_max {
        let description = format!("has {chars} characters; at most {chars_max}");
        return Err(Failure::invalid_field(field, description));
    }
    Ok(text)
}

/// A text with a bound, or nothing when nothing is given.
pub(super) fn optional_text(field: &str, given: String, chars_max: usize) -> Result<Option<String>, Failure> {
    Ok(Some(text(field, given, chars_max)?).filter(|text| !text.is_empty()))
}

/// The reason of a mutation.
pub(super) fn reason(given: String) -> Result<String, Failure> {
    text("reason", given, REASON_CHARS_MAX)
}

/// A list with a bound.
pub(super) fn bounded<T>(field: &str, list: Vec<T>, max: usize) -> Result<Vec<T>, Failure> {
    if list.len() > max {
        return Err(Failure::invalid_field(field, format!("has {} items; at most {max}", list.len())));
    }
    Ok(list)
}

/// A span of time, or nothing when none is given.
pub(super) fn optional_duration(
    field: &str,
    given: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Failure> {
    given.map(|given| span::read(field, given)).transpose()
}

/// A span of time; 0 when none is given.
pub(super) fn duration(field: &str, given: Option<prost_types::Duration>) -> Result<Duration, Failure> {
    Ok(optional_duration(field, given)?.unwrap_or_default())
}

/// A moment; 1970 when none is given.
pub(super) fn moment(field: &str, given: Option<prost_types::Timestamp>) -> Result<SystemTime, Failure> {
    let Some(given) = given else { return Ok(SystemTime::UNIX_EPOCH) };
    SystemTime::try_from(given).map_err(|_| Failure::invalid_field(field, "is not a moment"))
}

/// A span for the wire.
pub(super) fn wire_duration(span: Duration) -> Option<prost_types::Duration> {
    Some(span::wire(span))
}

/// A moment for the wire.
pub(super) fn wire_moment(at: SystemTime) -> Option<prost_types::Timestamp> {
    Some(at.into())
}

/// A moment as texts show it: in UTC, as RFC 3339 has it.
pub fn rfc3339(at: SystemTime) -> String {
    prost_types::Timestamp::from(at).to_string()
}

/// An epoch, which is never as high as to make no sense.
pub(super) fn epoch(field: &str, epoch: u64) -> Result<Epoch, Failure> {
    if epoch > Epoch::MAX.0 {
        return Err(Failure::invalid_field(field, format!("is {epoch}; no epoch is above {}", Epoch::MAX)));
    }
    Ok(Epoch(epoch))
}

/// An epoch in which somebody serves; zero stands for none.
pub(super) fn serving(field: &str, given: u64) -> Result<Option<Epoch>, Failure> {
    Ok(Some(epoch(field, given)?).filter(|epoch| epoch.0 != 0))
}

/// An epoch that the caller has seen, where it must have seen one.
pub(super) fn expected_epoch(given: u64) -> Result<Epoch, Failure> {
    seen_epoch(Some(given).filter(|given| *given > 0))
}

/// The same where 0 is an epoch like any other: that of a pool in which nobody has been active.
pub(super) fn seen_epoch(given: Option<u64>) -> Result<Epoch, Failure> {
    let needed = || Failure::invalid_field("expected_epoch", "is needed: the epoch that GetOriginPool shows");
    epoch("expected_epoch", given.ok_or_else(needed)?)
}

/// One start of one node.
pub(super) fn member(field: &str, given: pb::MemberId) -> Result<Member, Failure> {
    Ok(Member {
        node: node(&format!("{field}.node"), &given.node)?,
        incarnation: incarnation(&format!("{field}.incarnation"), &given.incarnation)?,
    })
}

/// One start of one node for the wire.
pub(super) fn wire_member(member: Member) -> pb::MemberId {
    pb::MemberId { node: member.node.resource(), incarnation: member.incarnation.to_string() }
}

/// How far logs go; not at all when nothing is given.
pub(super) fn head(field: &str, given: Option<pb::LogHead>) -> Result<(Epoch, u64), Failure> {
    let given = given.unwrap_or_default();
    Ok((epoch(field, given.epoch)?, given.order))
}

/// How far logs go, for the wire.
pub(super) fn wire_head((epoch, order): (Epoch, u64)) -> Option<pb::LogHead> {
    Some(pb::LogHead { epoch: epoch.0, order })
}

/// A role, or none.
pub(super) fn role(role: i32) -> Option<Role> {
    use proto::control::v1::OriginRole as Wire;
    match Wire::try_from(role) {
        Ok(Wire::Active) => Some(Role::Active),
        Ok(Wire::Standby) => Some(Role::Standby),
        Ok(Wire::Fenced) => Some(Role::Fenced),
        Ok(Wire::Unspecified) | Err(_) => None,
    }
}

/// A role for the wire.
pub(super) fn wire_role(role: Option<Role>) -> i32 {
    use proto::control::v1::OriginRole as Wire;
    let wire = match role {
        None => Wire::Unspecified,
        Some(Role::Active) => Wire::Active,
        Some(Role::Standby) => Wire::Standby,
        Some(Role::Fenced) => Wire::Fenced,
    };
    wire.into()
}

/// Refuses a field that is not given, with an example.
fn needed(field: &str, text: &str, example: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Err(Failure::invalid_field(field, format!("is needed, such as \"{example}\"")));
    }
    Ok(())
}

/// Refuses the resource name of something else; an id alone has no slash.
fn of_collection(field: &str, text: &str, collection: &str) -> Result<(), Failure> {
    match text.split_once('/') {
        Some((other, _)) if other != collection => {
            Err(Failure::invalid_field(field, format!("begins with {collection}/ here, not with {}/", shown(other))))
        }
        _ => Ok(()),
    }
}

/// What fits in a message without harm.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_default).collect()
}

/// What is shown of a wrong name.
const SHOWN_CHARS_MAX: usize = 64;
/// The longest reason of a mutation.
const REASON_CHARS_MAX: usize = 256;
/// The longest id of a session: a node's, a dot, and the id there.
const SESSION_BYTES_MAX: usize = 160;
