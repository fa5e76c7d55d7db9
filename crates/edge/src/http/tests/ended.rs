//! Viewers that take their time over a stream that has ended.

use std::sync::Weak;

use super::*;

/// Takes so little of what comes that there is always more to send, until nobody keeps the stream.
async fn sip(mut client: Client, ended: Weak<hub::Stream>) {
    while ended.strong_count() > 0 {
        // Whoever was cut gets nothing more; the others go on.
        let _cut = client.socket.read(&mut [0; 16 << 10]).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_viewer_that_does_not_take_the_rest_of_an_ended_stream_is_cut_and_keeps_nothing_of_it() {
    let behind_max = Duration::from_millis(300);
    let edge = Edge::start(Config { behind_max, ..Config::default() }).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let plain = edge.get("/live/foo.flv").await;
    let websocket = edge.request(&format!("GET /live/foo.flv {UPGRADE}")).await;
    // For the web server.
    let unusual = edge.request("GET /live/foo.flv HTTP/1.1\r\nHost: h\r\nContent-Length: 0").await;
    readers(&writer, 3).await;
    let payload = [KEY, &[0; 1 << 20]].concat().leak();
    for n in 1..=24 {
        append(&mut writer, frame(Medium::Video, 1040 + 40 * n, payload));
    }
    let ended = Arc::downgrade(writer.stream());
    drop(writer);
    let sipping = [plain, websocket, unusual].map(|client| tokio::spawn(sip(client, ended.clone())));
    for sipping in sipping {
        timeout(LONG, sipping).await.expect("nobody keeps it").unwrap();
    }
    assert_eq!(edge.stats.behind.load(Ordering::Relaxed), 3);
}
