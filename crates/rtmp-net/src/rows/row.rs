//! One row, and the task that writes for it.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use hub::{Body, Budget, Event, Group, Item, Read, Reader, Stream};
use tokio::{
    task::{JoinHandle, yield_now},
    time::Instant,
};

use super::Manner;
use crate::{
    outbox::MESSAGE_BYTES_MAX,
    seat::{Piece, Seat, Served, Sitter, Take},
    shared_bytes::SharedBytes,
};

/// Viewers of one stream that one task writes for. It goes on as long as anybody holds it.
#[derive(Debug)]
pub struct Row {
    /// Held, so that no other stream has its address.
    _stream: Arc<Stream>,
    lobby: Arc<Mutex<Lobby>>,
    writing: JoinHandle<()>,
}

/// Where viewers come in, and wait until there is something to write.
#[derive(Debug)]
struct Lobby {
    /// All below this position was taken up by the row; who has had less cannot sit.
    taken_below: u64,
    /// Sat down since the last time that there was something to write, each with the position up to which it has had all.
    arrivals: Vec<(u64, Occupant)>,
    open: bool,
}

/// Who sits, and the sitting that is meant.
#[derive(Debug)]
struct Occupant {
    seat: Weak<Seat<dyn Take>>,
    sitting: u32,
}

/// So many writes, some 300 µs of them, are one turn of the task: then it is others' turn.
const WRITES_A_TURN: usize = 64;
/// What each viewer was sent is counted so often.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long it takes to write to all is told so often. One that took long may be anything's fault: the quickest counts.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Room for so many who sit is never given back.
const OCCUPANTS_KEPT: usize = 64;
/// What a row that is late takes up at once.
const BATCH: Budget = Budget { items: 64, bytes: 256 * 1024 };

impl Row {
    /// A row for viewers who have had all below `seq`, or more.
    pub(super) fn begin(stream: &Arc<Stream>, seq: u64, manner: Arc<Manner>) -> Arc<Self> {
        let lobby = Arc::new(Mutex::new(Lobby { taken_below: seq, arrivals: Vec::new(), open: true }));
        let writer = Writer {
            reader: stream.read_for_others(seq),
            manner,
            lobby: lobby.clone(),
            occupants: Vec::new(),
            count_at: Instant::now() + COUNT_EVERY,
            quickest: Duration::MAX,
            tell_at: Instant::now() + TELL_EVERY,
        };
        let writing = tokio::spawn(writer.run());
        Arc::new(Self { _stream: stream.clone(), lobby, writing })
    }

    /// Whether anybody may still sit down.
    pub fn is_open(&self) -> bool {
        lock(&self.lobby).open
    }

    /// Lets the row write to a seat from now on. No: the row has ended, or is further than who wants to sit.
    pub fn sit(&self, seat: Arc<Seat<dyn Take>>, sitter: Sitter) -> bool {
        let mut lobby = lock(&self.lobby);
        if !lobby.open || sitter.next_seq < lobby.taken_below {
            return false;
        }
        let from = sitter.next_seq;
        let sitting = seat.sit(sitter);
        lobby.make_room();
        lobby.arrivals.push((from, Occupant { seat: Arc::downgrade(&seat), sitting }));
        true
    }

    /// How many sittings are remembered until there is something to write.
    #[cfg(test)]
    pub(super) fn arrivals(&self) -> usize {
        lock(&self.lobby).arrivals.len()
    }
}

impl Drop for Row {
    /// A seated viewer holds an `Arc<Row>`, so the last drop finds the row empty.
    fn drop(&mut self) {
        self.writing.abort();
    }
}

fn lock(lobby: &Mutex<Lobby>) -> MutexGuard<'_, Lobby> {
    // Nothing in there panics between two changes that belong together.
    lobby.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lobby {
    /// Before one more: whoever has got up is forgotten, so that who keeps sitting down with nothing to write is one arrival.
    fn make_room(&mut self) {
        let arrivals = &mut self.arrivals;
        if arrivals.len() == arrivals.capacity() {
            arrivals.retain(|(_, occupant)| occupant.still_sits());
            // As many again may come before they are looked through again.
            arrivals.reserve(arrivals.len());
        }
    }
}

impl Occupant {
    fn still_sits(&self) -> bool {
        self.seat.upgrade().is_some_and(|seat| seat.is_sitting(self.sitting))
    }
}

/// The row's task. However it ends, those who sit get up.
struct Writer {
    reader: Reader,
    manner: Arc<Manner>,
    lobby: Arc<Mutex<Lobby>>,
    occupants: Vec<Occupant>,
    count_at: Instant,
    /// The fastest round over all seats since pressure was told last.
    quickest: Duration,
    tell_at: Instant,
}

/// What is there for the row.
enum Found {
    Group(Arc<Group>),
    /// The row is late: several groups, or a part of them.
    Items(Vec<Arc<Item>>),
    Nothing,
    /// Something that each viewer must look at for itself.
    Other,
}

impl Writer {
    /// Writes until there is something that is not the same for all. Whoever sat goes on by itself then, and meets the others
    /// in another row.
    async fn run(mut self) {
        while let Some(from) = self.reader.next_seq() {
            match self.look() {
                Found::Group(group) => {
                    let making = |manner: &Manner| group.wire(manner.form, manner.make).clone();
                    self.write(from..group.next_seq(), group.frames(), making).await;
                }
                Found::Items(items) => {
                    let frames = items.iter().filter(|item| item.frame().is_some()).count() as u64;
                    let next_seq = items.last().map_or(from, |item| item.seq + 1);
                    self.write(from..next_seq, frames, |manner| (manner.make)(&items)).await;
                }
                Found::Nothing => self.reader.ready().await,
                Found::Other => return,
            }
        }
    }

    fn look(&mut self) -> Found {
        if let Some(group) = self.reader.read_group() {
            return Found::Group(group);
        }
        let mut items = Vec::new();
        match self.reader.read(BATCH, &mut items) {
            Read::Empty => Found::Nothing,
            Read::Items if items.iter().all(|item| is_for_all(item)) => Found::Items(items),
            Read::Items | Read::Skipped(_) | Read::Ended => Found::Other,
        }
    }

    /// One write for each who sits.
    async fn write(&mut self, positions: Range<u64>, frames: u64, making: impl FnOnce(&Manner) -> Bytes) {
        let began = Instant::now();
        let to_count = began >= self.count_at;
        if to_count {
            self.count_at = began + COUNT_EVERY;
        }
        self.let_in(positions.end);
        if self.occupants.is_empty() {
            return;
        }
        let Range { start: from, end: next_seq } = positions;
        let shared = SharedBytes::new(making(&self.manner), self.occupants.len());
        let piece = Piece { shared, from, next_seq };
        let mut at = 0;
        loop {
            at = self.write_some(at, &piece, frames, to_count);
            if at == self.occupants.len() {
                break;
            }
            yield_now().await;
        }
        self.give_room_back();
        self.tell(began);
    }

    fn give_room_back(&mut self) {
        let occupants = &mut self.occupants;
        if occupants.capacity() > OCCUPANTS_KEPT && occupants.len() < occupants.capacity() / 4 {
            occupants.shrink_to(occupants.len() * 2);
        }
    }

    fn tell(&mut self, began: Instant) {
        let now = Instant::now();
        self.quickest = self.quickest.min(now - began);
        if now >= self.tell_at {
            self.tell_at = now + TELL_EVERY;
            self.manner.pressure.on_written(std::mem::replace(&mut self.quickest, Duration::MAX));
        }
    }

    /// From now on the row has taken up all below this position. Whoever has come since the last time, and has not had that
    /// much, sits among the others.
    fn let_in(&mut self, taken_below: u64) {
        let mut lobby = lock(&self.lobby);
        lobby.taken_below = taken_below;
        let arrived = lobby.arrivals.extract_if(.., |(from, _)| *from < taken_below);
        self.occupants.extend(arrived.map(|(_, occupant)| occupant));
        if lobby.arrivals.is_empty() {
            lobby.arrivals = Vec::new();
        }
    }

    /// Writes to some, from this one in the list on, and says where it stopped.
    fn write_some(&mut self, mut at: usize, piece: &Piece, frames: u64, to_count: bool) -> usize {
        let (mut bytes, mut viewers) = (0, 0);
        for _ in 0..WRITES_A_TURN {
            let Some(occupant) = self.occupants.get(at) else { break };
            // Whoever is gone is nobody's loss here.
            let seat = occupant.seat.upgrade();
            match seat.map_or(Served::Empty, |seat| seat.serve(occupant.sitting, piece, to_count)) {
                Served::Whole => {
                    bytes += piece.shared.bytes().len() as u64;
                    viewers += 1;
                    at += 1;
                    continue;
                }
                // Its connection counts the bytes that are left.
                Served::Part(taken) => {
                    bytes += taken as u64;
                    viewers += 1;
                }
                Served::Empty => {}
            }
            self.occupants.swap_remove(at);
        }
        self.manner.totals.add_sent(bytes, viewers * frames);
        at
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut lobby = lock(&self.lobby);
        lobby.open = false;
        let arrivals = std::mem::take(&mut lobby.arrivals);
        drop(lobby);
        for occupant in self.occupants.drain(..).chain(arrivals.into_iter().map(|(_, occupant)| occupant)) {
            if let Some(seat) = occupant.seat.upgrade() {
                seat.dismiss(occupant.sitting);
            }
        }
    }
}

/// Whether nobody need look at it before it is sent.
fn is_for_all(item: &Item) -> bool {
    match &item.body {
        Body::Frame(frame) => frame.payload.len() <= MESSAGE_BYTES_MAX,
        Body::Event(Event::Close { .. }) | Body::Setup(_) => false,
        Body::Event(_) => true,
    }
}
