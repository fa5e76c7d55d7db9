//! The edge's settings.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use cluster::{Address, NodeId, PublishConfig, RouteConfig, RouteTable};
use daemon::{
    Settings,
    config::{Period, Problems, Size},
    section,
};
use hub::{Latency, RingLimits, Start};
use rtmp_net::SendBounds;
use rtmp_net::door::{self, Network};
use serde::{Deserialize, Serialize};

use crate::{
    ingest,
    latency::{Latencies, Setting},
    pulls,
};

section! {
    /// Headwater edge: takes viewers and encoders in, fetches each stream once from its origin, fans it out.
    #[derive(PartialEq)]
    pub struct Config {
        /// The name of this node, unique in the cluster; it stays across restarts.
        pub node: NodeId = NodeId::new("edge-1").expect("letters, a dash and a digit are an id"),
        /// How the process lives.
        pub process: Settings = Settings::with_admin_port(9091),
        /// Where encoders and viewers come in by RTMP.
        pub rtmp: Rtmp = Rtmp::default(),
        /// Where viewers come in by HTTP-FLV and WebSocket-FLV.
        pub http: Http = Http::default(),
        /// Where operators and the control plane reach this edge by gRPC.
        pub peer: Peer = Peer::default(),
        /// Which streams come from where: entries like "*:*;10.0.0.6:1935" (the VIP of a pool), or
        /// { match: { app: live }, to: { pool: main } }. The control plane's entries come beside these. Reloadable.
        pub routes: Vec<RouteConfig> = Vec::new(),
        /// Addresses of the control plane, HOST:PORT, tried in order; an empty list means none, and only `routes` count.
        pub control_plane: Vec<Address> = vec![SocketAddr::from(([127, 0, 0, 1], 9000)).into()],
        /// The directory of bearer tokens, one file for each kind of caller; null: no token is known, so that only
        /// loopback callers under --dev are admitted. Its files are read again at SIGHUP, but for the one that this node
        /// presents itself.
        pub tokens: Option<PathBuf> = None,
        /// Where this edge keeps its last word from the control plane, to go on with after a restart.
        pub data_dir: PathBuf = "/var/lib/headwater".into(),
        /// Who may publish: `open`, or `{ keys_file: PATH }` with one `APP/STREAM sha256:HEX` a line. Not given, it is
        /// nobody, and under --dev everybody. Reloadable, and the file is read again at SIGHUP.
        pub publish: Option<PublishConfig> = None,
        /// Hosts in URLs that are vhosts of their own; all others mean the default one.
        pub vhosts: Vec<String> = Vec::new(),
        /// How viewers start, wait and fall behind.
        pub playback: Playback = Playback::default(),
        /// How encoders' streams are brought to the origin.
        pub ingest: Ingest = Ingest::default(),
    }
}

section! {
    /// The RTMP ports.
    #[derive(PartialEq)]
    pub struct Rtmp {
        /// The addresses to listen on.
        pub listen: Vec<SocketAddr> = vec![([0; 8], 1935).into()],
        /// The addresses to listen on for RTMPS.
        pub listen_tls: Vec<SocketAddr> = Vec::new(),
        /// The PEM file of the certificate chain for RTMPS. It and its key are read again at SIGHUP.
        pub certificates: Option<PathBuf> = None,
        /// The PEM file of its key.
        pub key: Option<PathBuf> = None,
        /// Networks of proxies (10.0.0.0/8) that say by PROXY protocol, version 1 or 2, for whom they come. They must: a
        /// connection from there without that is closed, and so is one from elsewhere with it.
        pub proxies: Vec<Network> = Vec::new(),
        /// Connections of one address that may be in the handshake at once; 127.0.0.1 and ::1 are not counted, proxies
        /// count as whom they bring.
        pub handshakes_per_address: usize = door::Config::default().unfinished_per_address_max,
    }
}

section! {
    /// The HTTP ports.
    #[derive(PartialEq)]
    pub struct Http {
        /// The addresses to listen on.
        pub listen: Vec<SocketAddr> = vec![([0; 8], 8080).into()],
        /// Networks of proxies that say by PROXY protocol for whom they come, as `rtmp.proxies`.
        pub proxies: Vec<Network> = Vec::new(),
        /// Connections of one address that may be without a request at once, as `rtmp.handshakes_per_address`.
        pub requests_awaited_per_address: usize = door::Config::default().unfinished_per_address_max,
    }
}

section! {
    /// The gRPC port.
    #[derive(PartialEq)]
    pub struct Peer {
        /// The address to listen on.
        pub listen: SocketAddr = ([127, 0, 0, 1], 9011).into(),
        /// Where others reach it, HOST:PORT; null: the address it listens on.
        pub advertise: Option<Address> = None,
    }
}

section! {
    /// Viewers.
    #[derive(PartialEq)]
    pub struct Playback {
        /// How long a viewer waits for a stream that is not there, or whose origin does not answer.
        pub wait: Period = Period(pulls::Config::default().wait),
        /// How long a stream is still fetched after its last viewer has left.
        pub linger: Period = Period(pulls::Config::default().linger),
        /// How long viewers are kept when no origin serves.
        pub hold: Period = Period(pulls::Config::default().hold),
        /// Where viewers start: at the last keyframe (gop), so that a picture stands at once, or at the next one (live).
        pub start: StartAt = StartAt::Gop,
        /// What counts more, that frames come at once or that sending them is cheap: lowest (each message by itself),
        /// balanced (each video frame at once, audio with it and at most 35 ms late), throughput (all that comes within
        /// 350 ms together), or a number of milliseconds, over which all that comes goes out together. Where the time to
        /// send runs short, all but lowest merge more.
        pub latency: Setting = Setting(Latency::Balanced),
        /// The same for apps that need it otherwise, such as { calls: lowest }.
        pub latency_of_apps: BTreeMap<String, Setting> = BTreeMap::new(),
        /// How far a viewer may be behind before it skips to a newer keyframe.
        pub lag: Size = Size(pulls::Config::default().lag_bytes_max),
        /// A viewer that takes not one byte for so long, or acknowledges nothing, is cut.
        pub stall: Period = Period::from_secs(15),
        /// A viewer that skips again and again without ever catching up is cut after so long, and so is one that has not taken
        /// all of its stream so long after its end.
        pub behind: Period = Period(rtmp_net::Config::default().behind_max),
        /// Bytes that the kernel holds for a viewer until they have arrived; it takes as much again for its own. 0: as it
        /// likes, which is megabytes for each slow viewer.
        pub send_buffer: Size = Size(SendBounds::default().buffer_bytes as u64),
        /// How many of these may wait to be sent, so that a viewer's cursor falls behind and skips before what it gets is
        /// old. 0: all of them.
        pub send_unsent: Size = Size(SendBounds::default().unsent_bytes.into()),
        /// Streams fetched or waited for at a time.
        pub streams_max: usize = pulls::Config::default().streams_max,
        /// How many of them may be waited for, because nobody publishes them or no origin answers. For one more, the one
        /// waited for longest is given up.
        pub absent_max: usize = pulls::Config::default().absent_max,
        /// Payload bytes of a stream kept for viewers who join late or are slow.
        pub ring_bytes: Size = Size(RingLimits::default().bytes as u64),
        /// Frames of a stream kept.
        pub ring_items: usize = RingLimits::default().items,
        /// Length of a stream kept.
        pub ring_duration: Period = Period::from_millis(RingLimits::default().duration_ms),
    }
}

section! {
    /// Encoders.
    #[derive(PartialEq)]
    pub struct Ingest {
        /// Bytes a second that one connection may publish, such as 5MiB, each message 64 bytes more than it has; what comes faster
        /// is read no faster. 0: as fast as it is taken.
        pub bytes_per_second: Size = Size(0),
        /// Bytes of one publication that are kept until its origin has them safe. Beyond, the encoder waits as long as the
        /// origin takes some; when it does not, the oldest GOPs are skipped.
        pub unacked: Size = Size(ingest::Config::default().bytes_max as u64),
        /// How long they are kept.
        pub unacked_duration: Period = Period(ingest::Config::default().duration_max),
        /// Bytes of all publications together. Beyond, those who keep more than an even share make room.
        pub unacked_total: Size = Size(ingest::Config::default().total_bytes_max as u64),
        /// How long an encoder waits for an origin to take its stream, once what it published there before is over; and one on
        /// air for its name, where a promoted origin holds that for an encoder of before. So more than origins'
        /// `replication.resume_wait`.
        pub open_wait: Period = Period(ingest::Config::default().open_wait),
        /// How long the rest of a stream whose encoder has gone may take to reach the origin. The next publication of its name
        /// waits for it.
        pub flush_wait: Period = Period(ingest::Config::default().flush_wait),
    }
}

/// Where viewers start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At the last keyframe.
    Gop,
    /// At the next keyframe.
    Live,
}

impl daemon::config::Config for Config {
    const RELOADABLE: &'static [&'static str] = &["routes", "publish", "process.log"];

    fn process(&self) -> &Settings {
        &self.process
    }

    fn node(&self) -> &str {
        self.node.as_str()
    }

    fn validate(&self, problems: &mut Problems) {
        if self.rtmp.certificates.is_some() != self.rtmp.key.is_some() {
            problems.add("rtmp", "certificates and key are given together or not at all");
        }
        if !self.rtmp.listen_tls.is_empty() && self.rtmp.certificates.is_none() {
            problems.add("rtmp.listen_tls", "needs rtmp.certificates and rtmp.key");
        }
        if let Err(error) = RouteTable::new(Vec::new(), RouteConfig::into_entries(self.routes.clone())) {
            problems.add("routes", error.to_string());
        }
        if self.routes.is_empty() && self.control_plane.is_empty() {
            problems.add("routes", "neither routes nor control_plane are given: every stream would be refused");
        }
        if self.peer.listen.ip().is_unspecified() && self.peer.advertise.is_none() && !self.control_plane.is_empty() {
            problems.add("peer.advertise", "is needed when it listens on all addresses: where do others reach it?");
        }
        for (key, bound) in [
            ("rtmp.handshakes_per_address", self.rtmp.handshakes_per_address),
            ("http.requests_awaited_per_address", self.http.requests_awaited_per_address),
        ] {
            if bound == 0 {
                problems.add(key, "must be above 0, or nobody comes in");
            }
        }
        if self.playback.streams_max == 0 || self.playback.absent_max == 0 {
            problems.add("playback", "streams_max and absent_max must be above 0, or nobody sees anything");
        }
        if self.playback.ring_items == 0 || self.playback.ring_bytes.0 == 0 {
            problems.add("playback", "ring_items and ring_bytes must be above 0");
        }
    }
}

impl Config {
    /// This configuration with what may change by SIGHUP taken from a newer one.
    pub(crate) fn with_reloadable(&self, newer: &Self) -> Self {
        Self { publish: newer.publish.clone(), routes: newer.routes.clone(), ..self.clone() }
    }
}

impl Playback {
    /// How streams are fetched.
    pub(crate) fn pulls(&self) -> pulls::Config {
        pulls::Config {
            wait: *self.wait,
            linger: *self.linger,
            hold: *self.hold,
            lag_bytes_max: self.lag.0,
            streams_max: self.streams_max,
            absent_max: self.absent_max,
            start: match self.start {
                StartAt::Gop => Start::LastKeyframe,
                StartAt::Live => Start::NextKeyframe,
            },
        }
    }

    /// What the kernel holds for each viewer.
    pub(crate) fn send_bounds(&self) -> SendBounds {
        SendBounds {
            buffer_bytes: self.send_buffer.bytes(),
            unsent_bytes: u32::try_from(self.send_unsent.0).unwrap_or(u32::MAX),
            silence_max: *self.stall,
        }
    }

    /// How streams are shown to viewers.
    pub(crate) fn latencies(&self) -> Latencies {
        let apps = self.latency_of_apps.iter().map(|(app, setting)| (app.clone(), setting.0)).collect();
        Latencies { default: self.latency.0, apps }
    }

    /// The bounds of a stream's memory.
    pub(crate) fn ring(&self) -> RingLimits {
        let duration_ms = u64::try_from(self.ring_duration.as_millis()).unwrap_or(u64::MAX);
        RingLimits { bytes: self.ring_bytes.bytes(), items: self.ring_items, duration_ms }
    }
}

impl Ingest {
    /// The bounds of a publication.
    pub(crate) fn bounds(&self) -> ingest::Config {
        ingest::Config {
            bytes_max: self.unacked.bytes(),
            duration_max: *self.unacked_duration,
            total_bytes_max: self.unacked_total.bytes(),
            open_wait: *self.open_wait,
            flush_wait: *self.flush_wait,
        }
    }
}
