//! What the HTTP side asks of the edge's core: the same as the RTMP side.

use std::{future::Future, sync::Arc};

use hub::Reader;
use rtmp_net::{Play, PlayRefusal, Service};

/// Gives viewers their cursor into a stream.
pub trait Playback: Send + Sync + 'static {
    /// A cursor into the stream, fetched from its origin if need be; waits for it as long as the edge's settings say.
    /// Dropping the future is how a viewer that went away stops waiting.
    fn play(&self, request: Play) -> impl Future<Output = Result<Reader, PlayRefusal>> + Send;
}

impl<S: Service> Playback for Arc<S> {
    fn play(&self, request: Play) -> impl Future<Output = Result<Reader, PlayRefusal>> + Send {
        Service::play(self.as_ref(), request)
    }
}
