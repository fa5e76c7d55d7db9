//! MembershipService.

use futures_util::{StreamExt, stream};
use proto::control::v1::{self as pb, membership_service_server::MembershipService, watch_nodes_response::Event};
use tonic::{Request, Response, Status, Streaming};

use super::{
    super::{Members, NodeInfo, Step, Watched, fields, list, wire::members as wire, wire::session},
    Adapter, Answers, answers, caller, not_found,
};
use crate::status::Failure;

#[tonic::async_trait]
impl<C: Members> MembershipService for Adapter<C> {
    type NodeSessionStream = Answers<pb::NodeSessionResponse>;
    type WatchNodesStream = Answers<pb::WatchNodesResponse>;

    async fn register_node(
        &self,
        request: Request<pb::RegisterNodeRequest>,
    ) -> Result<Response<pb::RegisterNodeResponse>, Status> {
        let caller = caller(&request)?;
        let registration = wire::registration(request.into_inner())?;
        Ok(Response::new(wire::registered(self.control.register(caller, registration).await?)))
    }

    async fn node_session(
        &self,
        request: Request<Streaming<pb::NodeSessionRequest>>,
    ) -> Result<Response<Self::NodeSessionStream>, Status> {
        let caller = caller(&request)?;
        let mut requests = request.into_inner();
        let first = tokio::time::timeout(HELLO_WAIT, requests.message()).await;
        let first = first.map_err(|_| Failure::invalid_field("hello", "did not come in time"))??;
        let member = session::hello(first)?;
        let from_node = stream::try_unfold(requests, |mut requests| async move {
            while let Some(request) = requests.message().await? {
                if let Some(message) = session::from_node(request)? {
                    return Ok(Some((message, requests)));
                }
            }
            Ok::<_, Failure>(None)
        });
        let from_control = self.control.converse(caller, member, Box::pin(from_node))?;
        let wire = |message: Result<_, Failure>| message.map(session::wire_from_control).map_err(Status::from);
        Ok(Response::new(Box::pin(from_control.map(wire))))
    }

    async fn deregister_node(
        &self,
        request: Request<pb::DeregisterNodeRequest>,
    ) -> Result<Response<pb::DeregisterNodeResponse>, Status> {
        let caller = caller(&request)?;
        self.control.deregister(caller, wire::deregister(request.into_inner())?).await?;
        Ok(Response::new(pb::DeregisterNodeResponse {}))
    }

    async fn get_node(&self, request: Request<pb::GetNodeRequest>) -> Result<Response<pb::GetNodeResponse>, Status> {
        let id = fields::node("name", &request.into_inner().name)?;
        let node = self.control.node(&id).ok_or_else(|| not_found("node", &id.resource()))?;
        Ok(Response::new(pb::GetNodeResponse { node: Some(wire::info(node)) }))
    }

    async fn list_nodes(
        &self,
        request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        let pb::ListNodesRequest { page_size, page_token, filter, order_by } = request.into_inner();
        let request = list::Request { page_size, page_token: &page_token, filter: &filter, order_by: &order_by };
        let (nodes, next_page_token) = list::page(self.control.nodes(), &request)?;
        let nodes = nodes.into_iter().map(wire::info).collect();
        Ok(Response::new(pb::ListNodesResponse { nodes, next_page_token }))
    }

    async fn watch_nodes(
        &self,
        request: Request<pb::WatchNodesRequest>,
    ) -> Result<Response<Self::WatchNodesStream>, Status> {
        let steps = self.control.watch_nodes(request.into_inner().from_revision)?;
        Ok(Response::new(answers(steps, wire_step)))
    }

    async fn drain_node(
        &self,
        request: Request<pb::DrainNodeRequest>,
    ) -> Result<Response<pb::DrainNodeResponse>, Status> {
        let caller = caller(&request)?;
        let node = self.control.drain_node(caller, wire::drain(request.into_inner())?).await?;
        Ok(Response::new(pb::DrainNodeResponse { node: Some(wire::info(node)) }))
    }
}

fn wire_step(step: Step<NodeInfo>) -> pb::WatchNodesResponse {
    let event = match step.event {
        Watched::Snapshot(node) => Event::SnapshotItem(wire::info(node)),
        Watched::Bookmark => Event::Bookmark(pb::Bookmark {}),
        Watched::Put(node) => Event::Put(wire::info(node)),
        Watched::Deleted(name) => Event::Delete(name),
        Watched::Heartbeat => Event::Heartbeat(pb::Heartbeat {}),
    };
    pb::WatchNodesResponse { revision: step.revision, event: Some(event) }
}

/// How long an opened session may stay without saying whose it is.
const HELLO_WAIT: std::time::Duration = std::time::Duration::from_secs(5);
