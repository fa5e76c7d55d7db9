//! An edge between two independent masters that one encoder feeds: its real mirror, over real logs, under faults that a seed
//! chooses. `HEADWATER_SEED=n` runs one seed and prints what happened in it.
//!
//! Each master numbers and times the stream for itself, and begins anew when it restarts. Viewers see one stream: positions
//! ascend, times never fall, nothing comes twice, and when all is well again they have what the encoder sends.

use std::{collections::HashMap, fmt::Write};

use bytes::Bytes;
use carry::Mirror;
use cluster::Epoch;
use hub::{Body, Budget, Event, Hub, Item, Placed, Read, Reader, RingLimits, Start, Writer};
use media::{Frame, Medium, StreamName};

use crate::{rng::Rng, world::names::stream_name};

/// The time between two messages, of which every other one is sound.
const PERIOD_MS: u64 = 20;
/// Messages from one keyframe to the next.
const GOP: u64 = 16;
/// Faults happen in so many messages' time.
const FAULTY: u64 = 1500;
/// So long after the last fault all is as if none had been.
const HEALED: u64 = 500;
const CALM: u64 = 200;

/// One origin in a pool of its own.
struct Master {
    pool: &'static str,
    hub: Hub,
    epoch: u64,
    /// The encoder's connection, and when it was opened.
    encoder: Option<(Writer, u64)>,
}

/// An edge, one viewer there, and what the viewer has seen.
struct Edge {
    hub: Hub,
    mirror: Mirror,
    /// Which master it asks.
    at: usize,
    call: Option<Reader>,
    viewer: Option<Reader>,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    position: Option<u64>,
    number: Option<u64>,
    times: HashMap<Medium, u64>,
}

struct World {
    rng: Rng,
    name: StreamName,
    /// How many messages the encoder has sent.
    sent: u64,
    masters: [Master; 2],
    edge: Edge,
    /// The edge reaches nobody until then.
    cut_until: u64,
    trace: String,
}

impl Master {
    fn new(pool: &'static str, epoch: u64, ring: usize) -> Self {
        let hub = Hub::new(RingLimits { items: ring, ..RingLimits::default() });
        hub.raise_floor(Epoch(epoch).first_position());
        Self { pool, hub, epoch, encoder: None }
    }

    /// The encoder opens its connection, and sends set-up.
    fn connect(&mut self, name: &StreamName, now: u64) {
        let writer = self.hub.open(name).expect("it was closed");
        self.encoder = Some((writer, now));
        self.take(now, Medium::Video, &[0x17, 0, 0, 0, 0]);
        self.take(now, Medium::Audio, &[0xaf, 0]);
    }

    fn take(&mut self, now: u64, medium: Medium, payload: &[u8]) {
        let Some((writer, since)) = &mut self.encoder else { return };
        let dts = (now - *since) * PERIOD_MS;
        let item = writer.append(Body::Frame(Frame::classify(medium, dts, Bytes::copy_from_slice(payload))), None);
        writer.commit_below(item.seq + 1);
    }
}

/// What the encoder sends at this number.
fn message(number: u64) -> (Medium, Vec<u8>) {
    let (medium, head) = match number % GOP {
        0 => (Medium::Video, [0x17, 1, 0, 0, 0]),
        even if even % 2 == 0 => (Medium::Video, [0x27, 1, 0, 0, 0]),
        _ => (Medium::Audio, [0xaf, 1, 0, 0, 0]),
    };
    (medium, [&head[..], &number.to_be_bytes()].concat())
}

/// The number that a message carries; none of set-up.
fn number(frame: &Frame) -> Option<u64> {
    Some(u64::from_be_bytes(frame.payload.get(5..13)?.try_into().ok()?))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x3a57e6);
        let epochs = [rng.within(1, 8), rng.within(1, 8)];
        let masters = [Master::new("west", epochs[0], 400), Master::new("east", epochs[1], 400)];
        let edge = Edge {
            hub: Hub::new(RingLimits::default()),
            mirror: Mirror::default(),
            at: 0,
            call: None,
            viewer: None,
            seen: Seen::default(),
        };
        Self { rng, name: stream_name(0), sent: 0, masters, edge, cut_until: 0, trace: String::new() }
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.trace, "{:>5} {what}", self.sent);
    }

    /// Until the end: Err says what was wrong.
    fn run(&mut self) -> Result<(), String> {
        while self.sent < FAULTY {
            self.break_something();
            self.step()?;
        }
        self.cut_until = 0;
        for _ in 0..HEALED {
            self.step()?;
        }
        for _ in 0..CALM {
            let before = self.edge.seen.number;
            self.step()?;
            let newest = self.sent - 1;
            if self.edge.seen.number != Some(newest) || before != Some(newest - 1) {
                return Err(format!("{before:?} and {:?} were seen, and {newest} is sent", self.edge.seen.number));
            }
        }
        Ok(())
    }

    fn break_something(&mut self) {
        let which = usize::try_from(self.rng.below(2)).expect("an index");
        let until = self.sent + self.rng.within(1, 300);
        match self.rng.below(400) {
            0 => {
                let Master { pool, epoch, .. } = self.masters[which];
                let epoch = epoch + self.rng.within(1, 4);
                let ring = self.rng.pick(&[40, 100, 400]);
                self.tell(format_args!("{pool} restarts in epoch {epoch}"));
                self.masters[which] = Master::new(pool, epoch, usize::try_from(ring).expect("few items"));
                if self.edge.at == which {
                    self.edge.call = None;
                }
            }
            1 => {
                self.tell(format_args!("the edge is cut off until {until}"));
                (self.edge.call, self.cut_until) = (None, until);
            }
            2 => {
                self.tell(format_args!("the edge asks master {which}"));
                (self.edge.call, self.edge.at) = (None, which);
            }
            _ => {}
        }
    }

    /// The encoder sends one message, and the edge takes what there is.
    fn step(&mut self) -> Result<(), String> {
        let (medium, payload) = message(self.sent);
        for at in 0..self.masters.len() {
            if self.masters[at].encoder.is_none() && self.rng.percent(5) {
                let pool = self.masters[at].pool;
                self.tell(format_args!("the encoder connects to {pool}"));
                self.masters[at].connect(&self.name, self.sent);
            }
            self.masters[at].take(self.sent, medium, &payload);
        }
        self.sent += 1;
        if self.sent > self.cut_until {
            self.edge_asks();
            self.edge_takes()?;
        }
        Ok(())
    }

    fn edge_asks(&mut self) {
        for _ in 0..2 {
            if self.edge.call.is_none() && !self.pulls() {
                self.edge.at = 1 - self.edge.at;
            }
        }
    }

    /// Asks the master for the stream, which may not have it.
    fn pulls(&mut self) -> bool {
        let master = &self.masters[self.edge.at];
        let (pool, Some(stream)) = (master.pool, master.hub.get(&self.name)) else { return false };
        let head = stream.info().next_seq - 1;
        let mirror = &mut self.edge.mirror;
        let is_anew = mirror.note_head(pool, head, None);
        let after = mirror.after(pool).map(|(after, _)| after);
        let opened = mirror.open(&self.edge.hub, &self.name, pool, head).expect("one pull of a name");
        if let Some(opened) = opened {
            self.edge.viewer = Some(opened.subscribe(Start::LastKeyframe));
        }
        self.edge.call = Some(stream.subscribe(after.map_or(Start::LastKeyframe, Start::After)));
        self.tell(format_args!("pull of {pool} after {after:x?} up to {head:#x}, anew {is_anew}"));
        true
    }

    fn edge_takes(&mut self) -> Result<(), String> {
        let budget = Budget { items: usize::try_from(self.rng.within(1, 40)).expect("few"), bytes: usize::MAX };
        let mut items = Vec::new();
        match self.edge.call.as_mut().map(|call| call.read(budget, &mut items)) {
            Some(Read::Items | Read::Skipped(_)) => {}
            Some(Read::Ended) => self.edge.call = None,
            Some(Read::Empty) | None => return Ok(()),
        }
        let appended = self.edge.mirror.append(0, items.iter().map(|item| item.placed()).collect::<Vec<Placed>>());
        if let Some(spliced) = appended.spliced {
            self.tell(format_args!("goes on: {spliced:?}"));
        }
        self.look()
    }

    /// The viewer looks at what it has.
    fn look(&mut self) -> Result<(), String> {
        let Some(viewer) = &mut self.edge.viewer else { return Ok(()) };
        let mut items = Vec::new();
        while let Read::Items | Read::Skipped(_) = viewer.read(Budget { items: 64, bytes: usize::MAX }, &mut items) {}
        items.iter().try_for_each(|item| self.edge.seen.note(item))
    }
}

impl Seen {
    fn note(&mut self, item: &Item) -> Result<(), String> {
        let frame = match &item.body {
            Body::Setup(_) => return Ok(()),
            Body::Event(Event::Close { .. }) => return Err("the stream ends".to_owned()),
            Body::Event(_) => None,
            Body::Frame(frame) => Some(frame),
        };
        if let Some(before) = self.position.replace(item.seq)
            && item.seq <= before
        {
            return Err(format!("position {:#x} after {before:#x}", item.seq));
        }
        let Some((frame, number)) = frame.and_then(|frame| Some((frame, number(frame)?))) else { return Ok(()) };
        if let Some(before) = self.number.replace(number)
            && number <= before
        {
            return Err(format!("message {number} after {before}"));
        }
        if let Some(before) = self.times.insert(frame.medium, frame.dts)
            && frame.dts < before
        {
            return Err(format!("message {number} at {} ms after one at {before} ms", frame.dts));
        }
        Ok(())
    }
}

fn seeds() -> u64 {
    if std::env::var_os("HEADWATER_DRILL").is_some() { 20_000 } else { 100 }
}

#[test]
fn viewers_of_an_edge_between_two_masters_see_one_stream() {
    if let Some(seed) = std::env::var("HEADWATER_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let mut world = World::new(seed);
        let result = world.run();
        eprintln!("{}", world.trace);
        result.expect("nothing is wrong");
        return;
    }
    let mut failed = Vec::new();
    for seed in 1..=seeds() {
        let mut world = World::new(seed);
        if let Err(wrong) = world.run() {
            failed.push((seed, wrong, world.trace));
        }
    }
    let list: String = failed.iter().take(20).map(|(seed, wrong, _)| format!("{seed}: {wrong}\n")).collect();
    let trace = failed.first().map_or("", |(.., trace)| trace);
    assert!(failed.is_empty(), "{} of {} seeds:\n{list}\n{trace}", failed.len(), seeds());
}
