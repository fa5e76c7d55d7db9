//! What every process says of itself alike.

use std::{collections::BTreeMap, time::Instant};

use cluster::{Epoch, Incarnation, NodeId, Role};

use super::{Load, NodeKind, NodeStatus, Ping};
use crate::agent::Standing;

/// Who a process is: what stays the same as long as it runs.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name.
    pub id: NodeId,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// What it is.
    pub kind: NodeKind,
    /// The version it was built as.
    pub version: &'static str,
    /// When it started.
    pub started: Instant,
    /// What it listens on: `rtmp`, `http`, `grpc`, `admin` and the address of each.
    pub listeners: BTreeMap<String, String>,
}

impl Identity {
    /// That the process is there, in this role; `epoch` is the highest that it has heard of.
    pub fn ping(&self, role: Option<Role>, epoch: Epoch, load: Load) -> Ping {
        Ping {
            node: self.id.to_string(),
            kind: self.kind,
            incarnation: self.incarnation.to_string(),
            role,
            epoch: epoch.0,
            uptime: self.started.elapsed(),
            load,
        }
    }

    /// One page about the process, which is of no pool and stands so with the control plane, where it has one.
    pub fn status(&self, ping: Ping, control: Option<&Standing>, draining: bool, notes: Vec<String>) -> NodeStatus {
        NodeStatus {
            ping,
            version: self.version.to_owned(),
            pool: String::new(),
            draining,
            control_connected: control.is_some_and(Standing::connected),
            config_age: control.and_then(Standing::config_age),
            listeners: self.listeners.clone(),
            notes,
        }
    }
}
