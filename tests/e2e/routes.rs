//! Route entries by grpcurl: they take effect at once, wrong ones are refused with their field, and a watch loses nothing.

use serde_json::{Value, json};
use tests::{
    Cluster,
    rtmp::{Connection, Publisher, Url},
    synthetic::Feed,
    tools::{self, Tool::Grpcurl},
    wait::{SOON, until},
};

const ROUTES: &str = "headwater.control.v1.RouteEntryService";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn entries_created_changed_and_deleted_take_effect_without_a_restart() {
    if !tools::has(&[Grpcurl]) {
        return;
    }
    let cluster = Cluster::start();
    let operator = cluster.operator();
    let feed = Feed::start(&cluster.rtmp("edge-1", "other/before")).await;
    until_answered(&cluster, "shut/one", "NetStream.Publish.Start").await;

    let entry = json!({"match": {"app": "shut"}, "target": {"refuse": true}});
    let made =
        operator.ok(&format!("{ROUTES}/CreateRouteEntry"), json!({"route_entry_id": "shut", "route_entry": entry}));
    assert_eq!(made["routeEntry"]["name"], "routeEntries/shut", "{made}");
    until_answered(&cluster, "shut/two", "NetStream.Publish.Denied").await;
    until_answered(&cluster, "other/two", "NetStream.Publish.Start").await;

    // The more specific entry wins over the one that refuses.
    let open = json!({"match": {"app": "shut", "stream": "open"}, "target": {"pool": "originPools/main"}});
    operator.ok(&format!("{ROUTES}/CreateRouteEntry"), json!({"route_entry_id": "open", "route_entry": open}));
    until_answered(&cluster, "shut/open", "NetStream.Publish.Start").await;
    until_answered(&cluster, "shut/three", "NetStream.Publish.Denied").await;

    let changed = json!({"name": "routeEntries/shut", "match": {"app": "other"}});
    operator.ok(
        &format!("{ROUTES}/UpdateRouteEntry"),
        json!({"route_entry": changed, "update_mask": {"paths": ["match.app"]}}),
    );
    until_answered(&cluster, "other/four", "NetStream.Publish.Denied").await;
    until_answered(&cluster, "shut/four", "NetStream.Publish.Start").await;

    operator.ok(&format!("{ROUTES}/DeleteRouteEntry"), json!({"name": "routeEntries/shut"}));
    until_answered(&cluster, "other/five", "NetStream.Publish.Start").await;
    feed.assert_running();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn wrong_entries_are_refused_with_the_field_named() {
    if !tools::has(&[Grpcurl]) {
        return;
    }
    let cluster = Cluster::start();
    let operator = cluster.operator();
    let pool = json!({"pool": "originPools/main"});
    let create = |entry: Value| json!({"route_entry_id": "wrong", "route_entry": entry});
    for (request, field) in [
        (json!({}), "route_entry"),
        (json!({"route_entry_id": "Not An Id", "route_entry": {"target": pool}}), "route_entry_id"),
        (create(json!({"match": {"app": "live"}})), "target"),
        (create(json!({"fms": "10.0.0.6"})), "fms"),
        (create(json!({"fms": "*:*;10.0.0.6:port"})), "fms"),
        (create(json!({"match": {"app": "l*e"}, "target": pool})), "match.app"),
        (create(json!({"target": {"pool": "originPools/main", "refuse": true}})), "target"),
        (create(json!({"target": {"addresses": ["10.0.0.6"]}})), "target.addresses"),
        (create(json!({"target": {"pool": "originPools/main", "protocol": "ROUTE_PROTOCOL_RTMP"}})), "target"),
    ] {
        let refusal = operator.refused(&format!("{ROUTES}/CreateRouteEntry"), request.clone());
        assert_eq!(refusal.code, "InvalidArgument", "{request}: {}", refusal.text);
        assert!(refusal.text.contains(field), "{request}: no word of {field}: {}", refusal.text);
    }
    let refusal = operator.refused(&format!("{ROUTES}/GetRouteEntry"), json!({"name": "routeEntries/none"}));
    assert_eq!(refusal.code, "NotFound", "{}", refusal.text);
    let made = operator.ok(
        &format!("{ROUTES}/CreateRouteEntry"),
        json!({"route_entry_id": "right", "route_entry": {"match": {"app": "a"}, "target": pool}}),
    );
    let mask = json!({"route_entry": {"name": "routeEntries/right"}, "update_mask": {"paths": ["match.color"]}});
    let refusal = operator.refused(&format!("{ROUTES}/UpdateRouteEntry"), mask);
    assert!(refusal.code == "InvalidArgument" && refusal.text.contains("update_mask"), "{}", refusal.text);
    let stale = json!({"name": "routeEntries/right", "etag": "stale"});
    assert_ne!(made["routeEntry"]["etag"], "stale");
    let refusal = operator.refused(&format!("{ROUTES}/DeleteRouteEntry"), stale);
    assert_eq!(refusal.code, "Aborted", "{}", refusal.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watch_goes_on_after_a_reconnect_and_misses_nothing() {
    if !tools::has(&[Grpcurl]) {
        return;
    }
    let cluster = Cluster::start();
    let operator = cluster.operator();
    let watch = |from: u64, name: &str| {
        operator.watch(&format!("{ROUTES}/WatchRouteEntries"), &json!({"from_revision": from}), cluster.scratch(), name)
    };
    let create = |id: &str| {
        let entry = json!({"match": {"app": id}, "target": {"refuse": true}});
        operator.ok(&format!("{ROUTES}/CreateRouteEntry"), json!({"route_entry_id": id, "route_entry": entry}));
    };
    let mut first = watch(0, "watch-1");
    until("the snapshot's bookmark", SOON, || {
        first.messages().iter().any(|message| message.get("bookmark").is_some()).then_some(())
    });
    create("seen");
    until("a change to be told", SOON, || steps(&first.messages()).iter().any(|step| step == "+seen").then_some(()));
    first.process.kill();
    let revision = first.messages().iter().filter_map(revision).max().expect("messages carry revisions");

    create("missed-1");
    create("missed-2");
    operator.ok(&format!("{ROUTES}/DeleteRouteEntry"), json!({"name": "routeEntries/missed-1"}));
    let second = watch(revision, "watch-2");
    until("the changes that were missed", SOON, || (steps(&second.messages()).len() >= 3).then_some(()));
    create("new");
    until("a new change", SOON, || (steps(&second.messages()).len() >= 4).then_some(()));
    assert_eq!(steps(&second.messages()), ["+missed-1", "+missed-2", "-missed-1", "+new"]);
    assert!(
        second.messages().iter().all(|message| message.get("snapshotItem").is_none()),
        "no snapshot after a resume"
    );
    // A quiet watch still shows that its server lives.
    until("a heartbeat", SOON, || {
        second.messages().iter().any(|message| message.get("heartbeat").is_some()).then_some(())
    });
}

/// Puts and deletes of a watch, in order.
fn steps(messages: &[Value]) -> Vec<String> {
    let id = |name: &Value| name.as_str().unwrap_or_default().trim_start_matches("routeEntries/").to_owned();
    let put = |message: &Value| message.get("put").map(|entry| format!("+{}", id(&entry["name"])));
    let delete = |message: &Value| message.get("delete").map(|name| format!("-{}", id(name)));
    messages.iter().filter_map(|message| put(message).or_else(|| delete(message))).collect()
}

/// A message's revision; 64-bit numbers are texts in JSON.
fn revision(message: &Value) -> Option<u64> {
    message["revision"].as_str()?.parse().ok()
}

/// Tries to publish on both edges until both give this answer.
async fn until_answered(cluster: &Cluster, stream: &str, code: &str) {
    for edge in ["edge-1", "edge-2"] {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let answer = publish(&cluster.rtmp(edge, stream)).await;
            if answer == code {
                break;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "publishing {stream} at {edge} is answered with {answer}, not {code}"
            );
        }
    }
}

/// Publishes and ends again; the answer.
async fn publish(url: &str) -> String {
    let url = Url::parse(url).expect("an address");
    let connection = Connection::open(&url).await.expect("a connection");
    let (publisher, status) = Publisher::ask(connection, &url.name).await.expect("an answer");
    if status.code == "NetStream.Publish.Start" {
        publisher.end(&url.name).await.expect("an end");
    }
    status.code
}
