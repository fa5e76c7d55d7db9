//! The origin's settings.

use std::{net::SocketAddr, path::PathBuf};

use cluster::{Address, CommitRules, NodeId, PoolId, PublishConfig};
use daemon::{
    Settings,
    config::{Period, Problems, Size},
    section,
};
use hub::RingLimits;
use rtmp_net::door::{self, Network};
use serde::{Deserialize, Serialize};

section! {
    /// Headwater origin: takes streams in, keeps each one whole, hands it to edges.
    #[derive(PartialEq)]
    pub struct Config {
        /// The name of this node, unique in the cluster; it stays across restarts.
        pub node: NodeId = NodeId::new("origin-1").expect("letters, a dash and a digit are an id"),
        /// The pool of origins that back each other up.
        pub pool: PoolId = PoolId::main(),
        /// How the process lives.
        pub process: Settings = Settings::with_admin_port(9081),
        /// Where encoders publish and edges come through the VIP: RTMP and relay gRPC on one port. Open only while this
        /// origin is active.
        pub public: Public = Public::default(),
        /// Where pool members, edges and the control plane reach this very origin. Always open.
        pub peer: Peer = Peer::default(),
        /// Addresses of the control plane, HOST:PORT, tried in order. An empty list means none: this origin is active
        /// from its start, alone.
        pub control_plane: Vec<Address> = Vec::new(),
        /// The directory of bearer tokens, one file for each kind of caller; null: no token is known, so that only
        /// loopback callers under --dev are admitted. Its files are read again at SIGHUP, but for the one that this node
        /// presents itself.
        pub tokens: Option<PathBuf> = None,
        /// Where this origin keeps the highest epoch it has heard of, and its last word from the control plane.
        pub data_dir: PathBuf = "/var/lib/headwater".into(),
        /// Who may publish: `open`, or `{ keys_file: PATH }` with one `APP/STREAM sha256:HEX` a line. Not given, it is
        /// nobody, and under --dev everybody. Reloadable, and the file is read again at SIGHUP.
        pub publish: Option<PublishConfig> = None,
        /// Hosts in RTMP URLs that are vhosts of their own; all others mean the default one.
        pub vhosts: Vec<String> = Vec::new(),
        /// How long streams wait for their encoders, and how much of each stays in memory.
        pub stream: Stream = Stream::default(),
        /// How streams are kept the same on the origins of the pool.
        pub replication: Replication = Replication::default(),
    }
}

section! {
    /// The public port.
    #[derive(PartialEq)]
    pub struct Public {
        /// The address to listen on.
        pub listen: SocketAddr = ([0; 8], 1935).into(),
        /// Where others reach it, HOST:PORT; null: the address it listens on.
        pub advertise: Option<Address> = None,
        /// A PEM file with a certificate chain: TLS is then accepted on the same port, told apart by its first byte.
        /// It and its key are read again at SIGHUP.
        pub certificates: Option<PathBuf> = None,
        /// The PEM file of its key.
        pub key: Option<PathBuf> = None,
        /// Networks of proxies (10.0.0.0/8), such as the one that is the VIP, that say by PROXY protocol, version 1 or 2,
        /// for whom they come. They must: a connection from there without that is closed, and so is one from elsewhere
        /// with it.
        pub proxies: Vec<Network> = Vec::new(),
        /// Connections of one address that may be in the handshake at once; 127.0.0.1 and ::1 are not counted, proxies
        /// count as whom they bring.
        pub handshakes_per_address: usize = door::Config::default().unfinished_per_address_max,
        /// Bytes a second that one connection may publish, such as 5MiB, each message 64 bytes more than it has; what comes faster
        /// is read no faster. 0: as fast as it is taken.
        pub publish_bytes_per_second: Size = Size(0),
    }
}

section! {
    /// The peer port.
    #[derive(PartialEq)]
    pub struct Peer {
        /// The address to listen on.
        pub listen: SocketAddr = ([127, 0, 0, 1], 9001).into(),
        /// Where others reach it, HOST:PORT; null: the address it listens on.
        pub advertise: Option<Address> = None,
    }
}

section! {
    /// A stream's life and memory.
    #[derive(PartialEq)]
    pub struct Stream {
        /// How long viewers stay after an encoder's connection was lost.
        pub grace: Period = Period(splice::Config::default().grace),
        /// How long an encoder that is still connected must have been silent before another may take over.
        pub silence: Period = Period(splice::Config::default().silence),
        /// When another encoder may take over one that is still connected: after_silence, never or always.
        pub take_over: TakeOver = TakeOver::AfterSilence,
        /// Payload bytes of a stream kept for late joiners and edges that come back.
        pub ring_bytes: Size = Size(RingLimits::default().bytes as u64),
        /// Frames of a stream kept.
        pub ring_items: usize = RingLimits::default().items,
        /// Length of a stream kept.
        pub ring_duration: Period = Period::from_millis(RingLimits::default().duration_ms),
    }
}

section! {
    /// What the active origin does for the others, and without them.
    #[derive(PartialEq)]
    pub struct Replication {
        /// What an active origin does that neither the control plane nor a member in sync answers: `serve`, which goes on
        /// without that member while most of its edges hear it, or `stall`, which waits for one of them.
        pub when_alone: WhenAlone = WhenAlone::Serve,
        /// How long the publications of edges wait for their edge at an origin that has become active. Until then they
        /// yield to nobody.
        pub resume_wait: Period = Period(replica::Config::default().resume_wait),
        /// A member that dropped out of the in-sync set must have kept up for so long before it is asked in again; twice as
        /// long after each further time.
        pub return_after: Period = Period(CommitRules::default().return_after),
        /// The most that this grows to.
        pub return_after_max: Period = Period(CommitRules::default().return_after_max),
    }
}

/// What an active origin does that can ask nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenAlone {
    /// It goes on without the members that do not answer, while most of its edges hear it.
    Serve,
    /// It commits nothing until they answer, or the control plane does.
    Stall,
}

/// When another encoder may take over one that is still connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakeOver {
    /// Once it has been silent for a while.
    AfterSilence,
    /// Never.
    Never,
    /// Whenever another comes.
    Always,
}

impl daemon::config::Config for Config {
    const RELOADABLE: &'static [&'static str] = &["publish", "process.log"];

    fn process(&self) -> &Settings {
        &self.process
    }

    fn node(&self) -> &str {
        self.node.as_str()
    }

    fn validate(&self, problems: &mut Problems) {
        if self.public.certificates.is_some() != self.public.key.is_some() {
            problems.add("public", "certificates and key are given together or not at all");
        }
        for (path, listen, advertise) in
            [("public", self.public.listen, &self.public.advertise), ("peer", self.peer.listen, &self.peer.advertise)]
        {
            if listen.ip().is_unspecified() && advertise.is_none() && !self.control_plane.is_empty() {
                problems.add(
                    &format!("{path}.advertise"),
                    "is needed when it listens on all addresses: where do others reach it?",
                );
            }
        }
        if self.public.handshakes_per_address == 0 {
            problems.add("public.handshakes_per_address", "must be above 0, or nobody comes in");
        }
        if self.stream.ring_items == 0 || self.stream.ring_bytes.0 == 0 {
            problems.add("stream", "ring_items and ring_bytes must be above 0");
        }
    }
}

impl Config {
    /// This configuration with what may change by SIGHUP taken from a newer one.
    pub(crate) fn with_reloadable(&self, newer: &Self) -> Self {
        Self { publish: newer.publish.clone(), ..self.clone() }
    }
}

impl Config {
    /// How streams are kept.
    pub(crate) fn replica(&self) -> replica::Config {
        let when_alone = match self.replication.when_alone {
            WhenAlone::Serve => cluster::WhenAlone::Serve,
            WhenAlone::Stall => cluster::WhenAlone::Stall,
        };
        replica::Config {
            splice: self.stream.splice(),
            commit: CommitRules {
                when_alone,
                return_after: *self.replication.return_after,
                return_after_max: *self.replication.return_after_max,
                ..CommitRules::default()
            },
            resume_wait: *self.replication.resume_wait,
            ..replica::Config::default()
        }
    }
}

impl Stream {
    /// The rules of who feeds a stream.
    fn splice(&self) -> splice::Config {
        let take_over = match self.take_over {
            TakeOver::AfterSilence => splice::TakeOver::AfterSilence,
            TakeOver::Never => splice::TakeOver::Never,
            TakeOver::Always => splice::TakeOver::Always,
        };
        splice::Config { grace: *self.grace, silence: *self.silence, take_over }
    }

    /// The bounds of a stream's memory.
    pub(crate) fn ring(&self) -> RingLimits {
        let duration_ms = u64::try_from(self.ring_duration.as_millis()).unwrap_or(u64::MAX);
        RingLimits { bytes: self.ring_bytes.bytes(), items: self.ring_items, duration_ms }
    }
}
