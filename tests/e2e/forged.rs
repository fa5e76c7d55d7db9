//! Nodes and operators that lie, or are late: what they say is refused with a reason, counted, and nobody who watches notices.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tests::{
    Cluster,
    failover::{
        Form, Place, Scene,
        ledger::Counts,
        pool::{Pool, other},
    },
    grpc::Talk,
    tools::{self, Tool::Grpcurl},
    until,
    wait::{self, SOON},
};

const POOLS: &str = "headwater.control.v1.OriginPoolService";
const MEMBERS: &str = "headwater.control.v1.MembershipService";
const FOLLOW: &str = "headwater.relay.v1.RelayService/Follow";
/// An origin that nobody has started.
const MADE_UP: &str = "origin-9";
/// One start of it.
const MADE_UP_INCARNATION: &str = "00000000000000a9";
/// More than any log holds.
const FAR: u64 = 1 << 33;

#[test]
fn what_is_forged_stale_or_replayed_is_refused_with_a_reason_and_counted() {
    if tools::has(&[Grpcurl]) {
        Place::Loopback.play(Form { viewers: 4, ..Form::SHORT }, all_is_refused);
    }
}

fn all_is_refused(scene: &mut Scene) {
    let before = scene.cluster.wait_in_sync();
    an_edge_asks_to_promote(&scene.cluster, &before);
    an_operator_is_late(&scene.cluster, &before);
    a_follower_claims_what_was_never_said(&scene.cluster, &before);
    a_follower_has_another_log(&scene.cluster, &before);
    a_former_incarnation_comes_back(&scene.cluster, &before);
    a_member_lies_about_itself(&scene.cluster, &before);
    let now = scene.cluster.wait_in_sync();
    assert_eq!((&now.active, now.epoch), (&before.active, before.epoch), "no role has moved: {}", now.text);

    two_operators_at_once(&scene.cluster, &now);
    an_ack_of_an_epoch_that_is_over(&scene.cluster);
    scene.assert_plays();
    let sight = scene.look_since(std::time::Instant::now());
    assert_eq!((sight.counts, sight.cuts), (Counts::default(), Vec::new()), "viewers notice nothing");
}

fn an_edge_asks_to_promote(cluster: &Cluster, pool: &Pool) {
    let control = cluster.grpc_as("control-plane", "edge");
    let refusal = control.refused(&format!("{POOLS}/PromoteMember"), promotion(other(&pool.active), pool.epoch));
    assert_eq!(refusal.code, "PermissionDenied", "{}", refusal.text);
    assert!(refusal.text.contains("edge may not call this method"), "{}", refusal.text);
    counted(cluster, "control-plane", "PromoteMember", "PERMISSION_DENIED", 1.0);
}

fn an_operator_is_late(cluster: &Cluster, pool: &Pool) {
    let refusal = cluster.promote(other(&pool.active), pool.epoch + 7).expect_err("another epoch is in force");
    assert_eq!(refusal.code, "FailedPrecondition", "{}", refusal.text);
    assert!(refusal.text.contains("STALE_EPOCH"), "{}", refusal.text);
    counted(cluster, "control-plane", "PromoteMember", "FAILED_PRECONDITION", 1.0);
}

/// It acks entries that were never appended: were that believed, what nobody holds would be committed.
fn a_follower_claims_what_was_never_said(cluster: &Cluster, pool: &Pool) {
    let lie = format!("order {FAR} is acked");
    let refusal = until("the lie to be refused", SOON, || {
        let mut follow = follow(cluster, pool, "liar");
        follow.answer("lead", ANSWER)?;
        follow.say(&json!({"epoch": pool.epoch, "ack": {"order": FAR}}));
        Some(follow.wait_refused()).filter(|refusal| refusal.text.contains(&lie))
    });
    assert_eq!(refusal.code, "InvalidArgument", "{}", refusal.text);
    counted(cluster, &pool.active, "RelayService/Follow", "INVALID_ARGUMENT", 1.0);
}

/// Its log parts from the active's below the end that it says is committed: it is told to keep the common part only, and what it
/// claims beyond is named.
fn a_follower_has_another_log(cluster: &Cluster, pool: &Pool) {
    let nothing = json!({"epoch": pool.epoch, "state": {"logs": []}});
    let log = told_after_the_state(cluster, pool, &nothing, "snapshotBegin")["snapshotBegin"].clone();
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let claimed: u64 = number(&log["lineage"]["nextSeq"]) + FAR;
    let lineage = json!({"starts": log["lineage"]["starts"], "nextSeq": claimed.to_string()});
    let logs = json!([{"stream": log["stream"], "lineage": lineage, "committedBelow": claimed.to_string()}]);
    let state = json!({"epoch": pool.epoch, "state": {"logs": logs}});
    let settled = told_after_the_state(cluster, pool, &state, "settled");
    let keeps = settled["settled"]["keep"].as_array().cloned().unwrap_or_default();
    assert!(keeps.iter().all(|keep| number(&keep["nextSeq"]) < claimed), "it is not believed: {settled}");
    until("what it claims to be named", SOON, || {
        cluster
            .events("code=stream.split")
            .into_iter()
            .find(|event| event["details"]["of"] == format!("nodes/{MADE_UP}"))
    });
    let splits = cluster.metric(&pool.active, "headwater_stream_mishaps_total", &["split"]);
    assert!(splits.is_some_and(|splits| splits >= 1.0), "counted: {splits:?}");
}

/// The standby has been started again; somebody says what it said before.
fn a_former_incarnation_comes_back(cluster: &Cluster, pool: &Pool) {
    let standby = other(&pool.active);
    let former = incarnation(cluster, standby);
    cluster.kill(standby);
    cluster.restart(standby);
    let is_new = |now: &String| !now.is_empty() && *now != former;
    until("another incarnation", SOON, || Some(incarnation(cluster, standby)).filter(is_new));
    let origin = cluster.grpc_as("control-plane", "origin");
    let refusal = origin.refused(&format!("{MEMBERS}/RegisterNode"), registration(standby, &former));
    assert_eq!(refusal.code, "Aborted", "{}", refusal.text);
    assert!(refusal.text.contains("INCARNATION_REPLACED"), "{}", refusal.text);
    counted(cluster, "control-plane", "RegisterNode", "ABORTED", 1.0);
    let mut session = origin.talk(&format!("{MEMBERS}/NodeSession"), cluster.scratch(), "former");
    session.say(&json!({"hello": {"name": format!("nodes/{standby}"), "incarnation": former}}));
    let refusal = session.wait_refused();
    assert!(refusal.text.contains("SESSION_REPLACED"), "{}", refusal.text);
    counted(cluster, "control-plane", "NodeSession", "ABORTED", 1.0);
    assert_ne!(incarnation(cluster, standby), former);
    cluster.wait_in_sync();
    // Nor does a control plane that has started anew take it for new.
    cluster.restart("control-plane");
    cluster.wait_settled();
    let refusal = origin.refused(&format!("{MEMBERS}/RegisterNode"), registration(standby, &former));
    assert!(refusal.text.contains("INCARNATION_REPLACED"), "{}", refusal.text);
    assert!(!cluster.events("code=node.refused").is_empty(), "operators are told: {:?}", cluster.events(""));
    cluster.wait_in_sync();
}

/// An origin that nobody needs says that it holds more than all others, and that it is to be waited for.
fn a_member_lies_about_itself(cluster: &Cluster, pool: &Pool) {
    let origin = cluster.grpc_as("control-plane", "origin");
    let name = format!("nodes/{MADE_UP}");
    origin.ok(&format!("{MEMBERS}/RegisterNode"), registration(MADE_UP, MADE_UP_INCARNATION));
    let mut session = origin.talk(&format!("{MEMBERS}/NodeSession"), cluster.scratch(), "made-up");
    session.say(&json!({"hello": {"name": name, "incarnation": MADE_UP_INCARNATION}}));
    session.wait_for("welcome");
    let head = json!({"epoch": pool.epoch, "order": FAR});
    session
        .say(&json!({"beat": {"number": 1, "role": "ORIGIN_ROLE_STANDBY", "highestEpoch": pool.epoch, "head": head}}));
    let grow = json!({"node": name, "incarnation": MADE_UP_INCARNATION});
    let known = cluster.wait_in_sync();
    session.say(&json!({"syncRequest": {
        "pool": "originPools/main", "epoch": known.epoch, "version": known.version, "grow": grow,
    }}));
    until("the request to be counted as refused", SOON, || {
        let labels = ["SYNC_NOT_ACTIVE"];
        cluster.metric("control-plane", "headwater_node_messages_refused_total", &labels).filter(|count| *count >= 1.0)
    });
    let after = cluster.wait_in_sync();
    assert!(!after.in_sync.contains(&MADE_UP.to_owned()), "{}", after.text);
    let refusal = cluster.promote(MADE_UP, after.epoch).expect_err("it is not in sync, whatever it says");
    assert!(refusal.text.contains("MEMBER_NOT_"), "{}", refusal.text);
    drop(session);
    cluster.operator().ok(&format!("{MEMBERS}/DeregisterNode"), json!({"name": name, "reason": "it was made up"}));
}

fn two_operators_at_once(cluster: &Cluster, pool: &Pool) {
    let refused = || cluster.metric("control-plane", "headwater_rpc_failed_total", &["PromoteMember", "FAILED_"]);
    let before = refused().unwrap_or_default();
    let answers = thread::scope(|scope| {
        let calls = [(); 2].map(|()| scope.spawn(|| cluster.promote(other(&pool.active), pool.epoch)));
        calls.map(|call| call.join().expect("a call ends"))
    });
    let refusals: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert_eq!(refusals.len(), 1, "{answers:?}");
    assert!(refusals[0].text.contains("STALE_EPOCH"), "{}", refusals[0].text);
    assert!(refused().is_some_and(|count| count > before), "it is counted");
    assert_eq!(cluster.wait_in_sync().epoch, pool.epoch + 1, "one promotion");
}

/// What was acked in an epoch that is over counts for nothing.
fn an_ack_of_an_epoch_that_is_over(cluster: &Cluster) {
    let pool = cluster.wait_in_sync();
    let stale = || cluster.metric(&pool.active, "headwater_stale_epoch_rejected_total", &[]).unwrap_or_default();
    let before = stale();
    until("the ack to be counted as stale", SOON, || {
        let mut follow = follow(cluster, &pool, "stale");
        follow.answer("lead", ANSWER)?;
        follow.say(&json!({"epoch": pool.epoch - 1, "ack": {"order": 1}}));
        wait::maybe(ANSWER, || (stale() > before).then_some(()))
    });
}

/// Follows the active origin as one that nobody knows.
fn follow(cluster: &Cluster, pool: &Pool, name: &str) -> Talk {
    let mut follow = cluster.grpc_as(&pool.active, "origin").talk(FOLLOW, cluster.scratch(), name);
    follow.say(&json!({"epoch": pool.epoch, "hello": {"node": MADE_UP, "incarnation": MADE_UP_INCARNATION}}));
    follow
}

/// What a follower with this state is told. One that does not say it within 400 ms is cut off, and tries again.
fn told_after_the_state(cluster: &Cluster, pool: &Pool, state: &Value, what: &str) -> Value {
    until(&format!("{what} after a state"), SOON, || {
        let mut follow = follow(cluster, pool, "stateful");
        follow.answer("lead", ANSWER)?;
        follow.say(state);
        follow.answer(what, ANSWER)
    })
}

/// How long a follower waits for an answer before it tries again.
const ANSWER: Duration = Duration::from_secs(3);

fn promotion(member: &str, expected_epoch: u64) -> Value {
    json!({"name": "originPools/main", "member": format!("nodes/{member}"), "expectedEpoch": expected_epoch})
}

fn registration(node: &str, incarnation: &str) -> Value {
    json!({
        "name": format!("nodes/{node}"),
        "kind": "NODE_KIND_ORIGIN",
        "incarnation": incarnation,
        "addresses": {"public": "127.0.0.1:9", "peer": "127.0.0.1:9"},
        "pool": "originPools/main",
    })
}

fn incarnation(cluster: &Cluster, node: &str) -> String {
    let request = json!({"name": format!("nodes/{node}")});
    let answer = cluster.operator().call(&format!("{MEMBERS}/GetNode"), &request).unwrap_or_default();
    answer["node"]["incarnation"].as_str().unwrap_or_default().to_owned()
}

/// At least so many calls of a method were answered with this error.
#[track_caller]
fn counted(cluster: &Cluster, node: &str, method: &str, code: &str, least: f64) {
    let count = cluster.metric(node, "headwater_rpc_failed_total", &[method, code]);
    assert!(count.is_some_and(|count| count >= least), "{method} {code} at {node}: {count:?}");
}
