//! AMF that lies about its lengths, its depth and its ends.

use std::time::Duration;

use bytes::Bytes;
use tests::{
    flv::Tag,
    rtmp::{Publisher, Recorder},
    synthetic, until,
    wait::SOON,
};

use super::{Beside, Case, Stage, call, message, text};

/// Objects and arrays within each other, and members of one object, that a command may have.
const DEPTH: usize = 16;
const KEYS: usize = 256;
/// Items of one array.
const ITEMS: u32 = 1024;
/// Bytes of one string: as much as a whole command may have, and a quarter of what data may.
const STRING_BYTES: usize = 64 * 1024;
/// The time between two frames.
const STEP: Duration = Duration::from_millis(40);

/// How a message carries AMF0 values.
#[derive(Debug, Clone, Copy)]
struct Form {
    type_id: u8,
    /// What stands before the values.
    lead: &'static [u8],
}

/// Commands as such, and as those of AMF3, which may switch to it at each value; the same of data.
const COMMANDS: [Form; 2] = [Form { type_id: 20, lead: &[] }, Form { type_id: 17, lead: &[0] }];
const DATA: [Form; 2] = [Form { type_id: 18, lead: &[] }, Form { type_id: 15, lead: &[0] }];

impl Form {
    fn closed(self, what: &str, body: &[u8]) -> Case {
        Case::closed(self.what(what), self.message(0, body), "command")
    }

    fn goes_on(self, what: &str, msid: u32, body: &[u8]) -> Case {
        Case::goes_on(self.what(what), self.message(msid, body))
    }

    fn what(self, what: &str) -> String {
        format!("{what}, type {}", self.type_id)
    }

    fn message(self, msid: u32, body: &[u8]) -> Vec<u8> {
        message(self.type_id, msid, &[self.lead, body].concat())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_lie_are_refused_by_what_they_are_not_by_what_they_announce() {
    let beside = Beside::start().await;
    let broken: Vec<Case> = COMMANDS
        .into_iter()
        .flat_map(|form| broken().into_iter().map(move |(what, value)| form.closed(what, &connect(&value))))
        .collect();
    for node in ["edge-1", beside.cluster.active()] {
        beside.try_all(node, Stage::Greeted, &broken).await;
    }
    for stage in [Stage::Connected, Stage::Publishing] {
        beside.try_all("edge-1", stage, &as_arguments()).await;
    }
    for form in DATA {
        beside.try_all("edge-1", Stage::Publishing, &as_data(form)).await;
    }
    strings_of_data_are_whole_or_left_out(&beside).await;
    beside.finish();
}

fn connect(value: &[u8]) -> Vec<u8> {
    [&b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0"[..], value].concat()
}

fn as_arguments() -> Vec<Case> {
    let with = |value: &[u8]| call("anything", 0.0, value);
    let broken = COMMANDS
        .into_iter()
        .flat_map(|form| broken().into_iter().map(move |(what, value)| form.closed(what, &with(&value))));
    let sound = COMMANDS
        .into_iter()
        .flat_map(|form| sound().into_iter().map(move |(what, value)| form.goes_on(what, 0, &with(&value))));
    let odd = [
        Case::closed("a command without a byte", message(20, 0, &[]), "command"),
        Case::closed("a command that is null", message(20, 0, &[5]), "command"),
        Case::closed("a command of AMF3 without a byte", message(17, 0, &[]), "command"),
    ];
    broken.chain(sound).chain(odd).collect()
}

/// A data message that cannot be read is left out: an encoder's text track is no reason to end its stream.
fn as_data(form: Form) -> Vec<Case> {
    let data = |what: &str, value: &[u8]| {
        form.goes_on(what, 1, &[text(b"@setDataFrame"), text(b"onMetaData"), value.to_vec()].concat())
    };
    let mut cases: Vec<Case> = broken().iter().map(|(what, value)| data(what, value)).collect();
    cases.push(form.goes_on("half a name", 1, b"\x02\0\x0d@setDataFrame"));
    cases
}

/// A text track may have long lines. One that is too long is missing, and the stream goes on.
async fn strings_of_data_are_whole_or_left_out(beside: &Beside) {
    let mut publisher = Publisher::open(&beside.cluster.rtmp("edge-1", "live/lines")).await.expect("a publication");
    publisher.send(&synthetic::config()).await.expect("taken");
    publisher.send(&synthetic::frame(0, STEP)).await.expect("taken");
    let viewer = Recorder::start(&beside.cluster.rtmp("edge-2", "live/lines"));
    viewer.wait_frames(1, SOON);
    let long = |bytes: usize| [&[0x0c][..], &(bytes as u32).to_be_bytes(), &vec![b'x'; bytes]].concat();
    let long3 = |bytes: usize| [&b"\x11\x06"[..], &inline(&vec![b'x'; bytes])].concat();
    let line = |value: &[u8]| [&text(b"onLine")[..], value].concat();
    // Only data of type 15 is read on its way: the other is passed on as it is.
    for bytes in [STRING_BYTES, STRING_BYTES + 1, STRING_BYTES] {
        for value in [long(bytes), long3(bytes)] {
            let payload = [&[0][..], &line(&value)].concat().into();
            publisher.send(&Tag { type_id: 15, timestamp: 0, payload }).await.expect("taken");
        }
    }
    publisher.send(&synthetic::frame(1, STEP)).await.expect("taken");
    until("the frame behind the lines", SOON, || (viewer.frames() >= 2).then_some(()));
    let is_line = |tag: &Tag| tag.type_id == 18 && tag.payload.starts_with(&line(&[]));
    let seen: Vec<Bytes> = viewer.tags().into_iter().filter(is_line).map(|tag| tag.payload).collect();
    let lengths: Vec<usize> = seen.iter().map(Bytes::len).collect();
    assert!(seen == vec![line(&long(STRING_BYTES)); 4], "lines of {lengths:?} bytes");
    beside.check("long lines");
}

/// Values that must not be read to an end.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a string of 65,535 bytes that has 3", b"\x02\xff\xffabc".to_vec()),
        ("a long string of 4 GiB that has 3", b"\x0c\xff\xff\xff\xffabc".to_vec()),
        ("XML of 4 GiB", b"\x0f\xff\xff\xff\xff<a>".to_vec()),
        ("objects within objects without end", b"\x03\0\x01a".repeat(12_000)),
        ("arrays within arrays without end", b"\x0a\xff\xff\xff\xff".repeat(10_000)),
        ("arrays of AMF3 within each other without end", [&b"\x11"[..], &b"\x09\x03\x01".repeat(15_000)].concat()),
        ("objects one deeper than may be", nested(DEPTH + 1)),
        ("one key too many", keys(KEYS + 1)),
        ("an array of 4 billion undefined", b"\x0a\xff\xff\xff\xff\x06\x06".to_vec()),
        ("an array one longer than may be", array(ITEMS + 1)),
        ("an object without its end", b"\x03\0\x01a\x05".to_vec()),
        ("a reference to nothing", b"\x07\xff\xff".to_vec()),
        ("an object within itself", b"\x03\0\x01a\x07\0\0\0\0\x09".to_vec()),
        ("a movie clip", b"\x04".to_vec()),
        ("a record set", b"\x0e".to_vec()),
        ("marker 0x12", b"\x12".to_vec()),
        ("marker 0x1f", b"\x1f".to_vec()),
        ("a vector of 268 million numbers", b"\x11\x0d\xff\xff\xff\xff\0".to_vec()),
        ("a dictionary of 268 million", b"\x11\x11\xff\xff\xff\xff\0".to_vec()),
        ("a byte array of 268 MB", b"\x11\x0c\xff\xff\xff\xffabc".to_vec()),
        ("a reference of AMF3 to nothing", b"\x11\x06\x7e".to_vec()),
        ("an object of AMF3 with traits of nowhere", b"\x11\x0a\x7d".to_vec()),
        ("arrays of AMF3 one deeper than may be", nested3(0, DEPTH + 1)),
        ("arrays of both one deeper than may be", nested3(DEPTH / 2, DEPTH / 2 + 1)),
        ("a string of AMF3 of 256 MB that has 3", b"\x11\x06\xff\xff\xff\xffabc".to_vec()),
        ("a string of AMF3 of 8,191 bytes that has 3", b"\x11\x06\xff\x7fabc".to_vec()),
        ("XML of AMF3 of 8,191 bytes that has 3", b"\x11\x0b\xff\x7f<a>".to_vec()),
        ("an XML document of AMF3 of 256 MB", b"\x11\x07\xff\xff\xff\xff<a>".to_vec()),
        ("traits with 33 million names", b"\x11\x0a\xff\xff\xff\xf3\x01".to_vec()),
        ("traits with one name too many", traits(KEYS + 1)),
        ("an object whose form only its class knows", b"\x11\x0a\x07\x03C\x01\x01".to_vec()),
        ("an array of AMF3 within itself", b"\x11\x09\x03\x01\x09\0".to_vec()),
        ("a dictionary within itself", b"\x11\x11\x03\0\x01\x11\0".to_vec()),
        ("references that mean 8^10 values", multiplied()),
        ("references of AMF3 that mean 8^10 values", multiplied3()),
    ]
}

/// Values that are odd and can be read.
fn sound() -> Vec<(&'static str, Vec<u8>)> {
    let xml = b"<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>";
    vec![
        ("objects as deep as may be", nested(DEPTH)),
        ("as many keys as may be", keys(KEYS)),
        ("an array as long as may be", array(ITEMS)),
        ("an associative array that says 4 billion and has one", b"\x08\xff\xff\xff\xff\0\x01a\x05\0\0\x09".to_vec()),
        ("an object of a class", b"\x10\0\x03foo\0\x01a\x05\0\0\x09".to_vec()),
        ("XML with an entity", [&b"\x0f"[..], &(xml.len() as u32).to_be_bytes(), xml].concat()),
        ("a date that is no number", b"\x0b\x7f\xf8\0\0\0\0\0\x01\xff\xff".to_vec()),
        ("unsupported", b"\x0d".to_vec()),
        ("text that is not UTF-8", text(b"\xff\xfe\x00\x80")),
        ("arrays of AMF3 as deep as may be", nested3(0, DEPTH)),
        ("arrays of both as deep as may be", nested3(DEPTH / 2, DEPTH / 2)),
        ("XML of AMF3 with an entity", [&b"\x11\x0b"[..], &inline(xml)].concat()),
        ("an XML document of AMF3 with an entity", [&b"\x11\x07"[..], &inline(xml)].concat()),
        ("traits with as many names as may be", traits(KEYS)),
        ("an array of AMF3 and references to it", b"\x11\x09\x07\x01\x09\x03\x01\x01\x09\x02\x09\x02".to_vec()),
    ]
}

fn nested(depth: usize) -> Vec<u8> {
    [b"\x03\0\x01a".repeat(depth), vec![5], b"\0\0\x09".repeat(depth)].concat()
}

fn keys(count: usize) -> Vec<u8> {
    let members = (0..count).flat_map(|number| [0, 2, b'a' + (number >> 4) as u8, b'a' + (number & 15) as u8, 5]);
    [vec![3], members.collect(), b"\0\0\x09".to_vec()].concat()
}

fn array(count: u32) -> Vec<u8> {
    [&[0x0a][..], &count.to_be_bytes(), &vec![5; count as usize]].concat()
}

/// Arrays of AMF0 within each other, and arrays of AMF3 within them.
fn nested3(outer: usize, inner: usize) -> Vec<u8> {
    [b"\x0a\0\0\0\x01".repeat(outer), vec![0x11], b"\x09\x03\x01".repeat(inner), vec![1]].concat()
}

/// An object of AMF3 of a class without a name, whose members are named at once and are all null.
fn traits(count: usize) -> Vec<u8> {
    let names = (0..count).flat_map(|number| [5, b'a' + (number >> 4) as u8, b'a' + (number & 15) as u8]);
    [&b"\x11\x0a"[..], &u29(count << 4 | 3), &[1], &names.collect::<Vec<u8>>(), &vec![1; count]].concat()
}

/// Ten arrays, each of eight references to the one before.
fn multiplied() -> Vec<u8> {
    let more = (0..9).flat_map(|before| [b"\x0a\0\0\0\x08".to_vec(), [7, 0, before].repeat(8)].concat());
    [b"\x0a\0\0\0\x08".to_vec(), vec![5; 8], more.collect()].concat()
}

/// The same in one array of AMF3, which is itself the first that can be referred to.
fn multiplied3() -> Vec<u8> {
    let more = (1..10).flat_map(|before| [b"\x09\x11\x01".to_vec(), [9, before << 1].repeat(8)].concat());
    [b"\x11\x09\x15\x01\x09\x11\x01".to_vec(), vec![1; 8], more.collect()].concat()
}

/// What AMF3 says behind the marker of a text, or of something like it.
fn inline(bytes: &[u8]) -> Vec<u8> {
    [&u29(bytes.len() << 1 | 1)[..], bytes].concat()
}

/// A number of AMF3 of up to 21 bits, which are in three bytes.
fn u29(number: usize) -> Vec<u8> {
    vec![(number >> 14) as u8 | 0x80, (number >> 7) as u8 | 0x80, number as u8 & 0x7f]
}
