//! The server's side: a [`Node`] behind `headwater.node.v1.NodeService`.

use std::{sync::Arc, time::Duration};

use proto::node::v1::{
    self as pb,
    node_service_server::{NodeService, NodeServiceServer},
};
use tonic::{Request, Response, Status};

use super::{Node, page::page, wire};
use crate::{
    server::{Builder, MESSAGE_BYTES_MAX},
    span,
    status::{Code, Failure},
};

impl Builder {
    /// Adds what the process answers about itself.
    pub fn node(self, node: Arc<impl Node>) -> Self {
        let service = NodeServiceServer::new(Adapter { node }).max_decoding_message_size(MESSAGE_BYTES_MAX);
        self.add(service)
    }
}

struct Adapter<N> {
    node: Arc<N>,
}

#[tonic::async_trait]
impl<N: Node> NodeService for Adapter<N> {
    async fn ping(&self, _: Request<pb::PingRequest>) -> Result<Response<pb::PingResponse>, Status> {
        Ok(Response::new(wire::ping(self.node.ping())))
    }

    async fn get_status(&self, _: Request<pb::GetStatusRequest>) -> Result<Response<pb::GetStatusResponse>, Status> {
        Ok(Response::new(wire::status(self.node.status())))
    }

    async fn list_local_streams(
        &self,
        request: Request<pb::ListLocalStreamsRequest>,
    ) -> Result<Response<pb::ListLocalStreamsResponse>, Status> {
        let asked = request.into_inner();
        let (streams, next_page_token) =
            page(self.node.streams(), |stream| stream.name.resource(), asked.page_size, &asked.page_token)?;
        let streams = streams.into_iter().map(wire::stream).collect();
        Ok(Response::new(pb::ListLocalStreamsResponse { streams, next_page_token }))
    }

    async fn list_local_sessions(
        &self,
        request: Request<pb::ListLocalSessionsRequest>,
    ) -> Result<Response<pb::ListLocalSessionsResponse>, Status> {
        let asked = request.into_inner();
        let (sessions, next_page_token) =
            page(self.node.register().sessions(), |session| session.id.clone(), asked.page_size, &asked.page_token)?;
        let sessions = sessions.into_iter().map(wire::session).collect();
        Ok(Response::new(pb::ListLocalSessionsResponse { sessions, next_page_token }))
    }

    async fn drain(&self, request: Request<pb::DrainRequest>) -> Result<Response<pb::DrainResponse>, Status> {
        let asked = request.into_inner();
        let deadline = asked.deadline.map(|given| span::read("deadline", given)).transpose()?;
        self.node.begin_drain(deadline, &asked.reason);
        let sessions = self.node.register().connected() as u32;
        Ok(Response::new(pb::DrainResponse { sessions }))
    }

    async fn kick_session(
        &self,
        request: Request<pb::KickSessionRequest>,
    ) -> Result<Response<pb::KickSessionResponse>, Status> {
        let asked = request.into_inner();
        let session = wire::id(&asked.name, "sessions/")?;
        if !self.node.register().kick_session(session, &asked.reason) {
            let told = format!("no session {session} is connected to this node");
            return Err(Failure::new(Code::NotFound, "SESSION_NOT_FOUND", told).with("session", session).into());
        }
        Ok(Response::new(pb::KickSessionResponse {}))
    }

    async fn set_log_level(
        &self,
        request: Request<pb::SetLogLevelRequest>,
    ) -> Result<Response<pb::SetLogLevelResponse>, Status> {
        let asked = request.into_inner();
        if !LEVELS.contains(&asked.level.as_str()) {
            return Err(Failure::invalid_field("level", format!("is one of {}", LEVELS.join(", "))).into());
        }
        let ttl = asked.ttl.map(|given| span::read("ttl", given)).transpose()?.unwrap_or(LEVEL_TTL);
        if ttl.is_zero() || ttl > LEVEL_TTL_MAX {
            return Err(Failure::invalid_field("ttl", "is more than 0 and at most 24 hours (\"86400s\")").into());
        }
        let until = self.node.set_log_level(&asked.target, &asked.level, ttl)?;
        Ok(Response::new(pb::SetLogLevelResponse { until: Some(wire::time(until)) }))
    }

    async fn get_effective_config(
        &self,
        _: Request<pb::GetEffectiveConfigRequest>,
    ) -> Result<Response<pb::GetEffectiveConfigResponse>, Status> {
        Ok(Response::new(pb::GetEffectiveConfigResponse { yaml: self.node.effective_config() }))
    }
}

/// The levels of the log.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// How long a level holds when the caller does not say.
const LEVEL_TTL: Duration = Duration::from_secs(600);
/// Nobody means to log everything for longer.
const LEVEL_TTL_MAX: Duration = Duration::from_secs(86_400);
