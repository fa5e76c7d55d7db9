//! The FLV reader: the same tags whether the bytes come at once or in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::{
    MediaMessage,
    flv::{Limits, Reader},
};

fuzz_target!(|data: &[u8]| {
    let Some((piece, data)) = data.split_first() else { return };
    let (whole, end) = read(data.chunks(data.len().max(1)));
    let (pieces, end_of_pieces) = read(data.chunks(usize::from(*piece) + 1));
    assert_eq!(whole, pieces);
    assert_eq!(end, end_of_pieces);
});

/// The tags, and whether it ended in an error.
fn read<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<MediaMessage>, bool) {
    let mut reader = Reader::new(Limits { body_bytes_max: 1 << 16 });
    let mut tags = Vec::new();
    for part in parts {
        reader.handle_bytes(part);
        loop {
            match reader.poll_tag() {
                Ok(Some(tag)) => tags.push(tag),
                Ok(None) => break,
                Err(_) => return (tags, true),
            }
        }
    }
    (tags, false)
}
