//! FLV files, read plainly, and how the tags of two compare.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;

/// One tag: a message of RTMP's types 8, 9 or 18.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// 8 audio, 9 video, 18 data.
    pub type_id: u8,
    /// Milliseconds, 32 bits.
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

impl Tag {
    /// Whether it sets a decoder up: sequence starts, channel layouts, colour information.
    pub fn is_config(&self) -> bool {
        matches!(self.packet_type(), Some((_, 0)) | Some((9, 4 | 5)) | Some((8, 4)))
    }

    /// Whether it is a coded keyframe.
    pub fn is_key(&self) -> bool {
        let key = self.payload.first().is_some_and(|byte| byte >> 4 & 7 == 1);
        self.type_id == 9 && key && matches!(self.packet_type(), Some((_, 1 | 3)))
    }

    /// Whether it is a coded frame.
    pub fn is_coded(&self) -> bool {
        matches!(self.packet_type(), Some((_, 1 | 3)))
    }

    /// Type and track: frames of one lane keep their order.
    pub fn lane(&self) -> (u8, u8) {
        (self.type_id, self.track())
    }

    fn is_enhanced(&self) -> bool {
        let first = self.payload.first().copied().unwrap_or_default();
        if self.type_id == 9 { first & 0x80 != 0 } else { self.type_id == 8 && first >> 4 == 9 }
    }

    fn is_multitrack(&self) -> bool {
        let multitrack = if self.type_id == 9 { 6 } else { 5 };
        self.is_enhanced() && self.payload[0] & 0x0f == multitrack
    }

    /// Type id and packet type, in the numbers of Enhanced RTMP; 0 = sequence start, 1 = coded frames.
    fn packet_type(&self) -> Option<(u8, u8)> {
        let byte = |at: usize| self.payload.get(at).copied();
        let packet_type = match self.type_id {
            8 | 9 if self.is_multitrack() => byte(1)? & 0x0f,
            8 | 9 if self.is_enhanced() => byte(0)? & 0x0f,
            8 if byte(0)? >> 4 == 10 => byte(1)?,
            9 if byte(0)? & 0x0f == 7 => byte(1)?,
            8 | 9 => 1,
            _ => return None,
        };
        Some((self.type_id, packet_type))
    }

    fn track(&self) -> u8 {
        // Behind the multitrack byte and a FourCC, for every kind of multitrack.
        if self.is_multitrack() { self.payload.get(6).copied().unwrap_or_default() } else { 0 }
    }
}

/// All whole tags of a file.
#[track_caller]
pub fn read(path: &Path) -> Vec<Tag> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    tags(&bytes.into())
}

/// All whole tags of an FLV byte stream; panics where it is not one.
#[track_caller]
pub fn tags(bytes: &Bytes) -> Vec<Tag> {
    if bytes.is_empty() {
        return Vec::new();
    }
    assert!(bytes.starts_with(b"FLV\x01") && bytes.len() >= 13, "not an FLV file: {:?}", &bytes[..bytes.len().min(13)]);
    let mut found = Vec::new();
    let mut at = 13;
    while let Some(header) = bytes.get(at..at + 11) {
        let len = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        let timestamp = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
        let body = at + 11..at + 11 + len;
        let Some(trailer) = bytes.get(body.end..body.end + 4) else { break };
        let trailer = u32::from_be_bytes(trailer.try_into().expect("four bytes"));
        assert_eq!(trailer as usize, 11 + len, "the size behind the tag at byte {at}");
        found.push(Tag { type_id: header[0], timestamp, payload: bytes.slice(body.clone()) });
        at = body.end + 4;
    }
    found
}

/// Coded frames by lane.
pub type Lanes = BTreeMap<(u8, u8), Vec<Tag>>;

/// The coded frames, lane by lane.
pub fn coded(tags: &[Tag]) -> Lanes {
    let mut lanes = Lanes::new();
    tags.iter().filter(|tag| tag.is_coded()).for_each(|tag| lanes.entry(tag.lane()).or_default().push(tag.clone()));
    lanes
}

/// The decoder set-ups, each once, in order of lane and bytes.
pub fn configs(tags: &[Tag]) -> Vec<(u8, Bytes)> {
    let mut configs: Vec<(u8, Bytes)> =
        tags.iter().filter(|tag| tag.is_config()).map(|tag| (tag.type_id, tag.payload.clone())).collect();
    configs.sort();
    configs.dedup();
    configs
}

/// Asserts that the same set-ups and frames were sent and seen, bit for bit, all moved in time by the same amount. Frames that were sent
/// before the first keyframe may be missing.
#[track_caller]
pub fn assert_whole(sent: &[Tag], seen: &[Tag]) {
    let key = sent.iter().position(Tag::is_key).unwrap_or_default();
    assert_same(sent, seen, &coded(&sent[..key]));
}

/// Asserts that what was seen begins with the set-ups and then a keyframe (where there is video), and goes on to the end.
#[track_caller]
pub fn assert_rest(sent: &[Tag], seen: &[Tag]) {
    let first = seen.iter().position(Tag::is_coded).expect("a coded frame was seen");
    assert_eq!(configs(&seen[..first]), configs(sent), "set-ups before the first frame");
    if sent.iter().any(|tag| tag.type_id == 9) {
        let first = seen.iter().find(|tag| tag.type_id == 9 && tag.is_coded()).expect("a video frame was seen");
        assert!(first.is_key(), "the first video frame is no keyframe");
    }
    assert_same(sent, seen, &coded(sent));
}

#[track_caller]
fn assert_same(sent: &[Tag], seen: &[Tag], may_miss: &Lanes) {
    assert_eq!(configs(seen), configs(sent), "decoder set-ups");
    let (sent, seen) = (coded(sent), coded(seen));
    assert_eq!(seen.keys().collect::<Vec<_>>(), sent.keys().collect::<Vec<_>>(), "lanes (type, track)");
    let mut offset = None;
    for (lane, seen) in &seen {
        let sent = &sent[lane];
        let start = sent
            .len()
            .checked_sub(seen.len())
            .unwrap_or_else(|| panic!("lane {lane:?}: {} frames more than sent", seen.len() - sent.len()));
        let may_miss = may_miss.get(lane).map(Vec::len).unwrap_or_default();
        assert!(start <= may_miss, "lane {lane:?}: {start} of {} frames are missing", sent.len());
        for (at, (sent, seen)) in sent[start..].iter().zip(seen).enumerate() {
            let number = start + at;
            assert!(sent.payload == seen.payload, "lane {lane:?}: frame {number} is not the one that was sent");
            let moved = seen.timestamp.wrapping_sub(sent.timestamp);
            assert_eq!(moved, *offset.get_or_insert(moved), "lane {lane:?}: frame {number} was moved by another time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(type_id: u8, timestamp: u32, payload: &'static [u8]) -> Tag {
        Tag { type_id, timestamp, payload: Bytes::from_static(payload) }
    }

    fn sample() -> Vec<Tag> {
        vec![
            tag(18, 0, b"\x02\0\x0aonMetaData"),
            tag(9, 0, b"\x17\0\0\0\0config"),
            tag(8, 0, b"\xaf\0\x11\x90"),
            tag(9, 0, b"\x17\x01\0\0\0key"),
            tag(8, 5, b"\xaf\x01a"),
            tag(9, 40, b"\x27\x01\0\0\0delta"),
        ]
    }

    #[test]
    fn tags_are_told_apart() {
        let multitrack = tag(9, 0, b"\x96\x00avc1\x01config");
        assert!(multitrack.is_config() && multitrack.lane() == (9, 1));
        let many = tag(8, 0, b"\x95\x21mp4a\x02\0\0\x01x");
        assert!(many.is_coded() && many.lane() == (8, 2));
        assert!(
            tag(9, 0, b"\x90hvc1").is_config() && tag(9, 0, b"\x93hvc1").is_key() && !tag(9, 0, b"\xa3hvc1").is_key()
        );
        let kinds: Vec<(bool, bool)> = sample().iter().map(|tag| (tag.is_config(), tag.is_key())).collect();
        assert_eq!(
            kinds,
            [(false, false), (true, false), (true, false), (false, true), (false, false), (false, false)]
        );
    }

    #[test]
    fn a_moved_copy_is_whole_and_lost_changed_or_skewed_frames_are_told() {
        let moved = |by: u32| {
            sample().into_iter().map(|tag| Tag { timestamp: tag.timestamp.wrapping_add(by), ..tag }).collect::<Vec<_>>()
        };
        assert_whole(&sample(), &moved(u32::MAX - 20));
        let broken = |change: fn(&mut Vec<Tag>)| {
            let mut seen = sample();
            change(&mut seen);
            std::panic::catch_unwind(|| assert_whole(&sample(), &seen)).is_err()
        };
        assert!(broken(|seen| _ = seen.remove(5)));
        assert!(broken(|seen| _ = seen.remove(1)));
        assert!(broken(|seen| seen[4].timestamp += 1));
        assert!(broken(|seen| seen[3].payload = Bytes::from_static(b"\x17\x01\0\0\0kex")));
    }
}
