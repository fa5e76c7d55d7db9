//! Commands to nodes, and their results.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use cluster::NodeId;
use rpc::{
    control::{Command, CommandResult, FromControl},
    status::{Code, Failure},
};
use tokio::{sync::oneshot, time};

use crate::plane::{ControlPlane, lock};

/// Commands that have been sent and not yet answered.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    sent: AtomicU64,
    waiting: Mutex<HashMap<String, oneshot::Sender<CommandResult>>>,
}

impl Commands {
    /// A node told what became of a command; one that nobody waits for any more is passed over.
    pub(crate) fn handle_result(&self, result: CommandResult) {
        if let Some(waiting) = lock(&self.waiting).remove(&result.command_id) {
            // The caller may have given up just now.
            let _ = waiting.send(result);
        }
    }
}

impl ControlPlane {
    /// Has a node do something; returns how many sessions that concerned.
    pub(crate) async fn command(&self, node: &NodeId, command: Command) -> Result<u32, Failure> {
        let commands = &self.inner.commands;
        let id = format!("c{}", commands.sent.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, result) = oneshot::channel();
        lock(&commands.waiting).insert(id.clone(), sender);
        let outcome = if self.inner.links.send(node, FromControl::Command { id: id.clone(), command }) {
            time::timeout(*self.inner.config.command_wait, result).await
        } else {
            lock(&commands.waiting).remove(&id);
            return Err(not_connected(node));
        };
        lock(&commands.waiting).remove(&id);
        match outcome {
            Ok(Ok(CommandResult { error: None, affected, .. })) => Ok(affected),
            Ok(Ok(CommandResult { error: Some(error), .. })) => {
                let message = format!("{} could not do it: {error}", node.resource());
                Err(Failure::new(Code::FailedPrecondition, "COMMAND_FAILED", message)
                    .with("node", node.resource())
                    .with("error", error))
            }
            Ok(Err(_)) | Err(_) => {
                let message = format!("{} has not answered; it may have done it", node.resource());
                let failure = Failure::new(Code::DeadlineExceeded, "COMMAND_NOT_ANSWERED", message);
                Err(failure.with("node", node.resource()))
            }
        }
    }
}

fn not_connected(node: &NodeId) -> Failure {
    let message = format!("{} is not connected to the control plane now", node.resource());
    Failure::new(Code::Unavailable, "NODE_NOT_CONNECTED", message)
        .with("node", node.resource())
        .with_retry_after(std::time::Duration::from_secs(1))
}
