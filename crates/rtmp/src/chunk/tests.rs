use bytes::Bytes;

use super::{csid, *};
use crate::{
    limits::Limits,
    message::{Control, Message, TruncatedControl, type_id},
};

mod hostile;
mod round_trip;
mod times;

fn message(type_id: u8, timestamp: u32, msid: u32, payload: impl Into<Bytes>) -> Message {
    Message { type_id, timestamp, msid, payload: payload.into() }
}

/// All messages that a new reader finds in these bytes, given in pieces of this size.
fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<Vec<Message>, Error> {
    let mut reader = Reader::new(&Limits::default());
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece) {
        read_into(&mut reader, piece, &mut messages)?;
    }
    assert_eq!(reader.bytes_received(), bytes.len() as u64);
    Ok(messages)
}

fn read_into(reader: &mut Reader, mut input: &[u8], messages: &mut Vec<Message>) -> Result<(), Error> {
    while let Some(message) = reader.poll_message(&mut input)? {
        messages.push(message);
    }
    assert!(input.is_empty());
    Ok(())
}

/// The same, whole and byte by byte, which must agree.
fn read(bytes: &[u8]) -> Result<Vec<Message>, Error> {
    let whole = read_in_pieces(bytes, bytes.len().max(1));
    assert_eq!(read_in_pieces(bytes, 1), whole);
    whole
}

fn full(csid: u8, timestamp: u32, length: u32, type_id: u8, msid: u32) -> Vec<u8> {
    let mut out = vec![csid];
    out.extend_from_slice(&timestamp.min(0xFF_FFFF).to_be_bytes()[1..]);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.push(type_id);
    out.extend_from_slice(&msid.to_le_bytes());
    if timestamp >= 0xFF_FFFF {
        out.extend_from_slice(&timestamp.to_be_bytes());
    }
    out
}

fn same_stream(csid: u8, delta: u32, length: u32, type_id: u8) -> Vec<u8> {
    let mut out = vec![0x40 | csid];
    out.extend_from_slice(&delta.to_be_bytes()[1..]);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.push(type_id);
    out
}

fn same_body(csid: u8, delta: u32) -> Vec<u8> {
    [&[0x80 | csid], &delta.to_be_bytes()[1..]].concat()
}

fn same(csid: u8) -> Vec<u8> {
    vec![0xC0 | csid]
}

fn control(control: Control) -> Vec<u8> {
    let message = control.to_message();
    [full(2, 0, message.payload.len() as u32, message.type_id, 0), message.payload.to_vec()].concat()
}

#[test]
fn formats_lean_on_the_header_before() {
    let bytes = [
        full(3, 1000, 1, 8, 7),
        b"a".to_vec(),
        same_stream(3, 20, 2, 9),
        b"bc".to_vec(),
        same_body(3, 5),
        b"de".to_vec(),
        same(3),
        b"fg".to_vec(),
        full(3, 10, 1, 8, 1),
        b"h".to_vec(),
        same(3),
        b"i".to_vec(),
    ]
    .concat();
    let expected = [
        message(8, 1000, 7, &b"a"[..]),
        message(9, 1020, 7, &b"bc"[..]),
        message(9, 1025, 7, &b"de"[..]),
        message(9, 1030, 7, &b"fg"[..]),
        message(8, 10, 1, &b"h"[..]),
        message(8, 20, 1, &b"i"[..]),
    ];
    assert_eq!(read(&bytes), Ok(expected.to_vec()));
}

#[test]
fn chunks_of_different_streams_interleave() {
    let (video, audio) = (vec![9; 300], vec![8; 200]);
    let bytes = [
        full(6, 40, 300, 9, 1),
        video[..128].to_vec(),
        full(4, 41, 200, 8, 1),
        audio[..128].to_vec(),
        same(6),
        video[128..256].to_vec(),
        same(4),
        audio[128..].to_vec(),
        same(6),
        video[256..].to_vec(),
    ]
    .concat();
    assert_eq!(read(&bytes), Ok(vec![message(8, 41, 1, audio), message(9, 40, 1, video)]));
}

#[test]
fn every_form_of_chunk_stream_id_is_read() {
    for (basic, csid) in [
        (&[0x02][..], 2),
        (&[0x3F], 63),
        (&[0x00, 0], 64),
        (&[0x00, 255], 319),
        (&[0x01, 0, 0], 64),
        (&[0x01, 0, 1], 320),
        (&[0x01, 255, 255], 65599),
    ] {
        let first = [basic, &full(0, 5, 130, 20, 0)[1..], &[7; 128]].concat();
        // The continuation in the longest form: the same chunk stream however it is written.
        let above = (csid - 64i32).to_le_bytes();
        let again = if csid < 64 { vec![0xC0 | csid as u8] } else { vec![0xC1, above[0], above[1]] };
        let bytes = [first, again, vec![7; 2]].concat();
        assert_eq!(read(&bytes), Ok(vec![message(20, 5, 0, vec![7; 130])]), "{csid}");
    }
}

#[test]
fn messages_without_payload_are_messages() {
    let bytes = [full(4, 7, 0, 8, 1), same(4), same_stream(4, 1, 0, 9)].concat();
    let expected = [message(8, 7, 1, ""), message(8, 14, 1, ""), message(9, 15, 1, "")];
    assert_eq!(read(&bytes), Ok(expected.to_vec()));
}

#[test]
fn a_chunk_size_holds_from_the_next_chunk_on() {
    // Announced between two chunks of a video message.
    let bytes = [
        full(6, 0, 300, 9, 1),
        vec![1; 128],
        control(Control::SetChunkSize(4096)),
        same(6),
        vec![1; 172],
        full(6, 0, 1000, 9, 1),
        vec![2; 1000],
    ]
    .concat();
    assert_eq!(read(&bytes), Ok(vec![message(9, 0, 1, vec![1; 300]), message(9, 0, 1, vec![2; 1000])]));
}

#[test]
fn abort_drops_the_partial_message_of_its_stream_alone() {
    let bytes = [
        full(6, 0, 200, 9, 1),
        vec![1; 128],
        full(4, 0, 129, 8, 1),
        vec![2; 128],
        control(Control::Abort { csid: 6 }),
        control(Control::Abort { csid: 6 }),
        control(Control::Abort { csid: 77 }),
        full(6, 9, 3, 9, 1),
        vec![3; 3],
        same(4),
        vec![2; 1],
    ]
    .concat();
    assert_eq!(read(&bytes), Ok(vec![message(9, 9, 1, vec![3; 3]), message(8, 0, 1, vec![2; 129])]));
}

#[test]
fn room_is_made_for_what_is_in_hand_and_never_beyond_the_message() {
    let mut out = Vec::new();
    Writer::new().write(&message(9, 0, 1, vec![1; 50_000]), &mut out);
    let bytes = out.concat();
    let mut reader = Reader::new(&Limits::default());
    assert_eq!(reader.poll_message(&mut &bytes[..40_000]), Ok(None));
    assert!((39_000..=40_000).contains(&reader.bytes_held()), "{}", reader.bytes_held());
    assert_eq!(reader.poll_message(&mut &bytes[40_000..50_000]), Ok(None));
    assert_eq!(reader.bytes_held(), 50_000);
    assert!(reader.poll_message(&mut &bytes[50_000..]).unwrap().is_some());
    assert_eq!(reader.bytes_held(), 0);
}

#[test]
fn the_writer_hands_on_the_payload_itself() {
    let mut writer = Writer::new();
    let mut out = Vec::new();
    writer.set_chunk_size(OUT_CHUNK_SIZE, &mut out);
    let payload = Bytes::from(vec![1; 100_000]);
    out.clear();
    writer.write(&message(9, 5, 1, payload.clone()), &mut out);
    assert_eq!(out.len(), 2);
    assert_eq!(out[0], media_header(type_id::VIDEO, 5, 100_000, 1));
    assert_eq!(out[1].as_ptr(), payload.as_ptr());
}

#[test]
fn the_chunk_size_announced_is_enough_for_every_message_and_not_too_much_for_others() {
    let limits = Limits::default();
    let longest = (0..=u8::MAX).map(|type_id| limits.message_bytes_max(type_id)).max();
    assert!(longest <= Some(OUT_CHUNK_SIZE as usize), "{longest:?}");
    let accepted_by_others = 10 << 20;
    assert!(OUT_CHUNK_SIZE <= accepted_by_others);
}

#[test]
fn a_message_that_is_longer_than_a_chunk_is_cut() {
    let mut writer = Writer::new();
    let mut out = Vec::new();
    writer.set_chunk_size(OUT_CHUNK_SIZE, &mut out);
    let limits = Limits { video_bytes_max: 0xFF_FFFF, ..Limits::default() };
    let long = message(9, 5, 1, vec![7; OUT_CHUNK_SIZE as usize + 1]);
    writer.write(&long, &mut out);
    let mut messages = Vec::new();
    read_into(&mut Reader::new(&limits), &out.concat(), &mut messages).unwrap();
    assert_eq!(messages, [long]);
}

#[test]
fn each_type_is_sent_on_its_own_chunk_stream() {
    for (type_id, expected) in [(1, 2), (4, 2), (6, 2), (8, 4), (9, 6), (18, 5), (20, 3), (17, 3)] {
        assert_eq!(csid::of(type_id), expected, "{type_id}");
    }
}
