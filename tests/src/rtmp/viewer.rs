//! A viewer that shows nothing, and a recorder of what viewers saw.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::task::JoinHandle;

use super::{Connection, Message, Status, Url, Value, connection::status};
use crate::{
    flv::{self, Tag},
    wait,
};

/// What a viewer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An audio, video or data message.
    Media(Tag),
    /// An onStatus on its stream.
    Status(Status),
    /// The user control event StreamEOF.
    StreamEof,
    /// The server closed the connection.
    Closed,
}

/// A playing connection.
pub struct Viewer {
    connection: Connection,
}

impl Viewer {
    /// Asks to play the address; what comes of it comes as events.
    pub async fn join(url: &str) -> Result<Self> {
        let url = Url::parse(url)?;
        let mut connection = Connection::open(&url).await?;
        let msid = connection.create_stream().await?;
        connection.command("play", 0.0, msid, &[Value::Null, Value::text(&url.name), Value::Number(-2000.0)]).await?;
        Ok(Self { connection })
    }

    /// The next event. Not to be dropped half-way.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            let Some(message) = self.connection.next().await? else { return Ok(Event::Closed) };
            if let Some(status) = status(&message) {
                return Ok(Event::Status(status));
            }
            match message.type_id {
                8 | 9 | 18 => {
                    let Message { type_id, timestamp, payload, .. } = message;
                    return Ok(Event::Media(Tag { type_id, timestamp, payload }));
                }
                4 if message.payload.starts_with(&[0, 1]) => return Ok(Event::StreamEof),
                _ => {}
            }
        }
    }

    /// The first coded frame that it is given.
    pub async fn first_frame(&mut self) -> Result<Tag> {
        loop {
            match self.next().await? {
                Event::Media(tag) if tag.is_coded() => return Ok(tag),
                Event::Media(_) => {}
                Event::Status(status) if status.level != "error" => {}
                other => anyhow::bail!("{other:?} before the first frame"),
            }
        }
    }
}

/// One message as a recorder saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it came.
    pub at: Instant,
    /// The message.
    pub tag: Tag,
}

/// Records a viewer's events in the background until the connection ends.
pub struct Recorder {
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    codes: Vec<(Instant, String)>,
    ended: Option<Instant>,
}

impl Recorder {
    /// Plays the address.
    pub fn start(url: &str) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let task = tokio::spawn(record(url.to_owned(), log.clone()));
        Self { log, task }
    }

    /// The audio, video and data messages so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log().seen.clone()
    }

    /// The messages so far as tags.
    pub fn tags(&self) -> Vec<Tag> {
        self.log().seen.iter().map(|seen| seen.tag.clone()).collect()
    }

    /// How many coded frames came so far.
    pub fn frames(&self) -> usize {
        self.log().seen.iter().filter(|seen| seen.tag.is_coded()).count()
    }

    /// The status codes so far.
    pub fn codes(&self) -> Vec<String> {
        self.log().codes.iter().map(|(_, code)| code.clone()).collect()
    }

    /// Whether the stream ended for this viewer, by a status, StreamEOF or a closed connection: when it first was told.
    pub fn ended(&self) -> Option<Instant> {
        self.log().ended
    }

    /// Waits until this many more coded frames have come.
    #[track_caller]
    pub fn wait_frames(&self, more: usize, limit: Duration) {
        let target = self.frames() + more;
        let what = format!("{more} more frames at a viewer whose codes were {:?}", self.codes());
        wait::until(&what, limit, || (self.frames() >= target).then_some(()));
    }

    /// Waits until the stream has ended for this viewer.
    #[track_caller]
    pub fn wait_end(&self, limit: Duration) -> Instant {
        wait::until("the end of a stream at a viewer", limit, || self.ended())
    }

    /// Panics if the stream has ended for this viewer, or if a frame of its video is missing, of which one comes each period.
    #[track_caller]
    pub fn assert_whole(&self, period: Duration, what: &str) {
        assert_eq!(self.ended(), None, "{what}: a viewer was told of an end: {:?}", self.codes());
        let frames = flv::coded(&self.tags()).remove(&(9, 0)).unwrap_or_default();
        let times: Vec<u32> = frames.iter().map(|frame| frame.timestamp).collect();
        let step = period.as_millis() as u32;
        let gap = times.windows(2).find(|pair| pair[1].wrapping_sub(pair[0]) != step);
        assert_eq!(gap, None, "{what}: a frame is missing");
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder panics")
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(url: String, log: Arc<Mutex<Log>>) {
    let events = async {
        let mut viewer = Viewer::join(&url).await?;
        loop {
            let event = viewer.next().await?;
            let (at, closed) = (Instant::now(), event == Event::Closed);
            let mut log = log.lock().expect("no holder panics");
            match event {
                Event::Media(tag) => log.seen.push(Seen { at, tag }),
                Event::Status(status) => {
                    let over = status.level == "error" || status.code == "NetStream.Play.UnpublishNotify";
                    log.ended = log.ended.or(over.then_some(at));
                    log.codes.push((at, status.code));
                }
                Event::StreamEof | Event::Closed => log.ended = log.ended.or(Some(at)),
            }
            if closed {
                return anyhow::Ok(());
            }
        }
    };
    if let Err(error) = events.await {
        let mut log = log.lock().expect("no holder panics");
        log.codes.push((Instant::now(), format!("{error:#}")));
        log.ended = log.ended.or(Some(Instant::now()));
    }
}
