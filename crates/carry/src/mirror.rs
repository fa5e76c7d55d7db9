//! The edge's copy of one stream.

use std::sync::Arc;

use hub::{AlreadyOpen, Body, Hub, Placed, Stream, Writer};
use media::StreamName;

use crate::seam::{Joint, Numbers, Seam, Shift, Tail};

/// Whichever pool its items come from: one numbering, and times that never fall. The first pool's pass unchanged.
#[derive(Debug, Default)]
pub struct Mirror {
    /// None unless the stream is there.
    writer: Option<Writer>,
    source: Option<Source>,
    /// What the source has had when it was opened last.
    head: u64,
    /// Where the stream is to go on: with this pool as its source.
    seam: Option<(String, Seam)>,
    tail: Tail,
}

/// The pool that the newest items are from.
#[derive(Debug)]
struct Source {
    pool: String,
    /// The last position taken, in its own numbering.
    last: Option<u64>,
    /// The epoch in which that came.
    epoch: u64,
    shift: Shift,
    /// Its log is another now, from this position on, and does not hold what was taken last.
    anew_from: Option<u64>,
}

/// What came of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Items that were there already.
    pub repeated: usize,
    /// The stream has ended with it.
    pub closed: bool,
    /// It was clear with it how the stream goes on: another pool gives it, or another log of the same one.
    pub spliced: Option<Spliced>,
}

/// How viewers go on in another log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spliced {
    /// Right behind the frame that they had last.
    Behind,
    /// Anew, at a keyframe.
    Anew,
}

impl Mirror {
    /// Whether the stream is there.
    pub fn is_open(&self) -> bool {
        self.writer.is_some()
    }

    /// The position after which this pool is to begin, and the epoch in which what stands there came; none: with set-up and
    /// the last GOP. With a log that is another now, it is with all that it holds: viewers' last frame may be anywhere in it.
    pub fn after(&self, pool: &str) -> Option<(u64, u64)> {
        let source = self.source.as_ref().filter(|source| source.pool == pool)?;
        if source.anew_from.is_some() { Some((0, 0)) } else { Some((source.last?, source.epoch)) }
    }

    /// This pool's log ends at `head`, and was written anew from a position up to which it was asked for, if it was. True
    /// where it turns out to be another than the one that viewers were fed from.
    pub fn note_head(&mut self, pool: &str, head: u64, parted_from: Option<u64>) -> bool {
        let Some(source) = self.source.as_mut().filter(|source| source.pool == pool) else { return false };
        let ends_below = || source.last.filter(|last| *last > head).map(|_| head + 1);
        if source.anew_from.is_some() {
            return false;
        }
        source.anew_from = parted_from.or_else(ends_below);
        source.anew_from.is_some()
    }

    /// A pool has the stream, up to `head`. Returns the stream where it was not there.
    pub fn open(
        &mut self,
        hub: &Hub,
        name: &StreamName,
        pool: &str,
        head: u64,
    ) -> Result<Option<Arc<Stream>>, AlreadyOpen> {
        self.head = head;
        self.seam = None;
        let pool = pool.to_owned();
        match &self.source {
            Some(source) if source.pool == pool => {
                let anew = |from| Seam::new(Numbers::Anew { from }, head).with_shift(source.shift);
                self.seam = source.anew_from.map(|from| (pool, anew(from)));
            }
            Some(_) => self.seam = Some((pool, Seam::new(Numbers::Foreign, head))),
            None => self.source = Some(Source { pool, last: None, epoch: 0, shift: Shift::default(), anew_from: None }),
        }
        if self.writer.is_some() {
            return Ok(None);
        }
        let writer = hub.mirror(name)?;
        let stream = writer.stream().clone();
        self.writer = Some(writer);
        Ok(Some(stream))
    }

    /// Takes items of the pool that was opened last, which came in this epoch of it.
    pub fn append(&mut self, epoch: u64, items: Vec<Placed>) -> Appended {
        self.open_seam_at_a_gap(&items);
        let Some(writer) = self.writer.as_mut() else { return Appended::default() };
        let last = items.last().map(|item| item.seq);
        let (mut closed, mut spliced) = (false, None);
        let (setup, due) = match &mut self.seam {
            None => {
                let Some(source) = self.source.as_mut() else { return Appended::default() };
                source.last = source.last.max(last);
                source.epoch = epoch;
                place(items, source.shift, &self.tail)
            }
            Some((pool, seam)) => {
                let next_seq = writer.stream().info().next_seq;
                let Some(Joint { how, setup, due, shift }) = seam.push(items, &self.tail, next_seq) else {
                    return Appended::default();
                };
                let pool = std::mem::take(pool);
                spliced = Some(how);
                self.source = Some(Source { pool, last, epoch, shift, anew_from: None });
                self.seam = None;
                (setup, due)
            }
        };
        for (_, body) in &due {
            match body {
                Body::Frame(frame) => self.tail.note(frame),
                Body::Event(hub::Event::Close { .. }) => closed = true,
                Body::Event(_) | Body::Setup(_) => {}
            }
        }
        // A batch has set-up only at its beginning: where the origin's cursor started or rejoined.
        if !setup.is_empty() {
            writer.restore_setup(setup);
        }
        Appended { repeated: writer.append_at(due), closed, spliced }
    }

    /// Positions of the source that we have not had are left out: after a loss, what follows may be what viewers had.
    fn open_seam_at_a_gap(&mut self, items: &[Placed]) {
        let (None, Some(Source { pool, last: Some(last), shift, .. })) = (&self.seam, &self.source) else { return };
        if items.first().is_some_and(|first| first.seq > last + 1) && !self.tail.is_empty() {
            self.seam = Some((pool.clone(), Seam::new(Numbers::Same, self.head).with_shift(*shift)));
        }
    }

    /// The last position taken, in the source's numbering.
    pub fn position(&self) -> Option<u64> {
        self.source.as_ref()?.last
    }

    /// Viewers are told that the stream has ended.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

/// Set-up, and what takes positions, with positions and times of here.
fn place(items: Vec<Placed>, shift: Shift, tail: &Tail) -> (Vec<media::Frame>, Vec<(u64, Body)>) {
    let (mut setup, mut due) = (Vec::new(), Vec::with_capacity(items.len()));
    for item in items {
        match item.body {
            Body::Setup(frame) => setup.push(frame),
            Body::Frame(frame) => due.push((shift.seq(item.seq), Body::Frame(shift.frame(frame, tail)))),
            Body::Event(event) => due.push((shift.seq(item.seq), Body::Event(shift.event(event)))),
        }
    }
    (setup, due)
}

#[cfg(test)]
mod tests;
