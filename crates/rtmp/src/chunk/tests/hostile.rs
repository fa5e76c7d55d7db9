//! What no honest peer sends.

use super::*;

fn set_chunk_size(size: u32) -> Vec<u8> {
    control(Control::SetChunkSize(size))
}

#[test]
fn chunk_sizes_out_of_bounds_are_refused() {
    for size in [0, 1, 127, 0x8000_0000, u32::MAX] {
        assert_eq!(read(&set_chunk_size(size)), Err(Error::ChunkSize { size, min: 128 }));
    }
}

#[test]
fn large_chunk_sizes_cost_nothing() {
    for size in [128, 65536, 0xFF_FFFF, 0x100_0000, 0x7FFF_FFFF] {
        let bytes = [set_chunk_size(size), full(6, 0, 0x10_0000, 9, 1), vec![1; 100]].concat();
        let mut reader = Reader::new(&Limits::default());
        read_into(&mut reader, &bytes, &mut Vec::new()).unwrap();
        assert!(reader.bytes_held() <= 2 * 100, "{size}: {}", reader.bytes_held());
    }
}

#[test]
fn small_chunk_sizes_can_be_allowed() {
    let limits = Limits { chunk_size_min: 1, ..Limits::default() };
    let bytes = [set_chunk_size(1), full(3, 0, 3, 20, 0), vec![1], same(3), vec![2], same(3), vec![3]].concat();
    let mut messages = Vec::new();
    read_into(&mut Reader::new(&limits), &bytes, &mut messages).unwrap();
    assert_eq!(messages, [message(20, 0, 0, vec![1, 2, 3])]);
}

#[test]
fn control_messages_cut_short_end_the_connection() {
    for type_id in [type_id::SET_CHUNK_SIZE, type_id::ABORT] {
        let bytes = [full(2, 0, 3, type_id, 0), vec![0; 3]].concat();
        assert_eq!(read(&bytes), Err(Error::Control(TruncatedControl { type_id })));
    }
}

#[test]
fn a_chunk_stream_cannot_begin_by_repetition() {
    let error = Err(Error::NoPreviousHeader { csid: 6 });
    assert_eq!(read(&same(6)), error);
    assert_eq!(read(&same_body(6, 0)), error);
}

#[test]
fn a_chunk_stream_may_begin_with_a_delta() {
    // As librtmp answers a ping.
    let bytes = [same_stream(2, 9, 6, 4), vec![0, 7, 0, 0, 0, 1]].concat();
    assert_eq!(read(&bytes), Ok(vec![message(4, 9, 0, vec![0, 7, 0, 0, 0, 1])]));
}

#[test]
fn a_length_cannot_change_half_way() {
    let begun = [full(6, 0, 200, 9, 1), vec![1; 128]].concat();
    let error = Err(Error::HeaderChanged { csid: 6 });
    for header in [
        full(6, 0, 201, 9, 1),
        full(6, 0, 100, 9, 1),
        full(6, 0, 0xFF_FFFF, 9, 1),
        full(6, 0, 200, 8, 1),
        full(6, 0, 200, 9, 2),
        same_stream(6, 0, 199, 9),
        same_stream(6, 0, 200, 8),
    ] {
        assert_eq!(read(&[&begun[..], &header].concat()), error, "{header:?}");
    }
}

#[test]
fn a_whole_header_repeated_half_way_goes_on_with_the_message() {
    let begun = [full(6, 50, 200, 9, 1), vec![1; 128]].concat();
    for header in [full(6, 50, 200, 9, 1), same_stream(6, 0, 200, 9), same_body(6, 0)] {
        let bytes = [&begun[..], &header, &[1; 72]].concat();
        assert_eq!(read(&bytes), Ok(vec![message(9, 50, 1, vec![1; 200])]));
    }
}

#[test]
fn messages_have_a_longest_length_by_type() {
    let limits = Limits::default();
    for (type_id, max) in [
        (1, limits.control_bytes_max),
        (4, limits.control_bytes_max),
        (8, limits.audio_bytes_max),
        (9, limits.video_bytes_max),
        (22, limits.video_bytes_max),
        (18, limits.data_bytes_max),
        (15, limits.data_bytes_max),
        (20, limits.command_bytes_max),
        (19, limits.command_bytes_max),
        (99, limits.command_bytes_max),
    ] {
        assert_eq!(read(&full(6, 0, max as u32, type_id, 1)), Ok(vec![]));
        let error = Error::MessageTooLong { type_id, length: max + 1, max };
        assert_eq!(read(&full(6, 0, max as u32 + 1, type_id, 1)), Err(error));
    }
}

#[test]
fn chunk_streams_are_bounded() {
    let max = Limits::default().chunk_streams_max;
    let mut bytes = Vec::new();
    for csid in 0..max as u8 {
        bytes.extend([[&[0, csid][..], &full(0, 0, 0, 20, 0)[1..]].concat()].concat());
    }
    assert_eq!(read(&bytes).unwrap().len(), max);
    bytes.extend([&[0, max as u8][..], &full(0, 0, 0, 20, 0)[1..]].concat());
    assert_eq!(read(&bytes), Err(Error::TooManyChunkStreams { max }));
}

#[test]
fn announced_lengths_cost_nothing() {
    let mut bytes = Vec::new();
    for csid in 2..64 {
        bytes.extend(full(csid, 0, 0x7F_FFFF, 9, 1));
        bytes.extend([0; 128]);
    }
    let mut reader = Reader::new(&Limits::default());
    for piece in bytes.chunks(1000) {
        read_into(&mut reader, piece, &mut Vec::new()).unwrap();
        let received = reader.bytes_received() as usize;
        assert!(reader.bytes_held() <= 2 * received, "{} for {received}", reader.bytes_held());
    }
}

#[test]
fn bytes_of_messages_under_way_are_bounded() {
    let limits = Limits { partial_bytes_max: 1000, chunk_size_min: 1, ..Limits::default() };
    let mut reader = Reader::new(&limits);
    let mut bytes = set_chunk_size(501);
    bytes.extend([full(6, 0, 1000, 9, 1), vec![0; 501], full(7, 0, 1000, 9, 1), vec![0; 499]].concat());
    read_into(&mut reader, &bytes, &mut Vec::new()).unwrap();
    assert!(reader.bytes_held() <= 2000);
    let error = Error::TooManyPartialBytes { max: 1000 };
    assert_eq!(reader.poll_message(&mut &[0, 0][..]), Err(error));
}

#[test]
fn before_auth_the_room_is_small() {
    let limits = Limits::default();
    let max = limits.pre_auth_bytes_max;
    let video = full(6, 0, max as u32 + 1, 9, 1);
    let mut reader = Reader::before_auth(&limits);
    let error = Error::MessageTooLong { type_id: 9, length: max + 1, max };
    assert_eq!(reader.poll_message(&mut &video[..]), Err(error));

    let mut reader = Reader::before_auth(&limits);
    reader.lift_pre_auth();
    assert_eq!(reader.poll_message(&mut &video[..]), Ok(None));
}

#[test]
fn before_auth_the_room_is_small_for_all_messages_together() {
    let limits = Limits::default();
    let mut bytes = set_chunk_size(0x10000);
    for csid in 3..8 {
        bytes.extend(full(csid, 0, 0x1_0001, 9, 1));
        bytes.extend([0; 0x1_0000]);
    }
    let mut reader = Reader::before_auth(&limits);
    let error = Error::TooManyPartialBytes { max: limits.pre_auth_bytes_max };
    assert_eq!(read_into(&mut reader, &bytes, &mut Vec::new()), Err(error));
    assert!(reader.bytes_held() <= 2 * limits.pre_auth_bytes_max);
}
