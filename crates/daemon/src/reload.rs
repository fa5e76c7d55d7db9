//! SIGHUP: the configuration is read again, what may change is applied, what may not is named.

use std::{path::PathBuf, sync::Arc};

use telemetry::logs::LogControl;
use tokio::sync::watch;

use crate::config::{self, Config};

/// The configurations that come by SIGHUP, each already checked.
///
/// A service takes from them what [`Config::RELOADABLE`] names and leaves the rest; it also reads key and token files
/// again, which may have changed although the YAML has not.
#[derive(Clone, Debug)]
pub struct Reloads<C> {
    latest: watch::Receiver<Arc<C>>,
}

impl<C> Reloads<C> {
    /// Waits for the next reload; never returns when there can be none. May be dropped at any time.
    pub async fn next(&mut self) -> Arc<C> {
        if self.latest.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.latest.borrow_and_update().clone()
    }

    /// A source for tests and for programs without a file: what is sent is what a reload gives.
    pub fn channel(first: C) -> (watch::Sender<Arc<C>>, Self) {
        let (sender, latest) = watch::channel(Arc::new(first));
        (sender, Self { latest })
    }
}

/// Reads the file again when told.
pub(crate) struct Reloader<C> {
    pub(crate) file: Option<PathBuf>,
    /// The configuration that the process was started with: what cannot change still has its values.
    pub(crate) started: Arc<C>,
    pub(crate) sender: watch::Sender<Arc<C>>,
    pub(crate) logs: LogControl,
}

impl<C: Config> Reloader<C> {
    /// Loads, logs what changed and what cannot, and hands it on. A file with mistakes changes nothing.
    pub(crate) fn reload(&self) {
        let new: C = match config::load(self.file.as_deref()) {
            Ok(new) => new,
            Err(error) => return tracing::error!(%error, "config.refused"),
        };
        let latest = self.sender.borrow().clone();
        let (changed, fixed) = sort(&*self.started, &*latest, &new);
        if !fixed.is_empty() {
            let keys = fixed.join(" ");
            tracing::warn!(keys, "config.needs_restart");
        }
        if new.process().log != latest.process().log
            && let Err(error) = self.logs.set(&new.process().log)
        {
            tracing::error!(%error, "log.level_refused");
        }
        tracing::info!(changed = changed.join(" "), "config.reloaded");
        self.sender.send_replace(Arc::new(new));
    }
}

/// What changes against the latest configuration and may, and what differs from the first and may not.
fn sort<C: Config>(started: &C, latest: &C, new: &C) -> (Vec<String>, Vec<String>) {
    let may_change = |path: &String| {
        path == "process.log"
            || C::RELOADABLE
                .iter()
                .any(|key| path == key || path.starts_with(key) && path[key.len()..].starts_with('.'))
    };
    let changed = config::differences(latest, new).into_iter().filter(may_change).collect();
    let fixed = config::differences(started, new).into_iter().filter(|path| !may_change(path)).collect();
    (changed, fixed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::Sample;

    #[test]
    fn what_may_change_and_what_needs_a_restart_are_told_apart() {
        let started = Sample::default();
        let mut new = Sample { node: "edge-9".into(), ..Sample::default() };
        new.rtmp.grace = crate::config::Period::from_secs(1);
        new.process.log = "debug".into();
        let (changed, fixed) = sort(&started, &started, &new);
        assert_eq!(changed, ["rtmp.grace", "process.log"]);
        assert_eq!(fixed, ["node"]);
        let (changed, fixed) = sort(&started, &new, &new);
        assert!(changed.is_empty(), "{changed:?}");
        assert_eq!(fixed, ["node"], "until it is restarted, each reload says so");
    }

    #[tokio::test]
    async fn file_with_mistakes_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("sample.yaml");
        let (sender, mut reloads) = Reloads::channel(Sample::default());
        let logs = telemetry::logs::LogControl::detached();
        let started = Arc::new(Sample::default());
        let reloader = Reloader { file: Some(file.clone()), started, sender, logs };
        std::fs::write(&file, "rtmp:\n  grace: soon\n").expect("written");
        reloader.reload();
        std::fs::write(&file, "rtmp:\n  grace: 3s\n").expect("written");
        reloader.reload();
        assert_eq!(reloads.next().await.rtmp.grace, crate::config::Period::from_secs(3));
    }
}
