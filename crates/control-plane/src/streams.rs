//! Streams and sessions: shown, and ended.

use std::collections::BTreeSet;

use cluster::{Epoch, NodeKind, Target};
use media::StreamName;
use rpc::{
    auth::Caller,
    control::{
        Command, Holding, KickSession, KickStream, Located, Pools, SessionInfo, Sessions, Steps, StreamInfo, Streams,
    },
    status::{Code, Failure},
};

use crate::{
    directory::differs,
    events::Draft,
    plane::{ControlPlane, lock},
};

impl Streams for ControlPlane {
    fn stream(&self, name: &StreamName) -> Option<StreamInfo> {
        lock(&self.inner.directory).stream(name)
    }

    fn streams(&self) -> Vec<StreamInfo> {
        lock(&self.inner.directory).streams()
    }

    fn locate(&self, name: &StreamName) -> Option<Located> {
        use rpc::control::Routes;
        let stream = self.stream(name)?;
        // The pool of the origin that keeps it, or the one that the route entries name.
        let of_origin = stream.origin.as_ref().and_then(|origin| {
            let members = lock(&self.inner.members);
            members.get(origin)?.registration.pool.clone()
        });
        let routed = || match self.resolve_route(name).route?.entry.target {
            Target::Pools(pools) => pools.first().cloned(),
            Target::Addresses { .. } | Target::Refuse => None,
        };
        let pool = of_origin.or_else(routed).and_then(|pool| self.pool(&pool));
        Some(Located {
            active_origin: pool.as_ref().and_then(|pool| pool.view.active.clone()),
            epoch: pool.map_or(Epoch(0), |pool| pool.view.epoch),
            stream,
        })
    }

    fn watch_streams(&self, from_revision: u64) -> Result<Steps<StreamInfo>, Failure> {
        self.inner.streams.watch_as_of(from_revision, || self.streams())
    }

    async fn kick_stream(&self, caller: Caller, request: KickStream) -> Result<u32, Failure> {
        let name = &request.name;
        let stream = self.stream(name);
        if stream.is_none() && request.ban_for.is_zero() {
            let message = format!("there is no stream {}", name.resource());
            return Err(Failure::new(Code::NotFound, "STREAM_NOT_FOUND", message).with("name", name.resource()));
        }
        let mut nodes = BTreeSet::new();
        for holder in stream.iter().flat_map(|stream| &stream.holders) {
            if holder.holding != Holding::Pull {
                nodes.insert(holder.node.clone());
            }
        }
        if !request.ban_for.is_zero() {
            // Every publication passes an origin: there the name is refused.
            let members = lock(&self.inner.members);
            let origins = members.nodes().filter(|node| node.registration.kind == NodeKind::Origin);
            nodes.extend(origins.map(|node| node.registration.member.node.clone()));
        }
        if request.validate_only {
            return Ok(0);
        }
        let mut ended = 0;
        let mut failed = None;
        for node in &nodes {
            let command =
                Command::KickStream { stream: name.clone(), reason: request.reason.clone(), ban_for: request.ban_for };
            match self.command(node, command).await {
                Ok(affected) => ended += affected,
                Err(failure) => failed = Some(failure),
            }
        }
        let event = Draft::info("stream.kicked", name.resource(), format!("{ended} sessions were ended"));
        self.tell(event.by(caller, &request.reason).with("ban_for_ms", request.ban_for.as_millis()));
        match failed {
            Some(failure) if ended == 0 => Err(failure),
            _ => Ok(ended),
        }
    }
}

impl Sessions for ControlPlane {
    fn session(&self, id: &str) -> Option<SessionInfo> {
        lock(&self.inner.directory).session(id)
    }

    fn sessions(&self) -> Vec<SessionInfo> {
        lock(&self.inner.directory).sessions()
    }

    async fn kick_session(&self, caller: Caller, request: KickSession) -> Result<SessionInfo, Failure> {
        let name = format!("sessions/{}", request.id);
        let missing = || {
            let message = format!("there is no session {name}");
            Failure::new(Code::NotFound, "SESSION_NOT_FOUND", message).with("name", &name)
        };
        let info = self.session(&request.id).ok_or_else(missing)?;
        if request.validate_only {
            return Ok(info);
        }
        let command = Command::KickSession { session: info.session.id.clone(), reason: request.reason.clone() };
        if self.command(&info.node, command).await? == 0 {
            return Err(missing());
        }
        let event = Draft::info("session.kicked", name, "the session was ended").by(caller, &request.reason);
        self.tell(event.with("stream", info.session.stream.resource()).with("peer", &info.session.peer));
        Ok(info)
    }
}

impl ControlPlane {
    /// Tells watchers of those streams that have changed in what matters to them.
    pub(crate) fn refresh_streams(&self, touched: BTreeSet<StreamName>) {
        // Held throughout, so that the last word is the newest.
        let directory = lock(&self.inner.directory);
        for name in touched {
            let resource = name.resource();
            match (self.inner.streams.get(&resource), directory.stream(&name)) {
                (Some(before), Some(after)) if differs(&before, &after) => self.inner.streams.put(&resource, after),
                (None, Some(after)) => self.inner.streams.put(&resource, after),
                (Some(_), None) => self.inner.streams.delete(&resource),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
}
