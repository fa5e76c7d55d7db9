//! Simulated time, processes, and connections between them.
//!
//! A connection is what TCP is to a program: in order, whole, and silent about why nothing comes. A cut link holds back
//! what is sent until it heals; a killed process closes its connections; a frozen one leaves them open.

use std::{
    collections::{BTreeSet, BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use crate::rng::Rng;

use super::message::Msg;

/// The control plane, an origin or an edge: an index.
pub type Party = usize;
/// A connection: an index.
pub type Conn = usize;

/// What happens at some time.
#[derive(Debug)]
pub enum Event {
    /// A message arrives at one end of a connection.
    Deliver { conn: Conn, end: usize, msg: Box<Msg> },
    /// A process of this start looks around.
    Tick { party: Party, start: u32 },
    /// What a process of this start has asked its disk for is done.
    Written { party: Party, start: u32 },
    /// The next line of the plan is due.
    Plan(usize),
}

/// Everything that is simulated below the programs.
#[derive(Debug)]
pub struct Net {
    /// Microseconds since the beginning.
    pub now: u64,
    pub rng: Rng,
    pub weather: Weather,
    /// By how many milliseconds the wall clock is wrong.
    pub wall_wrong_ms: i64,
    pub processes: Vec<Process>,
    /// What was told, if anybody listens.
    pub trace: Option<Vec<String>>,
    pub handled: u64,
    base: Instant,
    heap: BinaryHeap<Due>,
    scheduled: u64,
    released: u64,
    /// What had arrived at a process that was frozen and wakes: it is read before anything else.
    ready: VecDeque<Event>,
    conns: Vec<Link>,
    cut: BTreeSet<(Party, Party)>,
}

/// How messages travel.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Microseconds, from and to.
    pub delay: (u64, u64),
    /// So many messages in a hundred are lost, and sent again by the kernel.
    pub lost_percent: u64,
    /// One message in so many is followed by a stall.
    pub stall_every: u64,
    /// How long a stall is, in microseconds.
    pub stall: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self { delay: (50, 600), lost_percent: 0, stall_every: u64::MAX, stall: 0 }
    }
}

/// What is scheduled is numbered from here; what a cut has held back comes before that.
const SCHEDULED: u64 = 1 << 32;
/// When the kernel sends a lost message again.
const RESEND: u64 = 200_000;

#[derive(Debug, Default)]
pub struct Process {
    /// Which start of it.
    pub start: u32,
    pub alive: bool,
    pub frozen: bool,
    /// How much faster its clock runs, in parts of a million.
    pub rate_ppm: i64,
    inbox: VecDeque<Event>,
}

#[derive(Debug)]
struct Link {
    ends: [(Party, u32); 2],
    closed: [bool; 2],
    /// When the last message to each end arrives.
    last: [u64; 2],
    /// Messages to each end that a cut holds back.
    held: [VecDeque<Box<Msg>>; 2],
}

#[derive(Debug)]
struct Due {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl Net {
    pub fn new(seed: u64, parties: usize) -> Self {
        Self {
            now: 0,
            rng: Rng::new(seed),
            weather: Weather::default(),
            wall_wrong_ms: 0,
            processes: (0..parties).map(|_| Process::default()).collect(),
            trace: None,
            handled: 0,
            base: Instant::now(),
            heap: BinaryHeap::new(),
            scheduled: SCHEDULED,
            released: 0,
            ready: VecDeque::new(),
            conns: Vec::new(),
            cut: BTreeSet::new(),
        }
    }

    /// The next thing that a running process can notice, up to some time.
    pub fn next_event(&mut self, until: u64) -> Option<Event> {
        loop {
            let event = match self.ready.pop_front() {
                Some(event) => self.take_in(event),
                None => self.next_due(until)?,
            };
            if event.is_some() {
                self.handled += 1;
                return event;
            }
        }
    }

    /// The next thing that is due, up to some time; none within when nobody notices it.
    fn next_due(&mut self, until: u64) -> Option<Option<Event>> {
        if self.heap.peek()?.at > until {
            return None;
        }
        let Due { at, event, .. } = self.heap.pop()?;
        self.now = at;
        Some(self.arrive(event))
    }

    /// Where this process's clock stands.
    pub fn local(&self, party: Party) -> Instant {
        let rate = 1_000_000 + self.processes[party].rate_ppm;
        self.base + Duration::from_micros(self.now.saturating_mul(rate.unsigned_abs()) / 1_000_000)
    }

    /// Unix time as the process believes.
    pub fn unix_ms(&self) -> u64 {
        (1_700_000_000_000 + self.now / 1000).saturating_add_signed(self.wall_wrong_ms)
    }

    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.3} ms  {}", now as f64 / 1000.0, line()));
        }
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.heap.push(Due { at: at.max(self.now), number: self.scheduled, event });
    }

    /// Wakes a process after so many microseconds of its own clock.
    pub fn tick_after(&mut self, party: Party, local_us: u64) {
        let Process { start, rate_ppm, .. } = self.processes[party];
        let rate = u64::try_from(1_000_000 + rate_ppm).expect("no clock stands still");
        self.at(self.now + local_us * 1_000_000 / rate, Event::Tick { party, start });
    }

    /// The process writes to its disk.
    pub fn write(&mut self, party: Party, us: u64) {
        let start = self.processes[party].start;
        self.at(self.now + us, Event::Written { party, start });
    }

    /// Opens a connection; what is said first opens it at the other end.
    pub fn open(&mut self, from: Party, to: Party, first: Msg) -> Conn {
        let ends = [from, to].map(|party| (party, self.processes[party].start));
        let opened = self.now;
        self.conns.push(Link { ends, closed: [false; 2], last: [opened; 2], held: Default::default() });
        let conn = self.conns.len() - 1;
        self.send(conn, from, first);
        conn
    }

    pub fn send(&mut self, conn: Conn, from: Party, msg: Msg) {
        let end = self.other_end(conn, from);
        let link = &self.conns[conn];
        if link.closed[1 - end] || link.closed[end] {
            return;
        }
        self.put_on_the_way(conn, end, msg);
    }

    /// Closes our end; the other learns of it.
    pub fn close(&mut self, conn: Conn, from: Party) {
        let end = self.other_end(conn, from);
        if std::mem::replace(&mut self.conns[conn].closed[1 - end], true) || self.conns[conn].closed[end] {
            return;
        }
        self.put_on_the_way(conn, end, Msg::Closed);
    }

    /// The party at the other end.
    pub fn peer(&self, conn: Conn, of: Party) -> Party {
        self.conns[conn].ends[self.other_end(conn, of)].0
    }

    fn other_end(&self, conn: Conn, party: Party) -> usize {
        usize::from(self.conns[conn].ends[0].0 == party)
    }

    fn put_on_the_way(&mut self, conn: Conn, end: usize, msg: Msg) {
        let Weather { delay, lost_percent, stall_every, stall } = self.weather;
        let mut takes = self.rng.within(delay.0, delay.1);
        if lost_percent > 0 && self.rng.percent(lost_percent) {
            takes += RESEND;
        }
        if stall_every < u64::MAX && self.rng.below(stall_every) == 0 {
            takes += stall;
        }
        let link = &mut self.conns[conn];
        let at = (self.now + takes).max(link.last[end] + 1);
        link.last[end] = at;
        self.at(at, Event::Deliver { conn, end, msg: Box::new(msg) });
    }

    /// A message comes through the network, if no link is cut.
    fn arrive(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Deliver { conn, end, msg } if self.is_cut(conn) => {
                self.conns[conn].held[end].push_back(msg);
                None
            }
            event => self.take_in(event),
        }
    }

    fn is_cut(&self, conn: Conn) -> bool {
        let [(a, _), (b, _)] = self.conns[conn].ends;
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// What has arrived reaches its process, if that runs.
    fn take_in(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Deliver { conn, end, msg } => self.take_in_at(conn, end, msg),
            Event::Tick { party, start } | Event::Written { party, start } => {
                let process = &mut self.processes[party];
                if !process.alive || process.start != start {
                    return None;
                }
                if process.frozen {
                    process.inbox.push_back(event);
                    return None;
                }
                Some(event)
            }
            Event::Plan(_) => Some(event),
        }
    }

    fn take_in_at(&mut self, conn: Conn, end: usize, msg: Box<Msg>) -> Option<Event> {
        let link = &mut self.conns[conn];
        let (to, start) = link.ends[end];
        if link.closed[end] {
            return None;
        }
        let process = &mut self.processes[to];
        if !process.alive || process.start != start {
            // Nobody is there: the kernel says so.
            link.closed[end] = true;
            if !matches!(*msg, Msg::Closed) {
                self.put_on_the_way(conn, 1 - end, Msg::Closed);
            }
            return None;
        }
        if process.frozen {
            process.inbox.push_back(Event::Deliver { conn, end, msg });
            return None;
        }
        if matches!(*msg, Msg::Closed) {
            link.closed[end] = true;
        }
        Some(Event::Deliver { conn, end, msg })
    }

    /// The party to which a connection's end belongs.
    pub fn at_end(&self, conn: Conn, end: usize) -> Party {
        self.conns[conn].ends[end].0
    }

    pub fn start(&mut self, party: Party) {
        let process = &mut self.processes[party];
        let rate_ppm = process.rate_ppm;
        *process = Process { start: process.start + 1, alive: true, frozen: false, rate_ppm, inbox: VecDeque::new() };
        self.tick_after(party, 1000);
    }

    /// The process is gone; its kernel closes what it held.
    pub fn kill(&mut self, party: Party) {
        let start = self.processes[party].start;
        self.processes[party].alive = false;
        self.processes[party].inbox.clear();
        for conn in 0..self.conns.len() {
            let Some(end) = self.conns[conn].ends.iter().position(|end| *end == (party, start)) else { continue };
            if !self.conns[conn].closed[end] && !self.conns[conn].closed[1 - end] {
                self.conns[conn].closed[end] = true;
                self.put_on_the_way(conn, 1 - end, Msg::Closed);
            }
        }
    }

    pub fn freeze(&mut self, party: Party) {
        self.processes[party].frozen = true;
    }

    /// What came meanwhile is read now, before what comes next; whether late timers or sockets come first is up to chance.
    /// A link that was cut since holds back none of it: it had arrived.
    pub fn thaw(&mut self, party: Party) {
        self.processes[party].frozen = false;
        let inbox = std::mem::take(&mut self.processes[party].inbox);
        let timers_first = self.rng.percent(50);
        let (ticks, words): (Vec<_>, Vec<_>) = inbox.into_iter().partition(|event| matches!(event, Event::Tick { .. }));
        let order = if timers_first { [ticks, words] } else { [words, ticks] };
        self.ready.extend(order.into_iter().flatten());
    }

    pub fn cut(&mut self, a: Party, b: Party) {
        self.cut.insert((a.min(b), a.max(b)));
    }

    /// All links work again; what they held back arrives.
    pub fn heal(&mut self) {
        for (a, b) in std::mem::take(&mut self.cut) {
            self.release(a, b);
        }
    }

    /// One link works again.
    pub fn mend(&mut self, a: Party, b: Party) {
        self.cut.remove(&(a.min(b), a.max(b)));
        self.release(a, b);
    }

    fn release(&mut self, a: Party, b: Party) {
        for conn in 0..self.conns.len() {
            let [(from, _), (to, _)] = self.conns[conn].ends;
            let ends = if (from.min(to), from.max(to)) == (a.min(b), a.max(b)) { [0, 1].as_slice() } else { &[] };
            for end in ends.iter().copied() {
                for msg in std::mem::take(&mut self.conns[conn].held[end]) {
                    // Before whatever is still on the way.
                    self.released += 1;
                    let event = Event::Deliver { conn, end, msg };
                    self.heap.push(Due { at: self.now, number: self.released, event });
                }
            }
        }
    }
}
