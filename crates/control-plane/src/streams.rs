//! Streams and sessions: shown, and ended.

use std::collections::BTreeSet;

use cluster::{Epoch, NodeId, NodeKind, Target};
use futures_util::future::join_all;
use media::StreamName;
use rpc::{
    auth::Caller,
    control::{Command, KickSession, KickStream, Located, Pools, SessionInfo, Sessions, Steps, StreamInfo, Streams},
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
        let KickStream { name, reason, ban_for, .. } = &request;
        let stream = self.stream(name);
        let missing = || {
            let message = format!("nobody publishes {}", name.resource());
            Failure::new(Code::NotFound, "STREAM_NOT_FOUND", message).with("name", name.resource())
        };
        if stream.is_none() && ban_for.is_zero() {
            return Err(missing());
        }
        // Every publication passes an origin, whose report of it may not be here yet; its encoder may be at any holder.
        let mut nodes: BTreeSet<_> =
            stream.iter().flat_map(|stream| &stream.holders).map(|holder| holder.node.clone()).collect();
        {
            let members = lock(&self.inner.members);
            let origins = members.nodes().filter(|node| node.registration.kind == NodeKind::Origin);
            nodes.extend(origins.map(|node| node.registration.member.node.clone()));
        }
        if request.validate_only {
            return Ok(0);
        }
        let kick = Command::KickStream { stream: name.clone(), reason: reason.clone(), ban_for: *ban_for };
        let mut ended = 0_u32;
        let mut failed = None;
        // All at once: one that is frozen holds up no other.
        for outcome in join_all(nodes.iter().map(|node| self.command(node, kick.clone()))).await {
            match outcome {
                Ok(affected) => ended = ended.saturating_add(affected),
                Err(failure) => failed = Some(failure),
            }
        }
        let event = Draft::info("stream.kicked", name.resource(), format!("{ended} sessions were ended"));
        self.tell(event.by(caller, reason).with("ban_for_ms", ban_for.as_millis()));
        match failed {
            Some(failure) if ended == 0 => Err(failure),
            None if ended == 0 && ban_for.is_zero() => Err(missing()),
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
    /// What a node held is no longer known.
    pub(crate) fn forget_holdings(&self, node: &NodeId) {
        let touched = lock(&self.inner.directory).forget(node);
        self.refresh_streams(touched);
    }

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
