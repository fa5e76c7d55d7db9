//! What an encoder sends, handed on.

use std::time::Duration;

use media::{MediaMessage, StreamName};
use tokio::time::Instant;

use super::{Connection, Interrupts};
use crate::{
    ended::Ended,
    service::{Ingest, IngestEnded, Service},
    transport::Transport,
};

/// One accepted publication.
pub(super) struct Publishing<I> {
    msid: u32,
    stream: StreamName,
    ingest: I,
}

/// Whoever takes a message may keep the encoder waiting. When it was so long, the encoder's own deadlines start over.
const WAIT_NOTICED: Duration = Duration::from_secs(1);

impl<I: Ingest> Publishing<I> {
    pub(super) fn new(msid: u32, stream: StreamName, ingest: I) -> Self {
        Self { msid, stream, ingest }
    }

    /// The encoder, or an operator, ended it.
    pub(super) async fn close(self, interrupts: &Interrupts) {
        tracing::info!(stream = %self.stream, session = %interrupts.entry.id(), "publish.ended");
        self.ingest.close().await;
    }

    /// The encoder is gone, perhaps to come back.
    pub(super) fn lose(self, reason: &str) {
        tracing::info!(stream = %self.stream, reason, "publish.lost");
    }
}

impl<S: Service, T: Transport> Connection<S, T> {
    pub(super) async fn on_media(&mut self, msid: u32, message: MediaMessage) -> Result<(), Ended> {
        let Some(publishing) = self.publishing.iter_mut().find(|publishing| publishing.msid == msid) else {
            return Ok(());
        };
        let asked_at = Instant::now();
        let handed_on = self.interrupts.unless_ended(publishing.ingest.message(message)).await?;
        self.excuse_since(asked_at);
        self.check(msid, handed_on)
    }

    pub(super) async fn on_metadata_cleared(&mut self, msid: u32) -> Result<(), Ended> {
        let Some(publishing) = self.publishing.iter_mut().find(|publishing| publishing.msid == msid) else {
            return Ok(());
        };
        let asked_at = Instant::now();
        let handed_on = self.interrupts.unless_ended(publishing.ingest.metadata_cleared()).await?;
        self.excuse_since(asked_at);
        self.check(msid, handed_on)
    }

    /// Nothing else was done for the connection meanwhile.
    fn excuse_since(&mut self, asked_at: Instant) {
        if asked_at.elapsed() >= WAIT_NOTICED {
            self.wire.excuse();
        }
    }

    pub(super) async fn on_unpublished(&mut self, msid: u32) -> Result<(), Ended> {
        self.forget_pending(msid);
        let Some(at) = self.publishing.iter().position(|publishing| publishing.msid == msid) else { return Ok(()) };
        let publishing = self.publishing.swap_remove(at);
        self.interrupts.entry.set_idle();
        publishing.close(&self.interrupts).await;
        Ok(())
    }

    /// A publication that nobody takes ends its connection: most encoders know no other way to notice.
    fn check(&mut self, msid: u32, handed_on: Result<(), IngestEnded>) -> Result<(), Ended> {
        handed_on.map_err(|ended| {
            let now = Instant::now().into_std();
            self.wire.session.end_publish(msid, &ended.status(), now);
            ended.into()
        })
    }
}
