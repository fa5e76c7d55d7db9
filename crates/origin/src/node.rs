//! What this origin says of itself: to the control plane, to operators, on its admin port.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use cluster::{Beat, Epoch, Grant, Load, Notice, PoolId};
use daemon::{
    Admission, Shutdown,
    admin::{Cell, Inspect, Page},
};
use media::StreamName;
use rpc::{
    agent::{Local, Standing},
    control::{FromNode, Holding, StreamReport},
    node::{self, Identity, LocalStream, NodeStatus, Operated, Ping, SessionRegister},
    status::Failure,
};
use rtmp_net::{Kind, Sessions};
use telemetry::{Rate, logs::LogControl};
use tokio::sync::watch;

use crate::{
    config::Config,
    first_frame::FirstFrames,
    links::Links,
    notices::Notices,
    role::{Duty, Role, Roles},
    stats::Stats,
    streams::{Listed, Streams},
};

/// The origin as others see it.
#[derive(Debug)]
pub struct OriginNode {
    pub(crate) identity: Identity,
    pub(crate) pool: PoolId,
    pub(crate) streams: Arc<Streams>,
    pub(crate) roles: Arc<Roles>,
    pub(crate) first_frames: Arc<FirstFrames>,
    pub(crate) sessions: Sessions,
    pub(crate) links: Arc<Links>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) rtmp_stats: Arc<rtmp_net::Stats>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) duty: watch::Receiver<Duty>,
    /// None without a control plane.
    pub(crate) standing: watch::Receiver<Option<Standing>>,
    pub(crate) config: watch::Receiver<Arc<Config>>,
    pub(crate) logs: LogControl,
    pub(crate) shutdown: Shutdown,
    pub(crate) rates: Rates,
    /// What happened to streams and the control plane does not have on disk.
    pub(crate) notices: Notices,
    /// Whether the control plane was told that all is committed and another may be active.
    pub(crate) told_yielded: AtomicBool,
}

/// Traffic rates.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    ingress: Rate,
    egress: Rate,
}

impl OriginNode {
    fn role(&self) -> Role {
        self.roles.watch().borrow().clone()
    }

    /// The epoch in which the public port is open.
    pub(crate) fn serving(&self) -> Option<Epoch> {
        self.duty.borrow().serving()
    }

    fn standing(&self) -> Option<Standing> {
        self.standing.borrow().clone()
    }

    /// Sent and received in the last second, in bytes.
    fn traffic(&self, streams: &[Listed]) -> (f64, f64) {
        let now = Instant::now();
        let received = streams.iter().map(|listed| listed.stream.info.bytes_total).sum();
        let sent = self.rtmp_stats.bytes_out.load(Ordering::Relaxed) + self.stats.pulled_bytes.load(Ordering::Relaxed);
        (self.rates.ingress.sample(received, now), self.rates.egress.sample(sent, now))
    }

    /// How far the other origins have what this one has.
    fn replication(&self) -> [(&'static str, Cell); 7] {
        let standing = self.streams.standing();
        let hears: Vec<_> = self.streams.with(|replica, _| replica.hears()).iter().map(ToString::to_string).collect();
        let edges = self.links.counts();
        [
            ("in_sync_with", standing.counted.into()),
            ("followers", self.stats.followers.load(Ordering::Relaxed).into()),
            ("follows_active", standing.follows.is_some().into()),
            ("hears", hears.join(" ").into()),
            ("edges_hearing", format!("{} of {}", edges.edges_hearing, edges.edges).into()),
            ("journal_entries", standing.journal.into()),
            ("alone_from_order", standing.alone_from.into()),
        ]
    }
}

impl Operated for OriginNode {
    fn register(&self) -> &dyn SessionRegister {
        &self.sessions
    }

    fn begin_drain(&self, deadline: Option<Duration>, reason: &str) {
        self.shutdown.begin_as_asked(deadline, reason);
    }
}

impl Local for OriginNode {
    fn beat(&self) -> Beat {
        let streams = self.streams.list();
        let (ingress, egress) = self.traffic(&streams);
        let replica = self.streams.standing();
        let serving = self.serving();
        Beat {
            load: Load {
                sessions: self.sessions.len() as u32,
                viewers: self.sessions.count(Kind::Play) as u32,
                streams: streams.len() as u32,
                ingress_bits_per_second: (ingress * 8.0) as u64,
                egress_bits_per_second: (egress * 8.0) as u64,
                task_lag: Duration::ZERO,
            },
            role: Some(self.role().stage.into()),
            serving,
            highest_epoch: self.roles.highest_epoch(),
            pool_epochs: Default::default(),
            pool_records: Default::default(),
            hears: self.streams.with(|replica, _| replica.hears()).into_iter().collect(),
            head: replica.head,
            follows_active: replica.follows.is_some(),
            record: self.streams.with(|replica, _| replica.known_record()),
            first_frame: serving.map(|epoch| self.first_frames.of(epoch)).unwrap_or_default(),
        }
    }

    fn streams(&self) -> Vec<StreamReport> {
        let epoch = self.role().epoch;
        let report = |Listed { stream, since, bytes_per_second }: Listed| StreamReport {
            name: stream.name,
            holding: Holding::Origin,
            publication: Some(stream.publication),
            publisher_session: None,
            ingest_node: stream.source.edge,
            live: stream.connected,
            head: stream.head,
            head_timestamp_ms: stream.info.last_dts.unwrap_or(0),
            epoch,
            viewers: stream.info.readers as u32,
            bits_per_second: (bytes_per_second * 8.0) as u64,
            codecs: Vec::new(),
            since,
        };
        self.streams.list().into_iter().map(report).collect()
    }

    fn role(&self, grant: Grant) {
        let epoch = grant.epoch.0;
        if let Err(error) = self.roles.handle_grant(grant) {
            tracing::error!(epoch, %error, "role.refused");
        }
    }

    fn poll_request(&self) -> Option<FromNode> {
        if let Some(request) = self.streams.take_request() {
            return Some(FromNode::SyncRequest(request));
        }
        let standing = self.streams.standing();
        // Once for each time that it comes to that.
        if standing.yielded != self.told_yielded.swap(standing.yielded, Ordering::Relaxed) && standing.yielded {
            return Some(FromNode::Yielded { epoch: standing.epoch });
        }
        let reason = "the process is about to end".to_owned();
        self.roles.take_request_for_relief().then_some(FromNode::HandOver { reason })
    }

    fn notices_after(&self, number: u64) -> Vec<(u64, Notice)> {
        while let Some(notice) = self.streams.with(|replica, _| replica.poll_notice()) {
            self.stats.note(&notice.what);
            self.notices.add(notice);
        }
        self.notices.after(number)
    }

    fn notices_kept(&self, through: u64) {
        self.notices.kept(through);
    }

    fn kick_stream(&self, name: &StreamName, reason: &str, ban_for: Duration) -> u32 {
        self.admission.ban(name.clone(), ban_for);
        tracing::info!(stream = %name, reason, ban_seconds = ban_for.as_secs(), "stream.kicked");
        u32::from(self.streams.kick(name))
    }
}

impl node::Node for OriginNode {
    fn ping(&self) -> Ping {
        let role = self.role();
        let streams = self.streams.list();
        let (ingress, egress) = self.traffic(&streams);
        let load = node::Load {
            streams: streams.len() as u32,
            publishers: streams.iter().filter(|listed| listed.stream.connected).count() as u32,
            viewers: streams.iter().map(|listed| listed.stream.info.readers as u32).sum(),
            ingress_bytes_per_second: ingress,
            egress_bytes_per_second: egress,
        };
        self.identity.ping(Some(role.stage.into()), self.roles.highest_epoch(), load)
    }

    fn status(&self) -> NodeStatus {
        let draining = self.shutdown.has_begun();
        let status = self.identity.status(self.ping(), self.standing().as_ref(), draining, self.missing());
        NodeStatus { pool: self.pool.to_string(), ..status }
    }

    fn streams(&self) -> Vec<LocalStream> {
        let epoch = self.role().epoch.0;
        let stream = |Listed { stream, since, .. }: Listed| LocalStream {
            name: stream.name,
            publication: Some(stream.publication),
            head: stream.head,
            head_dts: stream.info.last_dts.unwrap_or(0),
            epoch,
            viewers: stream.info.readers as u32,
            bytes_received: stream.info.bytes_total,
            since,
        };
        self.streams.list().into_iter().map(stream).collect()
    }

    fn set_log_level(&self, target: &str, level: &str, ttl: Duration) -> Result<SystemTime, Failure> {
        node::set_log_level(&self.logs, target, level, ttl)
    }

    fn effective_config(&self) -> String {
        daemon::config::effective(&**self.config.borrow())
    }
}

impl Inspect for OriginNode {
    fn missing(&self) -> Vec<String> {
        let role = self.role();
        match self.serving() {
            None if role.is_active() => vec!["the public port is not open yet".to_owned()],
            None if role.epoch == Epoch(0) => vec!["no role yet: the control plane has not been heard".to_owned()],
            None if self.standing().is_none() => vec!["not active, and no control plane names another".to_owned()],
            _ => Vec::new(),
        }
    }

    fn active_epoch(&self) -> Option<u64> {
        self.serving().map(|epoch| epoch.0)
    }

    fn status(&self) -> Page {
        let ping = node::Node::ping(self);
        let standing = self.standing();
        let role = if self.role().is_active() { "active" } else { "standby" };
        let streams = self.streams.list().into_iter().map(|Listed { stream, .. }| {
            vec![
                stream.name.to_string().into(),
                stream.source.edge.map_or_else(|| "public port".to_owned(), |edge| edge.to_string()).into(),
                stream.source.peer.into(),
                stream.connected.into(),
                stream.head.into(),
                stream.info.readers.into(),
                stream.jumps.into(),
            ]
        });
        Page::new(self.identity.id.to_string())
            .facts(
                "Node",
                [
                    ("kind", Cell::from("origin")),
                    ("pool", self.pool.to_string().into()),
                    ("role", role.into()),
                    ("epoch", ping.epoch.into()),
                    ("uptime_seconds", ping.uptime.as_secs().into()),
                    ("version", self.identity.version.into()),
                ],
            )
            .control_plane(standing.as_ref().map(Standing::connected), standing.as_ref().and_then(Standing::config_age))
            .facts("Replication", self.replication())
            .facts("Listeners", self.identity.listeners.clone())
            .table(
                "Streams",
                &["stream", "through", "encoder", "connected", "head", "pulls", "clock jumps"],
                streams.collect(),
            )
    }
}
