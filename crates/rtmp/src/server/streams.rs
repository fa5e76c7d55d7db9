//! The message streams of one connection.

use std::time::Instant;

use media::Medium;

/// What a client made with createStream and did not delete.
#[derive(Debug)]
pub(super) struct Streams {
    open: Vec<MessageStream>,
    open_max: usize,
    last_msid: u32,
    last_serial: u32,
}

#[derive(Debug)]
pub(super) struct MessageStream {
    pub(super) msid: u32,
    pub(super) used: Use,
}

/// What a message stream is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Use {
    Idle,
    /// To be decided; the number tells this request from a later one on the same message stream.
    PublishAsked(u32),
    PlayAsked(u32, Wishes),
    Publishing {
        name: Box<str>,
        /// Until the first message came.
        first_media_by: Option<Instant>,
    },
    Playing,
}

/// What a player asked for behind its play and before the decision: it holds from the first frame on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) paused: Option<bool>,
    pub(super) audio: Option<bool>,
    pub(super) video: Option<bool>,
}

impl Wishes {
    pub(super) fn set_wanted(&mut self, medium: Medium, wanted: bool) {
        match medium {
            Medium::Audio => self.audio = Some(wanted),
            Medium::Video => self.video = Some(wanted),
            Medium::Data => {}
        }
    }
}

impl Use {
    pub(super) fn undecided(&self) -> Option<u32> {
        match self {
            Self::PublishAsked(serial) | Self::PlayAsked(serial, _) => Some(*serial),
            Self::Idle | Self::Publishing { .. } | Self::Playing => None,
        }
    }
}

impl Streams {
    pub(super) fn new(open_max: usize) -> Self {
        Self { open: Vec::new(), open_max, last_msid: 0, last_serial: 0 }
    }

    /// The id of a new message stream, or nothing when too many are open. Ids are not used twice.
    pub(super) fn create(&mut self) -> Option<u32> {
        if self.open.len() >= self.open_max {
            return None;
        }
        self.last_msid += 1;
        // Most clients need one.
        self.open.reserve_exact(1);
        self.open.push(MessageStream { msid: self.last_msid, used: Use::Idle });
        Some(self.last_msid)
    }

    pub(super) fn get(&self, msid: u32) -> Option<&MessageStream> {
        self.open.iter().find(|stream| stream.msid == msid)
    }

    pub(super) fn get_mut(&mut self, msid: u32) -> Option<&mut MessageStream> {
        self.open.iter_mut().find(|stream| stream.msid == msid)
    }

    pub(super) fn used_mut(&mut self, msid: u32) -> Option<&mut Use> {
        self.get_mut(msid).map(|stream| &mut stream.used)
    }

    pub(super) fn remove(&mut self, msid: u32) -> Option<MessageStream> {
        let at = self.open.iter().position(|stream| stream.msid == msid)?;
        Some(self.open.swap_remove(at))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &MessageStream> {
        self.open.iter()
    }

    /// A number for a request.
    pub(super) fn serial(&mut self) -> u32 {
        self.last_serial = self.last_serial.wrapping_add(1);
        self.last_serial
    }

    pub(super) fn is_publish_undecided(&self, msid: u32) -> bool {
        self.get(msid).is_some_and(|stream| matches!(stream.used, Use::PublishAsked(_)))
    }

    pub(super) fn is_publishing(&self) -> bool {
        self.open.iter().any(|stream| matches!(stream.used, Use::Publishing { .. }))
    }

    pub(super) fn all_idle(&self) -> bool {
        self.open.iter().all(|stream| stream.used == Use::Idle)
    }
}
