//! The client's side of the relay.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{
    FutureExt, Stream, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use proto::relay::v1::relay_service_client::RelayServiceClient;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Flow, FollowDown, FollowHello, FollowUp, LinkDown, LinkHello, LinkUp, PullDown, PullRequest, PushDown, PushHello,
    PushUp, RelayError,
    service::{ready_ok, until_error},
    wire,
};
use crate::{
    channel::{Authorised, Channel, Target},
    server::RELAY_MESSAGE_BYTES_MAX,
};

/// A connection to an origin. Cheap to clone; any number of pushes and pulls go over it.
#[derive(Clone, Debug)]
pub struct Client {
    relay: RelayServiceClient<Authorised>,
    address: String,
}

impl Client {
    /// Connects to the first of the target's addresses that accepts.
    pub async fn connect(target: &Target) -> Result<Self, RelayError> {
        Ok(Self::over(&Channel::connect(target).await?))
    }

    /// Uses a connection that there is already.
    pub fn over(channel: &Channel) -> Self {
        let relay = RelayServiceClient::new(channel.service())
            .max_decoding_message_size(RELAY_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RELAY_MESSAGE_BYTES_MAX);
        Self { relay, address: channel.address().to_owned() }
    }

    /// The address that it is connected to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Pushes a publication. `up` is read as fast as the connection takes it; its end without [`PushUp::Close`], or the
    /// drop of the answer, tells the origin that the edge is lost. The epoch told with each message is the highest of hello and beats.
    pub fn push(
        &self,
        hello: PushHello,
        up: impl Stream<Item = PushUp> + Send + 'static,
    ) -> BoxFuture<'static, Result<Flow<PushDown>, RelayError>> {
        let mut epoch = hello.epoch;
        let rest = up.flat_map(move |up| {
            if let PushUp::Beat { epoch: heard } = up {
                epoch = epoch.max(heard);
            }
            stream::iter(wire::push::up_out(up, epoch))
        });
        let (requests, call) = call(stream::iter([wire::push::hello_out(hello)]).chain(rest).boxed());
        let mut relay = self.relay.clone();
        async move {
            let responses = relay.push(requests).await?.into_inner();
            let down = responses.map_err(RelayError::from).map(|response| wire::push::down_in(response?));
            Ok(until_error(call.answers(down)))
        }
        .boxed()
    }

    /// Pulls a stream. Drop the answer to leave.
    pub fn pull(&self, request: PullRequest) -> BoxFuture<'static, Result<Flow<PullDown>, RelayError>> {
        let request = wire::pull::request_out(request);
        let mut relay = self.relay.clone();
        async move {
            let responses = relay.pull(request).await?.into_inner();
            let down = responses.map_err(RelayError::from).map(|response| wire::pull::down_in(response?));
            Ok(until_error(down))
        }
        .boxed()
    }

    /// Follows another origin of the pool. `up` is read as fast as the connection takes it; its end, or the drop of the
    /// answer, ends the call.
    pub fn follow(
        &self,
        hello: FollowHello,
        up: impl Stream<Item = FollowUp> + Send + 'static,
    ) -> BoxFuture<'static, Result<Flow<FollowDown>, RelayError>> {
        let rest = up.flat_map(|up| stream::iter(wire::follow::up_out(up)));
        let (requests, call) = call(stream::iter([wire::follow::hello_out(hello)]).chain(rest).boxed());
        let mut relay = self.relay.clone();
        async move {
            let responses = relay.follow(requests).await?.into_inner();
            let mut downs = wire::follow::Downs::default();
            let read = responses.map_err(RelayError::from).map(move |response| downs.read(response?));
            Ok(until_error(call.answers(read.try_filter_map(ready_ok))))
        }
        .boxed()
    }

    /// Hears an origin, and is heard. `up` is read as fast as the connection takes it; its end, or the drop of the answer,
    /// ends the call.
    pub fn link(
        &self,
        hello: LinkHello,
        up: impl Stream<Item = LinkUp> + Send + 'static,
    ) -> BoxFuture<'static, Result<Flow<LinkDown>, RelayError>> {
        let (requests, call) =
            call(stream::iter([wire::link::hello_out(hello)]).chain(up.map(wire::link::up_out)).boxed());
        let mut relay = self.relay.clone();
        async move {
            let responses = relay.link(requests).await?.into_inner();
            let down = responses.map_err(RelayError::from).map(|response| wire::link::down_in(response?));
            Ok(until_error(call.answers(down)))
        }
        .boxed()
    }
}

/// A call whose answers are dropped is over: its requests end then, whatever more they had to say. HTTP/2 alone would
/// leave that half of it open.
struct Call(DropGuard);

/// The requests of a call, and what its answers must hold.
fn call<T: Send + 'static>(requests: BoxStream<'static, T>) -> (Requests<T>, Call) {
    let over = CancellationToken::new();
    let requests = requests.take_until(over.clone().cancelled_owned());
    (Requests(requests.boxed()), Call(over.drop_guard()))
}

impl Call {
    fn answers<T>(self, down: impl Stream<Item = T>) -> impl Stream<Item = T> {
        down.inspect(move |_| {
            let _held = &self.0;
        })
    }
}

/// What a call sends. A type of its own because the compiler cannot prove a future Send that holds a boxed stream as such.
struct Requests<T>(BoxStream<'static, T>);

impl<T> Stream for Requests<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(cx)
    }
}
