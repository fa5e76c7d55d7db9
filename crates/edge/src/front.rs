//! What encoders and viewers ask of this edge, over RTMP and HTTP alike.

use std::sync::Arc;

use daemon::Admission;
use hub::Reader;
use rtmp_net::{Play, PlayRefusal, Publish, PublishRefusal};

use crate::{
    ingest::{self, Ingest, Ingests},
    pulls::Pulls,
};

/// The service in front of the pulls and ingests.
#[derive(Debug)]
pub struct Front {
    pub(crate) pulls: Arc<Pulls>,
    pub(crate) ingests: Arc<Ingests>,
    pub(crate) admission: Arc<Admission>,
}

impl rtmp_net::Service for Front {
    type Ingest = Ingest;

    async fn publish(&self, request: Publish) -> Result<Ingest, PublishRefusal> {
        let peer = request.peer.to_string();
        let key = request.query.get("key");
        if !self.admission.admits(&request.stream, key, &peer) {
            return Err(PublishRefusal::Denied);
        }
        let request = ingest::Request { stream: request.stream, key: key.map(str::to_owned), peer };
        self.ingests.publish(request).await
    }

    async fn play(&self, request: Play) -> Result<Reader, PlayRefusal> {
        self.pulls.play(&request.stream).await
    }
}
