//! The setting `publish` and its keys file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cluster::{KeysError, PublishConfig, PublishPolicy};
use tokio::sync::watch;

use crate::Admission;

/// Who may publish, by the setting as it was read last.
#[derive(Debug)]
pub struct PublishKeys {
    policy: watch::Sender<PublishPolicy>,
    dev: bool,
}

impl PublishKeys {
    /// Reads them for the first time. Without the setting nobody may publish, and under `--dev` everybody.
    pub fn open(setting: Option<&PublishConfig>, dev: bool) -> Result<Self, KeysFileError> {
        Ok(Self { policy: watch::Sender::new(policy(setting, dev)?), dev })
    }

    /// Decides by what was read last.
    pub fn admission(&self) -> Arc<Admission> {
        Arc::new(Admission::new(self.policy.subscribe()))
    }

    /// Reads them anew, for all who decide by them. Where that fails, what was in force stays; either is logged. Returns
    /// whether the setting is in force.
    pub fn read_again(&self, setting: Option<&PublishConfig>) -> bool {
        let read = policy(setting, self.dev);
        match &read {
            Ok(_) => tracing::info!("publish.reloaded"),
            Err(error) => tracing::error!(%error, "publish.not_reloaded"),
        }
        read.map(|new| self.policy.send_replace(new)).is_ok()
    }
}

fn policy(setting: Option<&PublishConfig>, dev: bool) -> Result<PublishPolicy, KeysFileError> {
    match setting {
        Some(PublishConfig::Open) => Ok(PublishPolicy::Open),
        Some(PublishConfig::KeysFile(path)) => read(path),
        None if dev => Ok(PublishPolicy::Open),
        None => {
            tracing::warn!(why = "the setting `publish` is not given, so all publishing is refused", "publish.nobody");
            Ok(PublishPolicy::from_keys("").expect("an empty file has no mistakes"))
        }
    }
}

fn read(path: &Path) -> Result<PublishPolicy, KeysFileError> {
    let text = fs::read_to_string(path).map_err(|error| KeysFileError::Read { path: path.to_owned(), error })?;
    PublishPolicy::from_keys(&text).map_err(|error| KeysFileError::Wrong { path: path.to_owned(), error })
}

/// Why a keys file cannot be used. Never shows what stands in it.
#[derive(Debug, thiserror::Error)]
pub enum KeysFileError {
    /// It cannot be read.
    #[error("publish.keys_file: cannot read {}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A line is wrong.
    #[error("publish.keys_file: {}: {error}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Which line, and what is wrong.
        error: KeysError,
    },
}

#[cfg(test)]
mod tests {
    use media::StreamName;

    use super::*;

    fn name() -> StreamName {
        StreamName::from_app("_default", "live", "a").unwrap()
    }

    #[test]
    fn without_the_setting_nobody_may_publish_except_under_dev() {
        assert!(!policy(None, false).unwrap().allows(&name(), None));
        assert!(policy(None, true).unwrap().allows(&name(), None));
        assert!(policy(Some(&PublishConfig::Open), false).unwrap().allows(&name(), None));
    }

    #[test]
    fn a_keys_file_that_went_wrong_leaves_in_force_what_was_read_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let setting = PublishConfig::KeysFile(path.clone());
        let write = |key: &str| fs::write(&path, format!("live/a {}", cluster::hashed_publish_key(key))).unwrap();
        write("first");
        let keys = PublishKeys::open(Some(&setting), false).unwrap();
        let admission = keys.admission();
        fs::write(&path, "live/a second").unwrap();
        keys.read_again(Some(&setting));
        assert!(admission.admits(&name(), Some("first"), "127.0.0.1"));
        write("second");
        keys.read_again(Some(&setting));
        assert!(admission.admits(&name(), Some("second"), "127.0.0.1"));
        assert!(!admission.admits(&name(), Some("first"), "127.0.0.1"));
    }

    #[test]
    fn a_keys_file_that_cannot_be_used_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let setting = PublishConfig::KeysFile(path.clone());
        assert!(policy(Some(&setting), true).unwrap_err().to_string().contains("keys"));
        fs::write(&path, "live/a topsecret").unwrap();
        let told = policy(Some(&setting), true).unwrap_err().to_string();
        assert!(told.contains("line 1") && !told.contains("topsecret"), "{told}");
    }
}
