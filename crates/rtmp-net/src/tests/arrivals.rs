//! Coming in over real sockets: through proxies, and past those that never finish.

use std::io;

use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

/// A house with a port; the house is to be kept.
async fn open(config: Config) -> (House, SocketAddr) {
    let house = House::with(config, RingLimits::default());
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), house.connections.clone()).await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run(CancellationToken::new()));
    (house, address)
}

fn trusting() -> Config {
    Config { proxies: ["127.0.0.1".parse().unwrap()].into_iter().collect(), ..Config::default() }
}

/// Of an address, two may be in the handshake.
fn two_of_each(mut config: Config) -> Config {
    config.session.limits.handshakes_per_address_max = 2;
    config
}

impl House {
    /// Waits until so many clients are in the handshake.
    async fn wait_unfinished(&self, count: usize) {
        let waiting = async {
            while self.connections.gate().unfinished() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    }
}

async fn connect(address: SocketAddr, first: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(first).await.unwrap();
    socket
}

#[tokio::test]
async fn a_trusted_proxy_says_who_its_clients_are() {
    let (house, address) = open(trusting()).await;
    let text = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 1935\r\n";
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc0\0\x02\x01\x9c\x41\x07\x8f";
    let itself = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (header, path, peer) in [
        (&text[..], "live/text", Some("192.0.2.7:40000")),
        (&binary[..], "live/binary", Some("192.0.2.8:40001")),
        (&itself[..], "live/itself", None),
    ] {
        let socket = connect(address, header).await;
        let own = socket.local_addr().unwrap();
        let _publisher = client::publish_over(socket, &url(path)).await.unwrap();
        let expected = peer.map_or(own, |peer| peer.parse().unwrap());
        assert!(house.sessions.list().iter().any(|session| session.peer == expected), "{path}");
    }
}

#[tokio::test]
async fn a_header_counts_only_from_trusted_proxies_and_they_must_send_one() {
    let (_house, proxied) = open(trusting()).await;
    let (stranger, direct) = open(Config::default()).await;
    let hello = [&[3][..], &[0; 1536]].concat();
    let text = [b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 1935\r\n", &hello[..]].concat();
    let damaged = [b"PROXY TCP4 192.0.2.7 192.0.2.1 40000\r\n", &hello[..]].concat();
    let binary = [b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", &hello[..]].concat();
    for (address, bytes) in [(proxied, &hello), (proxied, &damaged), (direct, &text), (direct, &binary)] {
        let mut socket = connect(address, bytes).await;
        assert!(rest(&mut socket).await.is_empty(), "{:?}", String::from_utf8_lossy(&bytes[..12]));
    }
    assert_eq!(stranger.ended("handshake"), 2);
}

#[tokio::test]
async fn an_address_behind_a_proxy_is_counted_and_the_proxy_is_not() {
    let (house, address) = open(two_of_each(trusting())).await;
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 1935\r\n\x03";
    let _waiting = [connect(address, header).await, connect(address, header).await];
    house.wait_unfinished(2).await;
    let mut third = connect(address, header).await;
    assert!(rest(&mut third).await.is_empty());
    let other = connect(address, b"PROXY TCP4 192.0.2.8 192.0.2.1 40000 1935\r\n").await;
    assert!(client::publish_over(other, &url("live/other")).await.is_ok());
}

/// PROXY version 2 for a client with this IPv6 address.
fn for_client(client: &str) -> Vec<u8> {
    let client: std::net::Ipv6Addr = client.parse().unwrap();
    let (head, ports) = (b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24", [0x9c, 0x40, 0x07, 0x8f]);
    [&head[..], &client.octets(), &[0; 16], &ports].concat()
}

#[tokio::test]
async fn clients_behind_a_proxy_are_counted_by_their_network() {
    let (house, address) = open(two_of_each(trusting())).await;
    let half_open = |client| [for_client(client), vec![3]].concat();
    let _waiting =
        [connect(address, &half_open("2001:db8::1")).await, connect(address, &half_open("2001:db8::ffff:0:0:2")).await];
    house.wait_unfinished(2).await;
    let mut third = connect(address, &half_open("2001:db8::3")).await;
    assert!(rest(&mut third).await.is_empty(), "one more of the same /64");
    assert_eq!(house.ended("handshake_timeout"), 0, "it was not there until its deadline");
    let other = connect(address, &for_client("2001:db8:0:1::1")).await;
    assert!(client::publish_over(other, &url("live/other")).await.is_ok(), "another /64");
}

/// From an address of this machine, whatever family the socket is of.
async fn connect_from(source: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let source: SocketAddr = source.parse().unwrap();
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(source)?;
    socket.connect(to).await
}

#[tokio::test]
async fn an_address_is_the_same_by_whichever_port_and_family_it_comes() {
    let (house, four) = open(two_of_each(Config::default())).await;
    let both = Server::bind("[::]:0".parse().unwrap(), house.connections.clone()).await.unwrap();
    let port = both.local_addr().unwrap().port();
    tokio::spawn(both.run(CancellationToken::new()));
    let (by_four, by_six) = (SocketAddr::new(four.ip(), port), format!("[::ffff:127.0.0.1]:{port}").parse().unwrap());
    let waiting = [connect_from("127.0.0.2:0", four).await, connect_from("[::ffff:127.0.0.2]:0", by_six).await];
    assert!(waiting.iter().all(Result::is_ok), "two may come");
    house.wait_unfinished(2).await;
    for (source, to) in [("127.0.0.2:0", four), ("127.0.0.2:0", by_four), ("[::ffff:127.0.0.2]:0", by_six)] {
        // Whoever is turned away may be told so before it has begun.
        if let Ok(mut third) = connect_from(source, to).await {
            assert!(rest(&mut third).await.is_empty(), "{source} at {to}");
        }
    }
    assert_eq!(house.ended("handshake_timeout"), 0, "none was there until its deadline");
    let other = connect_from("127.0.0.3:0", by_four).await.unwrap();
    assert!(client::publish_over(other, &url("live/other")).await.is_ok());
}

#[tokio::test]
async fn half_open_connections_give_way_to_whoever_comes() {
    let (house, address) = open(Config { handshakes_max: 4, ..Config::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(connect(address, &[3]).await);
    }
    let socket = TcpStream::connect(address).await.unwrap();
    let mut publisher = client::publish_over(socket, &url("live/foo")).await.unwrap();
    publisher.send(&key(0)).await.unwrap();
    for socket in &mut silent[..36] {
        assert!(rest(socket).await.is_empty(), "the oldest are closed");
    }
    assert!(house.connections.gate().unfinished() <= 4);
    assert_eq!(house.ended("handshake_timeout"), 0, "none had to run into its deadline");
}

#[tokio::test]
async fn a_busy_runtime_keeps_nobody_waiting_in_the_kernel_and_a_closed_door_is_closed() {
    let gate = door::Gate::new(door::Config::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut door = door::Door::new(listener, gate.clone());
    let clients: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    // This runtime's only thread has something else to do, and they come in nevertheless.
    let begun = std::time::Instant::now();
    while gate.unfinished() < clients.len() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} came in", gate.unfinished());
        std::thread::yield_now();
    }
    let guest = door.next().await;
    assert_eq!(guest.peer, clients[0].local_addr().unwrap());
    drop(door);
    assert!(std::net::TcpStream::connect(address).is_err());
    tokio::net::TcpListener::bind(address).await.unwrap();
}
