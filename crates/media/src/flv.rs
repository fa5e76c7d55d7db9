//! FLV: the bytes around a message in a file and in HTTP-FLV, F E.2-E.4.

use bytes::{Buf, Bytes, BytesMut};

use crate::{MediaMessage, Medium, tag};

/// What a stream of tags begins with: signature, version 1, audio and video, 9 bytes long, no tag before.
pub const FILE_HEADER: [u8; 13] = file_header(Contents::BOTH);
/// The longest body that a tag's 24-bit length can name.
pub const BODY_BYTES_MAX: usize = 0xff_ffff;

const TAG_HEADER_LEN: usize = 11;
const PREVIOUS_TAG_SIZE_LEN: usize = 4;
/// The file's header without the size of the tag before the first.
const SHORT_FILE_HEADER_LEN: usize = 9;
const FILE_HEADER_BYTES_MAX: usize = 4096;

/// The media that a file says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Tags of audio.
    pub audio: bool,
    /// Tags of video.
    pub video: bool,
}

impl Contents {
    /// Audio and video.
    pub const BOTH: Self = Self { audio: true, video: true };

    /// What either has.
    pub fn or(self, other: Self) -> Self {
        Self { audio: self.audio || other.audio, video: self.video || other.video }
    }
}

/// As [`FILE_HEADER`], of a file that has these media.
pub const fn file_header(contents: Contents) -> [u8; 13] {
    let flags = (contents.audio as u8) << 2 | contents.video as u8;
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

/// The header of a tag with `body_len` (at most [`BODY_BYTES_MAX`]) bytes of body.
pub fn tag_header(medium: Medium, timestamp: u32, body_len: usize) -> [u8; TAG_HEADER_LEN] {
    debug_assert!(body_len <= BODY_BYTES_MAX, "a message's length has 24 bits");
    let [_, l0, l1, l2] = (body_len as u32).to_be_bytes();
    let [t_high, t0, t1, t2] = timestamp.to_be_bytes();
    [medium.type_id(), l0, l1, l2, t0, t1, t2, t_high, 0, 0, 0]
}

/// What follows a tag with `body_len` (at most [`BODY_BYTES_MAX`]) bytes of body: the tag's size.
pub fn tag_trailer(body_len: usize) -> [u8; PREVIOUS_TAG_SIZE_LEN] {
    ((TAG_HEADER_LEN + body_len) as u32).to_be_bytes()
}

/// Bounds on what a [`Reader`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest body of a tag.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes_max: BODY_BYTES_MAX }
    }
}

/// Takes FLV apart as its bytes come in: `handle_bytes`, then `poll_tag` until it gives nothing.
///
/// Holds at most one tag's announced bytes beyond what has not been polled, and grows with what was
/// received only. Sizes of previous tags are not believed. Tags other than audio, video and AMF0 data, and
/// filtered (encrypted) ones, are left out. `@setDataFrame` is stripped.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    buffer: BytesMut,
    /// What is left to pass over before the next header.
    skip: usize,
    /// Whether the file's header is behind us.
    begun: bool,
}

impl Reader {
    /// A reader at the start of a file.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: BytesMut::new(), skip: 0, begun: false }
    }

    /// Takes the next bytes of the file.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole tag; `None` until more bytes have come. After an error nothing more is read.
    pub fn poll_tag(&mut self) -> Result<Option<MediaMessage>, Error> {
        loop {
            let skipped = self.skip.min(self.buffer.len());
            self.buffer.advance(skipped);
            self.skip -= skipped;
            if self.skip > 0 {
                return Ok(None);
            }
            if !self.begun {
                let Some(&header) = self.buffer.first_chunk::<SHORT_FILE_HEADER_LEN>() else { return Ok(None) };
                self.skip = first_tag_offset(header)?;
                self.begun = true;
                continue;
            }
            let Some(&header) = self.buffer.first_chunk::<TAG_HEADER_LEN>() else { return Ok(None) };
            let [type_id, l0, l1, l2, t0, t1, t2, t_high, ..] = header;
            let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            if len > self.limits.body_bytes_max {
                return Err(Error::TagTooLong { len, max: self.limits.body_bytes_max });
            }
            let Some(medium) = Medium::from_type_id(type_id) else {
                self.skip = TAG_HEADER_LEN + len + PREVIOUS_TAG_SIZE_LEN;
                continue;
            };
            if self.buffer.len() < TAG_HEADER_LEN + len {
                return Ok(None);
            }
            self.buffer.advance(TAG_HEADER_LEN);
            let payload = self.buffer.split_to(len).freeze();
            self.skip = PREVIOUS_TAG_SIZE_LEN;
            let timestamp = u32::from_be_bytes([t_high, t0, t1, t2]);
            return Ok(Some(MediaMessage { medium, timestamp, payload: body(medium, payload) }));
        }
    }

    /// Whether the file may end here: between two tags, with or without the last one's size.
    pub fn at_tag_boundary(&self) -> bool {
        self.begun && self.buffer.is_empty() && self.skip <= PREVIOUS_TAG_SIZE_LEN
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

fn body(medium: Medium, payload: Bytes) -> Bytes {
    match medium {
        Medium::Data => tag::strip_set_data_frame(&payload),
        _ => payload,
    }
}

/// Where the first tag begins, counted from the file's start.
fn first_tag_offset(header: [u8; SHORT_FILE_HEADER_LEN]) -> Result<usize, Error> {
    let [b'F', b'L', b'V', _version, _flags, offset @ ..] = header else { return Err(Error::NotFlv) };
    let offset = u32::from_be_bytes(offset);
    match usize::try_from(offset) {
        Ok(offset @ SHORT_FILE_HEADER_LEN..=FILE_HEADER_BYTES_MAX) => Ok(offset + PREVIOUS_TAG_SIZE_LEN),
        _ => Err(Error::DataOffset { offset }),
    }
}

/// Why bytes are not FLV that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The signature is missing.
    #[error("the bytes do not begin with FLV")]
    NotFlv,
    /// The header's length cannot be.
    #[error(
        "the FLV header says that it is {offset} bytes long; {SHORT_FILE_HEADER_LEN} to {FILE_HEADER_BYTES_MAX} are accepted"
    )]
    DataOffset {
        /// What the header says.
        offset: u32,
    },
    /// A tag is longer than allowed.
    #[error("an FLV tag of {len} bytes is longer than {max}")]
    TagTooLong {
        /// What its header says.
        len: usize,
        /// What is accepted.
        max: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(tags: &[(Medium, u32, &[u8])]) -> Vec<u8> {
        let mut out = FILE_HEADER.to_vec();
        for (medium, timestamp, body) in tags {
            out.extend(tag_header(*medium, *timestamp, body.len()));
            out.extend(*body);
            out.extend(tag_trailer(body.len()));
        }
        out
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<MediaMessage>, Error> {
        let (mut reader, mut out) = (Reader::new(Limits { body_bytes_max: 1024 }), Vec::new());
        for piece in bytes.chunks(piece) {
            reader.handle_bytes(piece);
            while let Some(tag) = reader.poll_tag()? {
                out.push(tag);
            }
        }
        Ok(out)
    }

    #[test]
    fn header_is_as_the_specification_draws_it() {
        assert_eq!(tag_header(Medium::Video, 0x0102_0304, 0x05_0607), [9, 5, 6, 7, 2, 3, 4, 1, 0, 0, 0]);
        assert_eq!(tag_trailer(0x10), [0, 0, 0, 0x1b]);
        assert_eq!(FILE_HEADER, *b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
        assert_eq!(file_header(Contents { audio: true, video: false })[4], 4);
        assert_eq!(file_header(Contents { audio: false, video: true })[4], 1);
    }

    #[test]
    fn sizes_of_previous_tags_are_not_believed() {
        let mut bytes = file(&[(Medium::Audio, 1, b"one"), (Medium::Video, 2, b"two")]);
        bytes[9..13].fill(0xff);
        let end = bytes.len();
        bytes[end - 4..].fill(0xff);
        let first_trailer = 13 + 11 + 3;
        bytes[first_trailer..first_trailer + 4].fill(0xee);
        assert_eq!(read(&bytes, 5).unwrap().len(), 2);
    }

    #[test]
    fn a_header_longer_than_nine_is_passed_over_and_an_impossible_one_refused() {
        let with_offset = |offset: u32, padding: usize| {
            let mut bytes = file(&[(Medium::Audio, 1, b"one")]);
            bytes[5..9].copy_from_slice(&offset.to_be_bytes());
            bytes.splice(9..9, vec![0; padding]);
            bytes
        };
        assert_eq!(read(&with_offset(12, 3), 7).unwrap().len(), 1);
        for offset in [0, 8, 4097, u32::MAX] {
            assert_eq!(read(&with_offset(offset, 0), 64), Err(Error::DataOffset { offset }));
        }
        assert_eq!(read(b"GET / HTTP/1.1", 64), Err(Error::NotFlv));
    }

    #[test]
    fn other_tags_are_left_out_and_long_ones_refused() {
        let mut bytes = file(&[(Medium::Audio, 1, b"one"), (Medium::Video, 2, b"two")]);
        bytes[13] = 0x28; // filtered audio
        assert_eq!(read(&bytes, 1).unwrap().iter().map(|t| t.timestamp).collect::<Vec<_>>(), [2]);
        assert_eq!(read(&file(&[(Medium::Audio, 1, &[0; 1025])]), 64), Err(Error::TagTooLong { len: 1025, max: 1024 }));
    }

    #[test]
    fn end_of_file_within_a_tag_shows() {
        let bytes = file(&[(Medium::Audio, 1, b"one")]);
        let at_boundary = |len: usize| {
            let mut reader = Reader::default();
            reader.handle_bytes(&bytes[..len]);
            while reader.poll_tag().unwrap().is_some() {}
            reader.at_tag_boundary()
        };
        assert!(at_boundary(bytes.len()) && at_boundary(bytes.len() - 4), "the last size may be missing");
        assert!(!at_boundary(bytes.len() - 5) && !at_boundary(8));
    }

    proptest! {
        #[test]
        fn tags_come_out_as_they_went_in(
            tags in proptest::collection::vec((0usize..3, any::<u32>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..8),
            piece in 1usize..300,
        ) {
            let media = [Medium::Audio, Medium::Video, Medium::Data];
            let tags: Vec<_> = tags.iter().map(|(m, t, b)| (media[*m], *t, b.as_slice())).collect();
            let out = read(&file(&tags), piece).unwrap();
            let out: Vec<_> = out.iter().map(|t| (t.medium, t.timestamp, t.payload.as_ref())).collect();
            prop_assert_eq!(out, tags);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), signed in any::<bool>(), piece in 1usize..64) {
            let bytes = if signed { [&FILE_HEADER[..], &bytes].concat() } else { bytes };
            let _ = read(&bytes, piece);
        }
    }
}
