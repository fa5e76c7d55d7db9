//! The client's side of the relay.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use proto::relay::v1::{PushRequest, relay_service_client::RelayServiceClient};

use super::{PullDown, PullRequest, PushDown, PushHello, PushUp, RelayError, Stream, service::until_error, wire};
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

    /// Pushes a publication. `up` is read as fast as the connection takes it; its end without [`PushUp::Close`] tells the
    /// origin that the edge is lost. The epoch told with each message is the highest of hello and beats.
    pub async fn push(
        &self,
        hello: PushHello,
        up: impl futures_util::Stream<Item = PushUp> + Send + 'static,
    ) -> Result<Stream<PushDown>, RelayError> {
        self.push_boxed(hello, up.boxed()).await
    }

    fn push_boxed(
        &self,
        hello: PushHello,
        up: BoxStream<'static, PushUp>,
    ) -> BoxFuture<'static, Result<Stream<PushDown>, RelayError>> {
        let mut epoch = hello.epoch;
        let rest = up.flat_map(move |up| {
            if let PushUp::Beat { epoch: heard } = up {
                epoch = epoch.max(heard);
            }
            stream::iter(wire::push::up_out(up, epoch))
        });
        let requests = stream::iter([wire::push::hello_out(hello)]).chain(rest);
        let requests = Requests(requests.boxed());
        let mut relay = self.relay.clone();
        async move {
            let responses = relay.push(requests).await?.into_inner();
            let down = responses.map_err(RelayError::from).map(|response| wire::push::down_in(response?));
            Ok(until_error(down))
        }
        .boxed()
    }

    /// Pulls a stream. Drop the answer to leave.
    pub async fn pull(&self, request: PullRequest) -> Result<Stream<PullDown>, RelayError> {
        let responses = self.relay.clone().pull(wire::pull::request_out(request)).await?.into_inner();
        let down = responses.map_err(RelayError::from).map(|response| wire::pull::down_in(response?));
        Ok(until_error(down))
    }
}

/// What a push sends. A type of its own because the compiler cannot prove a future Send that holds a boxed stream as such.
struct Requests(BoxStream<'static, PushRequest>);

impl futures_util::Stream for Requests {
    type Item = PushRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PushRequest>> {
        self.0.poll_next_unpin(cx)
    }
}
