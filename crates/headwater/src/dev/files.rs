//! The cluster's directory: configuration, tokens, addresses, and where logs and ids go.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde_json::{Map, json};

use super::{
    plan::Plan,
    ports::{self, Lock},
    yaml,
};

/// The directory of one cluster; locked while this lives.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    _lock: Lock,
}

impl Files {
    /// Makes the directory, for its owner alone, and locks it against a second `dev`.
    pub(super) fn prepare(dir: &Path) -> anyhow::Result<Self> {
        make_private(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot use the directory {}", dir.display()))?;
        let lock = ports::lock(&dir.join("dev.lock")).with_context(|| format!("cannot lock {}", dir.display()))?;
        let Some(lock) = lock else {
            bail!("another `headwater dev` runs in {}: end it, or give this one another --dir", dir.display());
        };
        Ok(Self { dir, _lock: lock })
    }

    /// Writes tokens, one YAML a process, and `cluster.json`; what an earlier cluster stored and logged stays.
    pub(super) fn write(&self, plan: &Plan) -> anyhow::Result<()> {
        // Whoever runs this inside a working copy does not want to commit tokens.
        self.put(".gitignore", "*\n")?;
        let tokens = self.dir.join("tokens");
        make_private(&tokens).with_context(|| format!("cannot make {}", tokens.display()))?;
        rpc::auth::write_tokens(&tokens)?;
        for node in &plan.nodes {
            let data = self.dir.join(node.name);
            make_private(&data).with_context(|| format!("cannot make {}", data.display()))?;
            self.put(&format!("{}.yaml", node.name), &yaml::of(&self.dir, plan, node))?;
        }
        let text = serde_json::to_string_pretty(&self.description(plan)).context("addresses are plain data")?;
        self.put("cluster.json", &format!("{text}\n"))
    }

    /// The cluster's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A process's configuration.
    pub(super) fn config(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.yaml"))
    }

    /// A process's log.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// The file with a process's id.
    pub(super) fn pid(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.pid"))
    }

    /// The last lines of a process's log.
    pub(super) fn last_log(&self, name: &str, lines: usize) -> String {
        let path = self.log(name);
        let bytes = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let skip = text.lines().count().saturating_sub(lines);
        let last: Vec<_> = text.lines().skip(skip).map(|line| format!("    {line}")).collect();
        format!("the end of {}:\n{}", path.display(), last.join("\n"))
    }

    /// The last lines of all logs.
    pub(super) fn last_logs(&self, plan: &Plan, lines: usize) -> String {
        plan.nodes.iter().map(|node| self.last_log(node.name, lines)).collect::<Vec<_>>().join("\n")
    }

    /// What `cluster.json` holds: for each node its kind, its addresses and its files.
    fn description(&self, plan: &Plan) -> serde_json::Value {
        let mut nodes = Map::new();
        for node in &plan.nodes {
            let mut about = json!(node);
            about["config"] = json!(self.config(node.name));
            about["log"] = json!(self.log(node.name));
            about["pid"] = json!(self.pid(node.name));
            nodes.insert(node.name.to_owned(), about);
        }
        json!({ "dir": self.dir, "tokens": self.dir.join("tokens"), "dev_pid": std::process::id(), "nodes": nodes })
    }

    fn put(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        write_private(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A directory for its owner alone; one that exists stays as it is.
fn make_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Replaces the file in one step: a reader sees the old one or the new one.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let new = path.with_extension("new");
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}
