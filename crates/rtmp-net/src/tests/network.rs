//! Over real sockets on loopback.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::tls::{ServerConfig, Trust};

async fn serve(server: Server<Fake>) -> (u16, CancellationToken, tokio::task::JoinHandle<()>) {
    let port = server.local_addr().unwrap().port();
    let stop = CancellationToken::new();
    (port, stop.clone(), tokio::spawn(server.run(stop)))
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Where the stream is that these tests publish and play.
fn url_at(port: u16) -> StreamUrl {
    format!("rtmp://127.0.0.1:{port}/live/foo").parse().unwrap()
}

/// A server whose sockets soon are full, and the stream of one publisher there.
struct Narrow {
    house: House,
    url: StreamUrl,
    publisher: Publisher,
}

impl Narrow {
    async fn with(mut config: Config) -> Self {
        config.send = SendBounds { buffer_bytes: 64 << 10, unsent_bytes: 32 << 10, ..SendBounds::default() };
        let house = House::with(config, RingLimits::default());
        let (port, ..) = serve(Server::bind(any(), house.connections.clone()).await.unwrap()).await;
        let url = url_at(port);
        let mut publisher = client::publish(&url, &client::Options::default()).await.unwrap();
        send_all(&mut publisher, &[self::config(), key(0)]).await;
        Self { house, url, publisher }
    }

    /// A viewer who has had all that there is.
    async fn viewer(&self) -> Player {
        let mut viewer = client::play(&self.url, &client::Options::default()).await.unwrap();
        assert_eq!(take(&mut viewer, 2).await, [config(), key(0)]);
        viewer
    }

    /// All viewers sat in one row, and nobody was left behind.
    fn assert_one_row_and_nothing_skipped(&self) {
        assert_eq!(self.house.connections.rows_open(), 1);
        assert_eq!(self.house.connections.stats().skips.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn tcp_carries_a_stream_and_a_reset_reaches_the_client() {
    let house = House::new();
    let server = Server::bind(any(), house.connections.clone()).await.unwrap();
    let (port, stop, running) = serve(server).await;
    let url = url_at(port);
    let options = client::Options::default();
    let mut publisher = client::publish(&url, &options).await.unwrap();
    send_all(&mut publisher, &[config(), key(0), delta(1, 3_000_000)]).await;
    let mut player = client::play(&url, &options).await.unwrap();
    assert_eq!(take(&mut player, 3).await, [config(), key(0), delta(1, 3_000_000)]);

    stop.cancel();
    running.await.unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the port is closed");
    send_all(&mut publisher, &[key(2)]).await;
    assert_eq!(next(&mut player).await, key(2), "connections outlive the port");

    house.connections.reset().await;
    match player.next().await {
        Err(client::Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        other => panic!("no reset: {other:?}"),
    }
}

#[tokio::test]
async fn a_viewer_whose_socket_fills_up_gets_every_frame_once_and_in_order_and_so_does_its_neighbour() {
    let mut narrow = Narrow::with(Config::default()).await;
    let (mut slow, mut quick) = (narrow.viewer().await, narrow.viewer().await);
    for round in 0..3 {
        let sent: Vec<_> = (1..11).map(|n| delta(round * 1000 + n, 700_000 * (n as usize % 2) + 100)).collect();
        for frame in &sent {
            narrow.publisher.send(frame).await.unwrap();
            assert_eq!(&next(&mut quick).await, frame, "nobody waits for the other");
        }
        assert_eq!(take(&mut slow, sent.len()).await, sent);
    }
    narrow.assert_one_row_and_nothing_skipped();
}

/// So many that they are sent pages.
#[tokio::test]
async fn a_crowd_gets_every_frame_once_and_in_order_though_sockets_fill_up() {
    let mut narrow = Narrow::with(Config::default()).await;
    let mut viewers = Vec::new();
    for _ in 0..40 {
        viewers.push(narrow.viewer().await);
    }
    let (quick, slow) = viewers.split_at_mut(34);
    for round in 0..2 {
        let sent: Vec<_> = (1..11).map(|n| delta(round * 1000 + n, 9_000 + 150_000 * (n as usize % 2))).collect();
        for frame in &sent {
            narrow.publisher.send(frame).await.unwrap();
            for viewer in &mut *quick {
                assert_eq!(&next(viewer).await, frame);
            }
        }
        for viewer in &mut *slow {
            assert_eq!(take(viewer, sent.len()).await, sent);
        }
    }
    narrow.assert_one_row_and_nothing_skipped();
}

#[tokio::test]
async fn a_viewer_that_stops_reading_is_cut_and_its_neighbour_is_not() {
    let mut config = Config::default();
    config.session.limits.stall_timeout = Duration::from_millis(300);
    let mut narrow = Narrow::with(config).await;
    let (_stalled, mut neighbour) = (narrow.viewer().await, narrow.viewer().await);
    let started = std::time::Instant::now();
    let mut number = 0;
    while narrow.house.ended("stalled") == 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "it is still there");
        number += 1;
        let frame = delta(number, 500_000);
        narrow.publisher.send(&frame).await.unwrap();
        assert_eq!(next(&mut neighbour).await, frame);
    }
    assert_eq!(narrow.house.sessions.list().len(), 2, "the publisher and the neighbour");
}

/// Shakes hands, and then acknowledges what it never got, in as many messages as it can, until it is told to stop.
fn flood(port: u16, stop: &AtomicBool, flooding: tokio::sync::oneshot::Sender<()>) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    let (mut handshake, hello) = rtmp::handshake::Handshake::client();
    socket.write_all(&hello)?;
    let mut answer = [0; 3073];
    socket.read_exact(&mut answer)?;
    socket.write_all(&handshake.handle_bytes(&answer).expect("an answer").to_send)?;
    socket.write_all(&[0x02, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 1])?;
    let acknowledgements = [0xc2, 0, 0, 0, 1].repeat(16 << 10);
    socket.write_all(&acknowledgements)?;
    let _whoever_waits = flooding.send(());
    for _ in 0..FLOOD_MAX / acknowledgements.len() {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        socket.write_all(&acknowledgements)?;
    }
    panic!("nobody else was served meanwhile")
}

/// Some seconds of work for one thread.
const FLOOD_MAX: usize = 64 << 20;

/// There is one thread for both.
#[tokio::test]
async fn a_client_that_talks_without_end_keeps_the_thread_from_nobody() {
    let house = House::new();
    let (port, _stop, _running) = serve(Server::bind(any(), house.connections.clone()).await.unwrap()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (flooding, begun) = tokio::sync::oneshot::channel();
    let flooder = thread::spawn({
        let stop = stop.clone();
        move || flood(port, &stop, flooding)
    });
    begun.await.unwrap();
    let url = url_at(port);
    let options = client::Options::default();
    let mut publisher = client::publish(&url, &options).await.unwrap();
    send_all(&mut publisher, &[config(), key(0)]).await;
    let mut player = client::play(&url, &options).await.unwrap();
    assert_eq!(take(&mut player, 2).await, [config(), key(0)]);
    stop.store(true, Ordering::Relaxed);
    let flooded = tokio::task::spawn_blocking(|| flooder.join().unwrap());
    flooded.await.unwrap().unwrap();
}

#[tokio::test]
async fn tls_carries_a_stream_for_whoever_trusts_it() {
    let house = House::new();
    let made = certified();
    let (certificates, secret) = (file(&made.cert.pem()), file(&made.signing_key.serialize_pem()));
    let tls = ServerConfig::from_files(certificates.path(), secret.path(), &[]).unwrap();
    let server = Server::bind_tls(any(), tls, house.connections.clone()).await.unwrap();
    let (port, _stop, _running) = serve(server).await;
    let url: StreamUrl = format!("rtmps://localhost:{port}/live/foo").parse().unwrap();

    let trusting = client::Options { trust: Some(Trust::anybody().unwrap()), ..client::Options::default() };
    let mut publisher = client::publish(&url, &trusting).await.unwrap();
    send_all(&mut publisher, &[config(), key(0), delta(1, 1_000_000)]).await;
    let mut player = client::play(&url, &trusting).await.unwrap();
    assert_eq!(take(&mut player, 3).await, [config(), key(0), delta(1, 1_000_000)]);
    assert!(house.sessions.list().iter().all(|info| info.protocol == Protocol::Rtmps));

    let authority = file(&made.cert.pem());
    let careful = client::Options { trust: Some(Trust::authorities(authority.path()).unwrap()), ..trusting.clone() };
    assert!(client::play(&url, &careful).await.is_ok());
    let other = certified();
    let stranger = file(&other.cert.pem());
    let wary = client::Options { trust: Some(Trust::authorities(stranger.path()).unwrap()), ..trusting };
    assert!(matches!(client::play(&url, &wary).await, Err(client::Error::Io(_))));
}

#[tokio::test]
async fn a_certificate_is_renewed_for_those_who_come_and_nobody_is_cut() {
    let house = House::new();
    let [first, second] = [certified(), certified()];
    let (certificates, secret) = (file(&first.cert.pem()), file(&first.signing_key.serialize_pem()));
    let tls = ServerConfig::from_files(certificates.path(), secret.path(), &[]).unwrap();
    let server = Server::bind_tls(any(), tls.clone(), house.connections.clone()).await.unwrap();
    let (port, _stop, _running) = serve(server).await;
    let url: StreamUrl = format!("rtmps://localhost:{port}/live/foo").parse().unwrap();
    // Each is new to the server: who comes back to it goes on with what both agreed on before.
    let trusting = |pair: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let trust = Trust::authorities(file(&pair.cert.pem()).path()).unwrap();
        client::Options { trust: Some(trust), ..client::Options::default() }
    };
    let is_let_in =
        async |pair: &rcgen::CertifiedKey<rcgen::KeyPair>| client::play(&url, &trusting(pair)).await.is_ok();
    let mut publisher = client::publish(&url, &trusting(&first)).await.unwrap();

    std::fs::write(certificates.path(), second.cert.pem()).unwrap();
    tls.read_again();
    send_all(&mut publisher, &[config(), key(0)]).await;
    assert!(is_let_in(&first).await && !is_let_in(&second).await, "half of a renewal changes nothing");
    std::fs::write(secret.path(), second.signing_key.serialize_pem()).unwrap();
    tls.read_again();
    assert!(is_let_in(&second).await && !is_let_in(&first).await);
    send_all(&mut publisher, &[delta(1, 1_000)]).await;
    let mut player = client::play(&url, &trusting(&second)).await.unwrap();
    assert_eq!(take(&mut player, 3).await, [config(), key(0), delta(1, 1_000)]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let house = House::new();
    let first = Server::bind(any(), house.connections.clone()).await.unwrap();
    let taken = first.local_addr().unwrap();
    let error = Server::bind(taken, house.connections.clone()).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{error}");
}

fn certified() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}
