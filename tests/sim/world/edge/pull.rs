//! A pull of a simulated edge: where its viewers are, and where they go on in another log.

use std::{collections::VecDeque, mem, sync::Arc};

use hub::{Body, Item};
use media::{Frame, Kind, StreamName};

use super::{
    super::net::{Conn, Net, Party},
    Way,
};

/// An edge sends at most two seconds again of what viewers have had: what is not further behind may be on its way there.
const AGAIN_MS_MAX: u64 = 3_000;

#[derive(Debug)]
pub struct Pull {
    pub name: StreamName,
    pub call: Option<(Conn, Way)>,
    pub retry_at: u64,
    pub heard: u64,
    /// The origin has said on this call how far its log goes.
    opened: bool,
    /// The last position that was taken, in the origin's numbering.
    last: Option<u64>,
    /// Added to the origin's positions, wrapping, for viewers.
    shift: u64,
    /// The origin's log is another now, which ends before `last`.
    is_anew: bool,
    /// What came of a log that is another.
    seam: Option<Seam>,
    /// The last position that viewers have, and the last frame.
    had: Option<u64>,
    anchor: Option<Frame>,
    /// The last keyframes that viewers have, oldest first.
    keys: VecDeque<Frame>,
}

/// Keyframes that are remembered.
const KEYS_MAX: usize = 6;

/// Holds back what comes until it is clear where viewers go on.
#[derive(Debug, Default)]
struct Seam {
    /// Where the log ended when the call was opened.
    head: Option<u64>,
    held: Vec<Arc<Item>>,
}

impl Pull {
    pub fn new(name: &StreamName) -> Self {
        Self {
            name: name.clone(),
            call: None,
            retry_at: 0,
            heard: 0,
            opened: false,
            last: None,
            shift: 0,
            is_anew: false,
            seam: None,
            had: None,
            anchor: None,
            keys: VecDeque::new(),
        }
    }

    /// Where the origin is to begin: in a log that is another, with all that it holds.
    pub fn after(&self) -> Option<u64> {
        if self.is_anew { Some(0) } else { self.last }
    }

    /// A call was made.
    pub fn begin(&mut self, call: (Conn, Way)) {
        self.call = Some(call);
        self.opened = false;
        self.seam = self.is_anew.then(Seam::default);
    }

    /// The call is over; the next one comes at `retry_at`.
    pub fn leave(&mut self, net: &mut Net, me: Party, retry_at: u64) {
        if let Some((conn, _)) = self.call.take() {
            net.close(conn, me);
        }
        self.retry_at = retry_at;
    }

    /// The stream has ended, and its viewers with it.
    pub fn end(&mut self) {
        let Self { name, call, retry_at, heard, .. } = mem::replace(self, Self::new(&self.name));
        *self = Self { call, retry_at, heard, ..Self::new(&name) };
    }

    /// The origin's log ends here, committed anew. True: it is another than the one that viewers were fed from, and is to
    /// be asked for from its beginning.
    pub fn note_head(&mut self, head: u64) -> bool {
        if mem::replace(&mut self.opened, true) {
            return false;
        }
        if let Some(seam) = &mut self.seam {
            seam.head = Some(head);
            return false;
        }
        self.is_anew = self.last.is_some_and(|last| last > head);
        self.is_anew
    }

    /// Takes what came; what of it is for viewers, each with its position there.
    pub fn take(&mut self, items: Vec<Arc<Item>>) -> Vec<(u64, Arc<Item>)> {
        let mut due: Vec<_> = items.into_iter().filter(|item| !matches!(item.body, Body::Setup(_))).collect();
        if let Some(seam) = &mut self.seam {
            seam.held.append(&mut due);
            let Some((at, shift)) = seam.joint(self.anchor.as_ref(), &self.keys, self.had.map_or(0, |had| had + 1))
            else {
                return Vec::new();
            };
            (due, self.shift, self.is_anew) = (seam.held.split_off(at), shift, false);
            self.last = seam.held.last().map(|item| item.seq);
            self.seam = None;
        }
        let mut placed = Vec::new();
        for item in due {
            let position = item.seq.wrapping_add(self.shift);
            (self.last, self.had) = (Some(item.seq), Some(position));
            if let Body::Frame(frame) = &item.body {
                self.anchor = Some(frame.clone());
                if frame.kind == Kind::Key {
                    self.keys.push_back(frame.clone());
                    self.keys.drain(..self.keys.len().saturating_sub(KEYS_MAX));
                }
            }
            placed.push((position, item));
        }
        placed
    }
}

impl Seam {
    /// From which of the held items on viewers go on, and what is added to positions. `next` is the one that comes next.
    fn joint(&self, anchor: Option<&Frame>, keys: &VecDeque<Frame>, next: u64) -> Option<(usize, u64)> {
        let head = self.head.filter(|head| self.held.last().is_some_and(|last| last.seq >= *head))?;
        let moved = self.moved(head, keys);
        if let Some(at) = anchor.and_then(|anchor| self.behind(anchor, moved.unwrap_or(0))) {
            return Some((at, next.wrapping_sub(self.held[at - 1].seq + 1)));
        }
        let newest = self.held.iter().rev().find_map(|item| item.frame());
        let comes_again = |anchor: &Frame| {
            let time = newest.map(|newest| newest.dts.saturating_add_signed(moved.unwrap_or(0)));
            time.is_some_and(|time| time < anchor.dts && time + AGAIN_MS_MAX >= anchor.dts)
        };
        if anchor.is_some_and(comes_again) {
            return None;
        }
        let starts = |item: &Arc<Item>| {
            let unseen = |frame: &Frame| {
                let is_later = |moved| anchor.is_none_or(|anchor| frame.dts.saturating_add_signed(moved) > anchor.dts);
                if item.seq > head { moved.is_none_or(is_later) } else { is_later(0) }
            };
            item.frame().is_some_and(|frame| frame.kind == Kind::Key && unseen(frame))
        };
        let at = self.held.iter().position(starts)?;
        // A position is left out: viewers see a gap and begin anew.
        Some((at, (next + 1).wrapping_sub(self.held[at].seq)))
    }

    /// What is added to the times of what was written since, where its publication began on both sides of a cut.
    fn moved(&self, head: u64, keys: &VecDeque<Frame>) -> Option<i64> {
        let since = self.held.iter().rev().filter(|item| item.seq > head).filter_map(|item| item.frame());
        since.filter(|frame| frame.kind == Kind::Key).find_map(|frame| {
            let had = keys.iter().find(|key| key.payload == frame.payload)?;
            Some(had.dts.cast_signed() - frame.dts.cast_signed())
        })
    }

    /// The place right behind the frame that viewers had last, if all that follows it is there.
    fn behind(&self, anchor: &Frame, moved: i64) -> Option<usize> {
        let is_it = |frame: &Frame| {
            let times = [0, moved].map(|moved| frame.dts.saturating_add_signed(moved));
            frame.payload == anchor.payload && times.contains(&anchor.dts)
        };
        let at = self.held.iter().position(|item| item.frame().is_some_and(is_it))?;
        self.held[at..].windows(2).all(|pair| pair[1].seq == pair[0].seq + 1).then_some(at + 1)
    }
}
