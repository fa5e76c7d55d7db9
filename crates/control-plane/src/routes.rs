//! Route entries: checked, stored, told.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use cluster::{
    Address, Loop, LoopCheck, NodeId, NodeKind, PoolId, ROUTES_MAX, RouteConfig, RouteEntry, RouteId, RouteTable,
    TableError, Target,
};
use media::StreamName;
use rpc::{
    auth::Caller,
    control::{CreateRoute, DeleteRoute, Resolution, RouteInfo, Routes, Steps, UpdateRoute},
    status::{Code, Failure},
};
use serde::{Deserialize, Serialize};

use crate::{
    events::Draft,
    plane::{ControlPlane, WriterGuard, lock},
    store::Write,
    time,
};

/// A route entry as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RouteRecord {
    pub(crate) entry: RouteEntry,
    /// The revision of its last change.
    version: u64,
    description: String,
    created_unix_ms: u64,
    updated_unix_ms: u64,
    author: String,
    reason: String,
}

impl From<RouteRecord> for RouteInfo {
    fn from(record: RouteRecord) -> Self {
        Self {
            entry: record.entry,
            etag: etag(record.version),
            description: record.description,
            created: time::moment(record.created_unix_ms),
            updated: time::moment(record.updated_unix_ms),
            author: record.author,
            reason: record.reason,
        }
    }
}

/// What is known of the entries besides themselves.
pub(crate) struct RouteState {
    table: RouteTable,
    /// Which entries of the configuration have been taken over, with a digest of each.
    seeded: BTreeMap<String, String>,
    /// What was asked for and made, by the text that came with it.
    requests: HashMap<String, Made>,
}

/// A creation that may be asked for again.
struct Made {
    asked: CreateRoute,
    id: RouteId,
    at: Instant,
}

impl Made {
    /// Whether the same entry is asked for: why, and whether only to check, makes no other one.
    fn is_of(&self, request: &CreateRoute) -> bool {
        let of = |asked: &CreateRoute| {
            let CreateRoute { id, matches, target, description, .. } = asked.clone();
            (id, matches, target, description)
        };
        of(&self.asked) == of(request)
    }
}

impl RouteState {
    pub(crate) fn new<'a>(routes: impl Iterator<Item = &'a RouteInfo>, seeded: BTreeMap<String, String>) -> Self {
        let entries = routes.map(|route| route.entry.clone()).collect();
        // A store written by this program holds no conflict; if it did, no entry would be better than a wrong one.
        let table = RouteTable::new(entries, Vec::new()).unwrap_or_else(|error| {
            tracing::error!(%error, "routes.stored_entries_conflict");
            RouteTable::default()
        });
        Self { table, seeded, requests: HashMap::new() }
    }

    /// The entry that the same request made before; a text that came with another request is refused.
    fn made_before(&mut self, request: &CreateRoute) -> Result<Option<RouteId>, Failure> {
        self.requests.retain(|_, made| made.at.elapsed() < REQUEST_MEMORY);
        match self.requests.get(&request.request_id) {
            None => Ok(None),
            Some(made) if made.is_of(request) => Ok(Some(made.id.clone())),
            Some(made) => Err(reused(&request.request_id, &made.id)),
        }
    }

    fn remember(&mut self, asked: CreateRoute, id: RouteId) {
        if !asked.request_id.is_empty() && self.requests.len() < REQUESTS_MAX {
            self.requests.insert(asked.request_id.clone(), Made { asked, id, at: Instant::now() });
        }
    }
}

impl Routes for ControlPlane {
    async fn create_route(&self, caller: Caller, request: CreateRoute) -> Result<RouteInfo, Failure> {
        let control = self.clone();
        self.mutate(async move {
            let mut writer = control.writer().await;
            if !request.request_id.is_empty() {
                let before = lock(&control.inner.route_state).made_before(&request)?;
                if let Some(route) = before.and_then(|id| control.route(&id)) {
                    return Ok(route);
                }
            }
            let id = match request.id.clone() {
                Some(id) => id,
                None => control.unused_id(),
            };
            control.check_pool(&request.target)?;
            let now = time::unix_ms();
            let asked = request.clone();
            let record = RouteRecord {
                entry: RouteEntry { id: id.clone(), matches: request.matches, target: request.target },
                version: 0,
                description: request.description,
                created_unix_ms: now,
                updated_unix_ms: now,
                author: caller.to_string(),
                reason: request.reason.clone(),
            };
            if control.route(&id).is_some() {
                let message = format!("there is a route entry {}", id.resource());
                return Err(Failure::new(Code::AlreadyExists, "ROUTE_ENTRY_EXISTS", message)
                    .with("name", id.resource())
                    .with_field("route_entry_id", "is taken: choose another, or update the entry"));
            }
            let event = Draft::info("route.created", id.resource(), told(&record.entry)).by(caller, &request.reason);
            let route = control.put_route(&mut writer, record, event, request.validate_only).await?;
            if !request.validate_only {
                lock(&control.inner.route_state).remember(asked, id);
            }
            Ok(route)
        })
        .await
    }

    async fn update_route(&self, caller: Caller, request: UpdateRoute) -> Result<RouteInfo, Failure> {
        let control = self.clone();
        self.mutate(async move {
            let mut writer = control.writer().await;
            let before = control.expect_route(&request.id, &request.etag)?;
            let mut entry = before.entry;
            request.change.matches.apply(&mut entry.matches);
            if let Some(target) = request.change.target.filter(|target| *target != entry.target) {
                control.check_pool(&target)?;
                entry.target = target;
            }
            let record = RouteRecord {
                version: 0,
                description: request.change.description.unwrap_or(before.description),
                created_unix_ms: millis(before.created),
                updated_unix_ms: time::unix_ms(),
                author: caller.to_string(),
                reason: request.reason.clone(),
                entry,
            };
            let event =
                Draft::info("route.updated", request.id.resource(), told(&record.entry)).by(caller, &request.reason);
            control.put_route(&mut writer, record, event, request.validate_only).await
        })
        .await
    }

    async fn delete_route(&self, caller: Caller, request: DeleteRoute) -> Result<u64, Failure> {
        let control = self.clone();
        self.mutate(async move {
            let mut writer = control.writer().await;
            let before = control.expect_route(&request.id, &request.etag)?;
            if request.validate_only {
                return Ok(control.inner.routes.revision());
            }
            let event =
                Draft::info("route.deleted", request.id.resource(), told(&before.entry)).by(caller, &request.reason);
            control.remove_route(&mut writer, request.id, event).await
        })
        .await
    }

    fn route(&self, id: &RouteId) -> Option<RouteInfo> {
        self.inner.routes.get(&id.resource())
    }

    fn routes(&self) -> (Vec<RouteInfo>, u64) {
        self.inner.routes.snapshot()
    }

    fn watch_routes(&self, from_revision: u64) -> Result<Steps<RouteInfo>, Failure> {
        self.inner.routes.watch(from_revision)
    }

    fn resolve_route(&self, name: &StreamName) -> Resolution {
        let (decided, trace) = {
            let state = lock(&self.inner.route_state);
            (state.table.decide(name), state.table.trace(name))
        };
        let target = decided.as_ref().map(|decided| &decided.entry.target);
        let addresses = match target {
            Some(Target::Addresses { addresses, .. }) => addresses.to_vec(),
            Some(Target::Pools(pools)) => {
                let infos = pools.iter().filter_map(|pool| self.inner.pool_infos.get(&pool.resource()));
                infos.flat_map(|info| info.view.peers().cloned().collect::<Vec<_>>()).collect()
            }
            Some(Target::Refuse) | None => Vec::new(),
        };
        Resolution {
            refused: matches!(target, None | Some(Target::Refuse)),
            addresses,
            trace: trace.iter().map(ToString::to_string).collect(),
            route: decided.and_then(|decided| self.route(&decided.entry.id)),
        }
    }
}

impl ControlPlane {
    /// Takes over the entries of the configuration as defaults: new ones are made, changed ones changed, absent ones
    /// removed; but one that an operator has changed or deleted stays as it is.
    pub(crate) async fn seed_routes(&self, list: Vec<RouteConfig>) {
        let entries = RouteConfig::into_entries(list);
        let mut writer = self.writer().await;
        let seeded: Vec<_> = lock(&self.inner.route_state).seeded.keys().cloned().collect();
        for id in seeded.iter().filter_map(|id| RouteId::new(id).ok()) {
            if !entries.iter().any(|entry| entry.id == id) {
                warn_of(&id, self.unseed_route(&mut writer, &id).await);
            }
        }
        for entry in entries {
            let id = entry.id.clone();
            let seeded = self.seed_route(&mut writer, entry).await;
            warn_of(&id, seeded);
        }
    }

    async fn seed_route(&self, writer: &mut WriterGuard<'_>, entry: RouteEntry) -> Result<(), Failure> {
        let digest = serde_json::to_string(&entry).expect("plain data can be written as JSON");
        let id = entry.id.clone();
        let known = lock(&self.inner.route_state).seeded.get(id.as_str()).cloned();
        let stored = self.route(&id);
        let ours = stored.as_ref().is_some_and(|stored| stored.author == CONFIG);
        let wanted = match (&known, &stored) {
            (None, None) => true,
            (Some(known), Some(_)) if ours => *known != digest,
            _ => false,
        };
        if wanted {
            let now = time::unix_ms();
            let record = RouteRecord {
                version: 0,
                description: String::new(),
                created_unix_ms: stored.map_or(now, |stored| millis(stored.created)),
                updated_unix_ms: now,
                author: CONFIG.to_owned(),
                reason: String::new(),
                entry,
            };
            let event = Draft::info("route.created", id.resource(), told(&record.entry)).with("source", CONFIG);
            self.put_route(writer, record, event, false).await?;
        }
        if known.as_ref() != Some(&digest) {
            writer.commit(vec![Write::Seed(id.to_string(), digest.clone())], Vec::new()).await?;
            lock(&self.inner.route_state).seeded.insert(id.to_string(), digest);
        }
        Ok(())
    }

    async fn unseed_route(&self, writer: &mut WriterGuard<'_>, id: &RouteId) -> Result<(), Failure> {
        if self.route(id).is_some_and(|route| route.author == CONFIG) {
            let event = Draft::info("route.deleted", id.resource(), "it is no longer in the configuration");
            self.remove_route(writer, id.clone(), event).await?;
        }
        writer.commit(vec![Write::Unseed(id.to_string())], Vec::new()).await?;
        lock(&self.inner.route_state).seeded.remove(id.as_str());
        Ok(())
    }

    /// Checks an entry against all others, stores and tells it.
    async fn put_route(
        &self,
        writer: &mut WriterGuard<'_>,
        mut record: RouteRecord,
        event: Draft,
        validate_only: bool,
    ) -> Result<RouteInfo, Failure> {
        let others = self.inner.routes.list().into_iter().map(|route| route.entry);
        let mut entries: Vec<_> = others.filter(|other| other.id != record.entry.id).collect();
        let edges = self.edge_addresses();
        LoopCheck { edges: &edges }.check(&record.entry, &entries).map_err(looping)?;
        if let Some(other) = entries.iter().find(|other| other.matches == record.entry.matches) {
            return Err(same_match(other));
        }
        entries.push(record.entry.clone());
        let table = RouteTable::new(entries, Vec::new()).map_err(|error| conflicting(&error))?;
        if validate_only {
            return Ok(record.into());
        }
        record.version = self.store_state().revision + 1;
        let revision = writer.commit(vec![Write::PutRoute(record.clone())], vec![event]).await?;
        debug_assert_eq!(revision, record.version, "the writer is held");
        let (name, route) = (record.entry.id.resource(), RouteInfo::from(record));
        lock(&self.inner.route_state).table = table;
        self.inner.routes.put_at(revision, &name, route.clone());
        Ok(route)
    }

    async fn remove_route(&self, writer: &mut WriterGuard<'_>, id: RouteId, event: Draft) -> Result<u64, Failure> {
        let others = self.inner.routes.list().into_iter().map(|route| route.entry);
        let entries = others.filter(|other| other.id != id).collect();
        let table = RouteTable::new(entries, Vec::new()).map_err(|error| conflicting(&error))?;
        let revision = writer.commit(vec![Write::DeleteRoute(id.clone())], vec![event]).await?;
        lock(&self.inner.route_state).table = table;
        self.inner.routes.delete_at(revision, &id.resource());
        Ok(revision)
    }

    fn expect_route(&self, id: &RouteId, etag: &str) -> Result<RouteInfo, Failure> {
        let name = id.resource();
        let missing = || {
            let message = format!("there is no route entry {name}");
            Failure::new(Code::NotFound, "ROUTE_ENTRY_NOT_FOUND", message).with("name", &name)
        };
        let route = self.route(id).ok_or_else(missing)?;
        if !etag.is_empty() && etag != route.etag {
            let message = format!("{name} has the etag {}, not {etag}: somebody changed it; read it again", route.etag);
            return Err(Failure::new(Code::Aborted, "ETAG_MISMATCH", message)
                .with("name", &name)
                .with("etag", &route.etag));
        }
        Ok(route)
    }

    /// Refuses an entry that leads to a pool nobody has heard of, most likely a slip of the pen. As long as no origin
    /// has come at all, any pool may be named: entries may be made before the origins are started.
    fn check_pool(&self, target: &Target) -> Result<(), Failure> {
        let Target::Pools(pools) = target else { return Ok(()) };
        let config = &self.inner.config;
        let known: Vec<_> = lock(&self.inner.pools).keys().cloned().collect();
        let routed =
            self.inner.routes.list().iter().any(|route| route.author == CONFIG && route.entry.target == *target);
        let is_known =
            |pool: &PoolId| known.contains(pool) || config.pools.iter().any(|settings| settings.name == *pool);
        if known.is_empty() || routed {
            return Ok(());
        }
        let Some(pool) = pools.iter().find(|pool| !is_known(pool)) else { return Ok(()) };
        let known = known.iter().map(PoolId::resource).collect::<Vec<_>>().join(", ");
        let message = format!(
            "there is no origin pool {}; there are {known}: start an origin of that pool first, or name it under pools \
             in the configuration",
            pool.resource()
        );
        Err(Failure::new(Code::FailedPrecondition, "ORIGIN_POOL_NOT_FOUND", message)
            .with("pool", pool.resource())
            .with("known", &known)
            .with_field("route_entry.target.pool", format!("is not known; there are {known}")))
    }

    fn unused_id(&self) -> RouteId {
        loop {
            let id = format!("route-{:08x}", rand::random::<u32>());
            let id = RouteId::new(&id).expect("letters, a dash and digits are an id");
            if self.route(&id).is_none() {
                return id;
            }
        }
    }

    fn edge_addresses(&self) -> HashMap<Address, NodeId> {
        let members = lock(&self.inner.members);
        let mut edges = HashMap::new();
        for node in members.nodes().filter(|node| node.registration.kind == NodeKind::Edge) {
            let addresses = &node.registration.addresses;
            for address in [&addresses.public, &addresses.peer, &addresses.http].into_iter().flatten() {
                edges.insert(address.clone(), node.registration.member.node.clone());
            }
        }
        edges
    }
}

fn warn_of(id: &RouteId, outcome: Result<(), Failure>) {
    if let Err(error) = outcome {
        tracing::warn!(route = %id, %error, "routes.default_not_taken");
    }
}

fn looping(found: Loop) -> Failure {
    let failure = Failure::new(Code::FailedPrecondition, "ROUTE_LOOP", found.to_string());
    let failure = match found {
        Loop::ToEdge { entry, address, edge } => {
            failure.with("entry", entry).with("address", address).with("edge", edge)
        }
        Loop::Hosts { hosts } => failure.with("hosts", hosts.join(",")),
    };
    failure.with_field("route_entry.target", "leads back: name an origin, a VIP of origins, or a pool")
}

fn conflicting(error: &TableError) -> Failure {
    match error {
        TableError::TooMany => {
            Failure::new(Code::ResourceExhausted, "TOO_MANY_ROUTE_ENTRIES", error.to_string()).with("max", ROUTES_MAX)
        }
        TableError::SameId(id) => {
            Failure::new(Code::AlreadyExists, "ROUTE_ENTRY_EXISTS", error.to_string()).with("entry", id)
        }
        TableError::SameMatch(matches) => {
            Failure::new(Code::AlreadyExists, "ROUTE_MATCH_EXISTS", error.to_string()).with("match", matches)
        }
    }
}

fn same_match(other: &RouteEntry) -> Failure {
    let name = other.id.resource();
    let message = format!("{name} matches {} already: it would be chance which decides", other.matches);
    Failure::new(Code::AlreadyExists, "ROUTE_MATCH_EXISTS", message)
        .with("name", &name)
        .with("match", &other.matches)
        .with_field("route_entry.match", format!("is that of {name}: change that one, or match something else"))
}

fn reused(request_id: &str, made: &RouteId) -> Failure {
    let name = made.resource();
    let message = format!("the request_id \"{request_id}\" came with another request, which made {name}");
    Failure::new(Code::AlreadyExists, "REQUEST_ID_REUSED", message)
        .with("request_id", request_id)
        .with("name", name)
        .with_field("request_id", "was given with another entry: choose a new one for each")
}

fn told(entry: &RouteEntry) -> String {
    let target = match &entry.target {
        Target::Pools(pools) => pools.iter().map(PoolId::resource).collect::<Vec<_>>().join(", else "),
        Target::Addresses { addresses, .. } => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Target::Refuse => return format!("requests for {} are refused", entry.matches),
    };
    format!("requests for {} go to {target}", entry.matches)
}

fn etag(version: u64) -> String {
    format!("{version:x}")
}

fn millis(at: std::time::SystemTime) -> u64 {
    at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// The author of entries that come from the configuration.
const CONFIG: &str = "config";
/// How long a repeated request is known as such.
const REQUEST_MEMORY: Duration = Duration::from_secs(3600);
/// Texts of requests that are remembered; what comes above is made again.
const REQUESTS_MAX: usize = 4096;
