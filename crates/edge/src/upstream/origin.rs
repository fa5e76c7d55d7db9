//! What an edge asks of an origin, and how it comes to one.

use std::{fmt::Debug, sync::Arc};

use futures_util::{
    future::{BoxFuture, FutureExt},
    stream::BoxStream,
};
use rpc::{
    auth::Token,
    channel::Target,
    relay::{
        Client, Flow, LinkDown, LinkHello, LinkUp, PullDown, PullRequest, PushDown, PushHello, PushUp, RelayError,
    },
};

/// An answer that is waited for.
pub(super) type Answer<T> = BoxFuture<'static, Result<T, RelayError>>;

/// A connection to an origin. The answers to its calls outlive it.
pub(super) trait Origin: Send + Sync {
    /// Takes a stream from it.
    fn pull(&self, request: PullRequest) -> Answer<Flow<PullDown>>;

    /// Brings a publication to it.
    fn push(&self, hello: PushHello, up: BoxStream<'static, PushUp>) -> Answer<Flow<PushDown>>;

    /// Hears it.
    fn link(&self, hello: LinkHello, up: BoxStream<'static, LinkUp>) -> Answer<Flow<LinkDown>>;
}

/// How connections are made.
pub(super) trait Dial: Debug + Send + Sync {
    /// Connects to an address.
    fn connect(&self, address: &str) -> Answer<Arc<dyn Origin>>;
}

/// By gRPC, presenting a token.
#[derive(Debug)]
pub(super) struct Grpc(pub(super) Option<Token>);

impl Dial for Grpc {
    fn connect(&self, address: &str) -> Answer<Arc<dyn Origin>> {
        let target = Target::new([address], self.0.clone());
        async move { Ok(Arc::new(Client::connect(&target).await?) as Arc<dyn Origin>) }.boxed()
    }
}

impl Origin for Client {
    fn pull(&self, request: PullRequest) -> Answer<Flow<PullDown>> {
        Client::pull(self, request)
    }

    fn push(&self, hello: PushHello, up: BoxStream<'static, PushUp>) -> Answer<Flow<PushDown>> {
        Client::push(self, hello, up)
    }

    fn link(&self, hello: LinkHello, up: BoxStream<'static, LinkUp>) -> Answer<Flow<LinkDown>> {
        Client::link(self, hello, up)
    }
}
