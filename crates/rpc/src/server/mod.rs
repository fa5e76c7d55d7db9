//! A gRPC server: services behind one guard, with health and reflection.
//!
//! ```text
//! listener or accepted connections ─▶ connection (HTTP/2, limits) ─▶ guard (who may call) ─▶ services
//!                                          └ ends every open answer when the server is told to stop
//! ```

mod connection;
mod failed;
mod health;
mod serve;
mod trial;

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response};
use tonic::{body::Body, server::NamedService, service::Routes};

pub use connection::{Connection, Peer};
pub(crate) use failed::Failed;
pub use health::Health;
pub(crate) use serve::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};
pub(crate) use trial::Admitted;

use crate::auth::{Auth, AuthLayer};

/// The largest message that a service takes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// The largest message that the relay takes: a keyframe may have 8 MiB.
pub const RELAY_MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The largest message that health and reflection take, which everybody may call. What is announced is kept room for.
const OPEN_MESSAGE_BYTES_MAX: usize = 4 << 10;

/// What a server is, before it listens. Cheap to clone; one may serve on several ports.
#[derive(Clone)]
pub struct Server {
    routes: AuthLayer<Routes>,
    drain: Duration,
}

impl Server {
    /// A server that admits callers as `auth` says and tells probes what `health` says.
    pub fn builder(auth: Arc<Auth>, health: &Health) -> Builder {
        Builder {
            auth,
            health: health.clone(),
            routes: Routes::default(),
            names: BTreeSet::new(),
            reflection: true,
            drain: DRAIN,
        }
    }
}

/// A server in the making: add its services, then `build`.
pub struct Builder {
    auth: Arc<Auth>,
    health: Health,
    routes: Routes,
    names: BTreeSet<&'static str>,
    reflection: bool,
    drain: Duration,
}

impl Builder {
    /// Nobody is told what services there are: for a port that strangers reach.
    pub fn without_reflection(mut self) -> Self {
        self.reflection = false;
        self
    }

    /// How long calls may go on after the server was told to stop; 2 s unless said otherwise.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// Adds a generated service.
    pub(crate) fn add<S>(mut self, service: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.names.insert(S::NAME);
        self.routes = self.routes.add_service(service);
        self
    }

    /// The server, with health, and with reflection for all that was added.
    pub async fn build(mut self) -> Server {
        for name in &self.names {
            self.health.set(name, true).await;
        }
        let health = self.health.service();
        self = self.add(health);
        if self.reflection {
            self = self.add_reflection();
        }
        Server { routes: AuthLayer::new(self.routes.prepare(), self.auth, self.names), drain: self.drain }
    }

    fn add_reflection(self) -> Self {
        let names: Vec<_> = self.names.iter().copied().collect();
        // Both are made from constants of ours, which the tests load.
        let v1 = reflection(&names).build_v1().expect("the compiled descriptors are sound");
        let v1alpha = reflection(&names).build_v1alpha().expect("the compiled descriptors are sound");
        self.add(v1.max_decoding_message_size(OPEN_MESSAGE_BYTES_MAX))
            .add(v1alpha.max_decoding_message_size(OPEN_MESSAGE_BYTES_MAX))
    }
}

/// Reflection over the named services; the details of errors can be looked up too, so that grpcurl can print them.
fn reflection(names: &[&str]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
    names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
}

/// How long calls may go on after a server was told to stop.
const DRAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
