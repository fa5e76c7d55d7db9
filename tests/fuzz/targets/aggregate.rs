//! Aggregates: their parts are parts of them.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmp::{Limits, Message, aggregate};

fuzz_target!(|data: &[u8]| {
    let Some((time, data)) = data.split_first_chunk() else { return };
    let timestamp = u32::from_be_bytes(*time);
    let whole = Message { type_id: 22, timestamp, msid: 1, payload: Bytes::copy_from_slice(data) };
    let Ok(parts) = aggregate::split(whole, &Limits::default()) else { return };
    assert!(parts.iter().map(|part| part.payload.len() + 11).sum::<usize>() <= data.len());
    assert!(parts.iter().all(|part| part.msid == 1));
});
