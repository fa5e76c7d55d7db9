//! Packets as ffmpeg's `framemd5` lists them, and how two lists compare.

use std::{collections::BTreeMap, ops::Range};

/// The options with which ffmpeg takes all audio and video streams and leaves data streams, which players count differently.
pub const AUDIO_AND_VIDEO: [&str; 4] = ["-map", "0:v", "-map", "0:a"];

/// What a player got: the packets of each stream, by its number.
#[derive(Debug, Default)]
pub struct Played {
    /// Each stream's packets in order.
    pub streams: BTreeMap<u32, Vec<Packet>>,
    /// Each stream's decoder set-up, hashed.
    pub setups: BTreeMap<u32, String>,
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Decoding time in ms.
    pub dts: i64,
    /// Presentation time minus decoding time in ms.
    pub composition: i64,
    /// Its bytes, hashed.
    pub hash: String,
}

/// Reads a `framemd5` list.
pub fn parse(text: &str) -> Played {
    let mut played = Played::default();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim_start_matches("#extradata").split(',').map(str::trim).collect();
        let number = fields[0].parse();
        match (line.starts_with("#extradata"), line.starts_with('#'), number, fields.as_slice()) {
            (true, _, Ok(stream), [.., hash]) => _ = played.setups.insert(stream, (*hash).to_owned()),
            (false, false, Ok(stream), [_, dts, pts, _, _, hash, ..]) => {
                let (Ok(dts), Ok(pts)) = (dts.parse::<i64>(), pts.parse::<i64>()) else { continue };
                let packet = Packet { dts, composition: pts - dts, hash: (*hash).to_owned() };
                played.streams.entry(stream).or_default().push(packet);
            }
            _ => {}
        }
    }
    played
}

/// Where the part of a stream lies that was played: it must be an unbroken run of the source's packets, bit for bit, and the
/// time between any two the same. Returns each source stream's range and the offset of its times.
pub fn runs(source: &Played, played: &Played) -> Result<BTreeMap<u32, (Range<usize>, i64)>, String> {
    if source.streams.len() != played.streams.len() {
        return Err(format!("{} streams of {} were played", played.streams.len(), source.streams.len()));
    }
    let mut found = BTreeMap::new();
    for (stream, packets) in &source.streams {
        let run = played.streams.iter().find_map(|(number, seen)| Some((number, seen, start_of(packets, seen)?)));
        let (number, seen, start) =
            run.ok_or_else(|| format!("no played stream begins with a packet of stream {stream}"))?;
        if source.setups.get(stream) != played.setups.get(number) {
            return Err(format!("stream {stream}: another decoder set-up"));
        }
        let offset = seen[0].dts - packets[start].dts;
        for (at, packet) in seen.iter().enumerate() {
            let Some(sent) = packets.get(start + at) else {
                return Err(format!("stream {stream}: {} packets more than were sent", seen.len() - at));
            };
            let moved = Packet { dts: sent.dts + offset, ..sent.clone() };
            if *packet != moved {
                return Err(format!("stream {stream}: packet {} was {moved:?} and is {packet:?}", start + at));
            }
        }
        found.insert(*stream, (start..start + seen.len(), offset));
    }
    Ok(found)
}

/// Asserts that every packet of the source was played from the first keyframe on, bit for bit and in step. The source's stream 0 is
/// video and begins with a keyframe; sound that is not later than it may be missing.
#[track_caller]
pub fn assert_whole(source: &Played, played: &Played) {
    let runs = runs(source, played).unwrap_or_else(|error| panic!("{error}"));
    let key = source.streams[&0][0].dts;
    for (stream, (range, _)) in &runs {
        let packets = &source.streams[stream];
        let early = packets.iter().take_while(|packet| *stream != 0 && packet.dts <= key).count();
        assert!(range.start <= early, "stream {stream} was played from packet {} on", range.start);
        assert_eq!(range.end, packets.len(), "stream {stream} was not played to its end");
    }
    assert_in_step(&runs);
}

/// Asserts that a late player got everything from some point on to the end.
#[track_caller]
pub fn assert_rest(source: &Played, played: &Played) {
    let runs = runs(source, played).unwrap_or_else(|error| panic!("{error}"));
    for (stream, (range, _)) in &runs {
        assert_eq!(range.end, source.streams[stream].len(), "stream {stream} was not played to its end");
        assert!(!range.is_empty(), "stream {stream} was not played");
    }
    assert_in_step(&runs);
}

#[track_caller]
fn assert_in_step(runs: &BTreeMap<u32, (Range<usize>, i64)>) {
    let offsets: Vec<i64> = runs.values().map(|(_, offset)| *offset).collect();
    assert!(
        offsets.windows(2).all(|pair| pair[0] == pair[1]),
        "streams moved against each other: offsets {offsets:?} ms"
    );
}

fn start_of(packets: &[Packet], seen: &[Packet]) -> Option<usize> {
    let first = seen.first()?;
    packets.iter().position(|packet| packet.hash == first.hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "#extradata 0, 45, aa\n#tb 0: 1/1000\n0, 0, 80, 40, 9, h0\n1, 0, 0, 21, 9, s0\n0, 40, 40, 40, 9, h1\n\
                          1, 21, 21, 21, 9, s1\n0, 80, 120, 40, 9, h2\n1, 42, 42, 21, 9, s2\n";

    fn played(text: &str) -> Result<BTreeMap<u32, (Range<usize>, i64)>, String> {
        runs(&parse(SOURCE), &parse(text))
    }

    #[test]
    fn a_run_is_found_with_its_offset() {
        let late =
            "#extradata 1, 45, aa\n1, 1040, 1040, 40, 9, h1\n1, 1080, 1120, 40, 9, h2\n0, 1042, 1042, 21, 9, s2\n";
        let runs = played(late).unwrap();
        assert_eq!(runs[&0], (1..3, 1000));
        assert_eq!(runs[&1], (2..3, 1000));
    }

    #[test]
    fn gaps_changed_bytes_moved_times_and_other_set_ups_are_told() {
        let good = SOURCE.to_owned();
        for bad in [
            good.replace("0, 40, 40, 40, 9, h1\n", ""),
            good.replace("9, h2", "9, hx"),
            good.replace("0, 80, 120", "0, 81, 121"),
            good.replace("0, 80, 120", "0, 80, 121"),
            good.replace("45, aa", "45, ab"),
            good.clone() + "0, 120, 120, 40, 9, h3\n",
            "0, 0, 80, 40, 9, h0\n".to_owned(),
        ] {
            assert!(played(&bad).is_err(), "{bad}");
        }
        assert!(played(&good).is_ok());
    }
}
