//! Encoders at this edge: each publication is pushed to the active origin, and kept until that has it.

mod push;
mod replay_queue;
mod sender;
mod skipping;
mod underway;

use std::{sync::Arc, time::Duration};

use carry::{Entry, Limits};
use cluster::Epoch;
use dashmap::DashMap;
use media::{MediaMessage, PublicationId, StreamName};
use rand::Rng;
use rpc::relay::{PublishKey, PushHello};
use rtmp_net::{IngestEnded, PublishRefusal};
use telemetry::Throttle;
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::upstream::Upstream;
use replay_queue::{End, ReplayQueue, SharedBudget};
use skipping::{Skipped, Skipping, Turn};
use underway::Underway;

/// Bounds of ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Bytes of one publication that are kept for an origin to take or to take again.
    pub bytes_max: usize,
    /// How long a message is kept for an origin to take.
    pub duration_max: Duration,
    /// Bytes of all publications together.
    pub total_bytes_max: usize,
    /// How long an encoder waits for an origin to take its publication, and for its name at one that gives it to another.
    pub open_wait: Duration,
    /// How long the rest of a publication that has ended may take to reach the origin.
    pub flush_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bytes_max: 32 << 20,
            duration_max: Duration::from_secs(10),
            total_bytes_max: 512 << 20,
            open_wait: Duration::from_secs(10),
            flush_wait: Duration::from_secs(5),
        }
    }
}

const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// All publications of an edge.
#[derive(Debug)]
pub struct Ingests {
    upstream: Upstream,
    config: Config,
    budget: Arc<SharedBudget>,
    /// Where calls to origins run, whoever publishes.
    home: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// The publication of each stream that an encoder here feeds.
    publications: Arc<DashMap<StreamName, PublicationId>>,
    underway: Underway,
    /// Encoders choose the names, and ask as often as they like: what was refused is told so often of each address.
    complaints: Arc<Throttle>,
}

/// Who publishes what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The stream.
    pub stream: StreamName,
    /// What the encoder gave as its right to publish.
    pub key: Option<String>,
    /// The encoder's address.
    pub peer: String,
}

impl Ingests {
    /// No publications yet.
    pub fn new(upstream: Upstream, config: Config) -> Self {
        Self {
            upstream,
            config,
            budget: SharedBudget::new(config.total_bytes_max),
            home: Handle::current(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            publications: Arc::default(),
            underway: Underway::default(),
            complaints: Arc::new(Throttle::new(COMPLAIN_EVERY)),
        }
    }

    /// Opens a publication; completes when an origin has taken it. Those of the name that have ended here go first.
    /// Unavailable: no origin took it in time.
    pub async fn publish(&self, request: Request) -> Result<Ingest, PublishRefusal> {
        if !self.upstream.has_route(&request.stream) {
            return Err(PublishRefusal::Denied);
        }
        self.underway.ended_are_over(&request.stream, self.config.flush_wait).await;
        let publication = PublicationId::from_bits(rand::rng().random());
        let limits = Limits { bytes: self.config.bytes_max, duration: self.config.duration_max };
        let queue = Arc::new(ReplayQueue::new(&self.budget, limits));
        // Dropped with this future: an encoder that goes away while it waits ends its publication too.
        let ingest = Ingest {
            queue: queue.clone(),
            stream: request.stream.clone(),
            publication,
            publications: self.publications.clone(),
            skipping: Skipping::default(),
        };
        let hello = PushHello {
            stream: request.stream,
            publication,
            epoch: Epoch(0),
            edge: self.upstream.node().clone(),
            key: request.key.map(PublishKey),
            first_number: 0,
            peer: request.peer,
            via: false,
            path: vec![self.upstream.node().clone()],
        };
        let (opened, answer) = oneshot::channel();
        let on_its_way = self.underway.begin(&ingest.stream, &queue);
        let (upstream, complaints) = (self.upstream.clone(), self.complaints.clone());
        let push = push::Push::new(upstream, self.config, hello, queue, opened, complaints);
        let stop = self.stop.clone();
        let pushing = async move {
            let _until_over = on_its_way;
            stop.run_until_cancelled(push.run()).await;
        };
        self.tasks.spawn_on(pushing, &self.home);
        match answer.await {
            Ok(opened) => opened.map(|()| {
                self.publications.insert(ingest.stream.clone(), publication);
                ingest
            }),
            // The task was stopped: the edge is shutting down.
            Err(_) => Err(PublishRefusal::Unavailable),
        }
    }

    /// The publication of a stream, if its encoder is here.
    pub fn publication(&self, name: &StreamName) -> Option<PublicationId> {
        self.publications.get(name).map(|publication| *publication)
    }

    /// How many publications there are.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Bytes that are kept for origins to take.
    pub fn bytes_kept(&self) -> usize {
        self.budget.bytes()
    }

    /// Messages that no origin took in time and that were skipped, since the process started.
    pub fn skipped(&self) -> usize {
        self.budget.skipped()
    }

    /// Ends all publications, giving each some time to flush but not more than `limit`, and waits for their tasks.
    pub async fn close(&self, limit: Duration) {
        self.tasks.close();
        if tokio::time::timeout(self.config.flush_wait.min(limit), self.tasks.wait()).await.is_err() {
            self.stop.cancel();
            self.tasks.wait().await;
        }
    }
}

/// One encoder's hold on its publication. Dropping it means that the encoder was lost.
#[derive(Debug)]
pub struct Ingest {
    queue: Arc<ReplayQueue>,
    stream: StreamName,
    publication: PublicationId,
    publications: Arc<DashMap<StreamName, PublicationId>>,
    skipping: Skipping,
}

impl Ingest {
    /// Takes an entry, after waiting for room while an origin makes it. Safe to drop at the await: then it was not taken.
    async fn take(&mut self, entry: Entry) -> Result<(), IngestEnded> {
        let skipped = self.queue.push(entry).await?;
        let turn = self.skipping.note(skipped, || self.queue.acked_below());
        self.tell(turn);
        Ok(())
    }

    fn tell(&self, turn: Option<Turn>) {
        let (stream, publication) = (&self.stream, &self.publication);
        match turn {
            Some(Turn::Began(from)) => tracing::warn!(%stream, %publication, from, "push.skipping"),
            Some(Turn::Ended(Skipped { from, to, messages })) => {
                tracing::warn!(%stream, %publication, from, to, messages, "push.skipped");
            }
            None => {}
        }
    }
}

impl rtmp_net::Ingest for Ingest {
    async fn message(&mut self, message: MediaMessage) -> Result<(), IngestEnded> {
        self.take(Entry::Message(message)).await
    }

    async fn metadata_cleared(&mut self) -> Result<(), IngestEnded> {
        self.take(Entry::MetadataCleared).await
    }

    async fn close(self) {
        self.queue.end(End::Closed);
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // After `close` this changes nothing: the first end counts.
        self.queue.end(End::Lost);
        let turn = self.skipping.end();
        self.tell(turn);
        self.publications.remove_if(&self.stream, |_, publication| *publication == self.publication);
    }
}
