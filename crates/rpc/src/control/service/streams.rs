//! StreamDirectoryService.

use proto::control::v1::{
    self as pb, stream_directory_service_server::StreamDirectoryService, watch_streams_response::Event,
};
use tonic::{Request, Response, Status};

use super::{
    super::{Step, StreamInfo, Streams, Watched, fields, list, wire::streams as wire},
    Adapter, Answers, answers, caller, not_found,
};

#[tonic::async_trait]
impl<C: Streams> StreamDirectoryService for Adapter<C> {
    type WatchStreamsStream = Answers<pb::WatchStreamsResponse>;

    async fn list_streams(
        &self,
        request: Request<pb::ListStreamsRequest>,
    ) -> Result<Response<pb::ListStreamsResponse>, Status> {
        let pb::ListStreamsRequest { page_size, page_token, filter, order_by } = request.into_inner();
        let request = list::Request { page_size, page_token: &page_token, filter: &filter, order_by: &order_by };
        let (streams, next_page_token) = list::page(self.control.streams(), &request)?;
        let streams = streams.into_iter().map(wire::stream).collect();
        Ok(Response::new(pb::ListStreamsResponse { streams, next_page_token }))
    }

    async fn get_stream(
        &self,
        request: Request<pb::GetStreamRequest>,
    ) -> Result<Response<pb::GetStreamResponse>, Status> {
        let name = fields::stream("name", &request.into_inner().name)?;
        let stream = self.control.stream(&name).ok_or_else(|| not_found("stream", &name.resource()))?;
        Ok(Response::new(pb::GetStreamResponse { stream: Some(wire::stream(stream)) }))
    }

    async fn locate_stream(
        &self,
        request: Request<pb::LocateStreamRequest>,
    ) -> Result<Response<pb::LocateStreamResponse>, Status> {
        let name = fields::stream_or_path("name", &request.into_inner().name)?;
        let located = self.control.locate(&name).ok_or_else(|| not_found("stream", &name.resource()))?;
        Ok(Response::new(wire::located(located)))
    }

    async fn watch_streams(
        &self,
        request: Request<pb::WatchStreamsRequest>,
    ) -> Result<Response<Self::WatchStreamsStream>, Status> {
        let steps = self.control.watch_streams(request.into_inner().from_revision)?;
        Ok(Response::new(answers(steps, wire_step)))
    }

    async fn kick_stream(
        &self,
        request: Request<pb::KickStreamRequest>,
    ) -> Result<Response<pb::KickStreamResponse>, Status> {
        let caller = caller(&request)?;
        let sessions_ended = self.control.kick_stream(caller, wire::kick_stream(request.into_inner())?).await?;
        Ok(Response::new(pb::KickStreamResponse { sessions_ended }))
    }
}

fn wire_step(step: Step<StreamInfo>) -> pb::WatchStreamsResponse {
    let event = match step.event {
        Watched::Snapshot(stream) => Event::SnapshotItem(wire::stream(stream)),
        Watched::Bookmark => Event::Bookmark(pb::Bookmark {}),
        Watched::Put(stream) => Event::Put(wire::stream(stream)),
        Watched::Deleted(name) => Event::Delete(name),
        Watched::Heartbeat => Event::Heartbeat(pb::Heartbeat {}),
    };
    pb::WatchStreamsResponse { revision: step.revision, event: Some(event) }
}
