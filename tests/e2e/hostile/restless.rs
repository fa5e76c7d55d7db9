//! Peers that do what is allowed, far too often, and peers that never acknowledge.

use std::time::Duration;

use tests::{
    rtmp::{Connection, Publisher, Url, Value},
    synthetic,
};
use tokio::time::timeout;

use super::{ANSWER, Beside, control};

/// How often a client begins and ends on one connection.
const TURNS: usize = 1000;
/// Which of these turns are publications: no more than one may do at once.
const PUBLISH_EVERY: usize = TURNS / 16 + 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_plays_and_publications_on_one_connection_leave_nothing_behind() {
    let beside = Beside::start().await;
    let url = Url::parse(&beside.cluster.rtmp("edge-1", "live/restless")).expect("an address");
    let mut client = Connection::open(&url).await.expect("a connection");
    for turn in 0..TURNS {
        let msid = client.create_stream().await.unwrap_or_else(|error| panic!("turn {turn}: {error:#}"));
        let (command, name) = if turn % PUBLISH_EVERY == 0 {
            ("publish", format!("restless-{turn}"))
        } else {
            ("play", "beside".to_owned())
        };
        client.command(command, 0.0, msid, &[Value::Null, Value::text(&name)]).await.expect("taken");
        let status = timeout(ANSWER, client.status()).await.expect("an answer").expect("a status");
        assert_ne!(status.level, "error", "turn {turn}: {status:?}");
        client.command("deleteStream", 0.0, 0, &[Value::Null, Value::Number(msid.into())]).await.expect("taken");
    }
    client.create_stream().await.expect("the connection goes on");
    beside.check("a restless client");
    beside.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_any_size_and_peers_that_never_acknowledge_harm_nobody() {
    let beside = Beside::start().await;
    let mut publisher = Publisher::open(&beside.cluster.rtmp("edge-1", "live/windows")).await.expect("a publication");
    publisher.send(&synthetic::config()).await.expect("taken");
    for window in [0u32, 1, 2, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let size = window.to_be_bytes();
        let mut bytes = control(5, &size);
        // Each kind of limit, and kinds that nobody knows.
        for kind in [0u8, 1, 2, 3, 255] {
            bytes.extend(control(6, &[&size[..], &[kind]].concat()));
        }
        // Acknowledged is what was never sent.
        bytes.extend(control(3, &size));
        publisher.connection.send_raw(&bytes.repeat(100)).await.expect("taken");
        for number in 0..200 {
            publisher.send(&synthetic::frame(number, Duration::from_millis(40))).await.expect("a frame is taken");
        }
        timeout(ANSWER, publisher.connection.create_stream()).await.expect("an answer").map_or_else(
            // Sixteen message streams are enough; this one is only to be answered.
            |error| assert!(error.to_string().contains("_error"), "window {window}: {error:#}"),
            drop,
        );
        beside.check(&format!("a window of {window}"));
    }
    beside.finish();
}
