//! Tags, aggregates and times that make no sense, from a publisher who was let in.

use std::time::Duration;

use tests::{
    flv::Tag,
    rtmp::{Publisher, Recorder},
    synthetic,
    wait::SOON,
};

use super::{Beside, Case, Stage, message};

/// The time between two frames of the hostile stream, by its encoder's clock.
const STEP: Duration = Duration::from_millis(40);
/// Messages in one aggregate.
const AGGREGATE_MESSAGES: usize = 4096;
/// The longest audio message.
const AUDIO_BYTES_MAX: u32 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senseless_media_harms_neither_its_own_stream_nor_another() {
    let beside = Beside::start().await;
    for node in ["edge-1", beside.cluster.active()] {
        senseless_tags_pass_and_the_good_set_up_is_kept(&beside, node).await;
        beside.check(&format!("{node}: tags"));
    }
    times_that_leap_come_out_in_order(&beside).await;
    beside.check("times");
    beside.try_all("edge-1", Stage::Publishing, &aggregates()).await;
    beside.finish();
}

async fn senseless_tags_pass_and_the_good_set_up_is_kept(beside: &Beside, node: &str) {
    let address = beside.cluster.address(node, "rtmp");
    let url = format!("rtmp://{address}/live/senseless");
    let mut publisher = Publisher::open(&url).await.expect("a publication");
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
    publisher.send(&synthetic::config()).await.expect("the set-up is taken");
    send_good(&mut publisher).await;
    let early = Recorder::start(&beside.cluster.rtmp("edge-2", "live/senseless"));
    early.wait_frames(1, SOON);
    for (type_id, payload) in senseless() {
        let tag = Tag { type_id, timestamp: 1, payload: payload.into() };
        publisher.send(&tag).await.expect("a senseless tag ends nothing");
    }
    let sent = send_good(&mut publisher).await;
    publisher.connection.create_stream().await.expect("the connection goes on");
    // Whoever was there sees the stream go on; whoever comes now begins with the set-up that was good.
    tests::until("the frames behind the senseless ones", SOON, || {
        early.tags().iter().any(|tag| tag.is_key() && synthetic::number(tag) == Some(sent - 1)).then_some(())
    });
    let late = Recorder::start(&beside.cluster.rtmp("edge-2", "live/senseless"));
    late.wait_frames(1, SOON);
    let set_ups: Vec<_> = late.tags().into_iter().filter(|tag| tag.type_id == 9 && tag.is_config()).collect();
    assert_eq!(set_ups.first().map(|tag| &tag.payload), Some(&synthetic::config().payload), "{node}: {set_ups:?}");
}

/// Bodies of tags: type and payload.
fn senseless() -> Vec<(u8, Vec<u8>)> {
    let avc = |record: &[u8]| (9, [&b"\x17\0\0\0\0"[..], record].concat());
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
        (8, b"\xaf\0".to_vec()),
        (8, b"\xaf\0\xff".to_vec()),
        (8, b"\xaf\0\xf8\0".to_vec()),
        (8, b"\xaf\0\x17\x80".to_vec()),
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
    // A set-up that changes with every frame.
    tags.extend((0..100u8).map(|level| avc(&[1, 0x42, 0xc0, level, 0xff, 0xe1, 0, 0])));
    tags
}

/// Back, an hour ahead, over both wraps, all zero.
async fn times_that_leap_come_out_in_order(beside: &Beside) {
    let url = beside.cluster.rtmp("edge-1", "live/leaping");
    let mut publisher = Publisher::open(&url).await.expect("a publication");
    publisher.send(&synthetic::config()).await.expect("the set-up is taken");
    let starts =
        [0, 3_600_000, 1000, i32::MAX as u32 - 60, u32::MAX - 60, 0, 0, 0x00ff_ffff, 0x00ff_fffe, 5, u32::MAX, 0];
    let mut count = 0;
    let mut viewer = None;
    for start in starts {
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
    let viewer = viewer.expect("one was started");
    tests::until("every frame", SOON, || (viewer.frames() >= count as usize).then_some(()));
    let seen: Vec<Tag> = viewer.tags().into_iter().filter(|tag| tag.is_coded()).collect();
    let numbers: Vec<_> = seen.iter().filter_map(synthetic::number).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "each frame once and in order");
    let times: Vec<u32> = seen.iter().map(|tag| tag.timestamp).collect();
    // An hour ahead may be meant; everything else is made to go on.
    let steps = times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    assert!(steps.max() <= Some(3_600_000), "times fall or leap: {times:?}");
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
