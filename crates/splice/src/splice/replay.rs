//! A splice made of what a log holds.

use std::time::Instant;

use media::{Frame, Provenance, PublicationId};

use super::{Config, PublicationState, Splice};

/// An item of a stream's log, as far as it tells who feeds the stream.
#[derive(Debug, Clone, Copy)]
pub enum Logged<'a> {
    /// A publication begins to feed the stream.
    Open(PublicationId),
    /// The stream ends.
    Close(PublicationId),
    /// A message, and what it was made of.
    Frame(&'a Frame, Option<Provenance>),
    /// Something else, and what it was made of.
    Other(Option<Provenance>),
}

impl Splice {
    /// The splice of a log: it goes on as the one whose decisions the log holds. None: nothing in the log says who feeds
    /// the stream. Of a log whose oldest items are gone, a track without frames has forgotten the distance between them.
    /// Its items had come some time ago: what follows may come after any pause.
    pub fn from_log<'a>(config: Config, log: impl IntoIterator<Item = Logged<'a>>, now: Instant) -> Option<Self> {
        let mut log = log.into_iter().skip_while(|item| item.publication().is_none());
        let first = log.next()?;
        let mut splice = Self::open(config, first.publication()?, now);
        splice.catch_up(std::iter::once(first).chain(log), now);
        Some(splice)
    }

    /// Goes on over items that another origin appended some time ago.
    pub fn catch_up<'a>(&mut self, log: impl IntoIterator<Item = Logged<'a>>, now: Instant) {
        log.into_iter().for_each(|item| self.replay(item, now));
        self.timeline.forget_when();
    }

    /// Goes on over an item that another origin has just appended, as if it had been appended here.
    pub fn replay(&mut self, item: Logged<'_>, now: Instant) {
        if let Some(publication) = item.publication()
            && publication != self.feed.publication
        {
            self.change_feed(publication, now);
        }
        if let Some(provenance) = item.provenance() {
            self.feed.heard_at = now;
            self.feed.state = PublicationState::Connected;
            provenance.number.map(|number| self.feed.note(number));
        }
        match item {
            Logged::Frame(frame, provenance) => {
                self.timeline.replay(frame, provenance.and_then(|provenance| provenance.clock), now);
            }
            Logged::Close(_) => self.feed.state = PublicationState::Ended,
            Logged::Open(_) | Logged::Other(_) => {}
        }
    }
}

impl Logged<'_> {
    fn publication(&self) -> Option<PublicationId> {
        match self {
            Self::Open(publication) | Self::Close(publication) => Some(*publication),
            Self::Frame(..) | Self::Other(_) => self.provenance().map(|provenance| provenance.publication),
        }
    }

    fn provenance(&self) -> Option<Provenance> {
        match self {
            Self::Frame(_, provenance) | Self::Other(provenance) => *provenance,
            Self::Open(_) | Self::Close(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
