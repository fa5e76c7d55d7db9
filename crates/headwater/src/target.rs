//! Which cluster a command looks at.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Deserialize;

/// A cluster as `headwater dev` describes it in `DIR/cluster.json`; what this program does not need is left out.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Cluster {
    /// The directory of its tokens.
    pub tokens: PathBuf,
    /// The processes by name.
    pub nodes: BTreeMap<String, Node>,
}

/// One process.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    /// What it is.
    pub kind: String,
    /// Its gRPC port.
    pub grpc: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
}

impl Cluster {
    /// Reads `DIR/cluster.json`.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("cluster.json");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}: start `headwater dev`, or name its directory with --dir", path.display())
        })?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: start `headwater dev` again", path.display()))
    }
}
