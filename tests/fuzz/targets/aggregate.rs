//! Aggregates: their parts are parts of them, and not too many.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmp::{Limits, Message, aggregate};

/// So long a mutated one becomes; what is repeated may be longer.
const BYTES_MAX: usize = 70_000;

fuzz_target!(|data: &[u8]| {
    let Some((&[a, b, c, d, times], data)) = data.split_first_chunk() else { return };
    // Repeated, so that the bound on how many there are is within reach.
    let times = (BYTES_MAX / data.len().max(1)).clamp(1, 1 << (times % 16));
    let payload = Bytes::from(data.repeat(times));
    let (timestamp, bytes) = (u32::from_be_bytes([a, b, c, d]), payload.len());
    let limits = Limits::default();
    let Ok(parts) = aggregate::split(Message { type_id: 22, timestamp, msid: 1, payload }, &limits) else { return };
    assert!(parts.len() <= limits.aggregate_messages_max);
    assert!(parts.iter().map(|part| part.payload.len() + 11).sum::<usize>() <= bytes);
    assert!(parts.iter().all(|part| part.msid == 1 && matches!(part.type_id, 8 | 9 | 15 | 18)));
});
