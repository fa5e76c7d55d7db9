//! The level of the log, changed while the process runs.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::AbortHandle;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Why a level was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// The directives cannot be read.
    #[error(
        "log level {given:?} cannot be read ({reason}); write error, warn, info, debug or trace, or info,rtmp_net=debug"
    )]
    Syntax {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process is ending.
    #[error("logging has ended")]
    Gone,
}

/// Changes the level of the log; cheap to clone.
#[derive(Clone)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
    state: Arc<Mutex<State>>,
}

struct State {
    base: String,
    now: String,
    restore: Option<AbortHandle>,
}

impl LogControl {
    pub(super) fn new(handle: reload::Handle<EnvFilter, Registry>, base: String) -> Self {
        let state = State { now: base.clone(), base, restore: None };
        Self { handle, state: Arc::new(Mutex::new(state)) }
    }

    /// A control of no log, for tests and programs that have none: every change is refused as [`LevelError::Gone`].
    pub fn detached() -> Self {
        let filter = EnvFilter::new("info");
        let (_, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
        Self::new(handle, "info".to_owned())
    }

    /// The directives in force.
    pub fn current(&self) -> String {
        self.lock().now.clone()
    }

    /// Sets the level until it is set again, as the configuration does.
    pub fn set(&self, directives: &str) -> Result<(), LevelError> {
        self.apply(directives)?;
        let mut state = self.lock();
        state.base = directives.to_owned();
        if let Some(restore) = state.restore.take() {
            restore.abort();
        }
        Ok(())
    }

    /// Sets the level for `ttl`; then the one of the configuration is in force again. Needs a tokio runtime.
    pub fn set_for(&self, directives: &str, ttl: Duration) -> Result<(), LevelError> {
        self.apply(directives)?;
        let control = self.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(ttl).await;
            let base = control.lock().base.clone();
            match control.apply(&base) {
                Ok(()) => tracing::info!(level = base, "log.level_restored"),
                Err(error) => tracing::error!(%error, "log.level_not_restored"),
            }
        });
        if let Some(before) = self.lock().restore.replace(task.abort_handle()) {
            before.abort();
        }
        Ok(())
    }

    /// [`LogControl::set_for`] for one target beside the configured level; for all, when `target` is empty.
    pub fn set_target_for(&self, target: &str, level: &str, ttl: Duration) -> Result<(), LevelError> {
        match target {
            "" => self.set_for(level, ttl),
            _ => self.set_for(&format!("{},{target}={level}", self.base()), ttl),
        }
    }

    fn base(&self) -> String {
        let base = self.lock().base.clone();
        if base.is_empty() { "info".to_owned() } else { base }
    }

    fn apply(&self, directives: &str) -> Result<(), LevelError> {
        let filter = parse(directives)?;
        self.handle.reload(filter).map_err(|_| LevelError::Gone)?;
        self.lock().now = directives.to_owned();
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").field("now", &self.current()).finish_non_exhaustive()
    }
}

/// Reads directives; empty ones mean `info`.
pub(super) fn parse(directives: &str) -> Result<EnvFilter, LevelError> {
    let given = if directives.trim().is_empty() { "info" } else { directives };
    let syntax = |reason: String| LevelError::Syntax { given: given.to_owned(), reason };
    // A lone word that is no level would be taken as the name of a target, and all else fall silent.
    for directive in given.split(',').map(str::trim) {
        let level = directive.rsplit('=').next().unwrap_or(directive);
        if level.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
            return Err(syntax(format!("{level:?} is no level")));
        }
    }
    EnvFilter::builder().parse(given).map_err(|error| syntax(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_level_is_refused_with_what_to_write() {
        let error = parse("inof").expect_err("no such level").to_string();
        assert!(error.contains("\"inof\"") && error.contains("info,rtmp_net=debug"), "{error}");
        assert!(parse("info,rtmp_net=debug").is_ok());
        assert!(parse("").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn level_with_a_ttl_is_restored() {
        let (layer, handle) = reload::Layer::new(parse("info").expect("a level"));
        let control = LogControl::new(handle, "info".into());
        control.set_for("debug", Duration::from_secs(60)).expect("taken");
        assert_eq!(control.current(), "debug");
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(control.current(), "info");
        control.set_target_for("rtmp_net", "trace", Duration::from_secs(1)).expect("taken");
        assert_eq!(control.current(), "info,rtmp_net=trace");
        drop(layer);
        assert!(matches!(control.set("warn"), Err(LevelError::Gone)));
    }
}
