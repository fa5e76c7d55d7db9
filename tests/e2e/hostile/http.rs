//! HTTP requests that mean harm, at the viewers' port and at the operators'.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{ANSWER, Beside};

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
        let answer = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(status(&answer), "404", "{path}: {answer}");
        for harm in ["Set-Cookie", "<script>", "root:", "alert("] {
            assert!(!answer.contains(harm), "{path}: {answer}");
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
    // Two lengths: whichever is believed, what follows is not taken for a second request.
    let two = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /live/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = ask(address, two).await;
    let answers = answer.matches("HTTP/1.1 ").count();
    assert!(status(&answer).starts_with('4') && answers <= 2, "{answer}");
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(4 << 20));
    assert!(["431", "400", ""].contains(&status(&ask(address, &head).await)), "a head of 4 MiB");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5000));
    assert!(["431", "400", ""].contains(&status(&ask(address, &many).await)), "5,000 headers");
    beside.check("heads");
    operators_pages_change_nothing(&beside).await;
    beside.finish();
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
