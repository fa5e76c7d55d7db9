//! The client's side: what nodes and tools ask of a control plane.

use futures_util::{Stream, StreamExt, stream};
use proto::control::v1::{
    self as pb, cluster_service_client::ClusterServiceClient, event_service_client::EventServiceClient,
    membership_service_client::MembershipServiceClient, origin_pool_service_client::OriginPoolServiceClient,
    route_entry_service_client::RouteEntryServiceClient, session_service_client::SessionServiceClient,
    stream_directory_service_client::StreamDirectoryServiceClient, watch_events_response::Message as EventMessage,
    watch_nodes_response::Event as NodeEvent, watch_origin_pool_response::Event as PoolEvent,
    watch_route_entries_response::Event as RouteEvent, watch_streams_response::Event as StreamEvent,
};
use tonic::{Status, Streaming};

use cluster::{Member, PoolId, Registration};

use super::{
    ClusterStatus, CreateRoute, DeleteRoute, Deregister, Drain, Event, FailBack, FenceMember, FromControlStream,
    FromNode, HoldPool, KickSession, KickStream, Located, NodeInfo, PoolInfo, Promote, Registered, ReleasePool,
    Resolution, RouteInfo, SessionInfo, Step, Steps, StreamInfo, Watched, fields, wire,
};
use crate::{
    channel::Channel,
    status::{Code, Failure},
};

/// A control plane at the other end of a connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

/// What of a list is wanted. The default: its first hundred by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// How many at most; 0 means 100.
    pub page_size: u32,
    /// From the page before; empty for the first.
    pub page_token: String,
    /// Terms `KEY=VALUE` joined by ` AND `.
    pub filter: String,
    /// The key, or the key and ` desc`.
    pub order_by: String,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What there is.
    pub items: Vec<T>,
    /// For the next page; empty on the last.
    pub next_page_token: String,
}

impl Client {
    /// Asks through this connection.
    pub fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Makes a node known.
    pub async fn register(&self, registration: Registration) -> Result<Registered, Failure> {
        let request = wire::members::wire_registration(registration);
        let answer = MembershipServiceClient::new(self.channel.service()).register_node(request).await?;
        understood(wire::members::read_registered(answer.into_inner()))
    }

    /// Opens the conversation of a registered node; it ends when either stream is dropped or ends. What the control
    /// plane says of a kind that is not known here is passed over.
    pub async fn converse(
        &self,
        member: Member,
        from_node: impl Stream<Item = FromNode> + Send + 'static,
    ) -> Result<FromControlStream, Failure> {
        let hello = stream::once(std::future::ready(wire::session::wire_hello(member)));
        let requests = hello.chain(from_node.map(wire::session::wire_from_node));
        let answer = MembershipServiceClient::new(self.channel.service()).node_session(requests).await?;
        let steps = stream::try_unfold(answer.into_inner(), |mut answers| async move {
            while let Some(answer) = answers.message().await? {
                if let Some(message) = understood(wire::session::from_control(answer))? {
                    return Ok(Some((message, answers)));
                }
            }
            Ok(None)
        });
        Ok(Box::pin(steps))
    }

    /// Takes a node out of the list.
    pub async fn deregister(&self, request: Deregister) -> Result<(), Failure> {
        let request = pb::DeregisterNodeRequest {
            name: request.node.resource(),
            incarnation: request.incarnation.map(|start| start.to_string()).unwrap_or_default(),
            validate_only: request.validate_only,
            reason: request.reason,
        };
        MembershipServiceClient::new(self.channel.service()).deregister_node(request).await?;
        Ok(())
    }

    /// Tells a node to end.
    pub async fn drain_node(&self, request: Drain) -> Result<NodeInfo, Failure> {
        let request = pb::DrainNodeRequest {
            name: request.node.resource(),
            deadline: request.deadline.and_then(fields::wire_duration),
            validate_only: request.validate_only,
            reason: request.reason,
        };
        let answer = MembershipServiceClient::new(self.channel.service()).drain_node(request).await?;
        understood(wire::members::read_info(answer.into_inner().node.unwrap_or_default()))
    }

    /// A page of the nodes.
    pub async fn nodes(&self, query: Query) -> Result<Page<NodeInfo>, Failure> {
        let Query { page_size, page_token, filter, order_by } = query;
        let request = pb::ListNodesRequest { page_size, page_token, filter, order_by };
        let answer = MembershipServiceClient::new(self.channel.service()).list_nodes(request).await?.into_inner();
        page(answer.nodes, answer.next_page_token, wire::members::read_info)
    }

    /// The nodes and their changes.
    pub async fn watch_nodes(&self, from_revision: u64) -> Result<Steps<NodeInfo>, Failure> {
        let request = pb::WatchNodesRequest { from_revision };
        let answer = MembershipServiceClient::new(self.channel.service()).watch_nodes(request).await?;
        Ok(steps(answer.into_inner(), |answer: pb::WatchNodesResponse| {
            let event = match answer.event? {
                NodeEvent::SnapshotItem(node) => Watched::Snapshot(node),
                NodeEvent::Bookmark(_) => Watched::Bookmark,
                NodeEvent::Put(node) => Watched::Put(node),
                NodeEvent::Delete(name) => Watched::Deleted(name),
                NodeEvent::Heartbeat(_) => Watched::Heartbeat,
            };
            Some(read_step(answer.revision, event, wire::members::read_info))
        }))
    }

    /// Adds a route entry.
    pub async fn create_route(&self, request: CreateRoute) -> Result<RouteInfo, Failure> {
        let request = pb::CreateRouteEntryRequest {
            route_entry_id: request.id.map(|id| id.to_string()).unwrap_or_default(),
            route_entry: Some(pb::RouteEntry {
                r#match: Some(wire::routes::wire_match(request.matches)),
                target: Some(wire::routes::wire_target(request.target)),
                description: request.description,
                ..pb::RouteEntry::default()
            }),
            validate_only: request.validate_only,
            reason: request.reason,
            request_id: request.request_id,
        };
        let answer = RouteEntryServiceClient::new(self.channel.service()).create_route_entry(request).await?;
        understood(wire::routes::read_info(answer.into_inner().route_entry.unwrap_or_default()))
    }

    /// Removes a route entry; returns the revision at which it went.
    pub async fn delete_route(&self, request: DeleteRoute) -> Result<u64, Failure> {
        let DeleteRoute { id, etag, validate_only, reason } = request;
        let request = pb::DeleteRouteEntryRequest { name: id.resource(), etag, validate_only, reason };
        let answer = RouteEntryServiceClient::new(self.channel.service()).delete_route_entry(request).await?;
        Ok(answer.into_inner().revision)
    }

    /// A page of the route entries.
    pub async fn routes(&self, query: Query) -> Result<Page<RouteInfo>, Failure> {
        let Query { page_size, page_token, filter, order_by } = query;
        let request = pb::ListRouteEntriesRequest { page_size, page_token, filter, order_by };
        let answer = RouteEntryServiceClient::new(self.channel.service()).list_route_entries(request).await?;
        let answer = answer.into_inner();
        page(answer.route_entries, answer.next_page_token, wire::routes::read_info)
    }

    /// The route entries and their changes.
    pub async fn watch_routes(&self, from_revision: u64) -> Result<Steps<RouteInfo>, Failure> {
        let request = pb::WatchRouteEntriesRequest { from_revision };
        let answer = RouteEntryServiceClient::new(self.channel.service()).watch_route_entries(request).await?;
        Ok(steps(answer.into_inner(), |answer: pb::WatchRouteEntriesResponse| {
            let event = match answer.event? {
                RouteEvent::SnapshotItem(route) => Watched::Snapshot(route),
                RouteEvent::Bookmark(_) => Watched::Bookmark,
                RouteEvent::Put(route) => Watched::Put(route),
                RouteEvent::Delete(name) => Watched::Deleted(name),
                RouteEvent::Heartbeat(_) => Watched::Heartbeat,
            };
            Some(read_step(answer.revision, event, wire::routes::read_info))
        }))
    }

    /// Where a stream (a path such as `live/foo`, or its resource name) goes, and why.
    pub async fn resolve_route(&self, stream: &str) -> Result<Resolution, Failure> {
        let request = pb::ResolveRouteRequest { stream: stream.to_owned(), ..pb::ResolveRouteRequest::default() };
        let answer = RouteEntryServiceClient::new(self.channel.service()).resolve_route(request).await?;
        understood(wire::routes::read_resolution(answer.into_inner()))
    }

    /// A page of the pools.
    pub async fn pools(&self, query: Query) -> Result<Page<PoolInfo>, Failure> {
        let Query { page_size, page_token, filter, order_by } = query;
        let request = pb::ListOriginPoolsRequest { page_size, page_token, filter, order_by };
        let answer = OriginPoolServiceClient::new(self.channel.service()).list_origin_pools(request).await?;
        let answer = answer.into_inner();
        page(answer.origin_pools, answer.next_page_token, wire::pools::read_info)
    }

    /// One pool.
    pub async fn pool(&self, id: &PoolId) -> Result<PoolInfo, Failure> {
        let request = pb::GetOriginPoolRequest { name: id.resource() };
        let answer = OriginPoolServiceClient::new(self.channel.service()).get_origin_pool(request).await?;
        pool(answer.into_inner().origin_pool)
    }

    /// All pools and their changes.
    pub async fn watch_pools(&self, from_revision: u64) -> Result<Steps<PoolInfo>, Failure> {
        let request = pb::WatchOriginPoolRequest { name: String::new(), from_revision };
        let answer = OriginPoolServiceClient::new(self.channel.service()).watch_origin_pool(request).await?;
        Ok(steps(answer.into_inner(), |answer: pb::WatchOriginPoolResponse| {
            let event = match answer.event? {
                PoolEvent::SnapshotItem(pool) => Watched::Snapshot(pool),
                PoolEvent::Bookmark(_) => Watched::Bookmark,
                PoolEvent::Put(pool) => Watched::Put(pool),
                PoolEvent::Delete(name) => Watched::Deleted(name),
                PoolEvent::Heartbeat(_) => Watched::Heartbeat,
            };
            Some(read_step(answer.revision, event, wire::pools::read_info))
        }))
    }

    /// Makes another member of a pool active.
    pub async fn promote(&self, request: Promote) -> Result<PoolInfo, Failure> {
        let request = wire::pools::wire_promote(request);
        let answer = OriginPoolServiceClient::new(self.channel.service()).promote_member(request).await?;
        pool(answer.into_inner().origin_pool)
    }

    /// Makes the first choice of a pool active again.
    pub async fn fail_back(&self, request: FailBack) -> Result<PoolInfo, Failure> {
        let request = wire::pools::wire_fail_back(request);
        let answer = OriginPoolServiceClient::new(self.channel.service()).fail_back(request).await?;
        pool(answer.into_inner().origin_pool)
    }

    /// Stops automation.
    pub async fn hold_pool(&self, request: HoldPool) -> Result<PoolInfo, Failure> {
        let request = wire::pools::wire_hold(request);
        let answer = OriginPoolServiceClient::new(self.channel.service()).hold_pool(request).await?;
        pool(answer.into_inner().origin_pool)
    }

    /// Lets roles move by themselves again.
    pub async fn release_pool(&self, request: ReleasePool) -> Result<PoolInfo, Failure> {
        let request = wire::pools::wire_release(request);
        let answer = OriginPoolServiceClient::new(self.channel.service()).release_pool(request).await?;
        pool(answer.into_inner().origin_pool)
    }

    /// Takes a member out of service.
    pub async fn fence_member(&self, request: FenceMember) -> Result<PoolInfo, Failure> {
        let request = wire::pools::wire_fence(request);
        let answer = OriginPoolServiceClient::new(self.channel.service()).fence_member(request).await?;
        pool(answer.into_inner().origin_pool)
    }

    /// Lets a fenced member in again.
    pub async fn unfence_member(&self, request: FenceMember) -> Result<PoolInfo, Failure> {
        let request = wire::pools::wire_unfence(request);
        let answer = OriginPoolServiceClient::new(self.channel.service()).unfence_member(request).await?;
        pool(answer.into_inner().origin_pool)
    }

    /// A page of the streams.
    pub async fn streams(&self, query: Query) -> Result<Page<StreamInfo>, Failure> {
        let Query { page_size, page_token, filter, order_by } = query;
        let request = pb::ListStreamsRequest { page_size, page_token, filter, order_by };
        let answer = StreamDirectoryServiceClient::new(self.channel.service()).list_streams(request).await?;
        let answer = answer.into_inner();
        page(answer.streams, answer.next_page_token, wire::streams::read_stream)
    }

    /// Where a stream (a path such as `live/foo`, or its resource name) is.
    pub async fn locate(&self, stream: &str) -> Result<Located, Failure> {
        let request = pb::LocateStreamRequest { name: stream.to_owned() };
        let answer = StreamDirectoryServiceClient::new(self.channel.service()).locate_stream(request).await?;
        understood(wire::streams::read_located(answer.into_inner()))
    }

    /// The streams and their changes.
    pub async fn watch_streams(&self, from_revision: u64) -> Result<Steps<StreamInfo>, Failure> {
        let request = pb::WatchStreamsRequest { from_revision };
        let answer = StreamDirectoryServiceClient::new(self.channel.service()).watch_streams(request).await?;
        Ok(steps(answer.into_inner(), |answer: pb::WatchStreamsResponse| {
            let event = match answer.event? {
                StreamEvent::SnapshotItem(stream) => Watched::Snapshot(stream),
                StreamEvent::Bookmark(_) => Watched::Bookmark,
                StreamEvent::Put(stream) => Watched::Put(stream),
                StreamEvent::Delete(name) => Watched::Deleted(name),
                StreamEvent::Heartbeat(_) => Watched::Heartbeat,
            };
            Some(read_step(answer.revision, event, wire::streams::read_stream))
        }))
    }

    /// Ends a stream; returns how many sessions that ended.
    pub async fn kick_stream(&self, request: KickStream) -> Result<u32, Failure> {
        let request = pb::KickStreamRequest {
            name: request.name.resource(),
            ban_for: fields::wire_duration(request.ban_for),
            validate_only: request.validate_only,
            reason: request.reason,
        };
        let answer = StreamDirectoryServiceClient::new(self.channel.service()).kick_stream(request).await?;
        Ok(answer.into_inner().sessions_ended)
    }

    /// A page of the sessions.
    pub async fn sessions(&self, query: Query) -> Result<Page<SessionInfo>, Failure> {
        let Query { page_size, page_token, filter, order_by } = query;
        let request = pb::ListSessionsRequest { page_size, page_token, filter, order_by };
        let answer = SessionServiceClient::new(self.channel.service()).list_sessions(request).await?.into_inner();
        page(answer.sessions, answer.next_page_token, wire::streams::read_session)
    }

    /// Ends a session; returns it as it was last reported.
    pub async fn kick_session(&self, request: KickSession) -> Result<SessionInfo, Failure> {
        let KickSession { id, validate_only, reason } = request;
        let request = pb::KickSessionRequest { name: format!("sessions/{id}"), validate_only, reason };
        let answer = SessionServiceClient::new(self.channel.service()).kick_session(request).await?;
        understood(wire::streams::read_session(answer.into_inner().session.unwrap_or_default()))
    }

    /// A page of the stored events, oldest first.
    pub async fn events(&self, query: Query) -> Result<Page<Event>, Failure> {
        let Query { page_size, page_token, filter, order_by } = query;
        let request = pb::ListEventsRequest { page_size, page_token, filter, order_by, since: None };
        let answer = EventServiceClient::new(self.channel.service()).list_events(request).await?.into_inner();
        page(answer.events, answer.next_page_token, wire::events::read_event)
    }

    /// Events after a sequence, as they happen; from 0 those from now on.
    pub async fn watch_events(&self, from_sequence: u64) -> Result<Steps<Event>, Failure> {
        let request = pb::WatchEventsRequest { from_sequence };
        let answer = EventServiceClient::new(self.channel.service()).watch_events(request).await?;
        Ok(steps(answer.into_inner(), |answer: pb::WatchEventsResponse| {
            let event = match answer.message? {
                EventMessage::Event(event) => Watched::Put(event),
                EventMessage::Bookmark(_) => Watched::Bookmark,
                EventMessage::Heartbeat(_) => Watched::Heartbeat,
            };
            Some(read_step(answer.sequence, event, wire::events::read_event))
        }))
    }

    /// How the cluster is.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, Failure> {
        let answer = ClusterServiceClient::new(self.channel.service()).get_status(pb::GetStatusRequest {}).await?;
        understood(wire::status::read_status(answer.into_inner()))
    }
}

/// An answer that makes no sense is the other side's fault, not the request's.
fn understood<T>(read: Result<T, Failure>) -> Result<T, Failure> {
    read.map_err(|wrong| {
        Failure::new(
            Code::Internal,
            "BAD_ANSWER",
            format!("the control plane's answer makes no sense: {}", wrong.message),
        )
    })
}

fn pool(wire: Option<pb::OriginPool>) -> Result<PoolInfo, Failure> {
    understood(wire::pools::read_info(wire.unwrap_or_default()))
}

fn page<W, T>(
    items: Vec<W>,
    next_page_token: String,
    read: impl Fn(W) -> Result<T, Failure>,
) -> Result<Page<T>, Failure> {
    let items = items.into_iter().map(read).collect::<Result<_, _>>();
    Ok(Page { items: understood(items)?, next_page_token })
}

fn read_step<W, T>(
    revision: u64,
    event: Watched<W>,
    read: impl Fn(W) -> Result<T, Failure>,
) -> Result<Step<T>, Failure> {
    let event = match event {
        Watched::Snapshot(thing) => Watched::Snapshot(understood(read(thing))?),
        Watched::Put(thing) => Watched::Put(understood(read(thing))?),
        Watched::Bookmark => Watched::Bookmark,
        Watched::Deleted(name) => Watched::Deleted(name),
        Watched::Heartbeat => Watched::Heartbeat,
    };
    Ok(Step { revision, event })
}

/// The messages of a watch as steps; one of a kind that is not known here is passed over.
fn steps<W: Send + 'static, T: Send + 'static>(
    answers: Streaming<W>,
    read: impl Fn(W) -> Option<Result<Step<T>, Failure>> + Send + 'static,
) -> Steps<T> {
    let step = move |answer: Result<W, Status>| match answer {
        Ok(answer) => read(answer),
        Err(status) => Some(Err(status.into())),
    };
    Box::pin(answers.filter_map(move |answer| std::future::ready(step(answer))))
}
