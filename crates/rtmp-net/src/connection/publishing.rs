//! What an encoder sends, handed on.

use std::time::Duration;

use media::{MediaMessage, StreamName};
use tokio::time::{Instant, sleep_until};

use super::{Connection, Interrupts};
use crate::{
    ended::Ended,
    service::{Ingest, IngestEnded, Service},
    stats::add,
    transport::Transport,
};

/// One accepted publication.
pub(super) struct Publishing<I> {
    msid: u32,
    stream: StreamName,
    ingest: I,
}

/// Bytes that a message counts beside its payload: also one without any is work for everybody on its way.
const MESSAGE_PRICE: usize = 64;
/// Whoever takes a message may keep the encoder waiting. When it was so long, the encoder's own deadlines start over.
const WAIT_NOTICED: Duration = Duration::from_secs(1);

impl<I: Ingest> Publishing<I> {
    pub(super) fn new(msid: u32, stream: StreamName, ingest: I) -> Self {
        Self { msid, stream, ingest }
    }

    /// What is published.
    pub(super) fn stream(&self) -> &StreamName {
        &self.stream
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
        let Some(at) = self.published_at(msid) else { return Ok(()) };
        let asked_at = Instant::now();
        self.keep_pace(at, message.payload.len()).await?;
        let handed_on = self.interrupts.unless_ended(self.publishing[at].ingest.message(message)).await?;
        self.excuse_since(asked_at);
        self.check(msid, handed_on)
    }

    pub(super) async fn on_metadata_cleared(&mut self, msid: u32) -> Result<(), Ended> {
        let Some(at) = self.published_at(msid) else { return Ok(()) };
        let asked_at = Instant::now();
        self.keep_pace(at, 0).await?;
        let handed_on = self.interrupts.unless_ended(self.publishing[at].ingest.metadata_cleared()).await?;
        self.excuse_since(asked_at);
        self.check(msid, handed_on)
    }

    fn published_at(&self, msid: u32) -> Option<usize> {
        self.publishing.iter().position(|publishing| publishing.msid == msid)
    }

    /// Comes back when the next message may be taken. Nothing is read meanwhile, so the encoder is slowed by its own socket.
    async fn keep_pace(&mut self, at: usize, payload: usize) -> Result<(), Ended> {
        let Some(rate) = &mut self.rate else { return Ok(()) };
        let Some(too_fast) = rate.take(MESSAGE_PRICE + payload, Instant::now()) else { return Ok(()) };
        add(&self.shared.stats.publishes_slowed, 1);
        if too_fast.is_news {
            tracing::warn!(stream = %self.publishing[at].stream, "publish.too_fast");
        }
        self.interrupts.unless_ended(sleep_until(too_fast.until)).await
    }

    /// Nothing else was done for the connection meanwhile.
    fn excuse_since(&mut self, asked_at: Instant) {
        if asked_at.elapsed() >= WAIT_NOTICED {
            self.wire.excuse();
        }
    }

    pub(super) async fn on_unpublished(&mut self, msid: u32) -> Result<(), Ended> {
        self.forget_pending(msid);
        let Some(at) = self.published_at(msid) else { return Ok(()) };
        let publishing = self.publishing.swap_remove(at);
        self.note_role();
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
