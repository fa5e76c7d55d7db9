//! EventService.

use proto::control::v1::{self as pb, event_service_server::EventService, watch_events_response::Message};
use tonic::{Request, Response, Status};

use super::{
    super::{Event, EventLog, Step, Watched, fields, list, wire::events as wire},
    Adapter, Answers, answers,
};

#[tonic::async_trait]
impl<C: EventLog> EventService for Adapter<C> {
    type WatchEventsStream = Answers<pb::WatchEventsResponse>;

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let pb::ListEventsRequest { page_size, page_token, filter, order_by, since } = request.into_inner();
        let request = list::Request { page_size, page_token: &page_token, filter: &filter, order_by: &order_by };
        let since = fields::moment("since", since)?;
        let mut events = self.control.events();
        events.retain(|event| event.time >= since);
        let (events, next_page_token) = list::page(events, &request)?;
        let events = events.into_iter().map(wire::event).collect();
        Ok(Response::new(pb::ListEventsResponse { events, next_page_token }))
    }

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let steps = self.control.watch_events(request.into_inner().from_sequence)?;
        Ok(Response::new(answers(steps, wire_step)))
    }
}

fn wire_step(step: Step<Event>) -> pb::WatchEventsResponse {
    let message = match step.event {
        Watched::Snapshot(event) | Watched::Put(event) => Message::Event(wire::event(event)),
        Watched::Bookmark => Message::Bookmark(pb::Bookmark {}),
        // Events are never taken back.
        Watched::Deleted(_) | Watched::Heartbeat => Message::Heartbeat(pb::Heartbeat {}),
    };
    pb::WatchEventsResponse { sequence: step.revision, message: Some(message) }
}
