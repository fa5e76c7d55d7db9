//! A pull of a simulated edge: the edge's own mirror of a stream, and a viewer who reads it.

use std::sync::Arc;

use carry::Mirror;
use cluster::Epoch;
use hub::{Body, Budget, Hub, Item, Read, Reader, Start};
use media::StreamName;

use super::{
    super::net::{Conn, Net, Party},
    Way,
};

/// All simulated origins are of one pool.
const POOL: &str = "main";

#[derive(Debug)]
pub struct Pull {
    pub name: StreamName,
    pub call: Option<(Conn, Way)>,
    pub retry_at: u64,
    pub heard: u64,
    /// The origin has said on this call how far its log goes.
    opened: bool,
    mirror: Mirror,
    viewer: Option<Reader>,
}

/// What a viewer sees, and where it stands.
#[derive(Debug)]
pub struct Seen {
    /// Its position here.
    pub position: u64,
    /// Its position at the origin.
    pub at_origin: u64,
    pub item: Arc<Item>,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Taken {
    pub seen: Vec<Seen>,
    /// The stream has ended with it.
    pub closed: bool,
}

impl Pull {
    pub fn new(name: &StreamName) -> Self {
        Self {
            name: name.clone(),
            call: None,
            retry_at: 0,
            heard: 0,
            opened: false,
            mirror: Mirror::default(),
            viewer: None,
        }
    }

    /// Where the origin is to begin.
    pub fn after(&self) -> Option<(u64, Epoch)> {
        self.mirror.after(POOL).map(|(after, epoch)| (after, Epoch(epoch)))
    }

    /// A call was made.
    pub fn begin(&mut self, call: (Conn, Way)) {
        self.call = Some(call);
        self.opened = false;
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
        self.mirror.end();
        self.viewer = None;
    }

    /// The origin's log ends here, committed anew. True: it is another than the one that viewers were fed from, and is to
    /// be asked for from its beginning.
    pub fn note_head(&mut self, hub: &Hub, head: u64, parted_from: Option<u64>) -> bool {
        if self.opened {
            return false;
        }
        if self.mirror.note_head(POOL, head, parted_from) {
            return true;
        }
        self.opened = true;
        let opened = self.mirror.open(hub, &self.name, POOL, head).expect("a name has one pull");
        if let Some(stream) = opened {
            self.viewer = Some(stream.subscribe(Start::LastKeyframe));
        }
        false
    }

    /// Takes what came; what of it the viewer sees.
    pub fn take(&mut self, epoch: Epoch, items: &[Arc<Item>]) -> Taken {
        let appended = self.mirror.append(epoch.0, items.iter().map(|item| item.placed()).collect());
        Taken { seen: self.look(), closed: appended.closed }
    }

    fn look(&mut self) -> Vec<Seen> {
        let Some(viewer) = &mut self.viewer else { return Vec::new() };
        let mut items = Vec::new();
        while let Read::Items | Read::Skipped(_) = viewer.read(Budget { items: 64, bytes: 1 << 20 }, &mut items) {}
        // Since the last seam, each position is as far from its own there as the newest one.
        let newest = viewer.stream().info().next_seq.saturating_sub(1);
        let newest_there = self.mirror.position().unwrap_or(0);
        let seen = items.into_iter().filter(|item| !matches!(item.body, Body::Setup(_)));
        seen.map(|item| Seen { position: item.seq, at_origin: newest_there.wrapping_sub(newest - item.seq), item })
            .collect()
    }
}
