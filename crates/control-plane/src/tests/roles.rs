use std::time::Duration;

use cluster::{
    Beat, By, Epoch, Grant, Incarnation, Member, Mishap, NodeKind, Notice, PoolId, Registration, Role, SyncChange,
    SyncRequest, Unclean,
};
use daemon::TaskEnded;
use rpc::{
    auth::Caller,
    control::{
        Client, Deregister, Event, FailBack, FenceMember, FromNode, HoldPool, PoolInfo, Promote, PromoteMode, Query,
        ReleasePool, Steps,
    },
    status::{Code, Failure},
};
use tokio::time;

use super::scene::{Scene, Talking, config, node, registration, soon, until};
use crate::plane::lock;

fn promotion(member: &str, expected_epoch: u64) -> Promote {
    Promote {
        pool: PoolId::main(),
        member: node(member),
        mode: PromoteMode::Graceful,
        expected_epoch: Epoch(expected_epoch),
        validate_only: false,
        reason: "test".into(),
    }
}

async fn promote(client: &Client, member: &str, expected_epoch: u64) -> Result<PoolInfo, Failure> {
    soon(client.promote(promotion(member, expected_epoch))).await
}

fn member(id: &str, start: u64) -> Member {
    Member { node: node(id), incarnation: Incarnation::from_bits(start) }
}

/// Two origins of which the first is active in epoch 1.
async fn pair(scene: &Scene) -> (Talking, Talking) {
    let mut first = scene.origin("o1", 1).await;
    first.role_until((Role::Active, 1)).await;
    let mut second = scene.origin("o2", 1).await;
    second.role_until((Role::Standby, 1)).await;
    (first, second)
}

/// As `pair`; both are in sync and hear each other.
async fn in_sync(scene: &Scene) -> (Talking, Talking) {
    let client = scene.operator().await;
    let mut watch = client.watch_pools(0).await.unwrap();
    let (mut first, second) = pair(scene).await;
    first.hears(&["o2"]);
    second.hears(&["o1"]);
    until(&mut watch, |pool| pool.view.members.len() == 2).await;
    let grown = |grant: &Grant| grant.in_sync.len() == 2;
    loop {
        // The record may have changed meanwhile: then the answer is that record, and it is asked again.
        first.asks(SyncChange::Grow(member("o2", 1))).await;
        if grown(&first.role().await) {
            break;
        }
    }
    until(&mut watch, |pool| pool.view.members.iter().all(|member| member.in_sync)).await;
    heard(scene, "o2", "o1").await;
    heard(scene, "o1", "o2").await;
    (first, second)
}

/// Waits until one node has told that it hears another.
async fn heard(scene: &Scene, who: &str, whom: &str) {
    beaten(scene, who, |beat| beat.hears.contains(&node(whom))).await;
}

/// Waits until a node has said this with a beat.
async fn beaten(scene: &Scene, who: &str, what: impl Fn(&Beat) -> bool) {
    let says = || lock(&scene.control.inner.members).get(&node(who)).is_some_and(|it| what(&it.beat));
    soon(async {
        while !says() {
            time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn granted(client: &Client) -> Vec<Event> {
    client.events(Query { filter: "code=pool.granted".into(), ..Query::default() }).await.unwrap().items
}

/// The next event with this code.
async fn event(watch: &mut Steps<Event>, code: &str) -> Event {
    until(watch, |event| event.code == code).await
}

#[tokio::test]
async fn the_first_origin_is_granted_epoch_1_and_the_next_stands_by() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.client(Caller::Edge).await;
    let mut watch = client.watch_pools(0).await.unwrap();
    let (_first, _second) = pair(&scene).await;
    let serves = |pool: &PoolInfo| pool.heard.get(&node("o1")).is_some_and(|(_, serving)| *serving);
    let pool = until(&mut watch, |pool| serves(pool) && pool.view.members.len() == 2).await;
    assert_eq!((pool.view.active.clone(), pool.view.epoch), (Some(node("o1")), Epoch(1)));
    let active = pool.view.active_member().unwrap();
    assert_eq!((active.role, active.in_sync), (Role::Active, true));
    assert_eq!(pool.last_change.unwrap().cause, cluster::Cause::Bootstrap);
}

#[tokio::test]
async fn the_configured_origin_is_granted_the_role_whoever_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let pools = vec![crate::config::PoolSettings { name: PoolId::main(), first_active: Some(node("o2")), roles: None }];
    let scene = Scene::start(crate::Config { pools, ..config(dir.path()) }).await;
    let mut first = scene.origin("o1", 1).await;
    assert_eq!(first.role().await.role, Role::Standby);
    let mut second = scene.origin("o2", 1).await;
    assert_eq!(second.role_until((Role::Active, 1)).await.active.unwrap().node, node("o2"));
}

#[tokio::test]
async fn an_active_that_restarts_is_granted_the_next_epoch_and_nobody_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (first, mut second) = pair(&scene).await;
    first.die().await;
    let mut again = scene.origin("o1", 2).await;
    let grant = again.role_until((Role::Active, 2)).await;
    assert_eq!((grant.loss_epoch, grant.member.incarnation), (Epoch(2), cluster::Incarnation::from_bits(2)));
    let standby = second.role_until((Role::Standby, 2)).await;
    assert_eq!(standby.active.unwrap().node, node("o1"));
    let late = Talking::begin(&scene.client(Caller::Origin).await, registration("o1", 1, NodeKind::Origin)).await;
    assert_eq!(late.err().unwrap().reason, "INCARNATION_REPLACED", "a late message does not bring the old start back");
}

#[tokio::test]
async fn a_restart_of_the_control_plane_changes_no_role() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (first, second) = pair(&scene).await;
    scene.stop().await;
    assert!(first.ended().await.is_some() && second.ended().await.is_some());

    let scene = Scene::start(config(dir.path())).await;
    let client = scene.client(Caller::Origin).await;
    let mut standby = scene.origin("o2", 1).await;
    assert_eq!(standby.role().await.role, Role::Standby);
    let serving = Registration { serving: Some(Epoch(1)), ..registration("o1", 1, NodeKind::Origin) };
    let mut active = Talking::begin(&client, serving).await.unwrap();
    let grant = active.role().await;
    assert_eq!((grant.role, grant.epoch), (Role::Active, Epoch(1)));
    let pool = scene.operator().await.pools(Query::default()).await.unwrap().items.remove(0);
    assert_eq!(pool.view.epoch, Epoch(1));
}

#[tokio::test]
async fn an_empty_store_adopts_the_active_that_serves() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.client(Caller::Origin).await;
    let heard =
        |id, serving| Registration { serving, highest_epoch: Epoch(5), ..registration(id, 1, NodeKind::Origin) };
    let mut standby = Talking::begin(&client, heard("o2", None)).await.unwrap();
    let mut active = Talking::begin(&client, heard("o1", Some(Epoch(5)))).await.unwrap();
    active.role_until((Role::Active, 5)).await;
    standby.role_until((Role::Standby, 5)).await;
}

/// A control plane on a new store, by whose rules nobody is promoted unclean.
async fn never(dir: &std::path::Path) -> Scene {
    let mut config = config(dir);
    config.roles.unclean = Unclean::Never;
    Scene::start(config).await
}

#[tokio::test]
async fn a_second_pool_gets_its_active_at_once_and_without_loss_beside_one_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let scene = never(dir.path()).await;
    let client = scene.client(Caller::Origin).await;
    let serves =
        Registration { serving: Some(Epoch(5)), highest_epoch: Epoch(5), ..registration("o1", 1, NodeKind::Origin) };
    let mut first = Talking::begin(&client, serves).await.unwrap();
    first.role_until((Role::Active, 5)).await;
    let edge = scene.edge("e1", 1).await;
    edge.hears_epoch_of("main", 5);
    beaten(&scene, "e1", |beat| beat.highest_epoch == Epoch(5)).await;
    let east = Registration { pool: PoolId::new("east").ok(), ..registration("o2", 1, NodeKind::Origin) };
    let mut second = Talking::begin(&client, east).await.unwrap();
    let grant = second.role_until((Role::Active, 6)).await;
    assert_eq!(grant.loss_epoch, Epoch(0));
    let losses = Query { filter: "code=pool.resumed_with_loss".into(), ..Query::default() };
    assert_eq!(scene.operator().await.events(losses).await.unwrap().items, []);
}

#[tokio::test]
async fn a_pool_whose_store_was_lost_waits_and_force_promotes() {
    let dir = tempfile::tempdir().unwrap();
    let scene = never(dir.path()).await;
    // Only an edge remembers, and has said so before the first origin came.
    let edge = scene.edge("e1", 1).await;
    edge.hears_epoch_of("main", 5);
    beaten(&scene, "e1", |beat| beat.highest_epoch == Epoch(5)).await;
    edge.quiet(true);
    let mut origin = scene.origin("o1", 2).await;
    assert_eq!(origin.role().await.role, Role::Standby);
    let client = scene.operator().await;
    let forced = Promote { mode: PromoteMode::Force, ..promotion("o1", 0) };
    let pool = loop {
        match soon(client.promote(forced.clone())).await {
            Err(failure) if failure.reason == "SETTLING" => time::sleep(Duration::from_millis(5)).await,
            outcome => break outcome.unwrap(),
        }
    };
    assert_eq!((pool.view.active, pool.view.epoch, pool.view.loss_epoch), (Some(node("o1")), Epoch(6), Epoch(6)));
    assert_eq!(pool.last_change.unwrap().cause, cluster::Cause::Promoted);
}

#[tokio::test]
async fn an_epoch_that_makes_no_sense_ends_the_conversation_and_moves_no_role() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (_first, second) = pair(&scene).await;
    second.hears_epoch(u64::MAX);
    assert_eq!(second.ended().await.unwrap().fields[0].field, "beat.highest_epoch");
    let pool = scene.operator().await.pools(Query::default()).await.unwrap().items.remove(0);
    assert_eq!(pool.view.epoch, Epoch(1));
}

#[tokio::test]
async fn a_promotion_has_the_active_yield_and_grants_the_next_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (mut first, mut second) = in_sync(&scene).await;
    let client = scene.operator().await;
    let mut events = client.watch_events(0).await.unwrap();
    let stale = promote(&client, "o2", 7).await.unwrap_err();
    assert_eq!((stale.code, stale.reason.as_str()), (Code::FailedPrecondition, "STALE_EPOCH"));
    assert_eq!(stale.get("epoch"), Some("1"));
    let unknown = promote(&client, "o9", 1).await.unwrap_err();
    assert_eq!((unknown.reason.as_str(), unknown.get("members")), ("NOT_A_MEMBER", Some("nodes/o1, nodes/o2")));
    let elsewhere = Promote { pool: PoolId::new("b").unwrap(), ..promotion("o2", 1) };
    let unknown = client.promote(elsewhere).await.unwrap_err();
    assert!(unknown.message.contains("there are originPools/main"), "{}", unknown.message);
    assert_eq!(promote(&client, "o1", 1).await.unwrap_err().reason, "ALREADY_ACTIVE");
    let validated = client.promote(Promote { validate_only: true, ..promotion("o2", 1) }).await.unwrap();
    assert_eq!(validated.view.epoch, Epoch(1), "validated only");

    let pool = promote(&client, "o2", 1).await.unwrap();
    assert_eq!((pool.view.active.clone(), pool.view.epoch), (Some(node("o2")), Epoch(2)));
    assert_eq!(pool.view.loss_epoch, Epoch(0));
    assert!(pool.heard[&node("o2")].1, "it serves");
    first.role_until((Role::Standby, 2)).await;
    second.role_until((Role::Active, 2)).await;
    let last = event(&mut events, "pool.granted").await;
    assert_eq!((last.author.as_str(), last.reason.as_str()), ("operator", "test"));
    assert_eq!((last.details["cause"].as_str(), last.details["epoch"].as_str()), ("promoted", "2"));
    for part in ["yield_ms", "decide_ms", "open_ms"] {
        assert!(last.details.contains_key(part), "{part}: {:?}", last.details);
    }
    assert_eq!(granted(&client).await.len(), 2, "one event for each change");
}

#[tokio::test]
async fn an_active_that_does_not_yield_goes_on_and_force_moves_the_role_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (mut first, mut second) = in_sync(&scene).await;
    first.stubborn();
    first.obstinate();
    let client = scene.operator().await;
    let refused = promote(&client, "o2", 1).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::DeadlineExceeded, "ACTIVE_HAS_NOT_YIELDED"));
    while first.role().await.yields {}
    let forced = Promote { mode: PromoteMode::Force, ..promotion("o2", 1) };
    let pool = soon(client.promote(forced)).await.unwrap();
    assert_eq!((pool.view.active, pool.view.epoch, pool.view.loss_epoch), (Some(node("o2")), Epoch(2), Epoch(0)));
    second.role_until((Role::Active, 2)).await;
}

#[tokio::test]
async fn one_that_is_not_in_sync_is_promoted_by_force_only_and_with_loss() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (_first, mut second) = pair(&scene).await;
    let client = scene.operator().await;
    assert_eq!(promote(&client, "o2", 1).await.unwrap_err().reason, "MEMBER_NOT_IN_SYNC");
    let forced = Promote { mode: PromoteMode::Force, ..promotion("o2", 1) };
    let pool = soon(client.promote(forced)).await.unwrap();
    assert_eq!((pool.view.active, pool.view.loss_epoch), (Some(node("o2")), Epoch(2)));
    second.role_until((Role::Active, 2)).await;
}

#[tokio::test]
async fn an_active_that_dies_is_replaced_by_the_standby_in_sync_without_loss() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (first, mut second) = in_sync(&scene).await;
    let client = scene.operator().await;
    let mut events = client.watch_events(0).await.unwrap();
    first.die().await;
    second.hears(&[]);
    let grant = second.role_until((Role::Active, 2)).await;
    assert_eq!((grant.loss_epoch, grant.in_sync.len()), (Epoch(0), 1));
    let told = event(&mut events, "pool.granted").await;
    assert_eq!((told.details["cause"].as_str(), told.author.as_str()), ("died", ""));
    assert!(told.details["evidence"].contains("o2 has not heard it"), "{:?}", told.details);
    for part in ["detect_ms", "decide_ms", "open_ms"] {
        assert!(told.details.contains_key(part), "{part}: {:?}", told.details);
    }
    assert_eq!(granted(&client).await.len(), 2, "one event for each change");
}

#[tokio::test]
async fn an_active_that_only_the_control_plane_does_not_hear_keeps_its_role() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (first, _second) = in_sync(&scene).await;
    let client = scene.operator().await;
    let mut events = client.watch_events(0).await.unwrap();
    first.quiet(true);
    let alarm = event(&mut events, "pool.control_link").await;
    assert_eq!(alarm.details["alarm"], "CP_LINK");
    assert_eq!(alarm.severity, rpc::control::Severity::Alarm);
    let problems = client.cluster_status().await.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("CP_LINK")), "{problems:?}");
    first.quiet(false);
    event(&mut events, "pool.alarm_cleared").await;
    assert_eq!(client.pool(&PoolId::main()).await.unwrap().view.epoch, Epoch(1));
}

#[tokio::test]
async fn a_request_on_another_record_changes_nothing_and_is_answered_by_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (mut first, second) = in_sync(&scene).await;
    let stale =
        SyncRequest { pool: PoolId::main(), epoch: Epoch(1), version: 1, change: SyncChange::Shrink(member("o2", 1)) };
    first.up.send(FromNode::SyncRequest(stale.clone())).await.unwrap();
    assert_eq!(first.role().await.in_sync.len(), 2);
    let version = scene.operator().await.pool(&PoolId::main()).await.unwrap().view.version;
    let lie = SyncRequest { version, change: SyncChange::Shrink(member("o1", 1)), ..stale };
    second.up.send(FromNode::SyncRequest(lie)).await.unwrap();
    first.asks(SyncChange::Shrink(member("o2", 1))).await;
    assert_eq!(first.role().await.in_sync, std::collections::BTreeSet::from([member("o1", 1)]));
}

#[tokio::test]
async fn a_request_that_comes_while_another_change_is_written_is_answered_by_the_next_record() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (mut first, _second) = pair(&scene).await;
    let control = &scene.control;
    let mut writer = control.writer().await;
    let by = By { author: "operator".into(), reason: "test".into() };
    let change = lock(&control.inner.pools)[&PoolId::main()].held(None, by).unwrap();
    let version = change.after;
    beaten(&scene, "o1", |beat| beat.record.as_ref().is_some_and(|known| known.version == version)).await;
    first.asks(SyncChange::Grow(member("o2", 1))).await;
    first.hears(&["o2"]);
    // It says so after the request.
    heard(&scene, "o1", "o2").await;
    control.write_pool(&mut writer, change).await.unwrap();
    drop(writer);
    let answer = loop {
        let grant = first.role().await;
        if grant.version > version {
            break grant;
        }
    };
    assert_eq!((answer.version, answer.in_sync.len()), (version + 2, 2));
}

#[tokio::test]
async fn what_happens_to_a_stream_at_its_origin_is_told_as_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (first, _second) = pair(&scene).await;
    let client = scene.operator().await;
    let mut events = client.watch_events(0).await.unwrap();
    let stream = media::StreamName::from_app("_default", "live", "foo").unwrap();
    let what = Mishap::Split { node: node("o2"), from: 7, to: 9 };
    let notice = |number| FromNode::Notice { number, notice: Notice { stream: stream.clone(), what: what.clone() } };
    first.up.send(notice(0)).await.unwrap();
    let told = event(&mut events, "stream.split").await;
    assert_eq!((told.subject, told.details["alarm"].as_str()), (stream.resource(), "SPLIT"));
    assert_eq!((told.details["of"].as_str(), told.details["from"].as_str()), ("nodes/o2", "7"));
}

#[tokio::test]
async fn what_an_origin_says_of_a_stream_is_told_once_and_answered_when_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (mut first, second) = pair(&scene).await;
    let client = scene.operator().await;
    let stream = media::StreamName::from_app("_default", "live", "foo").unwrap();
    let say = |number| {
        let notice = Notice { stream: stream.clone(), what: Mishap::Lost { from: number } };
        FromNode::Notice { number, notice }
    };
    for number in [1, 2, 1] {
        first.up.send(say(number)).await.unwrap();
    }
    while first.kept().await < 2 {}
    // Its session breaks, and it says again what it may not have heard the answer to.
    first.up.send(say(2)).await.unwrap();
    first.up.send(say(3)).await.unwrap();
    while first.kept().await < 3 {}
    drop(second);
    let query = rpc::control::Query { filter: "code=stream.lost".into(), ..Default::default() };
    let told = client.events(query).await.unwrap().items;
    let from: Vec<_> = told.iter().map(|event| event.details["from"].as_str()).collect();
    assert_eq!(from.len(), 3, "{from:?}");
}

#[tokio::test]
async fn an_active_that_is_about_to_end_is_relieved_first() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (mut first, mut second) = in_sync(&scene).await;
    first.up.send(FromNode::HandOver { reason: "SIGTERM".into() }).await.unwrap();
    second.role_until((Role::Active, 2)).await;
    first.role_until((Role::Standby, 2)).await;
    let client = scene.operator().await;
    let pool = client.pool(&PoolId::main()).await.unwrap();
    assert_eq!((pool.view.loss_epoch, pool.last_change.unwrap().cause), (Epoch(0), cluster::Cause::HandedOver));
}

#[tokio::test]
async fn a_fail_back_returns_the_role_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (mut first, second) = in_sync(&scene).await;
    let client = scene.operator().await;
    let back = |expected_epoch| FailBack {
        pool: PoolId::main(),
        expected_epoch: Epoch(expected_epoch),
        validate_only: false,
        reason: "test".into(),
    };
    assert_eq!(client.fail_back(back(1)).await.unwrap_err().reason, "NO_FIRST_CHOICE");
    promote(&client, "o2", 1).await.unwrap();
    let grown = |grant: &Grant| grant.epoch == Epoch(2) && grant.in_sync.len() == 2;
    loop {
        second.asks(SyncChange::Grow(member("o1", 1))).await;
        if grown(&first.role().await) {
            break;
        }
    }
    assert_eq!(client.fail_back(back(1)).await.unwrap_err().reason, "STALE_EPOCH");
    let pool = soon(client.fail_back(back(2))).await.unwrap();
    assert_eq!((pool.view.active, pool.view.epoch, pool.view.loss_epoch), (Some(node("o1")), Epoch(3), Epoch(0)));
}

#[tokio::test]
async fn a_held_pool_moves_no_role_until_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (first, mut second) = in_sync(&scene).await;
    let client = scene.operator().await;
    let mut events = client.watch_events(0).await.unwrap();
    let hold = HoldPool {
        pool: PoolId::main(),
        expected_epoch: Some(Epoch(1)),
        duration: Some(Duration::from_secs(3600)),
        validate_only: false,
        reason: "kernel patch".into(),
    };
    let stale = HoldPool { expected_epoch: Some(Epoch(9)), ..hold.clone() };
    assert_eq!(client.hold_pool(stale).await.unwrap_err().reason, "STALE_EPOCH");
    let dry = HoldPool { validate_only: true, ..hold.clone() };
    assert_eq!(client.hold_pool(dry).await.unwrap().mode, cluster::Mode::Auto);
    let pool = client.hold_pool(hold).await.unwrap();
    assert!(pool.mode == cluster::Mode::Hold && pool.hold_until.is_some());
    assert_eq!(event(&mut events, "pool.held").await.reason, "kernel patch");
    first.die().await;
    second.hears(&[]);
    let alarm = event(&mut events, "pool.not_replaced").await;
    assert!(alarm.message.contains("the pool is held"), "{}", alarm.message);
    let release =
        ReleasePool { pool: PoolId::main(), expected_epoch: None, validate_only: false, reason: "done".into() };
    assert_eq!(client.release_pool(release).await.unwrap().mode, cluster::Mode::Auto);
    second.role_until((Role::Active, 2)).await;
}

#[tokio::test]
async fn the_limit_of_automatic_moves_outlives_the_control_plane() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.roles.moves.silence_max = 1;
    config.roles.moves.silence_apart = Duration::ZERO.into();
    let scene = Scene::start(config.clone()).await;
    let (first, mut second) = in_sync(&scene).await;
    first.quiet(true);
    second.hears(&[]);
    second.role_until((Role::Active, 2)).await;
    soon(scene.stop()).await;
    assert!(first.ended().await.is_some() && second.ended().await.is_some());

    let scene = Scene::start(config).await;
    let client = scene.operator().await;
    let mut events = client.watch_events(0).await.unwrap();
    let nodes = scene.client(Caller::Origin).await;
    let serving =
        Registration { serving: Some(Epoch(2)), highest_epoch: Epoch(2), ..registration("o2", 1, NodeKind::Origin) };
    let active = Talking::begin(&nodes, serving).await.unwrap();
    let mut standby = scene.origin("o1", 1).await;
    standby.role_until((Role::Standby, 2)).await;
    active.hears(&["o1"]);
    standby.hears(&["o2"]);
    heard(&scene, "o1", "o2").await;
    active.quiet(true);
    standby.hears(&[]);
    let held = event(&mut events, "pool.held").await;
    assert!(held.reason.contains("roles have moved too often because of silence"), "{}", held.reason);
    let pool = client.pool(&PoolId::main()).await.unwrap();
    assert_eq!((pool.view.epoch, pool.mode), (Epoch(2), cluster::Mode::Hold));
}

#[tokio::test]
async fn a_fenced_member_is_told_so_also_when_it_starts_anew_until_it_is_let_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (_first, mut second) = in_sync(&scene).await;
    let client = scene.operator().await;
    let fence = |id: &str, expected_epoch| FenceMember {
        pool: PoolId::main(),
        member: node(id),
        expected_epoch: Epoch(expected_epoch),
        validate_only: false,
        reason: "bad disk".into(),
    };
    assert_eq!(client.fence_member(fence("o2", 9)).await.unwrap_err().reason, "STALE_EPOCH");
    let active = client.fence_member(fence("o1", 1)).await.unwrap_err();
    assert_eq!(active.reason, "ALREADY_ACTIVE");
    assert!(active.message.contains("promote another member first"), "{}", active.message);
    assert_eq!(client.fence_member(fence("o9", 1)).await.unwrap_err().reason, "NOT_A_MEMBER");
    client.fence_member(fence("o2", 1)).await.unwrap();
    assert_eq!(second.role_until((Role::Fenced, 1)).await.in_sync.len(), 1);
    assert_eq!(promote(&client, "o2", 1).await.unwrap_err().reason, "MEMBER_FENCED");
    // It ends in good order, and starts anew.
    let incarnation = Some(Incarnation::from_bits(1));
    let leave = Deregister { node: node("o2"), incarnation, validate_only: false, reason: String::new() };
    scene.client(Caller::Origin).await.deregister(leave).await.unwrap();
    let mut again = scene.origin("o2", 2).await;
    assert_eq!(again.role().await.role, Role::Fenced);
    client.unfence_member(fence("o2", 1)).await.unwrap();
    again.role_until((Role::Standby, 1)).await;
}

#[tokio::test]
async fn the_active_origin_cannot_be_taken_out_and_a_standby_can() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (_first, _second) = pair(&scene).await;
    let client = scene.operator().await;
    let take_out =
        |id: &str| Deregister { node: node(id), incarnation: None, validate_only: false, reason: String::new() };
    let refused = client.deregister(take_out("o1")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "NODE_IS_ACTIVE"));
    client.deregister(take_out("o2")).await.unwrap();
    let pool = client.pools(Query::default()).await.unwrap().items.remove(0);
    assert_eq!(pool.view.members.len(), 1);
}

#[tokio::test]
async fn a_control_plane_that_can_no_longer_decide_on_roles_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    // No moment is so far away: the first look at the pool panics.
    config.roles.settle_max = Duration::MAX.into();
    let scene = Scene::start(config).await;
    let origins = scene.client(Caller::Origin).await;
    // Whether it gets an answer yet does not matter.
    let _talks = Talking::begin(&origins, registration("o1", 1, NodeKind::Origin)).await;
    let ended = scene.ends().await;
    assert!(matches!(&ended, TaskEnded::Failed("roles", error) if error.is_panic()), "{ended}");
}
