//! What the control plane's process answers about itself.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use daemon::Process;
use rpc::{
    node::{Load, LocalSession, LocalStream, Node, NodeKind, NodeStatus, Ping},
    status::Failure,
};

use crate::{Config, plane::ControlPlane};

/// This process, for those who operate it.
pub(crate) struct OwnNode {
    pub(crate) control: ControlPlane,
    pub(crate) process: Process<Config>,
    pub(crate) incarnation: u64,
    pub(crate) listen: String,
}

impl Node for OwnNode {
    fn ping(&self) -> Ping {
        Ping {
            node: self.control.inner.config.node.to_string(),
            kind: NodeKind::ControlPlane,
            incarnation: format!("{:016x}", self.incarnation),
            role: None,
            epoch: 0,
            uptime: self.control.inner.started.elapsed(),
            load: Load::default(),
        }
    }

    fn status(&self) -> NodeStatus {
        let listeners = [("grpc", self.listen.clone()), ("admin", self.process.admin.address().to_string())];
        NodeStatus {
            ping: self.ping(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pool: String::new(),
            draining: self.process.shutdown.has_begun(),
            control_connected: true,
            config_age: Some(Duration::ZERO),
            listeners: listeners.into_iter().map(|(name, at)| (name.to_owned(), at)).collect::<BTreeMap<_, _>>(),
            notes: self.control.store_state().error.into_iter().collect(),
        }
    }

    fn streams(&self) -> Vec<LocalStream> {
        Vec::new()
    }

    fn sessions(&self) -> Vec<LocalSession> {
        Vec::new()
    }

    async fn drain(&self, deadline: Option<Duration>, reason: &str) -> Result<u32, Failure> {
        self.process.shutdown.begin_as_asked(deadline, reason);
        Ok(0)
    }

    async fn kick(&self, _session: &str, _reason: &str) -> bool {
        false
    }

    fn set_log_level(&self, target: &str, level: &str, ttl: Duration) -> Result<SystemTime, Failure> {
        rpc::node::set_log_level(&self.process.logs, target, level, ttl)
    }

    fn effective_config(&self) -> String {
        daemon::config::effective(&self.control.inner.config)
    }
}
