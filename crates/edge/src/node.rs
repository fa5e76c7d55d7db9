//! What this edge says of itself: to the control plane, to operators, on its admin port.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use cluster::{Beat, Epoch, FirstFrame, Grant, Load};
use daemon::{
    Admission, Shutdown,
    admin::{Cell, Inspect, Page},
};
use media::StreamName;
use rpc::{
    agent::{Known, Local, Snapshot, Standing},
    control::{Holding, StreamReport},
    node::{self, Identity, LocalStream, NodeStatus, Operated, Ping, SessionRegister},
    status::Failure,
};
use rtmp_net::{Kind, SessionInfo, Sessions};
use telemetry::{Rate, logs::LogControl};
use tokio::sync::watch;

use crate::{config::Config, http, ingest::Ingests, pulls::Pulls, upstream::Upstream};

/// The edge as others see it.
#[derive(Debug)]
pub struct EdgeNode {
    pub(crate) identity: Identity,
    pub(crate) pulls: Arc<Pulls>,
    pub(crate) ingests: Arc<Ingests>,
    pub(crate) upstream: Upstream,
    pub(crate) sessions: Sessions,
    pub(crate) rtmp_stats: Arc<rtmp_net::Stats>,
    pub(crate) http_stats: Arc<http::Stats>,
    pub(crate) admission: Arc<Admission>,
    /// None without a control plane.
    pub(crate) contact: watch::Receiver<Option<Contact>>,
    pub(crate) config: watch::Receiver<Arc<Config>>,
    pub(crate) logs: LogControl,
    pub(crate) shutdown: Shutdown,
    pub(crate) ingress: Rate,
    pub(crate) egress: Rate,
}

/// What there is of the control plane.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    pub(crate) standing: Standing,
    pub(crate) snapshot: watch::Receiver<Snapshot>,
}

impl EdgeNode {
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.contact.borrow().as_ref().map(|contact| contact.standing.clone())
    }

    /// Received and sent in the last second, in bytes.
    fn traffic(&self) -> (f64, f64) {
        let now = Instant::now();
        let received = self.rtmp_stats.bytes_in.load(Ordering::Relaxed);
        let sent =
            self.rtmp_stats.bytes_out.load(Ordering::Relaxed) + self.http_stats.bytes_out.load(Ordering::Relaxed);
        (self.ingress.sample(received, now), self.egress.sample(sent, now))
    }

    /// The sessions of the encoders here, by their streams.
    fn encoders(&self) -> HashMap<StreamName, SessionInfo> {
        let encoders = self.sessions.encoders().into_iter();
        encoders.filter_map(|session| Some((session.stream.clone()?, session))).collect()
    }
}

impl Operated for EdgeNode {
    fn register(&self) -> &dyn SessionRegister {
        &self.sessions
    }

    fn begin_drain(&self, deadline: Option<Duration>, reason: &str) {
        self.shutdown.begin_as_asked(deadline, reason);
    }
}

impl Local for EdgeNode {
    fn beat(&self) -> Beat {
        let (ingress, egress) = self.traffic();
        Beat {
            load: Load {
                sessions: self.sessions.len() as u32,
                viewers: self.sessions.count(Kind::Play) as u32,
                streams: self.pulls.counts().1 as u32,
                ingress_bits_per_second: (ingress * 8.0) as u64,
                egress_bits_per_second: (egress * 8.0) as u64,
                task_lag: Duration::ZERO,
            },
            role: None,
            serving: None,
            highest_epoch: self.upstream.highest_epoch(),
            pool_epochs: self.upstream.pool_epochs(),
            pool_records: self.upstream.pool_records(),
            hears: self.upstream.hears(),
            head: (Epoch(0), 0),
            follows_active: false,
            record: None,
            first_frame: FirstFrame::NotTold,
        }
    }

    fn streams(&self) -> Vec<StreamReport> {
        let epoch = self.upstream.highest_epoch();
        let mut reports = Vec::new();
        let encoders = self.encoders();
        let mut watched_here = HashMap::new();
        for stream in self.pulls.live() {
            let info = stream.info();
            // A stream that is published and played here is told once, as what it is to the cluster: an ingest.
            if encoders.contains_key(stream.name()) {
                watched_here.insert(stream.name().clone(), info.readers as u32);
                continue;
            }
            reports.push(StreamReport {
                name: stream.name().clone(),
                holding: Holding::Pull,
                publication: None,
                publisher_session: None,
                ingest_node: None,
                live: true,
                head: self.pulls.head(stream.name()),
                head_timestamp_ms: info.last_dts.unwrap_or(0),
                epoch,
                viewers: info.readers as u32,
                bits_per_second: (self.pulls.bytes_per_second(&stream) * 8.0) as u64,
                codecs: Vec::new(),
                since: self.pulls.since(stream.name()).unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
        for (name, encoder) in encoders {
            reports.push(StreamReport {
                name: name.clone(),
                holding: Holding::Ingest,
                publication: self.ingests.publication(&name),
                publisher_session: Some(encoder.id.to_string()),
                ingest_node: None,
                live: true,
                head: 0,
                head_timestamp_ms: 0,
                epoch,
                viewers: watched_here.get(&name).copied().unwrap_or_default(),
                bits_per_second: 0,
                codecs: Vec::new(),
                since: encoder.since,
            });
        }
        reports
    }

    fn role(&self, grant: Grant) {
        tracing::warn!(pool = %grant.pool, epoch = grant.epoch.0, "role.not_for_an_edge");
    }

    fn kick_stream(&self, name: &StreamName, reason: &str, ban_for: Duration) -> u32 {
        self.admission.ban(name.clone(), ban_for);
        let encoders = self.sessions.encoders().into_iter().filter(|session| session.stream.as_ref() == Some(name));
        encoders.map(|session| u32::from(self.sessions.kick(session.id, reason))).sum()
    }
}

impl node::Node for EdgeNode {
    fn ping(&self) -> Ping {
        let (ingress, egress) = self.traffic();
        let load = node::Load {
            streams: self.pulls.counts().1 as u32,
            publishers: self.sessions.count(Kind::Publish) as u32,
            viewers: self.sessions.count(Kind::Play) as u32,
            ingress_bytes_per_second: ingress,
            egress_bytes_per_second: egress,
        };
        self.identity.ping(None, self.upstream.highest_epoch(), load)
    }

    fn status(&self) -> NodeStatus {
        let draining = self.shutdown.has_begun();
        self.identity.status(self.ping(), self.standing().as_ref(), draining, self.missing())
    }

    fn streams(&self) -> Vec<LocalStream> {
        let epoch = self.upstream.highest_epoch().0;
        let stream = |stream: Arc<hub::Stream>| {
            let info = stream.info();
            LocalStream {
                name: stream.name().clone(),
                publication: None,
                head: self.pulls.head(stream.name()),
                head_dts: info.last_dts.unwrap_or(0),
                epoch,
                viewers: info.readers as u32,
                bytes_received: info.bytes_total,
                since: self.pulls.since(stream.name()).unwrap_or(SystemTime::UNIX_EPOCH),
            }
        };
        self.pulls.live().into_iter().map(stream).collect()
    }

    fn set_log_level(&self, target: &str, level: &str, ttl: Duration) -> Result<SystemTime, Failure> {
        node::set_log_level(&self.logs, target, level, ttl)
    }

    fn effective_config(&self) -> String {
        daemon::config::effective(&**self.config.borrow())
    }
}

impl Inspect for EdgeNode {
    fn missing(&self) -> Vec<String> {
        let nothing = |contact: &Contact| contact.snapshot.borrow().known == Known::Nothing;
        let waits = self.contact.borrow().as_ref().is_some_and(nothing) && self.config.borrow().routes.is_empty();
        if waits { vec!["no route entries yet: the control plane has not been heard".to_owned()] } else { Vec::new() }
    }

    fn status(&self) -> Page {
        let ping = node::Node::ping(self);
        let standing = self.standing();
        let (fetched, live) = self.pulls.counts();
        let origins = self.upstream.counts();
        let streams = self.pulls.live().into_iter().map(|stream| {
            let info = stream.info();
            let head = self.pulls.head(stream.name());
            vec![stream.name().to_string().into(), head.into(), info.readers.into(), info.bytes_total.into()]
        });
        let encoders = self.encoders().into_iter().map(|(name, encoder)| {
            vec![name.to_string().into(), encoder.peer.to_string().into(), encoder.bytes_in.into()]
        });
        Page::new(self.identity.id.to_string())
            .facts(
                "Node",
                [
                    ("kind", Cell::from("edge")),
                    ("epoch", ping.epoch.into()),
                    ("uptime_seconds", ping.uptime.as_secs().into()),
                    ("version", self.identity.version.into()),
                ],
            )
            .facts(
                "Sessions",
                [
                    ("encoders", Cell::from(ping.load.publishers)),
                    ("viewers", ping.load.viewers.into()),
                    ("streams_wanted", fetched.into()),
                    ("streams_fetched", live.into()),
                ],
            )
            .facts(
                "Origins",
                [
                    ("addresses", Cell::from(origins.origins)),
                    ("heard", origins.heard.into()),
                    ("pools_without_active", origins.pools_without_active.into()),
                ],
            )
            .control_plane(standing.as_ref().map(Standing::connected), standing.as_ref().and_then(Standing::config_age))
            .facts("Listeners", self.identity.listeners.clone())
            .table("Encoders", &["stream", "peer", "bytes"], encoders.collect())
            .table("Streams", &["stream", "head", "viewers", "bytes"], streams.collect())
    }
}
