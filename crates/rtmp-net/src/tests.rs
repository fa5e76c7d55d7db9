//! Connections in front of a service that keeps streams in a hub.

mod arrivals;
mod hostile;
mod limits;
mod network;
mod raw;
mod seated;
mod streams;
mod viewers;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hub::{Body, Hub, RingLimits, Start, Writer};
use media::{Frame, MediaMessage, Medium, PublicationId, StreamName, StreamUrl};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::watch,
};

use self::seated::Seated;
use super::*;
use crate::client::{Player, Publisher};

/// How far the service's players may be behind.
const LAG_BYTES_MAX: u64 = 16 << 20;

/// A service that lets everybody publish and play, except on names that say otherwise.
#[derive(Clone)]
struct Fake {
    hub: Hub,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.lines.lock().unwrap().push(line.into());
        self.count.send_modify(|count| *count += 1);
    }

    /// Waits for this line.
    async fn wait_for(&self, line: &str) {
        let has = |_: &usize| self.lines.lock().unwrap().iter().any(|known| known == line);
        self.count.subscribe().wait_for(has).await.unwrap();
    }
}

struct FakeIngest {
    writer: Option<Writer>,
    publication: PublicationId,
    name: String,
    log: Arc<Log>,
}

/// Says that a future was dropped.
struct Dropped(Arc<Log>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("play given up");
    }
}

impl Service for Fake {
    type Ingest = FakeIngest;

    async fn publish(&self, request: Publish) -> Result<FakeIngest, PublishRefusal> {
        match request.stream.name() {
            "denied" => return Err(PublishRefusal::Denied),
            "mistake" => panic!("the service has a mistake"),
            "slow" => tokio::time::sleep(Duration::from_secs(30)).await,
            _ => {}
        }
        if let Some(key) = request.query.get("key") {
            self.log.add(format!("key {key}"));
        }
        let mut writer = self.hub.open(&request.stream).map_err(|_| PublishRefusal::Taken)?;
        let publication = PublicationId::from_bits(7);
        append(&mut writer, Body::Event(hub::Event::Open { publication }));
        let name = request.stream.to_string();
        self.log.add(format!("open {name}"));
        Ok(FakeIngest { writer: Some(writer), publication, name, log: self.log.clone() })
    }

    async fn play(&self, request: Play) -> Result<hub::Reader, PlayRefusal> {
        if let Some(stream) = self.hub.get(&request.stream) {
            return Ok(stream.subscribe_paced(Start::LastKeyframe).with_lag_bytes_max(LAG_BYTES_MAX));
        }
        assert_ne!(request.stream.name(), "mistake", "the service has a mistake");
        if request.stream.name() != "awaited" {
            return Err(PlayRefusal::NotFound);
        }
        self.log.add("play waits");
        let dropped = Dropped(self.log.clone());
        self.log.wait_for("open live/awaited").await;
        std::mem::forget(dropped);
        let stream = self.hub.get(&request.stream).ok_or(PlayRefusal::NotFound)?;
        Ok(stream.subscribe_paced(Start::LastKeyframe).with_lag_bytes_max(LAG_BYTES_MAX))
    }
}

impl Ingest for FakeIngest {
    async fn message(&mut self, message: MediaMessage) -> Result<(), IngestEnded> {
        if message.payload.ends_with(b"taken over") {
            return Err(IngestEnded::TakenOver);
        }
        assert!(!message.payload.ends_with(b"mistake"), "the service has a mistake");
        if message.payload.ends_with(b"wait") {
            tokio::time::sleep(Duration::from_secs(90)).await;
        }
        let MediaMessage { medium, timestamp, payload } = message;
        let frame = Frame::classify(medium, timestamp.into(), payload);
        append(self.writer.as_mut().expect("it is not closed"), Body::Frame(frame));
        Ok(())
    }

    async fn metadata_cleared(&mut self) -> Result<(), IngestEnded> {
        append(self.writer.as_mut().expect("it is not closed"), Body::Event(hub::Event::MetadataCleared));
        Ok(())
    }

    async fn close(mut self) {
        let mut writer = self.writer.take().expect("it is not closed");
        append(&mut writer, Body::Event(hub::Event::Close { publication: self.publication }));
        self.log.add(format!("close {}", self.name));
    }
}

/// Appends what viewers may see at once.
fn append(writer: &mut Writer, body: Body) {
    let seq = writer.append(body, None).seq;
    writer.commit_below(seq + 1);
}

impl Drop for FakeIngest {
    fn drop(&mut self) {
        if self.writer.is_some() {
            self.log.add(format!("lost {}", self.name));
        }
    }
}

/// Connections in front of the service, and ways to them.
struct House {
    fake: Fake,
    sessions: Sessions,
    connections: Connections<Fake>,
}

impl House {
    fn new() -> Self {
        Self::with(Config::default(), RingLimits::default())
    }

    fn with(config: Config, ring: RingLimits) -> Self {
        let fake = Fake { hub: Hub::new(ring), log: Arc::default() };
        let sessions = Sessions::default();
        let connections = Connections::new(config, fake.clone(), sessions.clone());
        Self { fake, sessions, connections }
    }

    /// A connection whose socket holds so many bytes each way, and can be written to by a row.
    fn socket(&self, bytes: usize) -> DuplexStream {
        self.connect(bytes, Seated::new)
    }

    /// A connection whose socket its own task alone can write to.
    fn plain_socket(&self, bytes: usize) -> DuplexStream {
        self.connect(bytes, |socket| socket)
    }

    fn connect<T: Transport>(&self, bytes: usize, transport: impl FnOnce(DuplexStream) -> T) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(bytes);
        let pass = self.connections.gate().enter(peer()).unwrap();
        self.connections.serve_introduced(transport(theirs), peer(), pass);
        ours
    }

    async fn publish(&self, path: &str) -> Result<Publisher, client::Error> {
        client::publish_over(self.socket(1 << 20), &url(path)).await
    }

    async fn play(&self, path: &str) -> Result<Player, client::Error> {
        client::play_over(self.socket(1 << 20), &url(path), -2000.0).await
    }

    fn ended(&self, reason: &str) -> u64 {
        self.connections.stats().ended().get(reason).copied().unwrap_or(0)
    }

    /// Waits until no connection is left.
    async fn empty(&self) {
        self.connections.drain(Duration::from_secs(3600)).await;
    }
}

fn peer() -> SocketAddr {
    "192.0.2.7:4000".parse().unwrap()
}

fn url(path: &str) -> StreamUrl {
    format!("rtmp://127.0.0.1/{path}").parse().unwrap()
}

fn stream(path: &str) -> StreamName {
    url(path).stream
}

fn message(medium: Medium, timestamp: u32, payload: &[u8]) -> MediaMessage {
    MediaMessage { medium, timestamp, payload: Bytes::copy_from_slice(payload) }
}

fn metadata() -> MediaMessage {
    message(Medium::Data, 0, b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09")
}

/// An AVC sequence start with a record that is valid.
fn config() -> MediaMessage {
    let record = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x04\x67\x64\0\x1f\x01\0\x04\x68\xee\x3c\x80\xfd\xf8\xf8\0";
    message(Medium::Video, 0, record)
}

fn key(timestamp: u32) -> MediaMessage {
    message(Medium::Video, timestamp, &[b"\x17\x01\0\0\0key".as_slice(), &timestamp.to_be_bytes()].concat())
}

fn delta(timestamp: u32, bytes: usize) -> MediaMessage {
    message(Medium::Video, timestamp, &[b"\x27\x01\0\0\0".as_slice(), &vec![timestamp as u8; bytes]].concat())
}

fn audio(timestamp: u32) -> MediaMessage {
    message(Medium::Audio, timestamp, &[b"\xaf\x01".as_slice(), &timestamp.to_be_bytes()].concat())
}

async fn send_all(publisher: &mut Publisher, messages: &[MediaMessage]) {
    for message in messages {
        publisher.send(message).await.unwrap();
    }
}

async fn next(player: &mut Player) -> MediaMessage {
    player.next().await.unwrap().expect("the stream goes on")
}

async fn take(player: &mut Player, count: usize) -> Vec<MediaMessage> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(next(player).await);
    }
    messages
}

/// Reads until the other side ends.
async fn rest(io: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ended = io.read_to_end(&mut bytes).await;
    bytes
}
