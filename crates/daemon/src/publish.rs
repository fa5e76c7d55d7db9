//! The setting `publish` and its keys file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cluster::{KeysError, PublishConfig, PublishPolicy};
use tokio::sync::watch;

/// Who may publish by this setting. Without one it is nobody, and under `--dev` everybody.
pub fn publish_policy(setting: Option<&PublishConfig>, dev: bool) -> Result<PublishPolicy, KeysFileError> {
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

/// Reads by whom may be published anew, for all who ask the policy. Where that fails, what was in force stays; either is
/// logged.
pub fn reload_publish_policy(policy: &watch::Sender<PublishPolicy>, setting: Option<&PublishConfig>, dev: bool) {
    match publish_policy(setting, dev) {
        Ok(new) => {
            policy.send_replace(new);
            tracing::info!("publish.reloaded");
        }
        Err(error) => tracing::error!(%error, "publish.not_reloaded"),
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
        assert!(!publish_policy(None, false).unwrap().allows(&name(), None));
        assert!(publish_policy(None, true).unwrap().allows(&name(), None));
        assert!(publish_policy(Some(&PublishConfig::Open), false).unwrap().allows(&name(), None));
    }

    #[test]
    fn a_keys_file_that_cannot_be_used_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let setting = PublishConfig::KeysFile(path.clone());
        assert!(publish_policy(Some(&setting), true).unwrap_err().to_string().contains("keys"));
        fs::write(&path, "live/a topsecret").unwrap();
        let told = publish_policy(Some(&setting), true).unwrap_err().to_string();
        assert!(told.contains("line 1") && !told.contains("topsecret"), "{told}");
    }
}
