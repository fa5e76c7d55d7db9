//! The chunk layer: sizes that lie, headers that lean on nothing, buffers that are asked for and never filled.

use std::time::Duration;

use tests::{
    process::resident_kib,
    rtmp::{Publisher, Recorder},
    synthetic, until,
    wait::SOON,
};
use tokio::time::timeout;

use super::{ANSWER, Beside, Case, Client, Stage, call, control, large, message, on_chunk_stream};

/// Chunk streams a client may use, and those that this client's commands use.
const CHUNK_STREAMS: usize = 64;
const OWN_CHUNK_STREAMS: usize = 1;
/// The longest message before and after something is published: a video message.
const VIDEO_BYTES_BEFORE: u32 = 256 * 1024;
const VIDEO_BYTES_AFTER: u32 = 8 * 1024 * 1024;
/// The longest command.
const COMMAND_BYTES: usize = 64 * 1024;
/// Bytes of messages under way, all together, after something is published.
const PARTIAL_BYTES: usize = 16 * 1024 * 1024;
/// Here they are of so many messages, and come in chunks of so many bytes.
const PARTS: usize = 8;
const CHUNK_BYTES: usize = 64 * 1024;
/// What a process may gain meanwhile for other reasons.
const MARGIN_KIB: u64 = 8 * 1024;
/// The time between two frames.
const STEP: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_lie_cost_their_sender_the_connection_and_nobody_else_anything() {
    let beside = Beside::start().await;
    for (node, stages) in
        [("edge-1", &[Stage::Connected, Stage::Publishing][..]), (beside.cluster.active(), &[Stage::Publishing])]
    {
        beside.try_all(node, Stage::Greeted, &before_connect()).await;
        for stage in stages {
            let video_bytes = if *stage == Stage::Publishing { VIDEO_BYTES_AFTER } else { VIDEO_BYTES_BEFORE };
            beside.try_all(node, *stage, &sizes()).await;
            beside.try_all(node, *stage, &headers()).await;
            beside.try_all(node, *stage, &announcements(video_bytes)).await;
        }
    }
    beside.finish();
    // From here on a process may well keep what it was sent: that is looked at by itself.
    for node in ["edge-1", beside.cluster.active()] {
        parts_take_no_more_memory_than_they_have_bytes(&beside, node).await;
        beside.check(&format!("{node}: parts"));
    }
    the_longest_video_message_is_seen_whole(&beside).await;
    beside.check("the longest video message");
}

/// Messages of which much has come and the end has not, up to the bound and one byte beyond.
async fn parts_take_no_more_memory_than_they_have_bytes(beside: &Beside, node: &str) {
    let pid = beside.cluster.pid(node);
    // What is asked behind them is under way as well when its last byte comes.
    let asked = call("createStream", 1.0, &[]);
    let room = PARTIAL_BYTES - asked.len();
    let mut client = Client::at(beside.cluster.address(node, "rtmp"), Stage::Publishing).await;
    let before = resident_kib(pid);
    client.send(&parts(room)).await;
    client.assert_served(&format!("{node}: as many bytes in parts as may be")).await;
    let gain = resident_kib(pid).saturating_sub(before);
    println!("{node} gained {gain} KiB by {} KiB in parts", PARTIAL_BYTES / 1024);
    assert!(gain < 2 * PARTIAL_BYTES as u64 / 1024 + MARGIN_KIB, "{node} gained {gain} KiB");
    drop(client);
    let beyond = [parts(room + 1), message(20, 0, &asked)].concat();
    beside.try_case(node, Stage::Publishing, &Case::closed("a byte more in parts", beyond, "chunk")).await;
}

/// So many bytes of video messages that are longer, in turns. The last chunk is as long as what is left.
fn parts(bytes: usize) -> Vec<u8> {
    let set = |size: usize| control(1, &(size as u32).to_be_bytes());
    let csid = |number: usize| 100 + (number % PARTS) as u32;
    let (whole, rest) = (bytes / CHUNK_BYTES, bytes % CHUNK_BYTES);
    let mut wire = set(CHUNK_BYTES);
    for number in 0..whole {
        wire.extend(match number < PARTS {
            true => announced(csid(number), VIDEO_BYTES_AFTER),
            false => id(3, csid(number)),
        });
        wire.resize(wire.len() + CHUNK_BYTES, 0);
    }
    [wire, set(rest), id(3, csid(whole)), vec![0; rest]].concat()
}

async fn the_longest_video_message_is_seen_whole(beside: &Beside) {
    let mut publisher = Publisher::open(&beside.cluster.rtmp("edge-1", "live/longest")).await.expect("a publication");
    publisher.send(&synthetic::config()).await.expect("taken");
    publisher.send(&synthetic::frame(0, STEP)).await.expect("taken");
    let viewer = Recorder::start(&beside.cluster.rtmp("edge-2", "live/longest"));
    viewer.wait_frames(1, SOON);
    let longest = large(synthetic::GOP, STEP, VIDEO_BYTES_AFTER as usize);
    publisher.send(&longest).await.expect("taken");
    until("the longest message to be seen", SOON, || {
        viewer.tags().iter().any(|tag| tag.payload == longest.payload).then_some(())
    });
    let before = beside.closed("edge-1", "chunk");
    // The server closes before it has taken all.
    let _cut = publisher.send(&large(2 * synthetic::GOP, STEP, VIDEO_BYTES_AFTER as usize + 1)).await;
    let ended = timeout(ANSWER, async { while let Ok(Some(_)) = publisher.connection.next().await {} }).await;
    assert!(ended.is_ok(), "a video message one byte longer is taken");
    beside.wait_closed("edge-1", "chunk", before, "a video message one byte longer");
}

fn before_connect() -> Vec<Case> {
    let partial = (0..40 * OPEN_STREAMS).flat_map(|number| {
        let csid = 100 + (number % OPEN_STREAMS) as u32;
        if number < OPEN_STREAMS { announce(csid, VIDEO_BYTES_BEFORE) } else { go_on(csid) }
    });
    vec![
        Case::closed("a chunk size of 0", control(1, &[0; 4]), "chunk"),
        Case::closed("a header that repeats one that never came", vec![0xc3; 64], "chunk"),
        Case::closed("a message a byte longer than before publish", announce(100, VIDEO_BYTES_BEFORE + 1), "chunk"),
        Case::closed("256 KiB in parts of messages", partial.collect(), "chunk"),
        Case::closed("media before connect", message(9, 0, b"\x17\x01"), "out_of_order"),
        Case::closed("a shared object before connect", message(19, 0, b"abc"), "out_of_order"),
    ]
}

/// Set Chunk Size, at its bounds and beyond, and in the midst of a message.
fn sizes() -> Vec<Case> {
    let set = |size: u32| control(1, &size.to_be_bytes());
    let taken = [128, 1 << 16, (1 << 24) - 1, 1 << 24, i32::MAX as u32];
    let refused = [0, 1, 127, 1 << 31, u32::MAX];
    let mut cases: Vec<Case> = taken.map(|size| Case::goes_on(format!("a chunk size of {size}"), set(size))).into();
    cases.extend(refused.map(|size| Case::closed(format!("a chunk size of {size}"), set(size), "chunk")));
    let long = call("anything", 0.0, &super::text(&[b'x'; 250]));
    let whole = on_chunk_stream(5, 20, 0, &long);
    let (first, _) = whole.split_at(12 + 128);
    let rest = [&[0xc5][..], &long[128..]].concat();
    cases.extend([
        Case::goes_on("a chunk size within a message", [first, &set(4096), &rest].concat()),
        Case::closed("a chunk size of three bytes", control(1, &[0, 0, 1]), "chunk"),
        Case::closed("an abort of three bytes", control(2, &[0, 0, 1]), "chunk"),
        Case::closed("an acknowledgement of three bytes", control(3, &[0, 0, 1]), "control"),
        Case::closed("a control message of a kilobyte", control(4, &[0; 1024]), "chunk"),
    ]);
    cases
}

/// Chunk headers in every form, legal and not.
fn headers() -> Vec<Case> {
    // A command that wants no answer, in one chunk, behind each form of a chunk stream's id.
    let body = call("x", 0.0, &[]);
    let command = |id: &[u8]| {
        let mut chunk = id.to_vec();
        chunk.extend([0, 0, 0, 0, 0, body.len() as u8, 20, 0, 0, 0, 0]);
        chunk.extend(&body);
        chunk
    };
    let whole = on_chunk_stream(7, 20, 0, &call("x", 0.0, &super::text(&[b'y'; 250])));
    let part = &whole[..12 + 128];
    let abort = |csid: u32| control(2, &csid.to_be_bytes());
    let other_length = [part, &[0x47, 0, 0, 0, 0, 0, 200, 20], &[0; 128]].concat();
    let other_type = [part, &[0x07, 0, 0, 0, 0, 1, 9, 9, 0, 0, 0, 0], &[0; 128]].concat();
    let same_again = [&whole[..12 + 128], &whole[..12], &whole[12 + 128 + 1..]].concat();
    vec![
        Case::goes_on("chunk stream 64 in two bytes", command(&[0, 0])),
        Case::goes_on("chunk stream 319 in two bytes", command(&[0, 255])),
        Case::goes_on("chunk stream 70 in three bytes", command(&[1, 6, 0])),
        Case::goes_on("chunk stream 65599 in three bytes", command(&[1, 255, 255])),
        Case::goes_on("a command on chunk stream 2", command(&[2])),
        Case::goes_on(
            "a ping's answer with a relative header first",
            b"\x45\0\0\0\0\0\x06\x04\0\x07\0\0\0\x01".to_vec(),
        ),
        Case::closed("a header without length first", b"\x85\0\0\0".to_vec(), "chunk"),
        Case::closed("a header without anything first", vec![0xc5; 200], "chunk"),
        Case::closed("a length that changes half-way", other_length, "chunk"),
        Case::closed("a type that changes half-way", other_type, "chunk"),
        Case::goes_on("a whole header again half-way", same_again),
        Case::goes_on("an abort of nothing", abort(4711)),
        Case::goes_on("an abort half-way, and the next message", [part, &abort(7), &whole].concat()),
        Case::goes_on("an abort of another half-way", [part, &abort(8), &whole[part.len()..]].concat()),
        Case::goes_on("an extended time of 0xFFFFFF", extended(0x00ff_ffff)),
        Case::goes_on("an extended time at the end of 32 bits", extended(u32::MAX)),
    ]
}

/// Memory asked for by announcing it.
fn announcements(video_bytes: u32) -> Vec<Case> {
    let all =
        |count: usize, bytes: u32| (0..count).flat_map(|at| announce(100 + at as u32, bytes)).collect::<Vec<u8>>();
    let commanded = |bytes: usize| {
        let fixed = call("x", 0.0, &[]).len();
        // Two strings, since one may not be as long as a command.
        let half = (bytes - fixed - 6) / 2;
        let rest = [super::text(&vec![b'z'; half]), super::text(&vec![b'z'; bytes - fixed - 6 - half])].concat();
        message(20, 0, &call("x", 0.0, &rest))
    };
    vec![
        Case::goes_on("the longest video message on every chunk stream", all(OPEN_STREAMS, video_bytes)),
        Case::closed("one chunk stream more", all(OPEN_STREAMS + 1, video_bytes), "chunk"),
        Case::closed("a video message one byte longer", all(1, video_bytes + 1), "chunk"),
        Case::closed("16 MiB on 65,000 chunk streams", all(65_000, (1 << 24) - 1), "chunk"),
        Case::goes_on("the longest command", commanded(COMMAND_BYTES)),
        Case::closed("a command one byte longer", commanded(COMMAND_BYTES + 1), "chunk"),
    ]
}

const OPEN_STREAMS: usize = CHUNK_STREAMS - OWN_CHUNK_STREAMS;

/// The first chunk of a video message of so many bytes.
fn announce(csid: u32, bytes: u32) -> Vec<u8> {
    let mut chunk = announced(csid, bytes);
    chunk.extend([0; 128]);
    chunk
}

/// Its header.
fn announced(csid: u32, bytes: u32) -> Vec<u8> {
    let mut header = id(0, csid);
    header.extend([0, 0, 0]);
    header.extend(&bytes.to_be_bytes()[1..]);
    header.extend([9, 1, 0, 0, 0]);
    header
}

fn go_on(csid: u32) -> Vec<u8> {
    let mut chunk = id(3, csid);
    chunk.extend([0; 128]);
    chunk
}

fn id(format: u8, csid: u32) -> Vec<u8> {
    let rest = (csid - 64) as u16;
    vec![format << 6 | 1, rest as u8, (rest >> 8) as u8]
}

/// A command of two chunks at an extended time, which both of them say.
fn extended(time: u32) -> Vec<u8> {
    let body = call("x", 0.0, &super::text(&[b'y'; 150]));
    let mut bytes = vec![9, 0xff, 0xff, 0xff, 0, 0, body.len() as u8, 20, 0, 0, 0, 0];
    bytes.extend(time.to_be_bytes());
    bytes.extend(&body[..128]);
    bytes.push(0xc9);
    bytes.extend(time.to_be_bytes());
    bytes.extend(&body[128..]);
    bytes
}
