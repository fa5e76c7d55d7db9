//! Logs, metrics and traces: set up and exported here only.
