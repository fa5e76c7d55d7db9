//! The handshake of both roles: the same whether it comes at once or in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp::{Handshake, handshake::Error};

fuzz_target!(|data: &[u8]| {
    let Some(([choice, piece], data)) = data.split_first_chunk() else { return };
    // A peer that goes on with zeros: so the end is reached however short the input is.
    let whole = [&[3], data, &[0; 3200]].concat();
    let input = if choice & 2 == 0 { data } else { &whole };
    let begin = || if choice & 1 == 0 { Handshake::server() } else { Handshake::client().0 };
    let at_once = shake(begin(), input.chunks(input.len().max(1)));
    let in_pieces = shake(begin(), input.chunks(usize::from(*piece) * 8 + 1));
    assert_eq!(at_once, in_pieces);
    if let Ok((sent, behind)) = at_once {
        assert!(sent <= SENT_BYTES_MAX);
        assert!(behind.is_none_or(|behind| behind + SENT_BYTES_MAX == input.len()), "what follows is not its own");
    }
});

/// How many bytes were sent, and of what came how many follow it, once it is done.
fn shake<'a>(
    mut handshake: Handshake,
    mut parts: impl Iterator<Item = &'a [u8]>,
) -> Result<(usize, Option<usize>), Error> {
    let mut sent = 0;
    while let Some(part) = parts.next() {
        let progress = handshake.handle_bytes(part)?;
        sent += progress.to_send.len();
        if let Some(rest) = progress.done {
            return Ok((sent, Some(rest.len() + parts.map(<[u8]>::len).sum::<usize>())));
        }
    }
    Ok((sent, None))
}

/// Version byte, first and second packet, each way.
const SENT_BYTES_MAX: usize = 1 + 2 * 1536;
