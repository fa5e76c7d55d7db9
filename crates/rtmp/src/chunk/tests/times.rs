//! Extended timestamps and time that wraps.

use super::*;

#[test]
fn extended_times_are_read_with_and_without_their_repetition() {
    for timestamp in [0xFF_FFFF, 0x0100_0000, 0xDEAD_BEEF, u32::MAX] {
        for repeated in [true, false] {
            let again = if repeated { timestamp.to_be_bytes().to_vec() } else { vec![] };
            let bytes = [full(6, timestamp, 300, 9, 1), vec![1; 128], same(6), again.clone(), vec![1; 128]].concat();
            let bytes = [bytes, same(6), again, vec![1; 44]].concat();
            assert_eq!(read(&bytes), Ok(vec![message(9, timestamp, 1, vec![1; 300])]), "{timestamp} {repeated}");
        }
    }
}

#[test]
fn a_payload_that_begins_like_the_time_keeps_its_bytes() {
    // Without repetition; the second chunk's payload begins as the timestamp does, as far as it goes.
    let timestamp = 0x0102_0304;
    for alike in 0..4 {
        let tail = [&[1, 2, 3, 4][..alike], &[9; 40][..]].concat();
        let bytes = [full(6, timestamp, 128 + tail.len() as u32, 9, 1), vec![5; 128], same(6), tail.clone()].concat();
        assert_eq!(read(&bytes), Ok(vec![message(9, timestamp, 1, [vec![5; 128], tail].concat())]), "{alike}");
    }
}

#[test]
fn a_last_chunk_shorter_than_a_time_is_told_by_what_follows() {
    // One byte of payload, equal to the time's first byte, then another chunk.
    let bytes =
        [full(6, 0x0302_0304, 129, 9, 1), vec![5; 128], same(6), vec![3], full(3, 0, 1, 20, 0), vec![0]].concat();
    assert_eq!(read(&bytes).unwrap().len(), 2);
}

#[test]
fn a_small_number_in_the_extended_field_is_taken_as_it_is() {
    let mut header = full(6, 0xFF_FFFF, 1, 9, 1);
    header.truncate(12);
    let bytes = [header, vec![0, 0, 0, 5], vec![1]].concat();
    assert_eq!(read(&bytes), Ok(vec![message(9, 5, 1, vec![1])]));
}

#[test]
fn deltas_wrap_and_may_be_extended() {
    let extended =
        |fmt: u8, rest: &[u8], delta: u32| [&[fmt << 6 | 6, 0xFF, 0xFF, 0xFF], rest, &delta.to_be_bytes()].concat();
    let bytes = [
        full(6, u32::MAX - 1, 1, 9, 1),
        vec![1],
        same_stream(6, 3, 1, 9),
        vec![2],
        extended(1, &[0, 0, 1, 9], 0x0100_0000),
        vec![3],
        same(6),
        0x0100_0000u32.to_be_bytes().to_vec(),
        vec![4],
        extended(2, &[], u32::MAX),
        vec![5],
        // Ends the extension: nothing is repeated any more.
        same_body(6, 10),
        vec![6],
        same(6),
        vec![7],
    ]
    .concat();
    let times: Vec<_> = read(&bytes).unwrap().iter().map(|m| (m.payload[0], m.timestamp)).collect();
    assert_eq!(
        times,
        [
            (1, u32::MAX - 1),
            (2, 1),
            (3, 0x0100_0001),
            (4, 0x0200_0001),
            (5, 0x0200_0000),
            (6, 0x0200_000A),
            (7, 0x0200_0014)
        ]
    );
}
