//! Tags, aggregates and times that make no sense, from a publisher who was let in.

use std::time::Duration;

use bytes::Bytes;
use tests::{
    flv::Tag,
    rtmp::{Publisher, Recorder},
    synthetic, until,
    wait::SOON,
};

use super::{Beside, Case, Stage, large, message};

/// The time between two frames of the hostile stream, by its encoder's clock.
const STEP: Duration = Duration::from_millis(40);
/// Messages in one aggregate.
const AGGREGATE_MESSAGES: usize = 4096;
/// The longest audio message.
const AUDIO_BYTES_MAX: u32 = 1 << 20;
/// The longest decoder set-up that is kept for whoever comes later, without what stands before it in a tag.
const RECORD_BYTES_MAX: usize = 32 * 1024;
/// How the tags of set-ups begin, for H.264 and for AAC.
const VIDEO_SET_UP: &[u8] = b"\x17\0\0\0\0";
const AUDIO_SET_UP: &[u8] = b"\xaf\0";
/// No two frames of a viewer are further apart: where an encoder's clock leaps, time goes on one frame after the last.
const STEP_MAX_MS: u32 = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senseless_media_harms_neither_its_own_stream_nor_another() {
    let beside = Beside::start().await;
    for node in ["edge-1", beside.cluster.active()] {
        senseless_tags_pass_and_the_good_set_ups_are_kept(&beside, node).await;
        beside.check(&format!("{node}: tags"));
        good_set_ups_may_change_with_every_frame(&beside, node).await;
        beside.check(&format!("{node}: set-ups"));
    }
    times_that_leap_come_out_in_order(&beside).await;
    beside.check("times");
    beside.try_all("edge-1", Stage::Publishing, &aggregates()).await;
    beside.finish();
}

async fn senseless_tags_pass_and_the_good_set_ups_are_kept(beside: &Beside, node: &str) {
    let path = format!("live/senseless-{node}");
    let mut publisher = Publisher::open(&beside.cluster.rtmp(node, &path)).await.expect("a publication");
    let mut number = 0;
    let mut send_good = async |publisher: &mut Publisher| {
        // Up to the next keyframe and one beyond.
        loop {
            publisher.send(&synthetic::frame(number, STEP)).await.expect("a frame is taken");
            number += 1;
            if number % synthetic::GOP == 1 {
                return number;
            }
        }
    };
    let good = [video_set_up(24, 10), audio_set_up(2)];
    send_all(&mut publisher, &good).await;
    send_good(&mut publisher).await;
    let early = Recorder::start(&beside.cluster.rtmp("edge-2", &path));
    early.wait_frames(1, SOON);
    for (type_id, payload) in senseless() {
        let tag = Tag { type_id, timestamp: 1, payload: payload.into() };
        publisher.send(&tag).await.expect("a senseless tag ends nothing");
    }
    let sent = send_good(&mut publisher).await;
    publisher.connection.create_stream().await.expect("the connection goes on");
    // Whoever was there sees the stream go on; whoever comes now begins with the set-ups that were good.
    until("the frames behind the senseless ones", SOON, || {
        early.tags().iter().any(|tag| tag.is_key() && synthetic::number(tag) == Some(sent - 1)).then_some(())
    });
    assert_kept(beside, &path, &good).await;
}

/// Viewers get each set-up and each frame in order; whoever comes later gets the last set-up that may be kept.
async fn good_set_ups_may_change_with_every_frame(beside: &Beside, node: &str) {
    let path = format!("live/changing-{node}");
    let mut publisher = Publisher::open(&beside.cluster.rtmp(node, &path)).await.expect("a publication");
    let last = 2 * synthetic::GOP;
    let set_ups = |number: u32| [video_set_up(24, number as u8), audio_set_up(2 + number as usize)];
    let frame = |number: u32| synthetic::frame(number, STEP);
    let mut tags: Vec<Tag> = (0..=last).flat_map(|number| set_ups(number).into_iter().chain([frame(number)])).collect();
    let (first, rest) = tags.split_at(3);
    send_all(&mut publisher, first).await;
    let early = Recorder::start(&beside.cluster.rtmp("edge-2", &path));
    early.wait_frames(1, SOON);
    send_all(&mut publisher, rest).await;
    until("every frame", SOON, || (early.frames() > last as usize).then_some(()));
    assert_kept(beside, &path, &set_ups(last)).await;
    // One as long as may be is kept; longer ones are passed on and kept for nobody.
    let long = |bytes: usize| [video_set_up(bytes, 10), audio_set_up(bytes)];
    let lengths = [RECORD_BYTES_MAX, RECORD_BYTES_MAX + 1, 64 * 1024];
    let end = last + synthetic::GOP;
    let more: Vec<Tag> = lengths.into_iter().flat_map(long).chain((last + 1..=end).map(frame)).collect();
    send_all(&mut publisher, &more).await;
    tags.extend(more);
    until("every frame", SOON, || (early.frames() > end as usize).then_some(()));
    let seen: Vec<Tag> = early.tags().into_iter().filter(|tag| tag.type_id != 18).collect();
    let what = |tags: &[Tag]| tags.iter().map(|tag| (tag.type_id, tag.payload.clone())).collect::<Vec<_>>();
    assert!(what(&seen) == what(&tags), "{path}: {} tags were sent, and {} others seen", tags.len(), seen.len());
    assert_kept(beside, &path, &long(RECORD_BYTES_MAX)).await;
}

async fn send_all(publisher: &mut Publisher, tags: &[Tag]) {
    for tag in tags {
        publisher.send(tag).await.expect("a tag is taken");
    }
}

/// Whoever comes to a stream now gets these set-ups, and no others of their codecs, before its first frame.
async fn assert_kept(beside: &Beside, path: &str, set_ups: &[Tag; 2]) {
    let late = Recorder::start(&beside.cluster.rtmp("edge-2", path));
    late.wait_frames(1, SOON);
    let before: Vec<Bytes> = late.tags().into_iter().take_while(|tag| !tag.is_coded()).map(|tag| tag.payload).collect();
    for good in set_ups {
        let kept: Vec<&Bytes> = before.iter().filter(|body| body[..body.len().min(2)] == good.payload[..2]).collect();
        let lengths: Vec<usize> = kept.iter().map(|body| body.len()).collect();
        assert!(kept == [&good.payload], "{path}: instead of {} bytes are kept {lengths:?}", good.payload.len());
    }
}

/// A good set-up for H.264 of so many bytes, 19 at least.
fn video_set_up(bytes: usize, level: u8) -> Tag {
    let mut sps = vec![0x67, 0x42, 0xc0, level];
    sps.resize(bytes - 15, 0x5a);
    let record = [&[1, 0x42, 0xc0, level, 0xff, 0xe1][..], &(sps.len() as u16).to_be_bytes(), &sps].concat();
    let payload = [VIDEO_SET_UP, &record, b"\x01\0\x04\x68\xce\x3c\x80"].concat();
    Tag { type_id: 9, timestamp: 0, payload: payload.into() }
}

/// A good set-up for AAC of so many bytes, two at least.
fn audio_set_up(bytes: usize) -> Tag {
    let mut record = vec![0x12, 0x10];
    record.resize(bytes, 0);
    Tag { type_id: 8, timestamp: 0, payload: [AUDIO_SET_UP, &record].concat().into() }
}

/// Bodies of tags: type and payload.
fn senseless() -> Vec<(u8, Vec<u8>)> {
    let avc = |record: &[u8]| (9, [VIDEO_SET_UP, record].concat());
    let coded = |nal: &[u8]| (9, [&b"\x27\x01\0\0\0"[..], nal].concat());
    let mut tags: Vec<(u8, Vec<u8>)> = vec![
        // Too short for what they say they are.
        (9, vec![]),
        (8, vec![]),
        (18, vec![]),
        (9, b"\x17".to_vec()),
        (9, b"\x17\0".to_vec()),
        (9, b"\x27\x01".to_vec()),
        // Codecs and packet types that nobody has heard of.
        (9, b"\x10\0\0\0\0".to_vec()),
        (9, b"\x1f\xff".to_vec()),
        (9, b"\x17\x09\0\0\0".to_vec()),
        (9, b"\x90zzzz".to_vec()),
        (9, b"\x9f\0\0\0\0".to_vec()),
        (8, b"\x9fzzzz".to_vec()),
        // Set-ups that are none.
        avc(b""),
        avc(b"\x01\x42\xc0\x0a\xff\xff\xff\xff"),
        avc(b"\x01\x42\xc0\x0a\xff\xe1\xff\xff\x67"),
        avc(b"\x01\x42\xc0\x0a\xff\xe1\0\0\x01\0\0"),
        avc(b"\x02\x42\xc0\x0a\xff\xe0\0"),
        avc(&[&b"\x01\x42\xc0\x0a\xff\xe1\xff\xff"[..], &[0x67; 100]].concat()),
        // A good SPS and an empty PPS; the same without any.
        avc(b"\x01\x42\xc0\x0a\xff\xe1\0\x08\x67\x42\xc0\x0a\xda\x0a\x0b\x59\x01\0\0"),
        avc(b"\x01\x42\xc0\x0a\xff\xe1\0\x08\x67\x42\xc0\x0a\xda\x0a\x0b\x59\0"),
        (8, b"\xaf\0".to_vec()),
        (8, b"\xaf\0\xff".to_vec()),
        (8, b"\xaf\0\xf8\0".to_vec()),
        (8, b"\xaf\0\x17\x80".to_vec()),
        // Without channels, and of a rate that is none.
        (8, b"\xaf\0\x12\0".to_vec()),
        (8, b"\xaf\0\x16\x90".to_vec()),
        (8, b"\xaf\0\x17\x80\0\0\x10".to_vec()),
        // NAL units whose lengths lie, and very many of them.
        coded(b"\0\0\0\0"),
        coded(b"\xff\xff\xff\xff\x41"),
        coded(b"\0\0\x10\0\x41"),
        coded(&b"\0\0\0\x01\x09".repeat(50_000)),
        // Extensions around extensions, and tracks without bytes.
        (9, [&b"\x97"[..], &b"\0\0\x07".repeat(1000)].concat()),
        (9, b"\x97\xff\xff\xff".to_vec()),
        (9, b"\x96\x10avc1".to_vec()),
        (9, [&b"\x96\x11avc1"[..], &b"\0\0\0\0".repeat(20_000)].concat()),
        (9, b"\x96\x11avc1\0\xff\xff\xff".to_vec()),
        (9, b"\x96\x66avc1".to_vec()),
        (8, b"\x95\x11mp4a\0\xff\xff\xffx".to_vec()),
        (9, b"\x94avc1\x02\0\x09colorInfo\x03".to_vec()),
    ];
    // Ever another set-up that is none.
    tags.extend((0..100u8).map(|level| avc(&[1, 0x42, 0xc0, level, 0xff, 0xe1, 0, 0])));
    tags
}

/// Where an encoder's clock begins anew, four frames each time: back, an hour ahead, over both wraps, all zero.
const STARTS: [u32; 12] =
    [0, 3_600_000, 1000, i32::MAX as u32 - 60, u32::MAX - 60, 0, 0, 0x00ff_ffff, 0x00ff_fffe, 5, u32::MAX, 0];
/// Chunks that lean on the one before: format, and by how much they are later.
const DELTAS: [(u8, u32); 13] = [
    (1, 40),
    (2, 40),
    (3, 40),
    // The sum goes beyond 32 bits, which is a little back. Format 3 says it again, or does not, as old encoders have it.
    (1, u32::MAX),
    (2, u32::MAX - 39),
    (3, u32::MAX - 39),
    (3, 0),
    (2, 40),
    // Ahead by an hour, and by as much as there is; back by as much; ahead by the least that takes a field of its own.
    (1, 3_600_000),
    (2, 0x7fff_ffff),
    (2, 0x8000_0001),
    (2, 0x00ff_ffff),
    (2, 40),
];
/// Of these so many are further than a clock goes by itself: more than ten seconds ahead, or three back.
const JUMPS: f64 = 6.0 + 4.0;

async fn times_that_leap_come_out_in_order(beside: &Beside) {
    let origin = beside.cluster.active();
    let jumps = || beside.cluster.metric(origin, "headwater_timestamp_jumps", &[]).expect("an origin counts jumps");
    let before = jumps();
    let url = beside.cluster.rtmp("edge-1", "live/leaping");
    let mut publisher = Publisher::open(&url).await.expect("a publication");
    publisher.send(&synthetic::config()).await.expect("the set-up is taken");
    let mut count = 0;
    let mut viewer = None;
    for start in STARTS {
        for step in 0..4 {
            let mut tag = synthetic::frame(count, STEP);
            tag.timestamp = u32::wrapping_add(start, step * 40);
            publisher.send(&tag).await.expect("a frame is taken");
            count += 1;
        }
        if viewer.is_none() {
            let recorder = Recorder::start(&beside.cluster.rtmp("edge-2", "live/leaping"));
            recorder.wait_frames(4, SOON);
            viewer = Some(recorder);
        }
    }
    for (format, delta) in DELTAS {
        // All are equally long, as two of the formats have it.
        let frame = large(count, STEP, 2000);
        publisher.connection.send_raw(&leaning(format, delta, &frame.payload)).await.expect("a chunk is taken");
        count += 1;
    }
    let viewer = viewer.expect("one was started");
    until("every frame", SOON, || (viewer.frames() >= count as usize).then_some(()));
    let seen: Vec<Tag> = viewer.tags().into_iter().filter(|tag| tag.is_coded()).collect();
    let numbers: Vec<_> = seen.iter().filter_map(synthetic::number).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "each frame once and in order");
    let times: Vec<u32> = seen.iter().map(|tag| tag.timestamp).collect();
    let steps = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    assert!(steps.max() <= Some(STEP_MAX_MS), "times fall or leap: {times:?}");
    assert_eq!(jumps() - before, JUMPS, "jumps counted");
}

/// A video message in one chunk, on the chunk stream that publishers here use for video, without a header of its own.
fn leaning(format: u8, delta: u32, payload: &[u8]) -> Vec<u8> {
    let mut chunk = vec![format << 6 | 6];
    if format < 3 {
        chunk.extend(&delta.min(0x00ff_ffff).to_be_bytes()[1..]);
    }
    if format == 1 {
        chunk.extend(&(payload.len() as u32).to_be_bytes()[1..]);
        chunk.push(9);
    }
    if delta >= 0x00ff_ffff {
        chunk.extend(delta.to_be_bytes());
    }
    chunk.extend(payload);
    chunk
}

fn aggregates() -> Vec<Case> {
    let tag = |type_id: u8, length: u32, body: &[u8]| {
        let size = length.to_be_bytes();
        [&[type_id, size[1], size[2], size[3], 0, 0, 0, 0, 0, 0, 0][..], body, &(11 + length).to_be_bytes()].concat()
    };
    let aggregate = |body: &[u8]| message(22, 1, body);
    let lying_end = [&tag(8, 3, b"\xaf\x01a")[..14], &[0xff; 4]].concat();
    vec![
        Case::goes_on("an empty aggregate", aggregate(&[])),
        Case::goes_on("an aggregate of empty tags", aggregate(&tag(9, 0, &[]).repeat(100))),
        Case::goes_on("an aggregate whose back pointers lie", aggregate(&lying_end)),
        Case::goes_on("an aggregate of commands", aggregate(&tag(20, 3, b"abc"))),
        Case::goes_on(
            "a tag of audio as long as may be",
            aggregate(&tag(8, AUDIO_BYTES_MAX, &[0xaf; AUDIO_BYTES_MAX as usize])),
        ),
        Case::goes_on("as many tags as may be", aggregate(&tag(8, 1, &[0xaf]).repeat(AGGREGATE_MESSAGES))),
        Case::closed("one tag more", aggregate(&tag(8, 1, &[0xaf]).repeat(AGGREGATE_MESSAGES + 1)), "aggregate"),
        Case::closed("a tag of 16 MiB that has nine bytes", aggregate(&tag(9, (1 << 24) - 1, &[9; 9])), "aggregate"),
        Case::closed(
            "a tag of audio longer than audio may be",
            aggregate(&tag(8, AUDIO_BYTES_MAX + 1, &[0xaf; AUDIO_BYTES_MAX as usize + 1])),
            "chunk",
        ),
        Case::closed("half a tag", aggregate(&[9; 40]), "aggregate"),
        Case::closed("an aggregate within an aggregate", aggregate(&tag(22, 3, b"abc")), "aggregate"),
    ]
}
