//! What may change while the process runs: keys and tokens.

use std::sync::Arc;

use daemon::{Admission, PublishKeys, Reloads};
use rpc::auth::Auth;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Holds what SIGHUP changes. What is taken from it goes by what was read last.
pub(crate) struct Reload {
    keys: PublishKeys,
    auth: Arc<Auth>,
    in_force: watch::Sender<Arc<Config>>,
}

impl Reload {
    /// Reads keys and tokens for the first time.
    pub(crate) fn open(config: &Config, dev: bool) -> anyhow::Result<Self> {
        let keys = PublishKeys::open(config.publish.as_ref(), dev)?;
        let auth = Arc::new(Auth::open(config.tokens.as_deref(), dev)?);
        let in_force = watch::Sender::new(Arc::new(config.clone()));
        Ok(Self { keys, auth, in_force })
    }

    /// Who may publish.
    pub(crate) fn admission(&self) -> Arc<Admission> {
        self.keys.admission()
    }

    /// Who may call.
    pub(crate) fn auth(&self) -> Arc<Auth> {
        self.auth.clone()
    }

    /// The configuration, as far as it is in force.
    pub(crate) fn in_force(&self) -> watch::Receiver<Arc<Config>> {
        self.in_force.subscribe()
    }

    /// Takes what each SIGHUP brings, until told to stop.
    pub(crate) async fn run(self, mut reloads: Reloads<Config>, stop: CancellationToken) {
        while let Some(config) = stop.run_until_cancelled(reloads.next()).await {
            self.auth.read_again(config.tokens.as_deref());
            self.keys.read_again(config.publish.as_ref());
            self.in_force.send_modify(|held| *held = Arc::new(held.with_reloadable(&config)));
        }
    }
}
