//! Streams and sessions, as the nodes report them.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use cluster::{Epoch, NodeId};
use media::StreamName;
use rpc::{
    control::{Holder, Holding, SessionInfo, SessionsReport, StreamInfo, StreamReport, StreamsReport},
    node::{LocalSession, SessionKind},
};

/// What each node holds.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    nodes: BTreeMap<NodeId, Held>,
    holders: HashMap<StreamName, BTreeSet<NodeId>>,
    /// The active origins of all pools.
    actives: BTreeSet<NodeId>,
}

#[derive(Debug, Default)]
struct Held {
    streams: HashMap<StreamName, StreamReport>,
    sessions: BTreeMap<String, LocalSession>,
    /// How many of them play each stream.
    players: HashMap<StreamName, u32>,
}

impl Held {
    fn put_session(&mut self, session: LocalSession) {
        self.remove_session(&session.id);
        if session.kind == SessionKind::Play {
            *self.players.entry(session.stream.clone()).or_default() += 1;
        }
        self.sessions.insert(session.id.clone(), session);
    }

    fn remove_session(&mut self, id: &str) {
        let Some(session) = self.sessions.remove(id) else { return };
        if session.kind == SessionKind::Play
            && let Entry::Occupied(mut players) = self.players.entry(session.stream)
        {
            *players.get_mut() -= 1;
            if *players.get() == 0 {
                players.remove();
            }
        }
    }

    fn players(&self, stream: &StreamName) -> u32 {
        self.players.get(stream).copied().unwrap_or_default()
    }
}

impl Directory {
    /// A node told of its streams; returns those of which something may have changed.
    pub(crate) fn apply_streams(&mut self, node: &NodeId, report: StreamsReport) -> BTreeSet<StreamName> {
        let held = self.nodes.entry(node.clone()).or_default();
        let mut touched = BTreeSet::new();
        if report.replace {
            touched.extend(held.streams.drain().map(|(name, _)| name));
        }
        for name in report.removed {
            held.streams.remove(&name);
            touched.insert(name);
        }
        for stream in report.put {
            if held.streams.len() >= STREAMS_MAX && !held.streams.contains_key(&stream.name) {
                tracing::warn!(%node, max = STREAMS_MAX, "directory.too_many_streams");
                break;
            }
            touched.insert(stream.name.clone());
            held.streams.insert(stream.name.clone(), stream);
        }
        for name in &touched {
            let holds = held.streams.contains_key(name);
            index(&mut self.holders, name, node, holds);
        }
        touched
    }

    /// A node told of its sessions.
    pub(crate) fn apply_sessions(&mut self, node: &NodeId, report: SessionsReport) {
        let held = self.nodes.entry(node.clone()).or_default();
        if report.replace {
            held.sessions.clear();
            held.players.clear();
        }
        for id in report.removed {
            held.remove_session(&id);
        }
        for session in report.put {
            if held.sessions.len() >= SESSIONS_MAX && !held.sessions.contains_key(&session.id) {
                tracing::warn!(%node, max = SESSIONS_MAX, "directory.too_many_sessions");
                break;
            }
            held.put_session(session);
        }
    }

    /// These origins are active now. Streams are put together by that from each one's next report on.
    pub(crate) fn set_actives(&mut self, actives: BTreeSet<NodeId>) {
        self.actives = actives;
    }

    /// A node is gone, and with it what it held; returns its streams.
    pub(crate) fn forget(&mut self, node: &NodeId) -> BTreeSet<StreamName> {
        let Some(held) = self.nodes.remove(node) else { return BTreeSet::new() };
        let streams: BTreeSet<_> = held.streams.into_keys().collect();
        for name in &streams {
            index(&mut self.holders, name, node, false);
        }
        streams
    }

    /// One stream, put together from what each holder says of it.
    pub(crate) fn stream(&self, name: &StreamName) -> Option<StreamInfo> {
        let holders = self.holders.get(name)?;
        let said = holders.iter().filter_map(|node| {
            let held = self.nodes.get(node)?;
            let (active, players) = (self.actives.contains(node), held.players(name));
            Some(Said { node, active, report: held.streams.get(name)?, players })
        });
        let reports: Vec<_> = said.collect();
        (!reports.is_empty()).then(|| put_together(name, &reports))
    }

    /// All streams.
    pub(crate) fn streams(&self) -> Vec<StreamInfo> {
        self.holders.keys().filter_map(|name| self.stream(name)).collect()
    }

    /// How many streams there are.
    pub(crate) fn stream_count(&self) -> usize {
        self.holders.len()
    }

    /// One session by its id in the cluster.
    pub(crate) fn session(&self, id: &str) -> Option<SessionInfo> {
        let (node, local) = id.split_once('.')?;
        let node = NodeId::new(node).ok()?;
        let session = self.nodes.get(&node)?.sessions.get(local)?.clone();
        Some(SessionInfo { node, session })
    }

    /// All sessions.
    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        let of = |(node, held): (&NodeId, &Held)| {
            let node = node.clone();
            let info = move |session: &LocalSession| SessionInfo { node: node.clone(), session: session.clone() };
            held.sessions.values().map(info).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of).collect()
    }

    /// How many sessions there are of encoders and of viewers.
    pub(crate) fn session_counts(&self) -> (u32, u32) {
        let kinds = self.nodes.values().flat_map(|held| held.sessions.values()).map(|session| session.kind);
        kinds.fold((0, 0), |(publishers, viewers), kind| match kind {
            SessionKind::Publish => (publishers + 1, viewers),
            SessionKind::Play => (publishers, viewers + 1),
            SessionKind::Push | SessionKind::Pull => (publishers, viewers),
        })
    }
}

fn index(holders: &mut HashMap<StreamName, BTreeSet<NodeId>>, name: &StreamName, node: &NodeId, holds: bool) {
    if holds {
        holders.entry(name.clone()).or_default().insert(node.clone());
    } else if let Some(nodes) = holders.get_mut(name) {
        nodes.remove(node);
        if nodes.is_empty() {
            holders.remove(name);
        }
    }
}

/// What one node says of a stream.
struct Said<'a> {
    node: &'a NodeId,
    /// It is the active origin of its pool.
    active: bool,
    report: &'a StreamReport,
    /// Sessions on the node that play it.
    players: u32,
}

fn put_together(name: &StreamName, reports: &[Said<'_>]) -> StreamInfo {
    // A standby's report may be a moment newer than that of the active, which it follows.
    let newest = |said: &&Said<'_>| (said.report.live, said.report.epoch, said.active, said.report.head);
    let origin = reports.iter().filter(|said| said.report.holding == Holding::Origin).max_by_key(newest);
    let encoder = reports.iter().filter(|said| said.report.publisher_session.is_some()).max_by_key(newest);
    let ingest = encoder.map(|said| said.node.clone()).or_else(|| origin?.report.ingest_node.clone());
    // Whoever knows most of it: the origin, else an edge that takes it in, else one that pulls it.
    let best = origin.or(encoder).unwrap_or(&reports[0]).report;
    let session = |Said { node, report, .. }: &Said<'_>| {
        report.publisher_session.as_ref().map(|id| format!("sessions/{node}.{id}"))
    };
    let holder = |Said { node, report, players, .. }: &Said<'_>| {
        let behind = best.head_timestamp_ms.saturating_sub(report.head_timestamp_ms);
        // Whatever reads a stream at an origin, edges among them, is a viewer to it: here its players count. An edge
        // that takes a stream in knows no positions.
        let (viewers, head, lag_ms) = match report.holding {
            Holding::Origin => (*players, report.head, 0),
            Holding::Ingest => (report.viewers, 0, 0),
            Holding::Pull => (report.viewers, report.head, u32::try_from(behind).unwrap_or(u32::MAX)),
        };
        Holder { node: (*node).clone(), holding: report.holding, viewers, head, lag_ms }
    };
    StreamInfo {
        name: name.clone(),
        live: best.live,
        publication: best.publication,
        publisher_session: encoder.and_then(session),
        ingest_node: ingest,
        origin: origin.map(|said| said.node.clone()),
        epoch: origin.map_or(Epoch(0), |said| said.report.epoch),
        head: best.head,
        head_timestamp_ms: best.head_timestamp_ms,
        bits_per_second: best.bits_per_second,
        codecs: best.codecs.clone(),
        since: reports.iter().map(|said| said.report.since).min().unwrap_or(std::time::SystemTime::UNIX_EPOCH),
        holders: reports.iter().map(holder).collect(),
    }
}

/// Whether watchers should be told: heads, rates and viewers change all the time and are asked for instead.
pub(crate) fn differs(before: &StreamInfo, after: &StreamInfo) -> bool {
    let holders = |stream: &StreamInfo| {
        stream.holders.iter().map(|holder| (holder.node.clone(), holder.holding)).collect::<Vec<_>>()
    };
    let identity = |stream: &StreamInfo| {
        (
            stream.live,
            stream.publication,
            stream.publisher_session.clone(),
            stream.ingest_node.clone(),
            stream.origin.clone(),
            stream.epoch,
            stream.codecs.clone(),
        )
    };
    identity(before) != identity(after) || holders(before) != holders(after)
}

/// Streams that one node may hold.
const STREAMS_MAX: usize = 50_000;
/// Sessions that one node may hold.
const SESSIONS_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn name() -> StreamName {
        StreamName::from_app("_default", "live", "foo").unwrap()
    }

    fn node(id: &str) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn report(holding: Holding, head_timestamp_ms: u64, viewers: u32) -> StreamReport {
        StreamReport {
            name: name(),
            holding,
            publication: None,
            publisher_session: (holding == Holding::Ingest).then(|| "5".to_owned()),
            ingest_node: None,
            live: true,
            head: head_timestamp_ms,
            head_timestamp_ms,
            epoch: Epoch(1),
            viewers,
            bits_per_second: 0,
            codecs: vec![],
            since: SystemTime::UNIX_EPOCH,
        }
    }

    fn put(directory: &mut Directory, id: &str, put: StreamReport) {
        directory.apply_streams(&node(id), StreamsReport { put: vec![put], ..StreamsReport::default() });
    }

    fn play(directory: &mut Directory, id: &str, sessions: &[&str]) {
        let session = |session: &&str| LocalSession {
            id: (*session).to_owned(),
            kind: SessionKind::Play,
            protocol: "rtmp".into(),
            stream: name(),
            peer: "10.0.0.1:5".into(),
            since: SystemTime::UNIX_EPOCH,
            bytes_received: 0,
            bytes_sent: 0,
        };
        let put = sessions.iter().map(session).collect();
        directory.apply_sessions(&node(id), SessionsReport { put, ..SessionsReport::default() });
    }

    #[test]
    fn a_stream_is_put_together_from_its_holders() {
        let mut directory = Directory::default();
        put(&mut directory, "edge-1", report(Holding::Ingest, 0, 2));
        // It is read by two edges, of which one plays to those near its encoder, and by a player.
        put(&mut directory, "origin-1", report(Holding::Origin, 1000, 3));
        play(&mut directory, "origin-1", &["1"]);
        put(&mut directory, "edge-2", report(Holding::Pull, 950, 7));
        let stream = directory.stream(&name()).unwrap();
        assert_eq!((stream.origin.clone(), stream.ingest_node.clone()), (Some(node("origin-1")), Some(node("edge-1"))));
        assert_eq!(stream.publisher_session.as_deref(), Some("sessions/edge-1.5"));
        assert_eq!((stream.viewers(), stream.head), (10, 1000));
        let holders: Vec<_> = stream.holders.iter().map(|held| (held.viewers, held.head, held.lag_ms)).collect();
        assert_eq!(holders, [(2, 0, 0), (7, 950, 50), (1, 1000, 0)]);
    }

    #[test]
    fn the_origin_of_a_stream_is_the_active_one_whichever_reported_last() {
        let mut directory = Directory::default();
        directory.set_actives([node("origin-1")].into());
        put(&mut directory, "origin-1", report(Holding::Origin, 1000, 0));
        put(&mut directory, "origin-2", report(Holding::Origin, 1033, 0));
        assert_eq!(directory.stream(&name()).unwrap().origin, Some(node("origin-1")));
        let before = directory.stream(&name()).unwrap();
        put(&mut directory, "origin-2", report(Holding::Origin, 2000, 0));
        assert!(!differs(&before, &directory.stream(&name()).unwrap()));
        let after_a_move = StreamReport { epoch: Epoch(2), ..report(Holding::Origin, 2000, 0) };
        put(&mut directory, "origin-2", after_a_move);
        assert_eq!(directory.stream(&name()).unwrap().origin, Some(node("origin-2")));
    }

    #[test]
    fn the_viewers_at_an_origin_are_its_players_as_they_come_and_go() {
        let mut directory = Directory::default();
        put(&mut directory, "origin-1", report(Holding::Origin, 1000, 5));
        let viewers = |directory: &Directory| directory.stream(&name()).unwrap().viewers();
        assert_eq!(viewers(&directory), 0, "edges that pull are none");
        play(&mut directory, "origin-1", &["1", "2", "2"]);
        assert_eq!(viewers(&directory), 2);
        let gone = SessionsReport { removed: vec!["1".into(), "1".into()], ..SessionsReport::default() };
        directory.apply_sessions(&node("origin-1"), gone);
        assert_eq!(viewers(&directory), 1);
        directory.apply_sessions(&node("origin-1"), SessionsReport { replace: true, ..SessionsReport::default() });
        assert_eq!((viewers(&directory), directory.session_counts()), (0, (0, 0)));
    }

    #[test]
    fn a_stream_ends_with_its_last_holder() {
        let mut directory = Directory::default();
        put(&mut directory, "edge-1", report(Holding::Pull, 1, 0));
        put(&mut directory, "edge-2", report(Holding::Pull, 1, 0));
        let removed = StreamsReport { removed: vec![name()], ..StreamsReport::default() };
        directory.apply_streams(&node("edge-1"), removed);
        assert_eq!(directory.stream(&name()).unwrap().holders.len(), 1);
        assert_eq!(directory.forget(&node("edge-2")), BTreeSet::from([name()]));
        assert_eq!((directory.stream(&name()), directory.stream_count()), (None, 0));
    }

    #[test]
    fn a_full_report_forgets_what_it_does_not_name() {
        let mut directory = Directory::default();
        put(&mut directory, "edge-1", report(Holding::Pull, 1, 0));
        let touched = directory.apply_streams(&node("edge-1"), StreamsReport { replace: true, ..Default::default() });
        assert_eq!(touched, BTreeSet::from([name()]));
        assert_eq!(directory.streams(), []);
    }

    #[test]
    fn watchers_are_told_of_holders_and_not_of_heads() {
        let mut directory = Directory::default();
        put(&mut directory, "origin-1", report(Holding::Origin, 1, 0));
        let before = directory.stream(&name()).unwrap();
        put(&mut directory, "origin-1", report(Holding::Origin, 2, 9));
        assert!(!differs(&before, &directory.stream(&name()).unwrap()));
        put(&mut directory, "edge-1", report(Holding::Pull, 2, 9));
        assert!(differs(&before, &directory.stream(&name()).unwrap()));
    }
}
