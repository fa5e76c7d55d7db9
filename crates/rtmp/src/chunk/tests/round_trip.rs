//! Random messages, as random senders cut and mix them.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::{super::writer::put_basic_header, *};

/// A sender that uses every freedom of the format: it interleaves, compresses headers and changes its chunk size.
struct Sender {
    dice: Dice,
    /// Repeats extended times in format 3, as most do.
    repeats: bool,
    chunk_size: usize,
    streams: Vec<Stream>,
    out: BytesMut,
}

struct Stream {
    csid: u32,
    last: Option<Last>,
    under_way: Option<(Message, usize)>,
    waiting: VecDeque<Message>,
}

#[derive(Clone, Copy)]
struct Last {
    timestamp: u32,
    delta: u32,
    extended: bool,
    length: usize,
    type_id: u8,
    msid: u32,
}

/// A small generator of numbers, so that one seed tells the whole run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

const CSIDS: [u32; 6] = [2, 3, 63, 64, 320, 65599];

impl Sender {
    fn new(seed: u64, repeats: bool) -> Self {
        let stream = |csid| Stream { csid, last: None, under_way: None, waiting: VecDeque::new() };
        let streams = CSIDS.into_iter().map(stream).collect();
        Self { dice: Dice(seed), repeats, chunk_size: 128, streams, out: BytesMut::new() }
    }

    /// Sends everything that waits; returns the messages in the order in which they end.
    fn run(&mut self) -> Vec<Message> {
        let mut ended = Vec::new();
        loop {
            let busy: Vec<_> = (0..self.streams.len())
                .filter(|at| self.streams[*at].under_way.is_some() || !self.streams[*at].waiting.is_empty())
                .collect();
            if busy.is_empty() {
                return ended;
            }
            // Not on csid 2 half-way: the change of chunk size travels there.
            if self.dice.below(20) == 0 && self.streams[0].under_way.is_none() {
                self.change_chunk_size();
            }
            let at = busy[self.dice.below(busy.len())];
            ended.extend(self.send_chunk(at));
        }
    }

    fn change_chunk_size(&mut self) {
        let size = 128 + self.dice.below(3000);
        let message = Control::SetChunkSize(size as u32).to_message();
        self.streams[0].under_way = Some((message, 0));
        self.send_first(0);
        self.send_payload(0);
        self.chunk_size = size;
    }

    fn send_chunk(&mut self, at: usize) -> Option<Message> {
        match self.streams[at].under_way {
            None => {
                let message = self.streams[at].waiting.pop_front().unwrap();
                self.streams[at].under_way = Some((message, 0));
                self.send_first(at);
            }
            Some(_) => {
                let (csid, last) = (self.streams[at].csid, self.streams[at].last.unwrap());
                put_basic_header(3, csid, &mut self.out);
                self.put_repetition(last);
            }
        }
        self.send_payload(at)
    }

    fn send_payload(&mut self, at: usize) -> Option<Message> {
        let (message, sent) = self.streams[at].under_way.take().unwrap();
        let end = message.payload.len().min(sent + self.chunk_size);
        self.out.put_slice(&message.payload[sent..end]);
        if end == message.payload.len() {
            return Some(message);
        }
        self.streams[at].under_way = Some((message, end));
        None
    }

    /// The header of a new message, in one of the formats that can say it.
    fn send_first(&mut self, at: usize) {
        let (csid, last) = (self.streams[at].csid, self.streams[at].last);
        let message = &self.streams[at].under_way.as_ref().unwrap().0;
        let (timestamp, length) = (message.timestamp, message.payload.len());
        let (type_id, msid) = (message.type_id, message.msid);
        let most = match last {
            None => 0,
            Some(last) if last.msid != msid => 0,
            Some(last) if (last.length, last.type_id) != (length, type_id) => 1,
            Some(last) if last.timestamp.wrapping_add(last.delta) != timestamp => 2,
            Some(_) => 3,
        };
        let fmt = self.dice.below(most + 1) as u8;
        let time = match (fmt, last) {
            (0, _) | (_, None) => timestamp,
            (_, Some(last)) => timestamp.wrapping_sub(last.timestamp),
        };
        put_basic_header(fmt, csid, &mut self.out);
        if fmt == 3 {
            let last = last.unwrap();
            self.put_repetition(last);
            self.streams[at].last = Some(Last { timestamp, ..last });
            return;
        }
        self.out.put_uint(time.min(0xFF_FFFF).into(), 3);
        if fmt < 2 {
            self.out.put_uint(length as u64, 3);
            self.out.put_u8(type_id);
        }
        if fmt == 0 {
            self.out.put_u32_le(msid);
        }
        let extended = time >= 0xFF_FFFF;
        if extended {
            self.out.put_u32(time);
        }
        self.streams[at].last = Some(Last { timestamp, delta: time, extended, length, type_id, msid });
    }

    fn put_repetition(&mut self, last: Last) {
        if last.extended && self.repeats {
            self.out.put_u32(last.delta);
        }
    }
}

/// Messages with times that grow, repeat, jump past 0xFFFFFF and wrap, and lengths that repeat.
fn fill(sender: &mut Sender, count: usize) {
    let mut timestamps = [0, 100, 0xFF_FFF0, 0xFF_FFFF, 0x0100_0000, u32::MAX - 50];
    for _ in 0..count {
        let dice = &mut sender.dice;
        let at = dice.below(CSIDS.len());
        let step = [0, 20, 20, 20, 33, 0xFF_FFFF, 0x1234_5678, u32::MAX][dice.below(8)];
        timestamps[at] = timestamps[at].wrapping_add(step);
        let length = [0, 1, 127, 128, 129, 500, 500, 500, 4000][dice.below(9)];
        let payload: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        let type_id = [8, 9, 9, 18, 20][dice.below(5)];
        let msid = [0, 1, 1, 1, 0x0102_0304][dice.below(5)];
        sender.streams[at].waiting.push_back(message(type_id, timestamps[at], msid, payload));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_a_sender_mixes_is_read_back(seed: u64, repeats: bool, count in 1..60usize, piece in 1..3000usize) {
        let mut sender = Sender::new(seed, repeats);
        fill(&mut sender, count);
        let mut expected = sender.run();
        // Something follows, so that a last chunk that looks like a repeated time is told from one.
        sender.streams[1].waiting.push_back(message(20, 0, 0, vec![0; 20]));
        expected.extend(sender.run());
        for piece in [1, piece, usize::MAX] {
            prop_assert_eq!(read_in_pieces(&sender.out, piece), Ok(expected.clone()));
        }
    }

    #[test]
    fn what_the_writer_sends_is_read_back(
        messages in prop::collection::vec((prop::sample::select(vec![8u8, 9, 18, 20]), any::<u32>(), 0..3u32, 0..3000usize), 1..20),
        size in 128..5000u32,
        csid in prop::sample::select(CSIDS.to_vec()),
    ) {
        let messages: Vec<_> =
            messages.into_iter().map(|(id, time, msid, length)| message(id, time, msid, vec![id; length])).collect();
        let (mut writer, mut out) = (Writer::new(), Vec::new());
        for (at, message) in messages.iter().enumerate() {
            if at == messages.len() / 2 {
                writer.set_chunk_size(size, &mut out);
            }
            writer.write_on(csid, message, &mut out);
        }
        prop_assert_eq!(read(&out.concat()), Ok(messages));
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..3000), piece in 1..100usize) {
        let _ = read_in_pieces(&bytes, piece);
    }

    #[test]
    fn no_damage_to_chunks_breaks_the_reader(seed: u64, damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        let mut sender = Sender::new(seed, true);
        fill(&mut sender, 20);
        sender.run();
        let mut bytes = sender.out.to_vec();
        for (at, byte) in damage {
            let at = at % bytes.len().max(1);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        let whole = read_in_pieces(&bytes, usize::MAX);
        prop_assert_eq!(read_in_pieces(&bytes, 7), whole);
    }
}
