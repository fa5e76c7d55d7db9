//! The chunk reader: the same messages whether the bytes come at once or in pieces, and no more than was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp::{Limits, Message, chunk::Reader};

fuzz_target!(|data: &[u8]| {
    let Some((piece, data)) = data.split_first() else { return };
    let (whole, end) = read(data.chunks(data.len().max(1)));
    let (pieces, end_of_pieces) = read(data.chunks(usize::from(*piece) + 1));
    assert_eq!(whole, pieces);
    assert_eq!(end, end_of_pieces);
    assert!(whole.iter().map(|message| message.payload.len()).sum::<usize>() <= data.len());
});

/// The messages, and whether it ended in an error.
fn read<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, bool) {
    let mut reader = Reader::before_auth(&Limits::default());
    let mut messages = Vec::new();
    for mut part in parts {
        loop {
            match reader.poll_message(&mut part) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
            if messages.len() == 4 {
                reader.lift_pre_auth();
            }
        }
    }
    (messages, false)
}
