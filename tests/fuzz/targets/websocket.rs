//! What viewers say over WebSocket: the same whether it comes at once or in pieces, and nothing after a close.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

// The inbox is private to its crate: it is compiled here once more.
#[allow(dead_code)]
#[path = "../../../crates/edge/src/http/websocket.rs"]
mod websocket;

use websocket::{Inbox, Said};

fuzz_target!(|data: &[u8]| {
    let Some((piece, data)) = data.split_first() else { return };
    let at_once = hear(data.chunks(data.len().max(1)));
    assert_eq!(at_once, hear(data.chunks(usize::from(*piece) + 1)));
    let (said, pong) = at_once;
    let closes = said.iter().filter(|said| matches!(said, Said::Close(_))).count();
    assert!(closes == 0 || closes == 1 && matches!(said.last(), Some(Said::Close(_))), "a close is the last");
    assert!(pong.is_none_or(|pong| pong.len() <= ANSWER_BYTES_MAX));
});

/// All that was said, and the answer to the last ping.
fn hear<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Said>, Option<Bytes>) {
    let (mut inbox, mut said) = (Inbox::default(), Vec::new());
    for part in parts {
        inbox.handle_bytes(part);
        said.extend(std::iter::from_fn(|| inbox.poll_said()));
    }
    (said, inbox.take_pong())
}

/// A control frame's payload, and what stands before it.
const ANSWER_BYTES_MAX: usize = 2 + 125;
