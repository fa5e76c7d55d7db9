use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use cluster::{
    Beat, Cause, Epoch, FirstFrame, Grant, Incarnation, KnownRecord, LastChange, Liveness, Load, Member, Mishap,
    NodeAddresses, NodeId, NodeKind, Notice, PoolId, PoolRecord, RecordVersion, Registration, Role, SyncChange,
    SyncRequest,
};
use media::{PublicationId, StreamName};
use proto::control::v1 as pb;

use super::{fields, wire, *};
use crate::{
    node::{LocalSession, SessionKind},
    status::Failure,
};

fn wrong_field<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> String {
    let failure = outcome.expect_err("it is wrong");
    assert_eq!(failure.reason, "INVALID_FIELD", "{failure}");
    failure.fields[0].field.clone()
}

fn member() -> Member {
    Member { node: NodeId::new("edge-1").unwrap(), incarnation: Incarnation::from_bits(7) }
}

fn a_moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_123)
}

fn stream() -> StreamName {
    StreamName::from_app("_default", "live", "foo").unwrap()
}

fn local_session() -> LocalSession {
    LocalSession {
        id: "17".into(),
        kind: SessionKind::Play,
        protocol: "rtmp".into(),
        stream: stream(),
        peer: "10.0.0.1:5".into(),
        since: a_moment(),
        bytes_received: 1,
        bytes_sent: 2,
    }
}

fn stream_report() -> StreamReport {
    StreamReport {
        name: stream(),
        holding: Holding::Ingest,
        publication: Some(PublicationId::from_bits(9)),
        publisher_session: Some("17".into()),
        ingest_node: Some(NodeId::new("edge-1").unwrap()),
        live: true,
        head: 5,
        head_timestamp_ms: 6,
        epoch: Epoch(2),
        viewers: 3,
        bits_per_second: 4,
        codecs: vec!["avc".into()],
        since: a_moment(),
    }
}

#[test]
fn an_empty_request_names_the_field_that_it_lacks() {
    assert_eq!(wrong_field(wire::routes::create(Default::default())), "route_entry");
    assert_eq!(wrong_field(wire::routes::update(Default::default())), "route_entry");
    assert_eq!(wrong_field(wire::routes::delete(Default::default())), "name");
    assert_eq!(wrong_field(wire::members::registration(Default::default())), "name");
    assert_eq!(wrong_field(wire::members::deregister(Default::default())), "name");
    assert_eq!(wrong_field(wire::members::drain(Default::default())), "name");
    assert_eq!(wrong_field(wire::streams::kick_stream(Default::default())), "name");
    assert_eq!(wrong_field(wire::streams::kick_session(Default::default())), "name");
    assert_eq!(wrong_field(wire::pools::promote(Default::default())), "name");
    assert_eq!(wrong_field(wire::pools::fail_back(Default::default())), "name");
    assert_eq!(wrong_field(wire::pools::hold(Default::default())), "name");
    assert_eq!(wrong_field(wire::pools::release(Default::default())), "name");
    assert_eq!(wrong_field(wire::pools::fence(Default::default())), "name");
    assert_eq!(wrong_field(wire::pools::unfence(Default::default())), "name");
    assert_eq!(wrong_field(wire::session::hello(None)), "hello");
    assert_eq!(wrong_field(fields::stream("name", "")), "name");
}

#[test]
fn a_wrong_route_entry_names_the_wrong_field() {
    let create = |change: fn(&mut pb::RouteEntry)| {
        let mut entry = pb::RouteEntry {
            target: Some(pb::RouteTarget { pool: "originPools/main".into(), ..Default::default() }),
            ..Default::default()
        };
        change(&mut entry);
        wire::routes::create(pb::CreateRouteEntryRequest { route_entry: Some(entry), ..Default::default() })
    };
    assert!(create(|_| {}).is_ok());
    type Change = fn(&mut pb::RouteEntry);
    let cases: [(&str, Change); 9] = [
        ("route_entry.name", |entry| entry.name = "routeEntries/No Good".into()),
        ("route_entry.match.app", |entry| entry.r#match.get_or_insert_default().app = "a*b".into()),
        ("route_entry.match.vhost", |entry| entry.r#match.get_or_insert_default().vhost = "a/b".into()),
        ("route_entry.target", |entry| entry.target.get_or_insert_default().refuse = true),
        ("route_entry.target.pool", |entry| entry.target.get_or_insert_default().pool = "No".into()),
        ("route_entry.target.protocol", |entry| entry.target.get_or_insert_default().protocol = 2),
        ("route_entry.target.addresses[1]", |entry| {
            entry.target = Some(pb::RouteTarget {
                addresses: vec!["10.0.0.6:1935".into(), "10.0.0.6".into()],
                ..Default::default()
            });
        }),
        ("route_entry.fms", |entry| *entry = pb::RouteEntry { fms: "*:*".into(), ..Default::default() }),
        ("route_entry.description", |entry| entry.description = "x".repeat(1025)),
    ];
    for (field, change) in cases {
        assert_eq!(wrong_field(create(change)), field);
    }
}

#[test]
fn the_one_line_form_makes_an_entry() {
    let entry = pb::RouteEntry { fms: "*:*;10.0.0.6:1935".into(), ..Default::default() };
    let request = pb::CreateRouteEntryRequest { route_entry: Some(entry), ..Default::default() };
    let create = wire::routes::create(request).unwrap();
    assert_eq!(create.matches, cluster::RouteMatch::any());
    assert_eq!(wire::routes::wire_target(create.target).addresses, ["10.0.0.6:1935"]);
}

#[test]
fn a_mask_says_what_changes_and_without_one_what_is_set_does() {
    let update = |paths: &[&str]| {
        let entry = pb::RouteEntry {
            name: "routeEntries/live".into(),
            r#match: Some(pb::RouteMatch { app: "live".into(), ..Default::default() }),
            description: "new".into(),
            ..Default::default()
        };
        let mask = prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() };
        let request =
            pb::UpdateRouteEntryRequest { route_entry: Some(entry), update_mask: Some(mask), ..Default::default() };
        wire::routes::update(request).map(|update| update.change)
    };
    let set = update(&[]).unwrap();
    assert_eq!(
        (set.matches.app, set.matches.vhost, set.description),
        (Some("live".parse().unwrap()), None, Some("new".into()))
    );
    let part = update(&["match.app"]).unwrap();
    assert_eq!((part.matches.app.is_some(), part.description), (true, None));
    let whole = update(&["match"]).unwrap();
    assert_eq!(whole.matches.vhost, Some(cluster::Pattern::Any));
    assert_eq!(wrong_field(update(&["target"])), "route_entry.target");
    assert_eq!(wrong_field(update(&["etag"])), "update_mask");
}

#[test]
fn an_origin_registers_with_its_addresses_and_an_edge_needs_none() {
    let request = |kind: pb::NodeKind, public: &str| {
        wire::members::registration(pb::RegisterNodeRequest {
            name: "o1".into(),
            kind: kind.into(),
            incarnation: "0000000000000001".into(),
            addresses: Some(pb::NodeAddresses { public: public.into(), peer: "h:9001".into(), ..Default::default() }),
            ..Default::default()
        })
    };
    assert_eq!(request(pb::NodeKind::Origin, "h:1935").unwrap().pool, Some(PoolId::main()));
    assert_eq!(wrong_field(request(pb::NodeKind::Origin, "")), "addresses.public");
    assert_eq!(wrong_field(request(pb::NodeKind::Unspecified, "")), "kind");
    assert_eq!(request(pb::NodeKind::Edge, "").unwrap().pool, None);
}

#[test]
fn whatever_moves_a_role_needs_the_epoch_that_the_caller_has_seen() {
    let (name, member) = ("main".to_owned(), "o2".to_owned());
    let promote = pb::PromoteMemberRequest { name: name.clone(), member: member.clone(), ..Default::default() };
    assert_eq!(wrong_field(wire::pools::promote(promote.clone())), "expected_epoch");
    let none_yet = pb::PromoteMemberRequest { expected_epoch: Some(0), ..promote.clone() };
    assert_eq!(wire::pools::promote(none_yet).unwrap().expected_epoch, Epoch(0));
    let too_high = pb::PromoteMemberRequest { expected_epoch: Some(Epoch::MAX.0 + 1), ..promote };
    assert_eq!(wrong_field(wire::pools::promote(too_high)), "expected_epoch");
    let fail_back = pb::FailBackRequest { name: name.clone(), ..Default::default() };
    assert_eq!(wrong_field(wire::pools::fail_back(fail_back)), "expected_epoch");
    let fence = pb::FenceMemberRequest { name: name.clone(), member: member.clone(), ..Default::default() };
    assert_eq!(wrong_field(wire::pools::fence(fence)), "expected_epoch");
    let unfence = pb::UnfenceMemberRequest { name: name.clone(), member, ..Default::default() };
    assert_eq!(wrong_field(wire::pools::unfence(unfence)), "expected_epoch");
    let hold = pb::HoldPoolRequest { name: name.clone(), ..Default::default() };
    assert_eq!(wire::pools::hold(hold).unwrap().expected_epoch, None, "nothing moves by it");
    let release = pb::ReleasePoolRequest { name, ..Default::default() };
    assert_eq!(wire::pools::release(release).unwrap().expected_epoch, None);
}

#[test]
fn a_hold_that_makes_no_sense_and_an_unknown_way_to_promote_are_refused() {
    for duration in [Duration::ZERO, Duration::from_secs(1 << 40)] {
        let hold = pb::HoldPoolRequest {
            name: "main".into(),
            duration: fields::wire_duration(duration),
            ..Default::default()
        };
        assert_eq!(wrong_field(wire::pools::hold(hold)), "duration");
    }
    let name = || "main".to_owned();
    let promote = |mode| pb::PromoteMemberRequest {
        name: name(),
        member: "o2".into(),
        expected_epoch: Some(1),
        mode,
        ..Default::default()
    };
    assert_eq!(wrong_field(wire::pools::promote(promote(99))), "mode");
    assert_eq!(wire::pools::promote(promote(0)).unwrap().mode, PromoteMode::Graceful);
}

#[test]
fn spans_that_nobody_can_mean_are_refused_wherever_they_come_in() {
    let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for seconds in [-1, i64::MIN, 9_000_000_000_000_000_000] {
        let load = pb::NodeLoad { task_lag: span(seconds), ..Default::default() };
        let beats = [
            ("load.task_lag", pb::NodeBeat { load: Some(load), ..Default::default() }),
            ("beat.first_frame", pb::NodeBeat { first_frame: span(seconds), ..Default::default() }),
        ];
        for (field, beat) in beats {
            let message = Some(pb::node_session_request::Message::Beat(beat));
            assert_eq!(wrong_field(wire::session::from_node(pb::NodeSessionRequest { message })), field);
        }
        let drain = pb::DrainNodeRequest { name: "edge-1".into(), deadline: span(seconds), ..Default::default() };
        assert_eq!(wrong_field(wire::members::drain(drain)), "deadline");
        let deadline = span(seconds);
        let drain = pb::node_session_response::Message::Drain(pb::DrainCommand { deadline, ..Default::default() });
        let told = pb::NodeSessionResponse { message: Some(drain) };
        assert_eq!(wrong_field(wire::session::from_control(told)), "drain.deadline");
    }
}

#[test]
fn what_operators_ask_of_a_pool_arrives_as_it_was_asked() {
    let (pool, member, reason) = (PoolId::main(), NodeId::new("o2").unwrap(), "why".to_owned());
    let expected_epoch = Epoch(3);
    for mode in [PromoteMode::Graceful, PromoteMode::Force] {
        let (pool, member, reason) = (pool.clone(), member.clone(), reason.clone());
        let asked = Promote { pool, member, mode, expected_epoch, validate_only: true, reason };
        assert_eq!(wire::pools::promote(wire::pools::wire_promote(asked.clone())).unwrap(), asked);
    }
    let asked = FailBack { pool: pool.clone(), expected_epoch, validate_only: true, reason: reason.clone() };
    assert_eq!(wire::pools::fail_back(wire::pools::wire_fail_back(asked.clone())).unwrap(), asked);
    for (expected_epoch, duration) in [(None, None), (Some(Epoch(3)), Some(Duration::from_millis(1500)))] {
        let (pool, reason) = (pool.clone(), reason.clone());
        let asked = HoldPool { pool, expected_epoch, duration, validate_only: false, reason };
        assert_eq!(wire::pools::hold(wire::pools::wire_hold(asked.clone())).unwrap(), asked);
        let HoldPool { pool, expected_epoch, validate_only, reason, .. } = asked;
        let asked = ReleasePool { pool, expected_epoch, validate_only, reason };
        assert_eq!(wire::pools::release(wire::pools::wire_release(asked.clone())).unwrap(), asked);
    }
    let asked = FenceMember { pool, member, expected_epoch, validate_only: true, reason };
    assert_eq!(wire::pools::fence(wire::pools::wire_fence(asked.clone())).unwrap(), asked);
    assert_eq!(wire::pools::unfence(wire::pools::wire_unfence(asked.clone())).unwrap(), asked);
}

#[test]
fn what_a_node_says_arrives_as_it_was_said() {
    let beat = Beat {
        load: Load { sessions: 1, viewers: 2, streams: 3, task_lag: Duration::from_millis(4), ..Load::default() },
        role: Some(Role::Active),
        serving: Some(Epoch(3)),
        highest_epoch: Epoch(4),
        pool_epochs: [(Some(PoolId::main()), Epoch(4)), (None, Epoch(2))].into(),
        pool_records: [(PoolId::main(), vec![RecordVersion { version: 7, written_by: "store.1".into() }])].into(),
        hears: vec![NodeId::new("origin-1").unwrap()],
        head: (Epoch(3), 17),
        follows_active: true,
        record: Some(KnownRecord {
            version: 9,
            written_by: "store.1".into(),
            loss_epoch: Epoch(2),
            in_sync: BTreeSet::from([member()]),
            epoch: Epoch(3),
            granted_by: "store.1".into(),
        }),
        first_frame: FirstFrame::After(Duration::from_millis(40)),
    };
    let waits = Beat { first_frame: FirstFrame::Awaited, ..Beat::default() };
    let sync =
        |change| FromNode::SyncRequest(SyncRequest { pool: PoolId::main(), epoch: Epoch(3), version: 9, change });
    let notice = |what| FromNode::Notice { number: 7, notice: Notice { stream: stream(), what } };
    let result = CommandResult { command_id: "c1".into(), affected: 1, error: Some("no".into()) };
    let said = [
        FromNode::Beat { number: 1, beat: Box::new(beat) },
        FromNode::Beat { number: 2, beat: Box::new(waits) },
        FromNode::Streams(StreamsReport { replace: true, put: vec![stream_report()], removed: vec![stream()] }),
        FromNode::Sessions(SessionsReport { replace: true, put: vec![local_session()], removed: vec!["18".into()] }),
        FromNode::Result(result),
        sync(SyncChange::Grow(member())),
        sync(SyncChange::Shrink(member())),
        sync(SyncChange::Alone { without: BTreeSet::from([member()]) }),
        FromNode::Yielded { epoch: Epoch(3) },
        FromNode::HandOver { reason: "it ends".into() },
        notice(Mishap::Skipped { from: 3, to: 9 }),
        notice(Mishap::Lost { from: 7 }),
        notice(Mishap::Split { node: NodeId::new("origin-2").unwrap(), from: 1, to: 2 }),
    ];
    for message in said {
        assert_eq!(wire::session::from_node(wire::session::wire_from_node(message.clone())).unwrap(), Some(message));
    }
    assert_eq!(wire::session::hello(Some(wire::session::wire_hello(member()))).unwrap(), member());
}

#[test]
fn a_request_of_a_member_that_makes_no_sense_is_refused_with_the_field() {
    let said = |message| wire::session::from_node(pb::NodeSessionRequest { message: Some(message) });
    use pb::{node_session_request::Message, sync_request::Change};
    let sync = |change| {
        let request = pb::SyncRequest { pool: "main".into(), epoch: 3, version: 9, change };
        said(Message::SyncRequest(request))
    };
    let stranger = || pb::MemberId { node: "o1".into(), incarnation: "1".into() };
    assert_eq!(wrong_field(sync(None)), "sync_request");
    assert_eq!(wrong_field(sync(Some(Change::Grow(Default::default())))), "sync_request.grow.node");
    assert_eq!(wrong_field(sync(Some(Change::Shrink(stranger())))), "sync_request.shrink.incarnation");
    let alone = |without| sync(Some(Change::Alone(pb::SyncAlone { without })));
    assert_eq!(wrong_field(alone(vec![Default::default(); 65])), "sync_request.alone.without");
    let high = Epoch::MAX.0 + 1;
    assert_eq!(wrong_field(said(Message::Yielded(pb::NodeYielded { epoch: high }))), "yielded.epoch");
    let head = Some(pb::LogHead { epoch: high, order: 0 });
    assert_eq!(wrong_field(said(Message::Beat(pb::NodeBeat { head, ..Default::default() }))), "beat.head");
    let reason = "x".repeat(257);
    assert_eq!(wrong_field(said(Message::HandOver(pb::NodeHandOver { reason }))), "hand_over.reason");
}

#[test]
fn what_the_control_plane_says_arrives_as_it_was_said() {
    let other = Member { node: NodeId::new("origin-1").unwrap(), incarnation: Incarnation::from_bits(1) };
    let grant = Grant {
        pool: PoolId::main(),
        member: other.clone(),
        role: Role::Active,
        epoch: Epoch(3),
        version: 9,
        written_by: "store.1".into(),
        loss_epoch: Epoch(2),
        active: Some(other.clone()),
        in_sync: BTreeSet::from([other, member()]),
        fenced: BTreeSet::from([NodeId::new("origin-7").unwrap()]),
        yields: true,
        store: "s".into(),
    };
    let first = Grant { active: None, in_sync: BTreeSet::new(), yields: false, role: Role::Standby, ..grant.clone() };
    let welcome = Welcome {
        beat_interval: Duration::from_millis(150),
        silence_max: Duration::from_millis(600),
        store_id: "s".into(),
    };
    let command = |command| FromControl::Command { id: "c1".into(), command };
    let reason = || "why".to_owned();
    let said = [
        FromControl::Welcome(welcome),
        FromControl::Beat { number: 1, route_revision: 2 },
        FromControl::Role(grant),
        FromControl::Role(first),
        FromControl::NoticesKept { through: 7 },
        command(Command::KickSession { session: "17".into(), reason: reason() }),
        command(Command::KickStream { stream: stream(), reason: reason(), ban_for: Duration::from_secs(5) }),
        command(Command::KickStream { stream: stream(), reason: reason(), ban_for: Duration::ZERO }),
        command(Command::Drain { deadline: Some(Duration::from_secs(1)), reason: reason() }),
    ];
    for message in said {
        let there = wire::session::from_control(wire::session::wire_from_control(message.clone())).unwrap();
        assert_eq!(there, Some(message));
    }
}

#[test]
fn the_name_of_something_else_is_refused_with_what_it_begins_with() {
    let told = |refused: Failure| (refused.fields[0].field.clone(), refused.message);
    let (field, message) = told(fields::route("name", "nodes/t1").unwrap_err());
    assert_eq!(field, "name");
    assert!(message.contains("begins with routeEntries/"), "{message}");
    assert!(told(fields::node("name", "sessions/t1").unwrap_err()).1.contains("begins with nodes/"));
    assert!(told(fields::pool("name", "/t1").unwrap_err()).1.contains("begins with originPools/"));
    assert_eq!(fields::route("name", "routeEntries/t1").unwrap(), fields::route("name", "t1").unwrap());
    assert!(told(fields::route("name", "routeEntries/A").unwrap_err()).1.contains("is not an id"));
}

#[test]
fn a_stream_is_kicked_by_its_name_or_its_path() {
    for name in ["live/foo", "_default:live/foo", "streams/_default/live/_definst_/foo"] {
        let request = pb::KickStreamRequest { name: name.into(), ..Default::default() };
        assert_eq!(wire::streams::kick_stream(request).unwrap().name, stream(), "{name}");
    }
    assert_eq!(wrong_field(wire::streams::kick_stream(Default::default())), "name");
}

#[test]
fn a_role_that_is_not_known_here_is_no_leave_to_serve() {
    let grant = pb::RoleGrant {
        pool: "originPools/main".into(),
        role: 99,
        node: "nodes/origin-1".into(),
        incarnation: "0000000000000001".into(),
        ..Default::default()
    };
    let message = pb::NodeSessionResponse { message: Some(pb::node_session_response::Message::Role(grant)) };
    let Some(FromControl::Role(grant)) = wire::session::from_control(message).unwrap() else { panic!("a role") };
    assert_eq!(grant.role, Role::Fenced);
}

#[test]
fn resources_cross_the_wire_whole() {
    let node = NodeInfo {
        registration: Registration {
            member: member(),
            kind: NodeKind::Edge,
            pool: None,
            addresses: NodeAddresses { public: Some("h:1935".parse().unwrap()), ..NodeAddresses::default() },
            labels: BTreeMap::from([("zone".into(), "a".into())]),
            version: "1".into(),
            capabilities: vec!["x".into()],
            highest_epoch: Epoch(0),
            serving: None,
        },
        liveness: Liveness::Silent,
        beat: Beat { head: (Epoch(2), 7), hears: vec![member().node], follows_active: true, ..Beat::default() },
        registered: a_moment(),
        heard: a_moment(),
    };
    let event = Event {
        sequence: 1,
        time: a_moment(),
        code: "node.gone".into(),
        subject: "nodes/edge-1".into(),
        message: "it is gone".into(),
        author: String::new(),
        reason: String::new(),
        details: BTreeMap::from([("a".into(), "b".into())]),
        severity: Severity::Alarm,
    };
    let pool = PoolInfo {
        view: PoolRecord::new(PoolId::main()).view(),
        active_incarnation: None,
        mode: cluster::Mode::Hold,
        hold_until: Some(a_moment()),
        last_change: Some(LastChange {
            cause: Cause::EpochHeard,
            evidence: "heard".into(),
            at_unix_ms: 1_790_000_000_123,
            durations_ms: BTreeMap::from([("detect".into(), 7)]),
        }),
        store_id: "s".into(),
        heard: BTreeMap::new(),
    };
    let session = SessionInfo { node: NodeId::new("edge-1").unwrap(), session: local_session() };
    let status = ClusterStatus {
        version: "1".into(),
        uptime: Duration::from_secs(1),
        time: a_moment(),
        pools: vec![pool],
        nodes: vec![node],
        counts: NodeCounts { silent: 1, ..NodeCounts::default() },
        routes: 1,
        streams: 2,
        publishers: 3,
        viewers: 4,
        problems: vec!["one".into()],
        store: StoreStatus {
            kind: "redb".into(),
            id: "s".into(),
            revision: 1,
            error: None,
            last_commit: Duration::from_millis(1),
        },
        events: vec![event],
    };
    assert_eq!(wire::status::read_status(wire::status::status(status.clone())).unwrap(), status);
    assert_eq!(wire::streams::read_session(wire::streams::session(session.clone())).unwrap(), session);
    assert_eq!(session.id(), "edge-1.17");
}
