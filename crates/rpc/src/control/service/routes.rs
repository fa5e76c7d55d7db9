//! RouteEntryService.

use media::{DEFAULT_VHOST, StreamName};
use proto::control::v1::{
    self as pb, route_entry_service_server::RouteEntryService, watch_route_entries_response::Event,
};
use tonic::{Request, Response, Status};

use super::{
    super::{RouteInfo, Routes, Step, Watched, fields, list, wire::routes as wire},
    Adapter, Answers, answers, caller, not_found,
};
use crate::{
    auth::Caller,
    status::{Code, Failure},
};

#[tonic::async_trait]
impl<C: Routes> RouteEntryService for Adapter<C> {
    type WatchRouteEntriesStream = Answers<pb::WatchRouteEntriesResponse>;

    async fn create_route_entry(
        &self,
        request: Request<pb::CreateRouteEntryRequest>,
    ) -> Result<Response<pb::CreateRouteEntryResponse>, Status> {
        let caller = caller(&request)?;
        let route = self.control.create_route(caller, wire::create(request.into_inner())?).await?;
        Ok(Response::new(pb::CreateRouteEntryResponse { route_entry: Some(wire::info(route)) }))
    }

    async fn get_route_entry(
        &self,
        request: Request<pb::GetRouteEntryRequest>,
    ) -> Result<Response<pb::GetRouteEntryResponse>, Status> {
        let id = fields::route("name", &request.into_inner().name)?;
        let route = self.control.route(&id).ok_or_else(|| not_found("route entry", &id.resource()))?;
        Ok(Response::new(pb::GetRouteEntryResponse { route_entry: Some(wire::info(route)) }))
    }

    async fn list_route_entries(
        &self,
        request: Request<pb::ListRouteEntriesRequest>,
    ) -> Result<Response<pb::ListRouteEntriesResponse>, Status> {
        let pb::ListRouteEntriesRequest { page_size, page_token, filter, order_by } = request.into_inner();
        let request = list::Request { page_size, page_token: &page_token, filter: &filter, order_by: &order_by };
        let (routes, revision) = self.control.routes();
        let (routes, next_page_token) = list::page(routes, &request)?;
        let route_entries = routes.into_iter().map(wire::info).collect();
        Ok(Response::new(pb::ListRouteEntriesResponse { route_entries, next_page_token, revision }))
    }

    async fn update_route_entry(
        &self,
        request: Request<pb::UpdateRouteEntryRequest>,
    ) -> Result<Response<pb::UpdateRouteEntryResponse>, Status> {
        let caller = caller(&request)?;
        let route = self.control.update_route(caller, wire::update(request.into_inner())?).await?;
        Ok(Response::new(pb::UpdateRouteEntryResponse { route_entry: Some(wire::info(route)) }))
    }

    async fn delete_route_entry(
        &self,
        request: Request<pb::DeleteRouteEntryRequest>,
    ) -> Result<Response<pb::DeleteRouteEntryResponse>, Status> {
        let caller = caller(&request)?;
        let revision = self.control.delete_route(caller, wire::delete(request.into_inner())?).await?;
        Ok(Response::new(pb::DeleteRouteEntryResponse { revision }))
    }

    async fn batch_update_route_entries(
        &self,
        request: Request<pb::BatchUpdateRouteEntriesRequest>,
    ) -> Result<Response<pb::BatchUpdateRouteEntriesResponse>, Status> {
        let caller = caller(&request)?;
        let requests = fields::bounded("requests", request.into_inner().requests, BATCH_MAX)?;
        if requests.is_empty() {
            return Err(Failure::invalid_field("requests", "at least one is needed").into());
        }
        let mut results = Vec::with_capacity(requests.len());
        for request in requests {
            results.push(self.update_one(caller, request).await);
        }
        Ok(Response::new(pb::BatchUpdateRouteEntriesResponse { results }))
    }

    async fn watch_route_entries(
        &self,
        request: Request<pb::WatchRouteEntriesRequest>,
    ) -> Result<Response<Self::WatchRouteEntriesStream>, Status> {
        let steps = self.control.watch_routes(request.into_inner().from_revision)?;
        Ok(Response::new(answers(steps, wire_step)))
    }

    async fn resolve_route(
        &self,
        request: Request<pb::ResolveRouteRequest>,
    ) -> Result<Response<pb::ResolveRouteResponse>, Status> {
        let name = asked_stream(request.into_inner())?;
        Ok(Response::new(wire::resolution(self.control.resolve_route(&name))))
    }
}

impl<C: Routes> Adapter<C> {
    async fn update_one(
        &self,
        caller: Caller,
        request: pb::UpdateRouteEntryRequest,
    ) -> pb::BatchUpdateRouteEntryResult {
        let outcome = match wire::update(request) {
            Ok(request) => self.control.update_route(caller, request).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(route) => pb::BatchUpdateRouteEntryResult { route_entry: Some(wire::info(route)), error: None },
            Err(failure) => pb::BatchUpdateRouteEntryResult { route_entry: None, error: Some(item_error(failure)) },
        }
    }
}

fn item_error(failure: Failure) -> pb::ItemError {
    pb::ItemError {
        code: code_name(failure.code),
        reason: failure.reason,
        message: failure.message,
        field: failure.fields.into_iter().next().map(|wrong| wrong.field).unwrap_or_default(),
    }
}

/// `NotFound` as gRPC spells it: `NOT_FOUND`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn asked_stream(request: pb::ResolveRouteRequest) -> Result<StreamName, Failure> {
    if !request.stream.is_empty() {
        return fields::stream_or_path("stream", &request.stream);
    }
    if request.app.is_empty() {
        return Err(Failure::invalid_field("app", "is needed, with name; or stream, such as \"live/foo\""));
    }
    if request.name.is_empty() {
        return Err(Failure::invalid_field("name", "is needed: the stream's own name"));
    }
    let vhost = if request.vhost.is_empty() { DEFAULT_VHOST } else { &request.vhost };
    StreamName::from_app(vhost, &request.app, &request.name)
        .map_err(|why| Failure::invalid_field(wrong_part(&why), why.to_string()))
}

/// The field that holds the part of which the error speaks.
fn wrong_part(why: &media::NameError) -> &'static str {
    use media::NameError::{Empty, EndsWithDot, Forbidden, NotAResource, TooLong};
    match why {
        Empty { part } | TooLong { part } | EndsWithDot { part } | Forbidden { part, .. } if *part == "vhost" => {
            "vhost"
        }
        Empty { part } | TooLong { part } | EndsWithDot { part } | Forbidden { part, .. } if *part == "name" => "name",
        Empty { .. } | TooLong { .. } | EndsWithDot { .. } | Forbidden { .. } => "app",
        NotAResource => "stream",
    }
}

fn wire_step(step: Step<RouteInfo>) -> pb::WatchRouteEntriesResponse {
    let event = match step.event {
        Watched::Snapshot(route) => Event::SnapshotItem(wire::info(route)),
        Watched::Bookmark => Event::Bookmark(pb::Bookmark {}),
        Watched::Put(route) => Event::Put(wire::info(route)),
        Watched::Deleted(name) => Event::Delete(name),
        Watched::Heartbeat => Event::Heartbeat(pb::Heartbeat {}),
    };
    pb::WatchRouteEntriesResponse { revision: step.revision, event: Some(event) }
}

/// How many changes one batch may make.
const BATCH_MAX: usize = 100;
