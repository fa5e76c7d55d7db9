//! What no encoder means to send: it is turned away, and nobody else notices.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use tests::{
    Cluster, flv,
    rtmp::{Connection, Message, Publisher, Recorder, Url, Value, chunks},
    synthetic::Feed,
    wait::SOON,
};

/// How much memory a process may gain over all of it.
const GAIN_MAX_KIB: u64 = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_hurt_neither_edge_nor_origin_nor_the_stream_beside() {
    let cluster = Cluster::start();
    let feed = Feed::start(&cluster.rtmp("edge-1", "live/innocent")).await;
    let viewer = Recorder::start(&cluster.rtmp("edge-2", "live/innocent"));
    viewer.wait_frames(10, SOON);
    let nodes = ["edge-1", cluster.hold_roles()];
    let before = nodes.map(|node| resident_kib(cluster.pid(node)));
    for node in nodes {
        let port = cluster.address(node, "rtmp");
        tokio::task::spawn_blocking(move || {
            for bytes in openings() {
                send_and_see_the_end(port, &bytes, false);
            }
            for bytes in after_handshake() {
                send_and_see_the_end(port, &bytes, true);
            }
        })
        .await
        .expect("the hostile peer itself is well");
        hostile_publisher(&format!("rtmp://{port}/live/hostile")).await;
        viewer.wait_frames(5, SOON);
    }
    for (node, before) in nodes.into_iter().zip(before) {
        let gain = resident_kib(cluster.pid(node)).saturating_sub(before);
        println!("{node} gained {gain} KiB");
        assert!(gain < GAIN_MAX_KIB, "{node} gained {gain} KiB");
    }
    assert_eq!(viewer.ended(), None);
    let times: Vec<u32> =
        flv::coded(&viewer.tags()).remove(&(9, 0)).expect("frames").iter().map(|tag| tag.timestamp).collect();
    assert!(times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 100), "a frame is missing: {times:?}");
    feed.assert_running();
}

/// First bytes of a connection.
fn openings() -> Vec<Vec<u8>> {
    let digest = |places: [u8; 4]| {
        let mut hello = vec![3; 1537];
        hello[5..9].copy_from_slice(&[9, 0, 0x7c, 2]);
        hello[9..13].copy_from_slice(&places);
        hello
    };
    vec![
        vec![0; 1537],
        vec![6; 1537],
        vec![255; 4000],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 4000]].concat(),
        digest([255; 4]),
        digest([0; 4]),
    ]
}

/// Bytes behind a handshake.
fn after_handshake() -> Vec<Vec<u8>> {
    let message = |type_id: u8, payload: Vec<u8>| {
        let message = Message { type_id, timestamp: 0, msid: 0, payload: payload.into() };
        chunks(3, &message, 128).concat()
    };
    let connect = |rest: &[u8]| message(20, [&b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0"[..], rest].concat());
    // Sixteen megabytes announced on every chunk stream there can be, with one byte each.
    let announced = |csid: u32| {
        let mut chunk = vec![1, csid as u8, (csid >> 8) as u8, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0];
        chunk.extend([0; 128]);
        chunk
    };
    let sizes = [0u32, 1, 127, 1 << 16, (1 << 24) - 1, 1 << 24, i32::MAX as u32, 1 << 31, u32::MAX];
    let mut all: Vec<Vec<u8>> = sizes.iter().map(|size| message(1, size.to_be_bytes().to_vec())).collect();
    all.extend([
        (0..4000).flat_map(announced).collect(),
        vec![0x43; 200],
        vec![0x83; 200],
        vec![0xc3; 200],
        message(1, vec![0]),
        message(22, vec![9; 40]),
        connect(&b"\x03\x00\x01a".repeat(50_000 / 4)),
        connect(&b"\x0a\xff\xff\xff\xff".repeat(20_000 / 5)),
        connect(b"\x08\xff\xff\xff\xff\x00\x01a\x05\x00\x00\x09"),
        connect(b"\x0c\xff\xff\xff\xffabc"),
        connect(b"\x02\xff\xffabc"),
        connect(&[&b"\x11"[..], &b"\x09\x03\x01".repeat(10_000)].concat()),
        message(20, b"\x02\x00\x07publish\x00\x3f\xf0\0\0\0\0\0\0\x05\x02\x00\x01a".to_vec()),
        message(20, Vec::new()),
        message(20, vec![5]),
    ]);
    all
}

/// Sends bytes, with a handshake before them if need be, closes that way, and reads until the server is done with it.
fn send_and_see_the_end(port: SocketAddr, bytes: &[u8], handshake: bool) {
    let mut socket = TcpStream::connect(port).expect("the port is open");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out is set");
    if handshake {
        let mut answer = vec![0; 1 + 2 * 1536];
        socket.write_all(&[&[3][..], &[0; 1536]].concat()).expect("C0 and C1 are taken");
        socket.read_exact(&mut answer).expect("S0, S1 and S2");
        socket.write_all(&answer[1..1537]).expect("C2 is taken");
    }
    // The server may close before all is sent.
    let _cut = socket.write_all(bytes);
    let _cut = socket.shutdown(std::net::Shutdown::Write);
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("{port} neither answers nor closes after {:?}…", &bytes[..bytes.len().min(24)])
        }
        _ => {}
    }
}

/// A publisher who is let in, and then sends tags, aggregates and commands that make no sense.
async fn hostile_publisher(url: &str) {
    let parsed = Url::parse(url).expect("an address");
    let tags: [(u8, &[u8]); 12] = [
        (9, b""),
        (9, b"\x17"),
        (9, b"\x17\x00"),
        (9, b"\x17\x00\0\0\0\x01\x42\xc0\x0a\xff\xff\xff\xff"),
        (9, b"\x17\x09\0\0\0"),
        (9, b"\x1f\xff"),
        (9, b"\x97\x00\x00\x00\x00\x00\x00\x00"),
        (9, b"\x96\x20avc1"),
        (9, b"\x90zzzz"),
        (8, b"\xaf\x00"),
        (8, b"\xaf\x00\xff"),
        (18, b"\x02\x00\x0d@setDataFrame"),
    ];
    let connection = Connection::open(&parsed).await.expect("a connection");
    let mut publisher = Publisher::on(connection, &parsed.name).await.expect("a publication");
    for (number, (type_id, payload)) in tags.into_iter().enumerate() {
        let tag = flv::Tag { type_id, timestamp: number as u32 * 40, payload: payload.into() };
        if publisher.send(&tag).await.is_err() {
            return;
        }
    }
    for name in ["shutdown", "createStream", "deleteStream", "closeStream", "play", "publish"] {
        let arguments = [Value::Null, Value::text("../../etc/passwd"), Value::Number(f64::NAN)];
        if publisher.connection.command(name, 1.0, 9, &arguments).await.is_err() {
            return;
        }
    }
    // Gone if the server has cut it; otherwise it leaves without a word.
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
}
