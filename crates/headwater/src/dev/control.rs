//! How `headwater dev restart` asks the running `headwater dev`: a socket in the cluster's directory.
//!
//! The process that is started must be a child of the running `dev`, so that it ends with it.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use crate::output;

const SOCKET: &str = "dev.sock";
/// How long a restart may take: an end, a start, and until it is ready.
const RESTART_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest line on the socket.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Restart(String),
}

/// The answer: `null` when all is well.
type Told = Result<(), String>;

/// A process is to be restarted; `done` is told when it is ready, or why it is not.
#[derive(Debug)]
pub(super) struct Restart {
    /// The name as it was given.
    pub name: String,
    /// Who waits for the answer.
    pub done: oneshot::Sender<Told>,
}

/// Asks the `dev` that runs in `dir` to restart a process, and waits until that is ready.
pub(super) async fn restart(dir: &Path, name: &str) -> anyhow::Result<()> {
    let shown = dir.display();
    let (path, _held) = socket(dir).with_context(|| format!("{shown} is no cluster's directory"))?;
    let stream = UnixStream::connect(path)
        .await
        .with_context(|| format!("no `headwater dev` runs in {shown}: start one, or name its directory with --dir"))?;
    let (from, mut to) = stream.into_split();
    let ask = serde_json::to_string(&Ask::Restart(name.to_owned())).context("a name is plain data")?;
    to.write_all(format!("{ask}\n").as_bytes()).await.context("`headwater dev` does not listen")?;
    let answer = timeout(RESTART_TIMEOUT, line(from)).await.context("no answer from `headwater dev`")??;
    match serde_json::from_str::<Told>(&answer).context("`headwater dev` has ended")? {
        Ok(()) => output::print(&format!("{name} is ready\n"))?,
        Err(why) => bail!("{why}"),
    }
    Ok(())
}

/// Listens for requests while [`Control::run`] is polled.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    requests: mpsc::Sender<Restart>,
}

impl Control {
    /// Takes the place of the socket that an earlier `dev` may have left; the caller holds the directory's lock.
    pub(super) fn listen(dir: &Path) -> anyhow::Result<(Self, mpsc::Receiver<Restart>)> {
        let (path, _held) = socket(dir)?;
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot remove {}", path.display()));
        }
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        let (requests, receiver) = mpsc::channel(8);
        Ok((Self { listener, requests }, receiver))
    }

    /// Serves for ever.
    pub(super) async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, self.requests.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "control.accept_failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(stream: UnixStream, requests: mpsc::Sender<Restart>) {
    let (from, mut to) = stream.into_split();
    let told = match line(from).await.map(|text| serde_json::from_str::<Ask>(&text)) {
        Ok(Ok(Ask::Restart(name))) => {
            let (done, answer) = oneshot::channel();
            match requests.send(Restart { name, done }).await {
                Ok(()) => answer.await.unwrap_or_else(|_| Err("the cluster is ending".to_owned())),
                Err(_) => Err("the cluster is ending".to_owned()),
            }
        }
        Ok(Err(error)) => Err(format!("the request cannot be read: {error}")),
        Err(error) => return tracing::debug!(%error, "control.connection_failed"),
    };
    let text = serde_json::to_string(&told).expect("an answer is plain data");
    if let Err(error) = to.write_all(format!("{text}\n").as_bytes()).await {
        tracing::debug!(%error, "control.answer_lost");
    }
}

async fn line(from: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut text = String::new();
    BufReader::new(from.take(LINE_BYTES_MAX)).read_line(&mut text).await?;
    Ok(text)
}

/// The socket's path. One through an open directory: a socket's path may not be longer than 107 bytes, a directory's may.
fn socket(dir: &Path) -> io::Result<(PathBuf, File)> {
    let open = File::open(dir)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())).join(SOCKET), open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn restart_waits_for_the_answer_also_in_a_deep_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).expect("made");
        let (control, mut requests) = Control::listen(&deep).expect("listening");
        let serve = control.run();
        let ask = async {
            restart(&deep, "edge-1").await.expect("ready");
            restart(&deep, "edge-9").await.expect_err("unknown").to_string()
        };
        let answer = async {
            while let Some(Restart { name, done }) = requests.recv().await {
                let told = if name == "edge-1" { Ok(()) } else { Err(format!("{name} is unknown")) };
                done.send(told).expect("somebody waits");
            }
        };
        let error = tokio::select! {
            error = ask => error,
            () = serve => unreachable!("it serves for ever"),
            () = answer => unreachable!("the sender lives"),
        };
        assert_eq!(error, "edge-9 is unknown");
    }

    #[tokio::test]
    async fn directory_without_a_running_cluster_says_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = format!("{:#}", restart(dir.path(), "edge-1").await.expect_err("nobody runs"));
        assert!(error.contains("start one") && error.contains("--dir"), "{error}");
    }
}
