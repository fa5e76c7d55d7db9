//! The server's side: a [`Relay`] behind `headwater.relay.v1.RelayService`.

use std::{sync::Arc, time::Duration};

use cluster::NodeKind;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use proto::relay::v1::{
    self as pb,
    relay_service_server::{RelayService, RelayServiceServer},
};
use tokio::time;
use tonic::{Request, Response, Status, Streaming};

use super::{Flow, FollowUp, LinkHello, PullDown, PushUp, Relay, RelayError, wire};
use crate::{
    auth::Caller,
    server::{Builder, RELAY_MESSAGE_BYTES_MAX},
};

impl Builder {
    /// Adds the relay.
    pub fn relay(self, relay: Arc<impl Relay>) -> Self {
        let service = RelayServiceServer::new(Adapter { relay })
            .max_decoding_message_size(RELAY_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RELAY_MESSAGE_BYTES_MAX);
        self.add(service)
    }
}

struct Adapter<R> {
    relay: Arc<R>,
}

/// An answer as tonic wants it.
type Answer<T> = stream::BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl<R: Relay> RelayService for Adapter<R> {
    type PushStream = Answer<pb::PushResponse>;
    type PullStream = Answer<pb::PullResponse>;
    type FollowStream = Answer<pb::FollowResponse>;
    type LinkStream = Answer<pb::LinkResponse>;

    async fn push(&self, request: Request<Streaming<pb::PushRequest>>) -> Result<Response<Self::PushStream>, Status> {
        let mut requests = request.into_inner();
        let hello = wire::push::hello_in(first(&mut requests).await?)?;
        let up = up(requests, hello.first_number);
        let down = self.relay.push(hello, up).await?;
        Ok(Response::new(down.map_ok(wire::push::down_out).map_err(Status::from).boxed()))
    }

    async fn pull(&self, request: Request<pb::PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        let request = wire::pull::request_in(request.into_inner())?;
        let down = self.relay.pull(request).await?;
        Ok(Response::new(answer(down)))
    }

    async fn follow(
        &self,
        request: Request<Streaming<pb::FollowRequest>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let mut requests = request.into_inner();
        let hello = wire::follow::hello_in(first(&mut requests).await?)?;
        let down = self.relay.follow(hello, follower(requests)).await?;
        let batches = |down| stream::iter(wire::follow::down_out(down).into_iter().map(Ok));
        Ok(Response::new(down.map_ok(batches).map_err(Status::from).try_flatten().boxed()))
    }

    async fn link(&self, request: Request<Streaming<pb::LinkRequest>>) -> Result<Response<Self::LinkStream>, Status> {
        let caller = request.extensions().get().copied();
        let mut requests = request.into_inner();
        let hello = wire::link::hello_in(first(&mut requests).await?)?;
        admit(caller, &hello)?;
        let up = until_error(requests.map_err(RelayError::from).map(|request| wire::link::up_in(request?)));
        let down = self.relay.link(hello, up).await?;
        Ok(Response::new(down.map_ok(wire::link::down_out).map_err(Status::from).boxed()))
    }
}

/// The first request of a call.
async fn first<T>(requests: &mut Streaming<T>) -> Result<T, RelayError> {
    let first = time::timeout(HELLO_WAIT, requests.message()).await;
    let first = first.map_err(|_| RelayError::Invalid("no hello came in time".into()))??;
    first.ok_or_else(|| RelayError::Invalid("a call without a hello".into()))
}

/// A token speaks for nodes of its own kind only: whom edges hear decides about roles.
fn admit(caller: Option<Caller>, hello: &LinkHello) -> Result<(), RelayError> {
    let right = match hello.kind {
        NodeKind::Origin => Caller::Origin,
        NodeKind::Edge => Caller::Edge,
    };
    if caller == Some(right) {
        return Ok(());
    }
    Err(RelayError::NotAdmitted(format!("the token does not speak for an {}", hello.kind.as_str())))
}

/// What a follower says, put together and checked; ends with the first error.
fn follower(requests: Streaming<pb::FollowRequest>) -> Flow<FollowUp> {
    let mut ups = wire::follow::Ups::default();
    let read = requests.map_err(RelayError::from).map(move |request| ups.read(request?));
    until_error(read.try_filter_map(ready_ok))
}

/// Nothing but its argument: a message that is not whole yet is passed over.
pub(super) async fn ready_ok<T>(message: Option<T>) -> Result<Option<T>, RelayError> {
    Ok(message)
}

/// What the edge says, checked; ends with the first error.
fn up(requests: Streaming<pb::PushRequest>, first_number: u64) -> Flow<PushUp> {
    let mut numbers = Numbers { next: first_number };
    let checked = requests.map_err(RelayError::from).map(move |request| {
        let up = wire::push::up_in(request?)?;
        numbers.check(&up)?;
        Ok(up)
    });
    until_error(checked)
}

/// The numbers of a publication's messages ascend.
struct Numbers {
    next: u64,
}

impl Numbers {
    fn check(&mut self, up: &PushUp) -> Result<(), RelayError> {
        match up {
            PushUp::Messages(messages) => messages.iter().try_for_each(|(number, _)| self.take(*number)),
            PushUp::MetadataCleared(number) | PushUp::Close(number) => self.take(*number),
            PushUp::Skip { from, to } => {
                self.take(*from)?;
                self.next = *to;
                self.take(*to)
            }
            PushUp::Beat { .. } => Ok(()),
        }
    }

    fn take(&mut self, number: u64) -> Result<(), RelayError> {
        let after = number.checked_add(1).filter(|_| number >= self.next);
        self.next = after.ok_or_else(|| RelayError::Invalid(format!("message {number} came after {}", self.next)))?;
        Ok(())
    }
}

/// What the origin says, cut into batches.
fn answer(down: Flow<PullDown>) -> Answer<pb::PullResponse> {
    let batches = |down| stream::iter(wire::pull::down_out(down).into_iter().map(Ok));
    down.map_ok(batches).map_err(Status::from).try_flatten().boxed()
}

/// The stream up to and with its first error; what is behind it is dropped then.
pub(super) fn until_error<T: Send + 'static>(
    stream: impl Stream<Item = Result<T, RelayError>> + Send + 'static,
) -> Flow<T> {
    stream::try_unfold(stream.boxed(), |mut open| async move { Ok(open.try_next().await?.map(|item| (item, open))) })
        .boxed()
}

/// A node says hello as soon as it has connected.
const HELLO_WAIT: Duration = Duration::from_secs(5);
