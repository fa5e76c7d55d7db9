//! The server's side: the traits behind the services of `headwater.control.v1`.

mod events;
mod members;
mod pools;
mod routes;
mod sessions;
mod status;
mod streams;

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt};
use proto::control::v1::{
    cluster_service_server::ClusterServiceServer, event_service_server::EventServiceServer,
    membership_service_server::MembershipServiceServer, origin_pool_service_server::OriginPoolServiceServer,
    route_entry_service_server::RouteEntryServiceServer, session_service_server::SessionServiceServer,
    stream_directory_service_server::StreamDirectoryServiceServer,
};
use tonic::{Request, Status};

use super::{Cluster, EventLog, Members, Pools, Routes, Sessions, Step, Steps, Streams};
use crate::{
    auth::Caller,
    server::{Builder, MESSAGE_BYTES_MAX},
    status::{Code, Failure},
};

impl Builder {
    /// Adds the services of a control plane.
    pub fn control<C>(self, control: Arc<C>) -> Self
    where
        C: Routes + Members + Pools + Streams + Sessions + EventLog + Cluster,
    {
        let adapter = Adapter { control };
        self.add(RouteEntryServiceServer::new(adapter.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add(MembershipServiceServer::new(adapter.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add(OriginPoolServiceServer::new(adapter.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add(StreamDirectoryServiceServer::new(adapter.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add(SessionServiceServer::new(adapter.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add(EventServiceServer::new(adapter.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add(ClusterServiceServer::new(adapter).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }
}

/// One control plane behind all its services.
struct Adapter<C> {
    control: Arc<C>,
}

impl<C> Clone for Adapter<C> {
    fn clone(&self) -> Self {
        Self { control: self.control.clone() }
    }
}

/// What a streaming method answers with.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Who calls; the guard in front of all services has put it there.
fn caller<T>(request: &Request<T>) -> Result<Caller, Failure> {
    let unknown = || Failure::new(Code::Unauthenticated, "TOKEN_MISSING", "nobody knows who calls");
    request.extensions().get().copied().ok_or_else(unknown)
}

/// The steps of a watch as messages.
fn answers<T: 'static, W: 'static>(steps: Steps<T>, wire: impl Fn(Step<T>) -> W + Send + 'static) -> Answers<W> {
    Box::pin(steps.map(move |step| step.map(&wire).map_err(Status::from)))
}

fn not_found(resource: &str, name: &str) -> Failure {
    let reason = format!("{}_NOT_FOUND", resource.to_uppercase().replace(' ', "_"));
    Failure::new(Code::NotFound, reason, format!("there is no {resource} {name}")).with("name", name)
}
