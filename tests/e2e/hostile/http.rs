//! HTTP requests that mean harm, at the viewers' port and at the operators'.

use std::net::SocketAddr;

use serde_json::json;
use tests::{
    tools::{self, Tool::Grpcurl},
    until,
    wait::SOON,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{ANSWER, Beside};

/// What stands behind a request whose length is told in two ways. Taken for a request of its own, it is answered with a
/// stream's type, and counted as a viewer.
const SECOND: &str = "HEAD /live/beside.flv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
/// How SECOND shows in an answer.
const SERVED: &str = "video/x-flv";
/// An address that is nobody's here.
const CLAIMED: &str = "203.0.113.66";
/// What proxies say of their clients.
const PROXY_HEADERS: &str = "X-Forwarded-For: 203.0.113.66\r\nX-Real-IP: 203.0.113.66\r\n\
     Forwarded: for=\"203.0.113.66:4711\";proto=https\r\nTrue-Client-IP: 203.0.113.66\r\n";
const WEBSOCKET_HEADERS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: aGVhZHdhdGVyLXRlc3RzIQ==\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_mean_harm_find_nothing_and_reflect_nothing() {
    let beside = Beside::start().await;
    let address = beside.cluster.address("edge-1", "http");
    let long = format!("/live/{}.flv", "x".repeat(256));
    for path in [
        "/live/%0d%0aSet-Cookie:%20a=b.flv",
        "/live/..%2f..%2f..%2fetc%2fpasswd.flv",
        "/../../etc/passwd",
        "/live/../../etc/passwd.flv",
        "/live/%2e%2e.flv",
        "/live/%00.flv",
        "/live/%ff%fe.flv",
        "/live/a%5cb.flv",
        "/live/%3Cscript%3E.flv",
        "/live/.flv",
        "/live/x.flv?vhost=../../x",
        "/live/x.flv?vhost=%0d%0a",
        "/live/beside.m3u8",
        "/status?callback=alert(1)",
        "//",
        "/%",
        &long,
    ] {
        // OPTIONS asks what may be asked, and is answered the same whatever it names.
        for (method, statuses) in [("GET", &["404"][..]), ("HEAD", &["404"]), ("OPTIONS", &["204", "404"])] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = ask(address, &request).await;
            assert!(statuses.contains(&status(&answer)), "{method} {path}: {answer}");
            for harm in ["Set-Cookie", "<script>", "root:", "alert("] {
                assert!(!answer.contains(harm), "{method} {path}: {answer}");
            }
        }
    }
    beside.check("paths");
    for (request, statuses) in [
        ("POST /live/beside.flv HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", &["405"][..]),
        ("TRACE /live/beside.flv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &["405"]),
        ("CONNECT 127.0.0.1:9000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &["400", "404", "405"]),
        ("GET http://169.254.169.254/latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &["404"]),
        ("GET /live/none HTTP/1.1\r\nHost: ../../x\r\nConnection: close\r\n\r\n", &["404"]),
        ("GET /live/none HTTP/1.1\r\nX: a\0b\r\n\r\n", &["400", ""]),
        ("GET /live/none HTTP/9.9\r\n\r\n", &["400", "505", ""]),
        ("no request at all\r\n\r\n", &["400", ""]),
    ] {
        let answer = ask(address, request).await;
        assert!(statuses.contains(&status(&answer)), "{request:?}: {answer}");
    }
    beside.check("requests");
    lengths_that_contradict_each_other_hide_no_request(&beside).await;
    beside.check("two lengths");
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(4 << 20));
    assert!(["431", "400", ""].contains(&status(&ask(address, &head).await)), "a head of 4 MiB");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5000));
    assert!(["431", "400", ""].contains(&status(&ask(address, &many).await)), "5,000 headers");
    beside.check("heads");
    what_headers_say_of_a_viewers_address_is_not_believed(&beside).await;
    operators_pages_change_nothing(&beside).await;
    beside.finish();
}

/// Whichever length is believed, what follows is not taken for a second request.
async fn lengths_that_contradict_each_other_hide_no_request(beside: &Beside) {
    let address = beside.cluster.address("edge-1", "http");
    let plays = || beside.cluster.metric("edge-1", "headwater_http_plays_total", &[]).expect("an edge counts viewers");
    let with = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
    // Behind a request that is sound, it is one.
    let before = plays();
    let answer = ask(address, &with("Content-Length: 0", SECOND)).await;
    assert_eq!((answers(&answer), answer.contains(SERVED), plays()), (2, true, before + 1.0), "{answer}");
    let length = SECOND.len();
    let behind_chunks = format!("0\r\n\r\n{SECOND}");
    let in_a_chunk = format!("{length:x}\r\n{SECOND}\r\n0\r\n\r\n");
    let up_to_it = in_a_chunk.find(SECOND).expect("it is in the chunk");
    let all = behind_chunks.len();
    for (headers, body) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(), &behind_chunks[..]),
        (format!("Content-Length: {all}\r\nTransfer-Encoding: chunked"), &behind_chunks),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {up_to_it}"), &in_a_chunk),
        (format!("Content-Length: 0\r\nContent-Length: {length}"), SECOND),
        (format!("Content-Length: {length}\r\nContent-Length: 0"), SECOND),
        (format!("Content-Length: 0, {length}"), SECOND),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(), &behind_chunks),
        (format!("Transfer-Encoding: xchunked\r\nContent-Length: {all}"), &behind_chunks),
        (format!("Transfer-Encoding : chunked\r\nContent-Length: {all}"), &behind_chunks),
        (format!("Transfer-Encoding: chunked, identity\r\nContent-Length: {all}"), &behind_chunks),
    ] {
        let before = plays();
        let answer = ask(address, &with(&headers, body)).await;
        assert!(["400", "404", ""].contains(&status(&answer)), "{headers}: {answer}");
        assert!(answers(&answer) <= 1 && !answer.contains(SERVED), "{headers}: {answer}");
        assert_eq!(plays(), before, "{headers}: what follows was asked for");
    }
}

fn answers(answer: &str) -> usize {
    answer.matches("HTTP/1.1 ").count()
}

/// No proxy is configured: a viewer is where its connection comes from.
async fn what_headers_say_of_a_viewers_address_is_not_believed(beside: &Beside) {
    let address = beside.cluster.address("edge-1", "http");
    let mut viewers = Vec::new();
    for (protocol, more, status) in [("http-flv", "", "200"), ("ws-flv", WEBSOCKET_HEADERS, "101")] {
        let request = format!("GET /live/beside.flv HTTP/1.1\r\nHost: x\r\n{PROXY_HEADERS}{more}\r\n");
        let mut socket = TcpStream::connect(address).await.expect("the port is open");
        socket.write_all(request.as_bytes()).await.expect("a request is taken");
        let mut first = [0; 12];
        timeout(ANSWER, socket.read_exact(&mut first)).await.expect("in time").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&first), format!("HTTP/1.1 {status}"), "{protocol}");
        viewers.push((protocol, socket));
    }
    if tools::has(&[Grpcurl]) {
        for (protocol, socket) in &viewers {
            let own = socket.local_addr().expect("an address").to_string();
            until(&format!("the {protocol} viewer to be listed as {own}"), SOON, || {
                let filter = json!({"filter": format!("node=nodes/edge-1 AND protocol={protocol}")});
                let list = beside.cluster.operator().ok("headwater.control.v1.SessionService/ListSessions", filter);
                let sessions = list["sessions"].as_array()?;
                assert!(!list.to_string().contains(CLAIMED), "{list}");
                sessions.iter().any(|session| session["peer"] == own.as_str()).then_some(())
            });
        }
    }
    let mut told = vec![beside.cluster.log("edge-1")];
    for page in ["/metrics", "/status", "/status.json"] {
        told.push(tests::http::get(beside.cluster.address("edge-1", "admin"), page).expect("a page").body);
    }
    assert!(told.iter().all(|text| !text.contains(CLAIMED)), "an address that was claimed is shown");
    drop(viewers);
}

async fn operators_pages_change_nothing(beside: &Beside) {
    for node in tests::cluster::NODES {
        let address = beside.cluster.address(node, "admin");
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            for path in ["/status", "/status.json", "/metrics", "/active", "/readyz", "/config", "/drain", "/shutdown"]
            {
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
                );
                let answer = ask(address, &request).await;
                assert!(["404", "405"].contains(&status(&answer)), "{node}: {method} {path}: {answer}");
            }
        }
        for path in ["/debug/pprof", "/../etc/passwd", "/status.json?callback=alert(1)"] {
            let answer = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
            assert!(!answer.contains("alert(") && !answer.contains("root:"), "{node}: {path}: {answer}");
        }
    }
}

/// All that a server says to this until it closes.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("the port is open");
    // The server may close before all is sent.
    let _cut = socket.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ended =
        timeout(ANSWER, socket.read_to_end(&mut answer)).await.unwrap_or_else(|_| panic!("no end: {request:?}"));
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}
