//! What `onStatus`, `_result` and `_error` tell: level, code, description.

use super::Command;
use crate::amf::Value;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Status,
    /// Worth knowing; things go on.
    Warning,
    /// What was asked does not happen.
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// An information object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How bad it is.
    pub level: Level,
    /// What happened, such as `NetStream.Play.Start`.
    pub code: String,
    /// The same for people.
    pub description: String,
}

impl Status {
    /// Something that went well.
    pub fn ok(code: &str, description: impl Into<String>) -> Self {
        Self { level: Level::Status, code: code.to_owned(), description: description.into() }
    }

    /// Something that was refused or failed.
    pub fn failed(code: &str, description: impl Into<String>) -> Self {
        Self { level: Level::Error, code: code.to_owned(), description: description.into() }
    }

    /// The object that goes on the wire.
    pub fn info(&self) -> Value {
        let Self { level, code, description } = self;
        Value::object([
            ("level", level.as_str().into()),
            ("code", code.as_str().into()),
            ("description", description.as_str().into()),
        ])
    }

    /// The `onStatus` command that carries it.
    pub fn command(&self) -> Command {
        Command::notice("onStatus", vec![self.info()])
    }

    /// Reads an information object. Without a level it is a status, as some servers leave it out.
    pub fn read(info: &Value) -> Option<Self> {
        let code = info.get("code").and_then(Value::as_str)?;
        let level = match info.get("level").and_then(Value::as_str) {
            Some("error") => Level::Error,
            Some("warning") => Level::Warning,
            _ => Level::Status,
        };
        let description = info.get("description").and_then(Value::as_str).unwrap_or_default();
        Some(Self { level, code: code.to_owned(), description: description.to_owned() })
    }
}

/// The codes that this crate sends or looks for.
pub mod code {
    #![allow(missing_docs)]
    pub const CALL_FAILED: &str = "NetConnection.Call.Failed";
    pub const CONNECT_SUCCESS: &str = "NetConnection.Connect.Success";
    pub const CONNECT_REJECTED: &str = "NetConnection.Connect.Rejected";
    pub const CONNECT_INVALID_APP: &str = "NetConnection.Connect.InvalidApp";
    pub const CONNECT_CLOSED: &str = "NetConnection.Connect.Closed";
    pub const CONNECT_SHUTDOWN: &str = "NetConnection.Connect.AppShutdown";
    pub const STREAM_FAILED: &str = "NetStream.Failed";
    pub const PUBLISH_START: &str = "NetStream.Publish.Start";
    pub const PUBLISH_BAD_NAME: &str = "NetStream.Publish.BadName";
    pub const PUBLISH_DENIED: &str = "NetStream.Publish.Denied";
    pub const PUBLISH_REJECTED: &str = "NetStream.Publish.Rejected";
    pub const UNPUBLISH_SUCCESS: &str = "NetStream.Unpublish.Success";
    pub const PLAY_RESET: &str = "NetStream.Play.Reset";
    pub const PLAY_START: &str = "NetStream.Play.Start";
    pub const PLAY_STOP: &str = "NetStream.Play.Stop";
    pub const PLAY_FAILED: &str = "NetStream.Play.Failed";
    pub const PLAY_NOT_FOUND: &str = "NetStream.Play.StreamNotFound";
    pub const PLAY_PUBLISHED: &str = "NetStream.Play.PublishNotify";
    pub const PLAY_UNPUBLISHED: &str = "NetStream.Play.UnpublishNotify";
    pub const SEEK_FAILED: &str = "NetStream.Seek.Failed";
    pub const SEEK_NOTIFY: &str = "NetStream.Seek.Notify";
    pub const PAUSED: &str = "NetStream.Pause.Notify";
    pub const UNPAUSED: &str = "NetStream.Unpause.Notify";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_information_object_round_trips() {
        let status = Status::failed(code::PUBLISH_BAD_NAME, "live/foo is published already");
        assert_eq!(Status::read(&status.info()), Some(status));
        assert_eq!(Status::read(&Value::Null), None);
    }
}
