//! AMF that lies about its lengths, its depth and its ends.

use super::{Beside, Case, Stage, call, message, text};

/// Objects and arrays within each other, and members of one object, that a command may have.
const DEPTH: usize = 16;
const KEYS: usize = 256;
/// Items of one array.
const ITEMS: u32 = 1024;

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
