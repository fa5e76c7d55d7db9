//! The layer in front of all services of a server.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body};
use tower::Service;
use tracing::debug;

use super::{Auth, Refusal};
use crate::server::{Admitted, Peer};

/// Refuses calls that may not be made; tells the services behind it who calls by a [`super::Caller`] in the request's extensions.
#[derive(Clone)]
pub(crate) struct AuthLayer<S> {
    inner: S,
    auth: Arc<Auth>,
    served: Arc<BTreeSet<&'static str>>,
}

impl<S> AuthLayer<S> {
    /// Guards `inner`, which serves the services named.
    pub(crate) fn new(inner: S, auth: Arc<Auth>, served: BTreeSet<&'static str>) -> Self {
        Self { inner, auth, served: Arc::new(served) }
    }

    /// What the process knows about its callers.
    pub(crate) fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    fn decide<B>(&self, request: &mut Request<B>) -> Result<(), Refusal> {
        let path = request.uri().path();
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        if !self.served.contains(service) {
            return Err(Refusal::UnknownMethod);
        }
        let authorization = match request.headers().get(AUTHORIZATION) {
            Some(value) => Some(value.to_str().map_err(|_| Refusal::BadToken)?),
            None => None,
        };
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address()).map(|address| address.ip());
        if let Some(caller) = self.auth.admit(path, authorization, peer)? {
            if let Some(admitted) = request.extensions().get::<Admitted>() {
                admitted.note();
            }
            request.extensions_mut().insert(caller);
        }
        Ok(())
    }
}

impl<S, B> Service<Request<B>> for AuthLayer<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.decide(&mut request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(refusal) => {
                let failure = refusal.failure(request.uri().path());
                debug!(peer = ?request.extensions().get::<Peer>(), reason = %failure.reason, method = %request.uri().path(), "rpc.refused");
                Either::Right(ready(Ok(Status::from(failure).into_http())))
            }
        }
    }
}
