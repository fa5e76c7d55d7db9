//! FLV: a header, then tags with their length in front and behind.

use media::flv;

use super::{Damaged, Message, Partial, skip};

/// Type, length, time, and what is always 0.
const TAG_HEADER_LEN: usize = 11;
/// The length that stands behind each tag.
const PREVIOUS_TAG_SIZE_LEN: usize = 4;

/// Where a stream of tags stands.
#[derive(Debug)]
pub(in crate::load) struct Tags {
    /// Bytes to be stepped over: the file's header, then what stands behind each tag.
    skip: usize,
    header: [u8; TAG_HEADER_LEN],
    have: usize,
    tag: Partial,
}

impl Tags {
    /// At the first byte of a file.
    pub(super) fn new() -> Self {
        Self { skip: flv::FILE_HEADER.len(), header: [0; TAG_HEADER_LEN], have: 0, tag: Partial::new() }
    }

    /// See [`super::Wire::next`].
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Message<'_>>, Damaged> {
        if !skip(bytes, &mut self.skip) {
            return Ok(None);
        }
        while self.have < self.header.len() {
            let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
            self.header[self.have] = *byte;
            self.have += 1;
            *bytes = rest;
            if self.have == self.header.len() {
                let [kind, high, middle, low, ..] = self.header;
                if !matches!(kind & 0x1f, 8 | 9 | 18) {
                    return Err(Damaged);
                }
                self.tag.begin(kind & 0x1f, u32::from_be_bytes([0, high, middle, low]) as usize);
            }
        }
        self.tag.take(bytes, usize::MAX);
        if self.tag.left > 0 {
            return Ok(None);
        }
        self.have = 0;
        self.skip = PREVIOUS_TAG_SIZE_LEN;
        Ok(Some(self.tag.message()))
    }
}

#[cfg(test)]
mod tests {
    use media::Medium;

    use super::*;

    fn file(bodies: &[(Medium, Vec<u8>)]) -> Vec<u8> {
        let mut file = flv::FILE_HEADER.to_vec();
        for (medium, body) in bodies {
            file.extend(flv::tag_header(*medium, 7, body.len()));
            file.extend(body);
            file.extend(flv::tag_trailer(body.len()));
        }
        file
    }

    #[test]
    fn tags_are_found_however_the_bytes_are_cut() {
        let bodies = [(Medium::Video, vec![1; 300]), (Medium::Audio, vec![2; 5]), (Medium::Data, vec![3; 70_000])];
        let file = file(&bodies);
        for size in [1, 2, 7, 100, file.len()] {
            let mut tags = Tags::new();
            let mut found = Vec::new();
            for mut bytes in file.chunks(size) {
                while let Some(message) = tags.next(&mut bytes).expect("it is FLV") {
                    found.push((message.kind, message.start.len(), message.start[0]));
                }
                assert!(bytes.is_empty());
            }
            assert_eq!(found, [(9, super::super::START_BYTES, 1), (8, 5, 2), (18, super::super::START_BYTES, 3)]);
        }
    }

    #[test]
    fn what_is_no_tag_is_damaged() {
        let mut bytes: &[u8] = &[0xff; 40];
        assert_eq!(Tags::new().next(&mut bytes), Err(Damaged));
    }
}
