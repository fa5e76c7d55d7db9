use cluster::{NodeKind, PoolId, RouteId, RouteMatch, Target};
use rpc::{
    auth::Caller,
    control::{CreateRoute, DeleteRoute, Query, RouteChange, RouteInfo, Routes, UpdateRoute, Watched},
    status::Code,
};

use super::scene::{Scene, config, next, reason, registration, routes, soon};

fn entry(id: &str, text: &str) -> CreateRoute {
    let (matches, target) = cluster::parse_fms(text).unwrap();
    CreateRoute {
        id: Some(RouteId::new(id).unwrap()),
        matches,
        target,
        description: "why not".into(),
        validate_only: false,
        reason: "test".into(),
        request_id: String::new(),
    }
}

fn delete(id: &str, etag: &str) -> DeleteRoute {
    DeleteRoute { id: RouteId::new(id).unwrap(), etag: etag.into(), validate_only: false, reason: "test".into() }
}

fn ids(list: &[RouteInfo]) -> Vec<String> {
    list.iter().map(|route| route.entry.id.to_string()).collect()
}

#[tokio::test]
async fn entries_are_made_changed_watched_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut watch = client.watch_routes(0).await.unwrap();
    assert_eq!(next(&mut watch).await.event, Watched::Bookmark);

    let made = client.create_route(entry("live", "a.example:*;10.0.0.6:1935")).await.unwrap();
    assert_eq!((made.author.as_str(), made.description.as_str()), ("operator", "why not"));
    assert_eq!(next(&mut watch).await.event, Watched::Put(made.clone()));
    assert_eq!(client.routes(Query::default()).await.unwrap().items[0], made);

    let resolved = client.resolve_route("a.example:live/x").await.unwrap();
    assert_eq!(resolved.addresses, ["10.0.0.6:1935".parse().unwrap()]);
    assert!(client.resolve_route("live/x").await.unwrap().refused, "nothing matches");

    let stale = client.delete_route(delete("live", "stale")).await.unwrap_err();
    assert_eq!((stale.code, stale.get("etag")), (Code::Aborted, Some(made.etag.as_str())));
    client.delete_route(delete("live", &made.etag)).await.unwrap();
    assert_eq!(next(&mut watch).await.event, Watched::Deleted("routeEntries/live".into()));
    assert_eq!(reason(client.delete_route(delete("live", "")).await), "ROUTE_ENTRY_NOT_FOUND");
}

#[tokio::test]
async fn a_resumed_watch_misses_nothing_also_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    client.create_route(entry("a", "a:*;10.0.0.6:1935")).await.unwrap();
    let mut watch = client.watch_routes(0).await.unwrap();
    assert!(matches!(next(&mut watch).await.event, Watched::Snapshot(_)));
    let seen = next(&mut watch).await.revision;
    drop(watch);
    client.create_route(entry("b", "b:*;10.0.0.6:1935")).await.unwrap();
    client.create_route(entry("c", "c:*;10.0.0.6:1935")).await.unwrap();
    client.delete_route(delete("b", "")).await.unwrap();
    let mut watch = client.watch_routes(seen).await.unwrap();
    let mut told = vec![];
    let mut last = 0;
    for _ in 0..4 {
        let step = next(&mut watch).await;
        last = step.revision;
        told.push(match step.event {
            Watched::Bookmark => "bookmark".to_owned(),
            Watched::Put(route) => format!("+{}", route.entry.id),
            Watched::Deleted(name) => format!("-{name}"),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(told, ["bookmark", "+b", "+c", "-routeEntries/b"]);
    drop((watch, client));
    scene.stop().await;

    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let mut watch = client.watch_routes(last).await.unwrap();
    assert_eq!(next(&mut watch).await.event, Watched::Bookmark, "nothing was missed");
    let mut old = client.watch_routes(seen).await;
    if let Ok(watch) = &mut old {
        use futures_util::StreamExt;
        let failure = soon(watch.next()).await.unwrap().unwrap_err();
        assert_eq!(failure.reason, "REVISION_COMPACTED");
    } else {
        assert_eq!(reason(old), "REVISION_COMPACTED");
    }
    client.create_route(entry("d", "d:*;10.0.0.6:1935")).await.unwrap();
    assert!(matches!(next(&mut watch).await.event, Watched::Put(_)));
}

#[tokio::test]
async fn entries_that_make_no_sense_beside_the_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    client.create_route(entry("all", "*:*;10.0.0.6:1935")).await.unwrap();
    let refused = |route| async { client.create_route(route).await.unwrap_err() };
    let same_id = refused(entry("all", "x:*;10.0.0.6:1935")).await;
    assert_eq!((same_id.reason.as_str(), same_id.fields[0].field.as_str()), ("ROUTE_ENTRY_EXISTS", "route_entry_id"));
    let same_match = refused(entry("again", "*:*;10.0.0.7:1935")).await;
    assert_eq!((same_match.code, same_match.reason.as_str()), (Code::AlreadyExists, "ROUTE_MATCH_EXISTS"));
    assert_eq!((same_match.get("name"), same_match.get("match")), (Some("routeEntries/all"), Some("*:*/*/*")));
    let edge = scene.edge("edge-9", 1).await;
    let address = registration("edge-9", 1, NodeKind::Edge).addresses.public.unwrap();
    let looping = refused(entry("loop", &format!("y:*;{address}"))).await;
    assert_eq!((looping.code, looping.reason.as_str()), (Code::FailedPrecondition, "ROUTE_LOOP"));
    assert_eq!((looping.get("entry"), looping.get("edge")), (Some("loop"), Some("edge-9")));
    assert_eq!(looping.get("address"), Some(address.to_string().as_str()));
    let circle = refused(entry("circle", "a.example:*;a.example:1935")).await;
    assert_eq!((circle.reason.as_str(), circle.get("hosts")), ("ROUTE_LOOP", Some("a.example,a.example")));
    edge.die().await;
}

fn to_pool(id: &str, pool: &str) -> CreateRoute {
    let matches = RouteMatch { app: id.parse().unwrap(), ..RouteMatch::any() };
    CreateRoute { matches, target: PoolId::new(pool).unwrap().into(), ..entry(id, "*:*;null") }
}

#[tokio::test]
async fn a_pool_that_nobody_knows_is_refused_once_one_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let pools =
        vec![crate::config::PoolSettings { name: PoolId::new("named").unwrap(), first_active: None, roles: None }];
    let from_config =
        serde_json::from_str(r#"{"name": "far", "match": {"app": "far"}, "to": {"pool": "far"}}"#).unwrap();
    let scene = Scene::start(crate::Config { pools, routes: vec![from_config], ..config(dir.path()) }).await;
    let client = scene.operator().await;
    client.create_route(to_pool("early", "later")).await.expect("the origins may come afterwards");
    let origin = scene.origin("o1", 1).await;

    let refused = client.create_route(to_pool("slip", "mian")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "ORIGIN_POOL_NOT_FOUND"));
    assert_eq!(refused.fields[0].field, "route_entry.target.pool");
    assert_eq!((refused.get("pool"), refused.get("known")), (Some("originPools/mian"), Some("originPools/main")));
    for pool in ["main", "named", "far"] {
        client.create_route(to_pool(&format!("to-{pool}"), pool)).await.expect("it is known or configured");
    }
    let update = |id: &str, change| UpdateRoute {
        id: RouteId::new(id).unwrap(),
        etag: String::new(),
        change,
        validate_only: false,
        reason: String::new(),
    };
    let retarget = |pool: &str| RouteChange {
        target: Some(PoolId::new(pool).unwrap().into()),
        description: Some("new".into()),
        ..RouteChange::default()
    };
    assert_eq!(
        reason(scene.control.update_route(Caller::Operator, update("to-main", retarget("mian"))).await),
        "ORIGIN_POOL_NOT_FOUND"
    );
    scene
        .control
        .update_route(Caller::Operator, update("early", retarget("later")))
        .await
        .expect("the target stays as it is");
    origin.die().await;
}

#[tokio::test]
async fn what_is_only_validated_changes_nothing_and_a_repeated_request_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    let only = CreateRoute { validate_only: true, ..entry("a", "*:*;10.0.0.6:1935") };
    client.create_route(only).await.unwrap();
    assert!(client.routes(Query::default()).await.unwrap().items.is_empty());
    let asked = CreateRoute { id: None, request_id: "r1".into(), ..entry("a", "*:*;10.0.0.6:1935") };
    let first = client.create_route(asked.clone()).await.unwrap();
    let again = CreateRoute { reason: "once more".into(), ..asked.clone() };
    assert_eq!(client.create_route(again).await.unwrap(), first);
    assert!(first.entry.id.as_str().starts_with("route-"));
    for other in [
        CreateRoute { id: Some(RouteId::new("b").unwrap()), ..asked.clone() },
        CreateRoute { request_id: "r1".into(), id: None, ..entry("b", "b:*;10.0.0.6:1935") },
        CreateRoute { description: "another".into(), ..asked },
    ] {
        let reused = client.create_route(other).await.unwrap_err();
        assert_eq!((reused.code, reused.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
        assert_eq!((reused.get("request_id"), reused.get("name")), (Some("r1"), Some(&*first.entry.id.resource())));
        assert_eq!(reused.fields[0].field, "request_id");
    }
    assert_eq!(client.routes(Query::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn entries_of_the_configuration_are_defaults_that_operators_override_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let with = |list: &[&str]| crate::Config { routes: routes(list), ..config(dir.path()) };
    let scene = Scene::start(with(&["a:*;10.0.0.1:1935", "b:*;10.0.0.2:1935"])).await;
    let client = scene.operator().await;
    let mut watch = client.watch_routes(0).await.unwrap();
    let mut seen = 0;
    while seen < 2 {
        seen += usize::from(matches!(next(&mut watch).await.event, Watched::Put(_) | Watched::Snapshot(_)));
    }
    client.delete_route(delete("config-1", "")).await.unwrap();
    drop((watch, client));
    scene.stop().await;

    // The deleted one stays deleted, the other changes with the configuration, a third is new.
    let scene = Scene::start(with(&["a:*;10.0.0.1:1935", "b:*;10.0.0.9:1935", "c:*;10.0.0.3:1935"])).await;
    let client = scene.operator().await;
    let mut watch = client.watch_routes(0).await.unwrap();
    super::scene::until(&mut watch, |route| route.entry.id.as_str() == "config-3").await;
    let list = client.routes(Query::default()).await.unwrap().items;
    assert_eq!(ids(&list), ["config-2", "config-3"]);
    let Target::Addresses { addresses, .. } = &list[0].entry.target else { panic!("{list:?}") };
    assert_eq!(addresses[0].to_string(), "10.0.0.9:1935");
    assert_eq!(list[0].author, "config");

    // Read again: what is no longer there goes.
    scene.control.seed_routes(routes(&["a:*;10.0.0.1:1935", "b:*;10.0.0.9:1935"])).await;
    assert_eq!(ids(&client.routes(Query::default()).await.unwrap().items), ["config-2"]);
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_cut_into_pages() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(config(dir.path())).await;
    let client = scene.operator().await;
    for id in ["a", "b", "c"] {
        let matches = RouteMatch { app: id.parse().unwrap(), ..RouteMatch::any() };
        client.create_route(CreateRoute { matches, ..entry(id, "*:*;10.0.0.6:1935") }).await.unwrap();
    }
    let query = Query { page_size: 2, order_by: "name desc".into(), ..Query::default() };
    let first = client.routes(query.clone()).await.unwrap();
    assert_eq!(ids(&first.items), ["c", "b"]);
    let rest = client.routes(Query { page_token: first.next_page_token, ..query }).await.unwrap();
    assert_eq!((ids(&rest.items), rest.next_page_token.as_str()), (vec!["a".to_owned()], ""));
    let some = client.routes(Query { filter: "app=b".into(), ..Query::default() }).await.unwrap();
    assert_eq!(ids(&some.items), ["b"]);
    let wrong = client.routes(Query { filter: "colour=red".into(), ..Query::default() }).await.unwrap_err();
    assert_eq!(wrong.fields[0].field, "filter");
}
