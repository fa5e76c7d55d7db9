//! Shows on standard error what the processes write to their logs.

use std::{path::PathBuf, time::Duration};

use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom},
};

/// How often the logs are looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// The most that is read at one look.
const BYTES_MAX: u64 = 1024 * 1024;

/// A log that is being followed.
#[derive(Debug)]
struct Log {
    name: &'static str,
    path: PathBuf,
    position: u64,
    rest: Vec<u8>,
}

/// Prints new lines of the logs, each after its node's name, for ever. Begins at the end of what is there.
pub(super) async fn follow(logs: Vec<(&'static str, PathBuf)>) {
    let mut logs: Vec<_> = logs
        .into_iter()
        .map(|(name, path)| {
            let position = std::fs::metadata(&path).map_or(0, |file| file.len());
            Log { name, path, position, rest: Vec::new() }
        })
        .collect();
    loop {
        for log in &mut logs {
            match log.new_lines().await {
                Ok(lines) => lines.iter().for_each(|line| eprintln!("{:<13} {line}", log.name)),
                Err(error) => tracing::debug!(%error, path = %log.path.display(), "log.not_read"),
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

impl Log {
    async fn new_lines(&mut self) -> std::io::Result<Vec<String>> {
        let mut file = File::open(&self.path).await?;
        file.seek(SeekFrom::Start(self.position)).await?;
        let read = file.take(BYTES_MAX).read_to_end(&mut self.rest).await?;
        self.position += read as u64;
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        Ok(String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn line_is_shown_once_and_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("edge-1.log");
        std::fs::write(&path, "one\ntw").expect("written");
        let mut log = Log { name: "edge-1", path: path.clone(), position: 0, rest: Vec::new() };
        assert_eq!(log.new_lines().await.expect("read"), ["one"]);
        std::fs::write(&path, "one\ntwo\nthree\n").expect("written");
        assert_eq!(log.new_lines().await.expect("read"), ["two", "three"]);
        assert!(log.new_lines().await.expect("read").is_empty());
    }
}
