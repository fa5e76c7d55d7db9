//! Who may publish where nothing says so, and where keys and tokens show.

use std::{fs, path::Path};

use tests::{
    Cluster, Process,
    cluster::{free_address, program},
    edge::Settings,
    http,
    rtmp::{Connection, Publisher, Url},
    tools::arg,
    until,
    wait::SOON,
};

use super::ANSWER;
use crate::access::KEY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_publishes_where_nothing_allows_it() {
    let dir = tempfile::tempdir().expect("a directory");
    for (publish, code) in [("", "NetStream.Publish.Denied"), ("publish: open\n", "NetStream.Publish.Start")] {
        let (origin, admin) = (free_address(), free_address());
        let place = dir.path().join(code);
        fs::create_dir(&place).expect("a directory takes directories");
        let peer = free_address();
        let yaml = format!(
            "node: origin-1\nprocess: {{ admin: \"{admin}\" }}\npublic: {{ listen: \"{origin}\" }}\n\
             peer: {{ listen: \"{peer}\" }}\ndata_dir: {}\n{publish}",
            place.display()
        );
        let _origin = start(&place, "headwater-origin", &yaml);
        until("the origin to be active", SOON, || {
            http::get(admin, "/active").ok().filter(|answer| answer.status == 200)
        });
        assert_eq!(answer(&format!("rtmp://{origin}/live/x")).await, code, "an origin with {publish:?}");
    }
    // An edge asks the same before it asks any origin: its own is not there.
    let (rtmp, admin) = (free_address(), free_address());
    let yaml = format!(
        "process: {{ admin: \"{admin}\" }}\nrtmp: {{ listen: [\"{rtmp}\"] }}\nhttp: {{ listen: [\"{}\"] }}\n\
         peer: {{ listen: \"{}\" }}\ndata_dir: {}\ncontrol_plane: []\nroutes: [\"*:*;127.0.0.1:1\"]\n",
        free_address(),
        free_address(),
        dir.path().display()
    );
    let _edge = start(dir.path(), "headwater-edge", &yaml);
    until("the edge to be ready", SOON, || http::get(admin, "/readyz").ok().filter(|answer| answer.status == 200));
    assert_eq!(answer(&format!("rtmp://{rtmp}/live/x")).await, "NetStream.Publish.Denied", "an edge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_tokens_show_nowhere() {
    let cluster = Cluster::start();
    let keys = cluster.scratch().join("keys");
    fs::write(&keys, format!("live/mine sha256:{}\n", KEY.1)).expect("a file");
    let keys_file = Some(arg(&keys).to_owned());
    cluster.replace_edge(
        "edge-1",
        &Settings { routes: vec![cluster.route_to_origins()], keys_file, ..Settings::default() },
    );
    let wrong = "canary-in-a-coal-mine";
    let url = |rest: &str| cluster.rtmp("edge-1", rest);
    for (address, code) in [
        (url(&format!("live/mine?key={}", KEY.0)), "NetStream.Publish.Start"),
        (url(&format!("live/mine?key={wrong}")), "NetStream.Publish.Denied"),
        (url(&format!("live/..?key={wrong}")), "NetStream.Publish.BadName"),
    ] {
        assert_eq!(answer(&address).await, code, "{address}");
    }
    let web = cluster.address("edge-1", "http");
    let refused = http::get(web, &format!("/live/a%00b.flv?key={wrong}&token={wrong}")).expect("an answer");
    assert_eq!(refused.status, 404);
    let mut secrets = vec![KEY.0.to_owned(), KEY.1.to_owned(), wrong.to_owned()];
    for kind in ["operator", "origin", "edge", "control", "viewer-ops"] {
        secrets.push(cluster.token(kind));
    }
    let mut told = vec![("the refusal".to_owned(), refused.head + &refused.body)];
    for node in tests::cluster::NODES {
        told.push((format!("{node}'s log"), cluster.log(node)));
        for page in ["/metrics", "/status", "/status.json"] {
            let answer = http::get(cluster.address(node, "admin"), page).expect("an answer");
            told.push((format!("{node}{page}"), answer.head + &answer.body));
        }
    }
    for (place, text) in told {
        assert!(!text.is_empty(), "{place} says nothing");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{place} shows {secret}");
        }
    }
}

fn start(dir: &Path, name: &str, yaml: &str) -> Process {
    let file = dir.join(format!("{name}.yaml"));
    fs::write(&file, yaml).expect("a file");
    let mut command = program(name);
    command.args(["--config", arg(&file)]);
    Process::spawn(name, dir, command)
}

/// What an encoder is answered. One that may publish goes.
async fn answer(url: &str) -> String {
    let url = Url::parse(url).expect("an address");
    let asked = async {
        let connection = Connection::open(&url).await.expect("a connection");
        Publisher::ask(connection, &url.name).await.expect("an answer").1.code
    };
    tokio::time::timeout(ANSWER, asked).await.expect("an answer in time")
}
