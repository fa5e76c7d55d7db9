//! What may change while the process runs: keys, tokens and certificates.

use std::sync::Arc;

use anyhow::Context as _;
use daemon::{Admission, PublishKeys, Reloads};
use rpc::auth::Auth;
use rtmp_net::tls;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Holds what SIGHUP changes. What is taken from it goes by what was read last.
pub(crate) struct Reload {
    keys: PublishKeys,
    auth: Arc<Auth>,
    /// None where the public port speaks no TLS.
    certificates: Option<tls::ServerConfig>,
    in_force: watch::Sender<Arc<Config>>,
}

impl Reload {
    /// Reads keys, tokens and certificates for the first time.
    pub(crate) fn open(config: &Config, dev: bool) -> anyhow::Result<Self> {
        let keys = PublishKeys::open(config.publish.as_ref(), dev)?;
        let auth = Arc::new(Auth::open(config.tokens.as_deref(), dev)?);
        let certificates = certificates(config)?;
        let in_force = watch::Sender::new(Arc::new(config.clone()));
        Ok(Self { keys, auth, certificates, in_force })
    }

    /// Who may publish.
    pub(crate) fn admission(&self) -> Arc<Admission> {
        self.keys.admission()
    }

    /// Who may call.
    pub(crate) fn auth(&self) -> Arc<Auth> {
        self.auth.clone()
    }

    /// What the public port presents.
    pub(crate) fn certificates(&self) -> Option<tls::ServerConfig> {
        self.certificates.clone()
    }

    /// The configuration, as far as it is in force.
    pub(crate) fn in_force(&self) -> watch::Receiver<Arc<Config>> {
        self.in_force.subscribe()
    }

    /// Takes what each SIGHUP brings, until told to stop.
    pub(crate) async fn run(self, mut reloads: Reloads<Config>, stop: CancellationToken) {
        while let Some(config) = stop.run_until_cancelled(reloads.next()).await {
            self.take(&config);
        }
    }

    fn take(&self, config: &Config) {
        let publish_taken = self.keys.read_again(config.publish.as_ref());
        self.in_force.send_modify(|held| {
            let publish = if publish_taken { config.publish.clone() } else { held.publish.clone() };
            *held = Arc::new(Config { publish, ..held.with_reloadable(config) });
        });
        self.auth.read_again(self.in_force.borrow().tokens.as_deref());
        self.certificates.iter().for_each(tls::ServerConfig::read_again);
    }
}

fn certificates(config: &Config) -> anyhow::Result<Option<tls::ServerConfig>> {
    let (Some(certificates), Some(key)) = (&config.public.certificates, &config.public.key) else { return Ok(None) };
    Ok(Some(tls::ServerConfig::from_files(certificates, key, &["h2"]).context("public.certificates, public.key")?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cluster::PublishConfig;
    use rpc::auth::{Caller, Token, write_tokens};

    use super::*;

    #[test]
    fn the_files_of_the_directory_that_was_named_at_the_start_are_read_again() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [named, other] = dirs.each_ref().map(tempfile::TempDir::path);
        write_tokens(named).unwrap();
        write_tokens(other).unwrap();
        let token = |dir: &Path| Token::own(Some(dir), Caller::Operator).unwrap().unwrap();
        let config = |dir: &Path| Config { tokens: Some(dir.to_owned()), ..Config::default() };
        let reload = Reload::open(&config(named), false).unwrap();
        let admits = |token: &Token| {
            let authorization = format!("Bearer {}", token.secret());
            reload.auth().admit("/headwater.node.v1.NodeService/Ping", Some(&authorization), None).is_ok()
        };
        let before = token(named);
        reload.take(&config(other));
        assert!(admits(&before) && !admits(&token(other)), "another directory needs a restart");
        std::fs::remove_file(named.join("operator")).unwrap();
        write_tokens(named).unwrap();
        reload.take(&config(other));
        assert!(admits(&token(named)) && !admits(&before));
    }

    #[test]
    fn keys_that_cannot_be_read_are_not_said_to_be_in_force() {
        let config = |publish| Config { publish: Some(publish), ..Config::default() };
        let reload = Reload::open(&config(PublishConfig::Open), false).unwrap();
        let publish = || reload.in_force().borrow().publish.clone();
        reload.take(&config(PublishConfig::KeysFile("/there/is/none".into())));
        assert_eq!(publish(), Some(PublishConfig::Open));
        let keys = tempfile::NamedTempFile::new().unwrap();
        let readable = PublishConfig::KeysFile(keys.path().to_owned());
        reload.take(&config(readable.clone()));
        assert_eq!(publish(), Some(readable));
    }
}
