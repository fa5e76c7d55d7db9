//! The handshake of both roles, fed in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp::Handshake;

fuzz_target!(|data: &[u8]| {
    let Some(([choice, piece], data)) = data.split_first_chunk() else { return };
    let mut handshake = if choice & 1 == 0 { Handshake::server() } else { Handshake::client().0 };
    // A peer that goes on with zeros: so the end is reached however short the input is.
    let whole = [&[3], data, &[0; 3200]].concat();
    let input = if choice & 2 == 0 { data } else { &whole };
    for part in input.chunks(usize::from(*piece) * 8 + 1) {
        match handshake.handle_bytes(part) {
            Ok(progress) if progress.done.is_none() => assert!(progress.to_send.len() <= 3073),
            _ => return,
        }
    }
});
