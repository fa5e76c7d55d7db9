//! The section of a configuration that every process has.

use std::net::SocketAddr;

use telemetry::logs::Format;

use crate::config::{Period, Problems};

crate::section! {
    /// How the process lives: its admin port, its log, its end.
    #[derive(PartialEq)]
    pub struct Settings {
        /// Address of the admin HTTP port: /healthz /readyz /active /metrics /status /status.json.
        /// It answers everybody who reaches it: keep it on loopback or behind a network policy.
        pub admin: SocketAddr = ([127, 0, 0, 1], 9080).into(),
        /// Log level: error, warn, info, debug or trace, or by target: info,rtmp_net=debug. Reloadable.
        pub log: String = "info".to_owned(),
        /// How log lines look: text, json, or auto (text on a terminal, JSON otherwise).
        pub log_format: Format = Format::Auto,
        /// Where traces are sent by OTLP over gRPC, e.g. http://127.0.0.1:4317; null sends none.
        pub otlp_endpoint: Option<String> = None,
        /// How long sessions may take to end after SIGTERM or Drain; what is left then is cut.
        pub drain: Period = Period::from_secs(10),
    }
}

impl Settings {
    /// The defaults with the admin port of this kind of service.
    pub fn with_admin_port(port: u16) -> Self {
        Self { admin: ([127, 0, 0, 1], port).into(), ..Self::default() }
    }

    pub(crate) fn validate(&self, problems: &mut Problems) {
        if let Err(error) = telemetry::logs::check_level(&self.log) {
            problems.add("process.log", error.to_string());
        }
        let endpoint = self.otlp_endpoint.as_deref();
        if endpoint.is_some_and(|endpoint| !endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
            problems.add("process.otlp_endpoint", "must begin with http:// or https://");
        }
    }
}
