//! Proxies that say for whom they come, and a process that is out of file descriptors.

use std::{io::Write, net::SocketAddr, process::Command};

use tests::{
    Cluster, Process,
    cluster::free_address,
    rtmp::{Connection, Publisher, Recorder, Url},
    tools::{self, Tool::Haproxy, arg},
    until,
    wait::SOON,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{ANSWER, Beside, connect_from, read_to_end};

/// Where the trusted proxy is; whoever else is on this machine is not trusted.
const PROXY: &str = "127.0.0.2";
/// The client that it brings, in both versions.
const TEXT: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 1935\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x9c\x40\x07\x8f";
const CLIENT: &str = "192.0.2.7:40000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_must_say_for_whom_it_comes_and_nobody_else_may() {
    let cluster = behind_proxies();
    let beside = Beside::on(cluster).await;
    let cluster = &beside.cluster;
    let origin = cluster.active();
    for node in ["edge-1", origin] {
        let address = cluster.address(node, "rtmp");
        for (number, header) in [TEXT, BINARY].into_iter().enumerate() {
            let name = format!("proxied-{number}-{node}");
            let url = Url::parse(&format!("rtmp://{address}/live/{name}")).expect("an address");
            let socket = from_proxy(address, header).await;
            let connection = Connection::over(socket, &url).await.expect("the proxy's client is let in");
            let _publisher = Publisher::on(connection, &name).await.expect("it publishes");
            let told = |line: &str| line.contains("publish.began") && line.contains(&name) && line.contains(CLIENT);
            until("the log to name the client", SOON, || cluster.log(node).lines().any(told).then_some(()));
        }
        let hello = [&[3][..], &[0; 1536]].concat();
        refused(from_proxy(address, &hello).await, &format!("{node}: a proxy that says nothing")).await;
        refused(from_proxy(address, b"PROXY TCP4 nobody\r\n\x03").await, &format!("{node}: a damaged header")).await;
        let mut stranger = TcpStream::connect(address).await.expect("the port is open");
        stranger.write_all(&[TEXT, &hello].concat()).await.expect("taken");
        refused(stranger, &format!("{node}: a header from elsewhere")).await;
        let port = if node == origin { "port=\"public\"" } else { "port=\"rtmp\"" };
        let labels = [port, "reason=\"not_introduced\""];
        let count = cluster.metric(node, "headwater_connections_turned_away_total", &labels);
        assert_eq!(count, Some(2.0), "{node}");
    }
    let request = b"GET /live/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let http = cluster.address("edge-1", "http");
    let answer = answered(from_proxy(http, &[TEXT, request].concat()).await).await;
    assert!(answer.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer));
    assert!(answered(from_proxy(http, request).await).await.is_empty(), "a proxy that says nothing");
    let mut stranger = TcpStream::connect(http).await.expect("the port is open");
    stranger.write_all(&[TEXT, request].concat()).await.expect("taken");
    let answer = answered(stranger).await;
    assert!(!answer.starts_with(b"HTTP/1.1 404"), "a header from elsewhere is no request");
    // An origin's public port speaks the relay's language behind a header too.
    let mut relay = from_proxy(cluster.address(origin, "rtmp"), BINARY).await;
    relay.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("taken");
    let mut settings = [0; 9];
    timeout(ANSWER, relay.read_exact(&mut settings)).await.expect("in time").expect("settings");
    assert_eq!(settings[3], 4, "an answer in HTTP/2");
    beside.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_brings_encoders_and_viewers_under_their_own_addresses() {
    if !tools::has(&[Haproxy]) {
        return;
    }
    let beside = Beside::on(behind_proxies()).await;
    let cluster = &beside.cluster;
    let bind = free_address();
    let config = format!(
        "defaults\n  mode tcp\n  timeout connect 3s\n  timeout client 1h\n  timeout server 1h\n\
         listen edge\n  bind {bind}\n  server edge {} send-proxy-v2 source {PROXY}\n",
        cluster.address("edge-1", "rtmp")
    );
    let file = cluster.scratch().join("proxy.cfg");
    std::fs::File::create(&file).and_then(|mut file| file.write_all(config.as_bytes())).expect("a file");
    let mut command = Haproxy.command();
    command.args(["-db", "-f", arg(&file)]);
    let _haproxy = Process::spawn("proxy", cluster.scratch(), command);
    until("HAProxy to listen", SOON, || std::net::TcpStream::connect(bind).ok());
    let url = Url::parse(&format!("rtmp://{bind}/live/by-haproxy")).expect("an address");
    let socket = TcpStream::connect(bind).await.expect("HAProxy listens");
    let own = socket.local_addr().expect("an address").to_string();
    let connection = Connection::over(socket, &url).await.expect("a connection");
    let _publisher = Publisher::on(connection, "by-haproxy").await.expect("a publication");
    let told = |line: &str| line.contains("publish.began") && line.contains("by-haproxy") && line.contains(&own);
    until("the log to name the encoder", SOON, || cluster.log("edge-1").lines().any(told).then_some(()));
    let viewer = Recorder::start(&format!("rtmp://{bind}/live/beside"));
    viewer.wait_frames(5, SOON);
    beside.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_in_stays_when_descriptors_run_out_and_others_come_in_later() {
    let beside = Beside::start().await;
    let cluster = &beside.cluster;
    let (pid, address) = (cluster.pid("edge-1"), cluster.address("edge-1", "rtmp"));
    let used = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count();
    limit_descriptors(pid, used + 8);
    // Viewers take all there is; those that come later wait, with half-open connections behind them.
    let viewers: Vec<Recorder> = (0..20).map(|_| Recorder::start(&cluster.rtmp("edge-1", "live/beside"))).collect();
    until("most descriptors to be used", SOON, || {
        (viewers.iter().filter(|viewer| viewer.frames() > 0).count() >= 5).then_some(())
    });
    let mut half_open = Vec::new();
    for _ in 0..20 {
        half_open.push(TcpStream::connect(address).await.expect("the kernel takes it"));
    }
    let served: Vec<&Recorder> = viewers.iter().filter(|viewer| viewer.frames() > 0).collect();
    for _ in 0..3 {
        beside.check("without descriptors");
        served.iter().for_each(|viewer| viewer.wait_frames(2, SOON));
    }
    limit_descriptors(pid, 4096);
    let late = Recorder::start(&cluster.rtmp("edge-1", "live/beside"));
    late.wait_frames(2, SOON);
    served.iter().for_each(|viewer| viewer.wait_frames(2, SOON));
    assert!(cluster.metric("edge-1", "headwater_accepts_failed_total", &["port=\"rtmp\""]) > Some(0.0));
    drop(half_open);
    beside.finish();
}

/// Sets the soft limit of a process that the test has started.
fn limit_descriptors(pid: u32, soft: usize) {
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")]).status();
    assert!(status.expect("prlimit is part of every system").success());
}

/// A cluster whose edge-1 and origins trust a proxy.
fn behind_proxies() -> Cluster {
    let cluster = Cluster::start();
    let proxies = format!("  proxies: [\"{PROXY}\"]\n");
    cluster.reconfigure("edge-1", "rtmp:\n", &format!("rtmp:\n{proxies}"));
    cluster.reconfigure("edge-1", "http:\n", &format!("http:\n{proxies}"));
    for origin in ["origin-1", "origin-2"] {
        cluster.reconfigure(origin, "public:\n", &format!("public:\n{proxies}"));
        cluster.restart(origin);
    }
    cluster.restart("edge-1");
    cluster.active();
    cluster
}

async fn from_proxy(address: SocketAddr, first: &[u8]) -> TcpStream {
    let mut stream = connect_from(PROXY, address).await.expect("the port is open");
    stream.write_all(first).await.expect("taken");
    stream
}

async fn refused(mut socket: TcpStream, what: &str) {
    assert!(timeout(ANSWER, read_to_end(&mut socket)).await.is_ok(), "{what}: not closed");
}

/// All that comes until the end.
async fn answered(mut socket: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ended = timeout(ANSWER, socket.read_to_end(&mut answer)).await.expect("an end");
    answer
}
