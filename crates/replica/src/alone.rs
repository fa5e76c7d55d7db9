//! What an active committed without members that the record had in sync, or with nobody else (REPLICATION C5).
//!
//! If another is active next, that one may lack it, although a third has it: then it is named, stream by stream, when this
//! origin follows. A stream that is open tells of itself by its log; of one that has ended, how far it went is kept here.

use std::collections::VecDeque;

use crate::{Replica, log::Log, message::LogState};

/// What is to be told to the next active.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    /// Some log says from where on.
    any: bool,
    ended: VecDeque<LogState>,
}

/// Streams that ended and are remembered; the oldest are forgotten. An origin is alone for minutes, not for days.
const ENDED_MAX: usize = 1024;

impl Alone {
    /// What of this log is committed next may be lacked by who is active next.
    pub(crate) fn note(&mut self, log: &mut Log) {
        self.any = true;
        log.note_alone();
    }

    /// The stream's end was committed on our own word.
    pub(crate) fn note_end(&mut self, log: &Log) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(LogState { ended: true, ..log.state() });
    }

    /// The oldest first.
    pub(crate) fn ended(&self) -> impl Iterator<Item = LogState> {
        self.ended.iter().cloned()
    }
}

impl Replica {
    /// All whom the record names have it now, or it was told.
    pub(crate) fn forget_alone(&mut self) {
        if std::mem::take(&mut self.alone.any) {
            self.alone.ended.clear();
            self.logs.values_mut().for_each(|log| log.alone_from = None);
        }
    }
}
