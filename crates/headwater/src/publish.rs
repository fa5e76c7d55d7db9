//! An encoder: a file, sent in its own time.

mod timeline;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use media::{MediaMessage, StreamUrl, flv};
use rtmp_net::client::{self, Options, Publisher};
use tokio::{
    fs::File,
    io::AsyncReadExt as _,
    time::{Instant, interval, sleep_until},
};

use self::timeline::Timeline;
use crate::output::Line;

/// `headwater publish`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The FLV file.
    #[arg(value_name = "FILE.flv")]
    file: PathBuf,
    /// Where to: rtmp://HOST[:PORT]/APP/NAME[?key=…] or rtmps://…
    url: StreamUrl,
    /// Begin again at the end, with timestamps that go on.
    #[arg(long = "loop")]
    endless: bool,
}

const READ_BYTES: usize = 64 * 1024;
const PROGRESS_PERIOD: Duration = Duration::from_millis(500);

/// Publishes the file once, or until Ctrl-C; ends the stream in good order.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut file = Input::open(args.file).await?;
    let url = &args.url;
    let published = client::publish(url, &Options::default()).await;
    let mut publisher = published.with_context(|| format!("cannot publish to {url}"))?;
    let sent = send(&mut publisher, &mut file, args.endless).await;
    match sent {
        Ok(count) => {
            publisher.close().await.with_context(|| format!("{url} was not closed in good order"))?;
            eprintln!("published {count} messages to {url}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error.context(format!("publishing to {url} failed"))),
    }
}

/// Sends each message when it is due; returns how many.
async fn send(publisher: &mut Publisher, file: &mut Input, endless: bool) -> anyhow::Result<u64> {
    let start = Instant::now();
    let mut line = Line::new();
    let mut tick = interval(PROGRESS_PERIOD);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let (mut timeline, mut count) = (Timeline::new(), 0);
    loop {
        let Some(mut message) = file.next().await? else {
            if count == 0 {
                bail!("{} holds no audio, video or data", file.path.display());
            }
            if !endless {
                return Ok(count);
            }
            file.rewind().await?;
            timeline.on_rewind();
            continue;
        };
        let due = start + timeline.on_timestamp(&mut message.timestamp);
        loop {
            tokio::select! {
                () = sleep_until(due) => break,
                error = publisher.ended() => return Err(error.into()),
                _ = tick.tick() => {
                    line.show(&format!("{:6.1} s  {count} messages", start.elapsed().as_secs_f64()));
                }
                _ = &mut interrupted => return Ok(count),
            }
        }
        publisher.send(&message).await?;
        count += 1;
    }
}

/// An FLV file that is read message by message.
struct Input {
    path: PathBuf,
    file: File,
    reader: flv::Reader,
    buffer: BytesMut,
}

impl Input {
    async fn open(path: PathBuf) -> anyhow::Result<Self> {
        let file = File::open(&path).await.with_context(|| format!("cannot read {}", path.display()))?;
        let reader = flv::Reader::new(flv::Limits::default());
        Ok(Self { path, file, reader, buffer: BytesMut::with_capacity(READ_BYTES) })
    }

    async fn next(&mut self) -> anyhow::Result<Option<MediaMessage>> {
        loop {
            let tag = self.reader.poll_tag();
            if let Some(message) = tag.with_context(|| format!("{} is damaged", self.path.display()))? {
                return Ok(Some(message));
            }
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES);
            let read = self.file.read_buf(&mut self.buffer).await;
            if read.with_context(|| format!("cannot read {}", self.path.display()))? == 0 {
                return Ok(None);
            }
            self.reader.handle_bytes(&self.buffer);
        }
    }

    async fn rewind(&mut self) -> anyhow::Result<()> {
        let path = std::mem::take(&mut self.path);
        *self = Self::open(path).await?;
        Ok(())
    }
}
