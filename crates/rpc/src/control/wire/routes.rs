//! Route entries.

use cluster::{Addresses, Pattern, PoolId, Protocol, RouteEntry, RouteMatch, Target, parse_fms};
use proto::control::v1 as pb;

use super::super::{
    CreateRoute, DeleteRoute, Resolution, RouteChange, RouteInfo, RouteMatchChange, UpdateRoute, fields, list::Listed,
};
use crate::status::Failure;

pub(crate) fn create(request: pb::CreateRouteEntryRequest) -> Result<CreateRoute, Failure> {
    let missing = || {
        Failure::invalid_field(
            "route_entry",
            "is needed, such as {\"fms\": \"*:*;10.0.0.6:1935\"} or {\"match\": {\"app\": \"live\"}, \"target\": \
             {\"pool\": \"originPools/main\"}}",
        )
    };
    let entry = request.route_entry.ok_or_else(missing)?;
    let id = match (request.route_entry_id.as_str(), entry.name.as_str()) {
        ("", "") => None,
        ("", name) => Some(fields::route("route_entry.name", name)?),
        (id, _) => Some(fields::route("route_entry_id", id)?),
    };
    let (matches, target) = if entry.fms.is_empty() {
        let given = entry
            .target
            .ok_or_else(|| Failure::invalid_field("route_entry.target", "is needed, unless fms is given"))?;
        (whole_match(entry.r#match)?, target(given)?)
    } else {
        if entry.target.is_some() || entry.r#match.is_some() {
            return Err(Failure::invalid_field(
                "route_entry.fms",
                "takes the place of match and target: give one form",
            ));
        }
        fms(&entry.fms)?
    };
    Ok(CreateRoute {
        id,
        matches,
        target,
        description: description(entry.description)?,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
        request_id: fields::text("request_id", request.request_id, REQUEST_ID_CHARS_MAX)?,
    })
}

pub(crate) fn update(request: pb::UpdateRouteEntryRequest) -> Result<UpdateRoute, Failure> {
    let entry = request
        .route_entry
        .ok_or_else(|| Failure::invalid_field("route_entry", "is needed, with its name and the new values"))?;
    let id = fields::route("route_entry.name", &entry.name)?;
    let etag = entry.etag.clone();
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    let change = if paths.is_empty() { change_of_what_is_set(entry)? } else { masked_change(entry, &paths)? };
    if change == RouteChange::default() {
        return Err(Failure::invalid_field("update_mask", format!("names nothing to change; there are {MASK}")));
    }
    Ok(UpdateRoute { id, etag, change, validate_only: request.validate_only, reason: fields::reason(request.reason)? })
}

pub(crate) fn delete(request: pb::DeleteRouteEntryRequest) -> Result<DeleteRoute, Failure> {
    Ok(DeleteRoute {
        id: fields::route("name", &request.name)?,
        etag: request.etag,
        validate_only: request.validate_only,
        reason: fields::reason(request.reason)?,
    })
}

/// Without a mask: whatever is set, of the match each part that is set.
fn change_of_what_is_set(entry: pb::RouteEntry) -> Result<RouteChange, Failure> {
    let mut change = RouteChange::default();
    if !entry.fms.is_empty() {
        let (matches, target) = fms(&entry.fms)?;
        change.matches = RouteMatchChange::whole(matches);
        change.target = Some(target);
    }
    if let Some(matches) = entry.r#match {
        let part = |name: &str, text: &str| (!text.is_empty()).then(|| pattern(name, text)).transpose();
        change.matches = RouteMatchChange {
            vhost: part("vhost", &matches.vhost)?,
            app: part("app", &matches.app)?,
            instance: part("instance", &matches.instance)?,
            stream: part("stream", &matches.stream)?,
        };
    }
    if let Some(given) = entry.target {
        change.target = Some(target(given)?);
    }
    change.description = Some(description(entry.description)?).filter(|text| !text.is_empty());
    Ok(change)
}

/// With a mask: what it names, set or not.
fn masked_change(entry: pb::RouteEntry, paths: &[String]) -> Result<RouteChange, Failure> {
    let mut change = RouteChange::default();
    let parts = entry.r#match.clone().unwrap_or_default();
    let needed = |given: Option<pb::RouteTarget>| {
        target(given.ok_or_else(|| Failure::invalid_field("route_entry.target", "is named in update_mask: give it"))?)
    };
    for path in paths {
        match path.as_str() {
            "match" => change.matches = RouteMatchChange::whole(whole_match(Some(parts.clone()))?),
            "match.vhost" => change.matches.vhost = Some(pattern("vhost", &parts.vhost)?),
            "match.app" => change.matches.app = Some(pattern("app", &parts.app)?),
            "match.instance" => change.matches.instance = Some(pattern("instance", &parts.instance)?),
            "match.stream" => change.matches.stream = Some(pattern("stream", &parts.stream)?),
            "target" => change.target = Some(needed(entry.target.clone())?),
            "description" => change.description = Some(description(entry.description.clone())?),
            "fms" => {
                let (matches, target) = fms(&entry.fms)?;
                change.matches = RouteMatchChange::whole(matches);
                change.target = Some(target);
            }
            "*" => {
                change.matches = RouteMatchChange::whole(whole_match(Some(parts.clone()))?);
                change.target = Some(needed(entry.target.clone())?);
                change.description = Some(description(entry.description.clone())?);
            }
            other => {
                let description = format!("\"{other}\" cannot be changed; there are {MASK}");
                return Err(Failure::invalid_field("update_mask", description));
            }
        }
    }
    Ok(change)
}

fn whole_match(given: Option<pb::RouteMatch>) -> Result<RouteMatch, Failure> {
    let given = given.unwrap_or_default();
    Ok(RouteMatch {
        vhost: pattern("vhost", &given.vhost)?,
        app: pattern("app", &given.app)?,
        instance: pattern("instance", &given.instance)?,
        stream: pattern("stream", &given.stream)?,
    })
}

fn pattern(part: &str, text: &str) -> Result<Pattern, Failure> {
    text.parse().map_err(|why: cluster::PatternError| {
        Failure::invalid_field(format!("route_entry.match.{part}"), why.to_string())
    })
}

fn target(given: pb::RouteTarget) -> Result<Target, Failure> {
    let protocol = match pb::RouteProtocol::try_from(given.protocol) {
        Ok(pb::RouteProtocol::Unspecified | pb::RouteProtocol::Headwater) => Protocol::Headwater,
        Ok(pb::RouteProtocol::Rtmp) => Protocol::Rtmp,
        Err(_) => {
            let known = "is ROUTE_PROTOCOL_HEADWATER or ROUTE_PROTOCOL_RTMP";
            return Err(Failure::invalid_field("route_entry.target.protocol", known));
        }
    };
    let mut pools = Vec::new();
    if !given.pool.is_empty() {
        pools.push(fields::pool("route_entry.target.pool", &given.pool)?);
    }
    for (place, pool) in given.next_pools.iter().enumerate() {
        pools.push(fields::pool(&format!("route_entry.target.next_pools[{place}]"), pool)?);
    }
    let address =
        |(place, text): (usize, &String)| fields::address(&format!("route_entry.target.addresses[{place}]"), text);
    let addresses = given.addresses.iter().enumerate().map(address).collect::<Result<_, _>>()?;
    Target::from_parts(pools, addresses, given.refuse, protocol).map_err(|why| {
        let field = match why {
            cluster::TargetError::NotOne => "route_entry.target",
            cluster::TargetError::ForeignPool => "route_entry.target.protocol",
            cluster::TargetError::NoAddress | cluster::TargetError::TooManyAddresses => "route_entry.target.addresses",
            cluster::TargetError::NoPool => "route_entry.target.pool",
            cluster::TargetError::TooManyPools | cluster::TargetError::PoolTwice => "route_entry.target.next_pools",
        };
        Failure::invalid_field(field, why.to_string())
    })
}

fn fms(text: &str) -> Result<(RouteMatch, Target), Failure> {
    parse_fms(text).map_err(|why| Failure::invalid_field("route_entry.fms", why.to_string()))
}

fn description(text: String) -> Result<String, Failure> {
    fields::text("route_entry.description", text, DESCRIPTION_CHARS_MAX)
}

pub(crate) fn info(route: RouteInfo) -> pb::RouteEntry {
    pb::RouteEntry {
        name: route.entry.id.resource(),
        etag: route.etag,
        r#match: Some(wire_match(route.entry.matches)),
        target: Some(wire_target(route.entry.target)),
        fms: String::new(),
        description: route.description,
        create_time: fields::wire_moment(route.created),
        update_time: fields::wire_moment(route.updated),
        author: route.author,
        reason: route.reason,
    }
}

pub(crate) fn wire_match(matches: RouteMatch) -> pb::RouteMatch {
    pb::RouteMatch {
        vhost: matches.vhost.to_string(),
        app: matches.app.to_string(),
        instance: matches.instance.to_string(),
        stream: matches.stream.to_string(),
    }
}

pub(crate) fn wire_target(target: Target) -> pb::RouteTarget {
    let mut wire = pb::RouteTarget { protocol: pb::RouteProtocol::Headwater.into(), ..pb::RouteTarget::default() };
    match target {
        Target::Pools(pools) => {
            let mut pools = pools.iter().map(PoolId::resource);
            wire.pool = pools.next().unwrap_or_default();
            wire.next_pools = pools.collect();
        }
        Target::Refuse => wire.refuse = true,
        Target::Addresses { addresses, protocol } => {
            wire.addresses = list(&addresses);
            if protocol == Protocol::Rtmp {
                wire.protocol = pb::RouteProtocol::Rtmp.into();
            }
        }
    }
    wire
}

fn list(addresses: &Addresses) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

pub(crate) fn read_info(wire: pb::RouteEntry) -> Result<RouteInfo, Failure> {
    let entry = RouteEntry {
        id: fields::route("route_entry.name", &wire.name)?,
        matches: whole_match(wire.r#match)?,
        target: target(wire.target.unwrap_or_default())?,
    };
    Ok(RouteInfo {
        entry,
        etag: wire.etag,
        description: wire.description,
        created: fields::moment("route_entry.create_time", wire.create_time)?,
        updated: fields::moment("route_entry.update_time", wire.update_time)?,
        author: wire.author,
        reason: wire.reason,
    })
}

pub(crate) fn resolution(resolution: Resolution) -> pb::ResolveRouteResponse {
    pb::ResolveRouteResponse {
        route_entry: resolution.route.map(info),
        refused: resolution.refused,
        addresses: resolution.addresses.iter().map(ToString::to_string).collect(),
        trace: resolution.trace,
    }
}

pub(crate) fn read_resolution(wire: pb::ResolveRouteResponse) -> Result<Resolution, Failure> {
    Ok(Resolution {
        route: wire.route_entry.map(read_info).transpose()?,
        refused: wire.refused,
        addresses: wire.addresses.iter().map(|text| fields::address("addresses", text)).collect::<Result<_, _>>()?,
        trace: wire.trace,
    })
}

impl Listed for RouteInfo {
    const KEYS: &'static [&'static str] = &["name", "vhost", "app", "instance", "stream", "pool", "author"];

    fn position(&self) -> String {
        self.entry.id.resource()
    }

    fn values(&self, key: &str) -> Vec<String> {
        let matches = &self.entry.matches;
        match (key, &self.entry.target) {
            ("name", _) => vec![self.entry.id.resource(), self.entry.id.to_string()],
            ("vhost", _) => vec![matches.vhost.to_string()],
            ("app", _) => vec![matches.app.to_string()],
            ("instance", _) => vec![matches.instance.to_string()],
            ("stream", _) => vec![matches.stream.to_string()],
            ("pool", Target::Pools(pools)) => pools.iter().flat_map(|p| [p.resource(), p.to_string()]).collect(),
            ("author", _) => vec![self.author.clone()],
            _ => vec![],
        }
    }
}

/// What an update mask may name.
const MASK: &str = "match, match.vhost, match.app, match.instance, match.stream, target, fms, description and *";
/// The longest description.
const DESCRIPTION_CHARS_MAX: usize = 1024;
/// The longest text by which a repeated request is known.
const REQUEST_ID_CHARS_MAX: usize = 64;
