//! What an encoder sends, handed on.

use std::{num::NonZeroU64, time::Duration};

use media::{MediaMessage, StreamName};
use tokio::time::{Instant, sleep_until};

use super::{Connection, Interrupts, rate::Rate};
use crate::{
    ended::Ended,
    service::{Ingest, IngestEnded, Service},
    stats::{Stats, add},
    transport::Transport,
};

/// One accepted publication.
pub(super) struct Publishing<I> {
    msid: u32,
    stream: StreamName,
    ingest: I,
    rate: Option<Rate>,
}

/// Bytes that a message counts beside its payload: also one without any is work for everybody on its way.
const MESSAGE_PRICE: usize = 64;
/// Whoever takes a message may keep the encoder waiting. When it was so long, the encoder's own deadlines start over.
const WAIT_NOTICED: Duration = Duration::from_secs(1);

impl<I: Ingest> Publishing<I> {
    /// One that may bring so many bytes a second.
    pub(super) fn new(msid: u32, stream: StreamName, ingest: I, bytes_per_second: Option<NonZeroU64>) -> Self {
        Self { msid, stream, ingest, rate: bytes_per_second.map(Rate::new) }
    }

    /// What is published.
    pub(super) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Counts a message that came; says until when nothing more is to be taken, if it came too fast.
    fn count(&mut self, payload: usize, stats: &Stats) -> Option<Instant> {
        let too_fast = self.rate.as_mut()?.take(MESSAGE_PRICE + payload, Instant::now())?;
        add(&stats.publishes_slowed, 1);
        if too_fast.is_news {
            tracing::warn!(stream = %self.stream, "publish.too_fast");
        }
        Some(too_fast.until)
    }

    /// Comes back when the next message may be taken. Nothing is read meanwhile, so the encoder is slowed by its own socket.
    async fn keep_pace(&mut self, payload: usize, stats: &Stats, interrupts: &Interrupts) -> Result<(), Ended> {
        match self.count(payload, stats) {
            Some(until) => interrupts.unless_ended(sleep_until(until)).await,
            None => Ok(()),
        }
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
        publishing.keep_pace(message.payload.len(), &self.shared.stats, &self.interrupts).await?;
        let handed_on = self.interrupts.unless_ended(publishing.ingest.message(message)).await?;
        self.excuse_since(asked_at);
        self.check(msid, handed_on)
    }

    pub(super) async fn on_metadata_cleared(&mut self, msid: u32) -> Result<(), Ended> {
        let Some(publishing) = self.publishing.iter_mut().find(|publishing| publishing.msid == msid) else {
            return Ok(());
        };
        let asked_at = Instant::now();
        publishing.keep_pace(0, &self.shared.stats, &self.interrupts).await?;
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
