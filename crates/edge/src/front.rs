//! What encoders and viewers ask of this edge, over RTMP and HTTP alike.

use std::sync::Arc;

use daemon::Admission;
use hub::Reader;
use media::MediaMessage;
use rtmp_net::{IngestEnded, Play, PlayRefusal, Publish, PublishRefusal};

use crate::{
    ingest::{self, Ingests},
    pulls::{NoPlay, Pulls},
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
        match self.ingests.publish(request).await {
            Ok(ingest) => Ok(Ingest(ingest)),
            Err(ingest::Refusal::Denied) => Err(PublishRefusal::Denied),
            Err(ingest::Refusal::NameTaken) => Err(PublishRefusal::Taken),
            Err(ingest::Refusal::Unreachable) => Err(PublishRefusal::Unavailable),
        }
    }

    async fn play(&self, request: Play) -> Result<Reader, PlayRefusal> {
        self.pulls.play(&request.stream).await.map_err(|no| match no {
            NoPlay::NotFound => PlayRefusal::NotFound,
            NoPlay::Unreachable => PlayRefusal::Unavailable,
        })
    }
}

/// One encoder's way to its origin.
#[derive(Debug)]
pub struct Ingest(ingest::Ingest);

impl rtmp_net::Ingest for Ingest {
    async fn message(&mut self, message: MediaMessage) -> Result<(), IngestEnded> {
        self.0.message(message).await.map_err(|ingest::Ended| IngestEnded::Gone)
    }

    async fn metadata_cleared(&mut self) -> Result<(), IngestEnded> {
        self.0.metadata_cleared().await.map_err(|ingest::Ended| IngestEnded::Gone)
    }

    async fn close(self) {
        self.0.close();
    }
}
