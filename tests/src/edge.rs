//! An edge with settings of the test's own, in the place of one of `headwater dev`'s.

use std::{fs, net::SocketAddr};

use crate::{Cluster, cluster::free_address};

/// What the test's edge is told instead of what `headwater dev` wrote.
#[derive(Debug, Default)]
pub struct Settings {
    /// Entries of `routes`, such as `"*:*;127.0.0.1:1935"`. The edge knows nothing else: it has no control plane.
    pub routes: Vec<String>,
    /// The keys file of `publish`.
    pub keys_file: Option<String>,
    /// PEM files of a certificate and its key: RTMPS is spoken on [`Replaced::rtmps`].
    pub tls: Option<(String, String)>,
}

/// Where the edge listens beside its usual ports.
#[derive(Debug)]
pub struct Replaced {
    /// RTMP over TLS, when a certificate was given.
    pub rtmps: SocketAddr,
}

impl Cluster {
    /// Starts a node of the cluster again as an edge with these settings, on its old ports.
    #[track_caller]
    pub fn replace_edge(&self, edge: &str, settings: &Settings) -> Replaced {
        let rtmps = free_address();
        let dir = self.dir();
        let mut yaml = format!(
            "node: {edge}\nprocess: {{ admin: \"{}\", log_format: json, drain: 2s }}\nhttp: {{ listen: [\"{}\"] }}\n\
             peer: {{ listen: \"{}\" }}\ntokens: {}\ndata_dir: {}\nrtmp:\n  listen: [\"{}\"]\n",
            self.address(edge, "admin"),
            self.address(edge, "http"),
            self.address(edge, "grpc"),
            dir.join("tokens").display(),
            dir.join(format!("{edge}-replaced")).display(),
            self.address(edge, "rtmp"),
        );
        if let Some((certificates, key)) = &settings.tls {
            yaml += &format!("  listen_tls: [\"{rtmps}\"]\n  certificates: {certificates}\n  key: {key}\n");
        }
        if let Some(file) = &settings.keys_file {
            yaml += &format!("publish: {{ keys_file: {file} }}\n");
        }
        yaml += &format!("routes: [{}]\n", settings.routes.join(", "));
        fs::write(dir.join(format!("{edge}.yaml")), yaml).expect("the cluster's directory takes files");
        self.restart(edge);
        Replaced { rtmps }
    }

    /// A route entry, in YAML, to both origins: whichever is active.
    pub fn route_to_origins(&self) -> String {
        let (one, two) = (self.address("origin-1", "rtmp"), self.address("origin-2", "rtmp"));
        format!("{{ to: {{ addresses: [\"{one}\", \"{two}\"] }} }}")
    }
}
