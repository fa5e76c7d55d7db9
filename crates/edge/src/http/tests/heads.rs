//! What viewers ask with: how long and how much it may be.

use super::*;

/// However much of a head has come, it has the door's patience and no more.
#[tokio::test]
async fn a_connection_that_asks_nothing_in_time_is_cut() {
    let door = door::Config { patience: Duration::from_millis(200), ..door::Config::default() };
    let edge = Edge::start(Config { door, head_timeout: 6 * LONG, ..Config::default() }).await;
    let long = format!("GET /live/none.flv HTTP/1.1\r\nX: {}", "x".repeat(9 << 10));
    for begun in ["", "GET /live", &long, "GET /live/none.flv HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let mut silent = TcpStream::connect(edge.address).await.unwrap();
        silent.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        timeout(LONG, silent.read_to_end(&mut rest)).await.expect("cut in time").unwrap();
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let edge = Edge::start(Config::default()).await;
    let mut endless = edge.request(&format!("GET /{}.flv HTTP/1.1\r\nHost: h", "x".repeat(300 << 10))).await;
    assert!(endless.head().await.status >= 400);
}

#[tokio::test]
async fn parameters_without_end_are_not_found_and_nobody_is_asked() {
    let edge = Edge::start(Config::default()).await;
    let _writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let with = |path: &str, count: usize| format!("{path}?{}", "a&".repeat(count));
    for count in [65, 2_100, 30_000] {
        assert_eq!(edge.status(&with("/live/waiting.flv", count)).await, 404, "{count} parameters");
    }
    assert_eq!(edge.fake.plays.load(Ordering::Relaxed), 0);
    assert_eq!(edge.status(&with("/live/foo.flv", 64)).await, 200);
}

#[tokio::test]
async fn too_many_headers_are_refused_on_either_way() {
    let edge = Edge::start(Config::default()).await;
    let _writer = edge.stream(DEFAULT_VHOST, "live/foo");
    for method in ["GET", "HEAD"] {
        for (count, status) in [(100, 200), (101, 431)] {
            let headers = "\r\nX: y".repeat(count);
            let answer = edge.request(&format!("{method} /live/foo.flv HTTP/1.0{headers}")).await.head().await;
            assert_eq!(answer.status, status, "{method} with {count} headers");
        }
    }
}
