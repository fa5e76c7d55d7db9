//! The admin HTTP port: health, metrics and a page to look at.

mod page;
mod server;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use telemetry::metrics::Registry;

pub use page::{Cell, Page};
pub(crate) use server::Server;

use crate::{BindError, Shutdown, bind};

/// What a service tells about itself. Each call answers at once from memory.
pub trait Inspect: Send + Sync + 'static {
    /// What is missing before this process can take work; empty when it is ready. A drain is told without it.
    fn missing(&self) -> Vec<String>;

    /// The epoch in which it serves as active right now, for `/active`.
    fn active_epoch(&self) -> Option<u64> {
        None
    }

    /// The page of `/status` and `/status.json`.
    fn status(&self) -> Page;
}

/// The admin port of this process; cheap to clone. It answers from the start, and as not ready until it can look into
/// the service.
#[derive(Clone)]
pub struct Admin {
    state: Arc<State>,
    address: SocketAddr,
}

struct State {
    service: &'static str,
    metrics: Registry,
    shutdown: Shutdown,
    inspect: OnceLock<Arc<dyn Inspect>>,
}

impl Admin {
    /// Listens; the server answers while it is run.
    pub(crate) fn bind(
        service: &'static str,
        address: SocketAddr,
        metrics: Registry,
        shutdown: Shutdown,
    ) -> Result<(Self, Server), BindError> {
        let listener = bind("the admin port", "process.admin", address)?;
        let address = listener.local_addr().unwrap_or(address);
        tracing::info!(%address, "admin.listening");
        let state = Arc::new(State { service, metrics, shutdown, inspect: OnceLock::new() });
        Ok((Self { state: state.clone(), address }, Server::new(listener, state)))
    }

    /// From now on the port tells what `service` tells. Only the first call counts.
    pub fn inspect(&self, service: Arc<dyn Inspect>) {
        let _ = self.state.inspect.set(service);
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("address", &self.address).finish_non_exhaustive()
    }
}

impl State {
    /// What keeps the process from taking work.
    fn missing(&self) -> Vec<String> {
        if self.shutdown.has_begun() {
            return vec!["draining".to_owned()];
        }
        match self.inspect.get() {
            Some(service) => service.missing(),
            None => vec!["starting".to_owned()],
        }
    }

    fn active_epoch(&self) -> Option<u64> {
        self.inspect.get().and_then(|service| service.active_epoch())
    }

    fn status(&self) -> Page {
        match self.inspect.get() {
            Some(service) => service.status(),
            None => Page::new(self.service).facts("Process", [("state", "starting")]),
        }
    }
}

#[cfg(test)]
mod tests;
