//! Publishers that no encoder here is: interleaved chunks, AMF3, aggregates, small chunks, large timestamps.

use std::time::Duration;

use bytes::Bytes;
use tests::{
    Cluster, flv,
    flv::Tag,
    packets::assert_rest,
    player::Player,
    rtmp::{Connection, Publisher, Recorder, Url},
    sources,
    tools::{self, Tool::Ffmpeg},
    wait::SOON,
};

/// How many tags are sent before a viewer must have seen them.
const BURST: usize = 60;

/// How a publisher speaks.
#[derive(Clone, Copy)]
struct Form {
    amf3: bool,
    chunk_size: usize,
    body: Body,
    base: u32,
}

#[derive(Clone, Copy)]
enum Body {
    Plain,
    Interleaved,
    Aggregates,
}

const PLAIN: Form = Form { amf3: false, chunk_size: 4096, body: Body::Plain, base: 0 };

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn interleaved_chunks_play() {
    plays(Form { chunk_size: 128, body: Body::Interleaved, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_and_metadata_in_amf3_play() {
    plays(Form { amf3: true, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn aggregates_play() {
    plays(Form { body: Body::Aggregates, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn chunks_of_128_bytes_play() {
    plays(Form { chunk_size: 128, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn timestamps_that_pass_24_bits_play() {
    plays(Form { chunk_size: 128, body: Body::Interleaved, base: 0xff_ffff - 2000, ..PLAIN }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn timestamps_that_pass_32_bits_play() {
    plays(Form { chunk_size: 128, base: u32::MAX - 2000, ..PLAIN }).await;
}

/// Publishes in this form; a viewer over RTMP gets every tag, ffmpeg over HTTP every packet from where it came in.
async fn plays(form: Form) {
    if !tools::has(&[Ffmpeg]) {
        return;
    }
    let source = sources::h264_aac(5);
    let cluster = Cluster::start();
    let sent: Vec<Tag> =
        source.tags().into_iter().filter(|tag| tag.type_id != 18).map(|tag| moved(&tag, form)).collect();
    let viewer = Recorder::start(&cluster.rtmp("edge-2", "live/show"));
    let mut ffmpeg = Player::packets(Ffmpeg, &cluster.http_flv("edge-2", "live/show"), cluster.scratch(), "ffmpeg");
    crate::waiting_viewers(&cluster, "edge-2", 2);
    let url = Url::parse(&cluster.rtmp("edge-1", "live/show")).expect("an address");
    let connection = Connection::open_as(&url, form.amf3, form.chunk_size).await.expect("a connection");
    let mut publisher = Publisher::on(connection, &url.name).await.expect("a publication");
    publisher.send_metadata(("headwaterTest", 42.0), form.amf3).await.expect("metadata is taken");
    for burst in sent.chunks(BURST) {
        send(&mut publisher, burst, form).await;
        let coded = burst.iter().filter(|tag| tag.is_coded()).count();
        let until = viewer_target(&sent, burst, coded);
        tests::until("a burst to be seen", SOON, || (viewer.frames() >= until).then_some(()));
    }
    publisher.end(&url.name).await.expect("an end");
    viewer.wait_end(SOON);
    ffmpeg.wait(Duration::from_secs(15));

    let seen = viewer.tags();
    flv::assert_whole(&sent, &seen);
    let metadata: Vec<&Tag> = seen.iter().filter(|tag| tag.type_id == 18).collect();
    assert!(metadata.iter().any(|tag| is_plain_metadata(&tag.payload)), "onMetaData in AMF0, in {metadata:?}");
    assert_rest(&source.packets(), &ffmpeg.played());
}

/// How many coded frames a viewer has seen when it has seen this burst.
fn viewer_target(sent: &[Tag], burst: &[Tag], coded: usize) -> usize {
    let before = (burst.as_ptr() as usize - sent.as_ptr() as usize) / size_of::<Tag>();
    sent[..before].iter().filter(|tag| tag.is_coded()).count() + coded
}

async fn send(publisher: &mut Publisher, burst: &[Tag], form: Form) {
    match form.body {
        Body::Plain => {
            for tag in burst {
                publisher.send(tag).await.expect("a tag is taken");
            }
        }
        Body::Interleaved => {
            for group in neighbours(burst) {
                publisher.send_interleaved(group).await.expect("chunks are taken");
            }
        }
        Body::Aggregates => {
            for group in burst.chunks(7) {
                publisher.send_aggregate(group, 1_000_000).await.expect("an aggregate is taken");
            }
        }
    }
}

/// Pairs of neighbours where these are audio and video, each of which has a chunk stream of its own; else single tags.
fn neighbours(tags: &[Tag]) -> Vec<&[Tag]> {
    let mut groups = Vec::new();
    let mut rest = tags;
    while let Some(first) = rest.first() {
        let pair = rest.get(1).is_some_and(|second| second.type_id != first.type_id);
        let (group, later) = rest.split_at(if pair { 2 } else { 1 });
        groups.push(group);
        rest = later;
    }
    groups
}

/// The tag at its time after the base; set-ups are sent at zero by encoders, and so they are here.
fn moved(tag: &Tag, form: Form) -> Tag {
    let timestamp = if tag.is_config() { 0 } else { tag.timestamp.wrapping_add(form.base) };
    Tag { timestamp, ..tag.clone() }
}

/// onMetaData as a name and an object of AMF0, with the field that was sent.
fn is_plain_metadata(payload: &Bytes) -> bool {
    let field = b"\x00\x0dheadwaterTest\x00\x40\x45\x00\x00\x00\x00\x00\x00";
    payload.starts_with(b"\x02\x00\x0aonMetaData") && payload.windows(field.len()).any(|window| window == field)
}
