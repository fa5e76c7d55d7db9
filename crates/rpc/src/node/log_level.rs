//! SetLogLevel, the same in every process.

use std::time::{Duration, SystemTime};

use telemetry::logs::LogControl;

use crate::status::Failure;

/// Logs `target` (everything, when empty) at `level` for `ttl`; returns until when.
pub fn set_log_level(logs: &LogControl, target: &str, level: &str, ttl: Duration) -> Result<SystemTime, Failure> {
    logs.set_target_for(target, level, ttl).map_err(|error| Failure::invalid_field("level", error.to_string()))?;
    Ok(SystemTime::now() + ttl)
}
