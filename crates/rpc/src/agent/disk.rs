//! The last snapshot, on disk.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use cluster::{PoolView, RouteEntry};
use serde::{Deserialize, Serialize};
use tokio::{select, sync::watch, task, time};
use tracing::warn;

use super::{Known, Snapshot, Standing};

/// What the file holds, as JSON.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    /// When the control plane last confirmed it: milliseconds since 1970.
    pub(super) confirmed_unix_ms: u64,
    routes: Vec<RouteEntry>,
    pools: Vec<PoolView>,
}

impl Saved {
    fn new(snapshot: &Snapshot, confirmed_unix_ms: u64) -> Self {
        let (routes, pools) = (snapshot.routes.to_vec(), snapshot.pools.to_vec());
        Self { version: VERSION, confirmed_unix_ms, routes, pools }
    }

    /// What a node that starts with it knows.
    pub(super) fn snapshot(self) -> Snapshot {
        Snapshot { known: Known::FromDisk, routes: self.routes.into(), pools: self.pools.into() }
    }
}

/// Reads the file. One that is damaged is as good as none: the control plane can tell it all again.
pub(super) async fn load(path: PathBuf) -> Option<Saved> {
    let shown = path.display().to_string();
    match task::spawn_blocking(move || read(&path)).await {
        Ok(Ok(saved)) => saved,
        Ok(Err(error)) => {
            warn!(file = shown, %error, "snapshot.unreadable");
            None
        }
        Err(error) => {
            warn!(file = shown, %error, "snapshot.unreadable");
            None
        }
    }
}

/// Writes the file whenever the snapshot has changed, and each minute while it is confirmed. Never ends.
pub(super) async fn save_changes(path: Option<PathBuf>, mut snapshot: watch::Receiver<Snapshot>, standing: &Standing) {
    let Some(path) = path else { return std::future::pending().await };
    loop {
        select! {
            changed = snapshot.changed() => if changed.is_err() { return std::future::pending().await },
            () = time::sleep(REFRESH) => {}
        }
        let known = snapshot.borrow_and_update().clone();
        if known.known == Known::FromControlPlane {
            save(&path, Saved::new(&known, standing.confirmed_unix_ms())).await;
        }
        time::sleep(PAUSE).await;
    }
}

async fn save(path: &Path, saved: Saved) {
    let to = path.to_owned();
    let failed = match task::spawn_blocking(move || write(&to, &saved)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(error) => io::Error::other(error),
    };
    warn!(file = %path.display(), error = %failed, "snapshot.not_saved");
}

fn read(path: &Path) -> io::Result<Option<Saved>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    let saved: Saved = serde_json::from_str(&text)?;
    if saved.version != VERSION {
        return Err(io::Error::other(format!("it has version {}, not {VERSION}", saved.version)));
    }
    Ok(Some(saved))
}

/// Beside, synced, renamed: the file is always the old one or the new one.
fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(saved)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// The form of the file.
const VERSION: u32 = 1;
/// A larger file was not written by us.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Between two writes, however much changes.
const PAUSE: Duration = Duration::from_millis(100);
/// How old the time of confirmation in the file may be.
const REFRESH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let entry = serde_json::json!({
            "id": "live",
            "match": { "app": "live" },
            "target": serde_json::to_value(cluster::Target::Refuse).unwrap(),
        });
        Saved {
            version: VERSION,
            confirmed_unix_ms: 7,
            routes: vec![serde_json::from_value(entry).unwrap()],
            pools: vec![],
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/snapshot.json");
        assert_eq!(load(path.clone()).await, None);
        write(&path, &saved()).unwrap();
        assert_eq!(load(path).await, Some(saved()));
    }

    #[tokio::test]
    async fn a_damaged_or_newer_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        let whole = serde_json::to_string(&saved()).unwrap();
        for text in ["", "{", &whole[..whole.len() / 2], &whole.replace("\"version\":1", "\"version\":2")] {
            fs::write(&path, text).unwrap();
            assert_eq!(load(path.clone()).await, None, "{text}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(load(path).await, None);
    }
}
