//! What the control plane's process answers about itself.

use std::time::{Duration, SystemTime};

use cluster::Epoch;
use daemon::Process;
use rpc::{
    node::{Identity, Load, LocalStream, Node, NodeStatus, Operated, Ping, SessionRegister},
    status::Failure,
};

use crate::{Config, plane::ControlPlane};

/// This process, for those who operate it.
pub(crate) struct OwnNode {
    pub(crate) control: ControlPlane,
    pub(crate) process: Process<Config>,
    pub(crate) identity: Identity,
}

impl Operated for OwnNode {
    fn register(&self) -> &dyn SessionRegister {
        &()
    }

    fn begin_drain(&self, deadline: Option<Duration>, reason: &str) {
        self.process.shutdown.begin_as_asked(deadline, reason);
    }
}

impl Node for OwnNode {
    fn ping(&self) -> Ping {
        self.identity.ping(None, Epoch(0), Load::default())
    }

    fn status(&self) -> NodeStatus {
        let draining = self.process.shutdown.has_begun();
        let notes = self.control.store_state().error.into_iter().collect();
        let status = self.identity.status(self.ping(), None, draining, notes);
        // What it knows is its own word.
        NodeStatus { control_connected: true, config_age: Some(Duration::ZERO), ..status }
    }

    fn streams(&self) -> Vec<LocalStream> {
        Vec::new()
    }

    fn set_log_level(&self, target: &str, level: &str, ttl: Duration) -> Result<SystemTime, Failure> {
        rpc::node::set_log_level(&self.process.logs, target, level, ttl)
    }

    fn effective_config(&self) -> String {
        daemon::config::effective(&self.control.inner.config)
    }
}
