use cluster::{Epoch, NodeKind, PoolId, Role};
use rpc::{
    auth::Caller,
    control::{Client, Deregister, PoolInfo, Promote, PromoteMode, Query},
    status::{Code, Failure},
};

use super::scene::{Scene, Talking, config, node, registration, soon, until};

async fn promote(client: &Client, member: &str, expected_epoch: u64, validate_only: bool) -> Result<PoolInfo, Failure> {
    let expected_epoch = Epoch(expected_epoch);
    let (pool, member, mode) = (PoolId::main(), node(member), PromoteMode::Graceful);
    soon(client.promote(Promote { pool, member, mode, expected_epoch, validate_only, reason: "test".into() })).await
}

/// Two origins of which the first is active in epoch 1.
async fn pair(scene: &Scene) -> (Talking, Talking) {
    let mut first = scene.origin("o1", 1).await;
    first.role_until((Role::Active, 1)).await;
    let mut second = scene.origin("o2", 1).await;
    second.role_until((Role::Standby, 1)).await;
    (first, second)
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
    let pools = vec![crate::config::PoolSettings { name: PoolId::main(), first_active: Some(node("o2")) }];
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
    let serving = cluster::Registration { serving: Some(Epoch(1)), ..registration("o1", 1, NodeKind::Origin) };
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
    let heard = |id, serving| cluster::Registration {
        serving,
        highest_epoch: Epoch(5),
        ..registration(id, 1, NodeKind::Origin)
    };
    let mut standby = Talking::begin(&client, heard("o2", None)).await.unwrap();
    let mut active = Talking::begin(&client, heard("o1", Some(Epoch(5)))).await.unwrap();
    active.role_until((Role::Active, 5)).await;
    standby.role_until((Role::Standby, 5)).await;
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
async fn a_promotion_steps_the_old_active_down_first_and_grants_the_next_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (mut first, mut second) = pair(&scene).await;
    let client = scene.operator().await;
    let stale = promote(&client, "o2", 7, false).await.unwrap_err();
    assert_eq!((stale.code, stale.reason.as_str()), (Code::FailedPrecondition, "STALE_EPOCH"));
    assert_eq!(stale.get("epoch"), Some("1"));
    assert_eq!(promote(&client, "o9", 1, false).await.unwrap_err().reason, "NOT_A_MEMBER");
    assert_eq!(promote(&client, "o1", 1, false).await.unwrap_err().reason, "ALREADY_ACTIVE");
    assert_eq!(promote(&client, "o2", 1, true).await.unwrap().view.epoch, Epoch(1), "validated only");

    let pool = promote(&client, "o2", 1, false).await.unwrap();
    assert_eq!((pool.view.active.clone(), pool.view.epoch), (Some(node("o2")), Epoch(2)));
    assert!(pool.heard[&node("o2")].1, "it serves");
    first.role_until((Role::Standby, 2)).await;
    second.role_until((Role::Active, 2)).await;
    let events = client.events(Query { filter: "code=pool.granted".into(), ..Query::default() }).await.unwrap().items;
    let last = events.last().unwrap();
    assert_eq!((last.author.as_str(), last.reason.as_str()), ("operator", "test"));
    assert_eq!((last.details["cause"].as_str(), last.details["epoch"].as_str()), ("promoted", "2"));
}

#[tokio::test]
async fn an_active_that_does_not_step_down_is_fenced_by_the_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let (first, mut second) = pair(&scene).await;
    first.obstinate();
    let pool = promote(&scene.operator().await, "o2", 1, false).await.unwrap();
    assert_eq!((pool.view.active.clone(), pool.view.epoch), (Some(node("o2")), Epoch(2)));
    second.role_until((Role::Active, 2)).await;
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
