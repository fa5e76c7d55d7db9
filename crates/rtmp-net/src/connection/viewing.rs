//! What a viewer gets: groups of frames, mostly written by a row; when it is behind, items off the stream's ring.

use std::{
    cell::RefCell,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hub::{Budget, Item, WireForm};
use media::{Frame, Kind, Medium, StreamName};
use tokio::time::Instant;

use super::{Connection, Interrupts, io::Wire};
use crate::{
    ended::Ended,
    outbox::{USUAL_MSID, chunks},
    rows::{Due, Watching},
    seat::Count,
    service::Service,
    stats::{Stats, add},
    transport::Transport,
};

/// One accepted play.
pub(super) struct Viewing {
    msid: u32,
    watching: Watching,
    paused: bool,
    audio_wanted: bool,
    video_wanted: bool,
    /// Video was switched on again: nothing of it before the next keyframe.
    key_awaited: bool,
}

/// What has become of a connection's plays.
pub(super) enum Plays {
    GoOn,
    /// The session knows it, and has more to do now.
    OneIsOver,
}

/// What is taken off the ring at once. The bytes are those that one viewer can keep alive beyond the ring.
const BATCH: Budget = Budget { items: 64, bytes: 256 * 1024 };

thread_local! {
    /// Items on their way from a ring into an outbox: only within one call.
    static ITEMS: RefCell<Vec<Arc<Item>>> = const { RefCell::new(Vec::new()) };
}

/// Ready once one of them may have something; never if none plays.
fn poll_any_ready(viewings: &mut [Viewing], cx: &mut Context<'_>) -> Poll<()> {
    // All are asked, so that each wakes the task.
    let ready = viewings.iter_mut().map(|viewing| viewing.watching.poll_ready(cx)).filter(Poll::is_ready).count();
    if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
}

impl Viewing {
    pub(super) fn new(msid: u32, watching: Watching) -> Self {
        Self { msid, watching, paused: false, audio_wanted: true, video_wanted: true, key_awaited: false }
    }

    /// What is played.
    pub(super) fn stream(&self) -> &StreamName {
        self.watching.stream().name()
    }

    /// What came during a pause is left out.
    pub(super) fn set_paused(&mut self, paused: bool) {
        if self.paused && !paused {
            self.watching.rejoin();
        }
        self.paused = paused;
    }

    pub(super) fn set_wanted(&mut self, medium: Medium, wanted: bool) {
        match medium {
            Medium::Audio => self.audio_wanted = wanted,
            Medium::Video => {
                self.key_awaited |= wanted && !self.video_wanted;
                self.video_wanted = wanted;
            }
            Medium::Data => {}
        }
    }

    /// Whether the viewer is to get this frame. Decoder set-up always: without it nothing later makes sense. During a
    /// pause the stream is read on and left out, so that its end is noticed and nothing of it is kept alive.
    fn wants(&mut self, frame: &Frame) -> bool {
        match (frame.medium, frame.kind) {
            _ if self.paused => false,
            (_, Kind::Config) | (Medium::Data, _) => true,
            (Medium::Audio, _) => self.audio_wanted,
            (Medium::Video, _) if !self.video_wanted => false,
            (Medium::Video, kind) => {
                self.key_awaited &= kind != Kind::Key;
                !self.key_awaited
            }
        }
    }

    /// Whether the viewer is to get all that comes, as nearly every viewer gets it.
    fn wants_all(&self) -> bool {
        self.msid == USUAL_MSID && self.audio_wanted && self.video_wanted && !self.paused && !self.key_awaited
    }

    /// Puts what is due into the outbox. The answer is whether the stream has ended.
    fn put_out<T: Transport>(&mut self, wire: &mut Wire<T>, stats: &Stats) -> Result<bool, Ended> {
        ITEMS.with_borrow_mut(|items| match self.watching.due(BATCH, items) {
            Due::Group(group) if self.wants_all() => {
                wire.outbox.push(group.wire(WireForm::Rtmp, chunks).clone());
                add(&stats.frames_out, group.frames());
                Ok(false)
            }
            Due::Group(group) => {
                group.items().iter().cloned().for_each(|item| self.put_out_item(item, wire, stats));
                Ok(false)
            }
            Due::Items { missed, ended } => {
                stats.count_skip(missed);
                items.drain(..).for_each(|item| self.put_out_item(item, wire, stats));
                Ok(ended)
            }
            Due::Behind { missed } => {
                stats.count_skip(missed);
                Err(Ended::Behind)
            }
        })
    }

    fn put_out_item<T: Transport>(&mut self, item: Arc<Item>, wire: &mut Wire<T>, stats: &Stats) {
        if item.frame().is_some_and(|frame| self.wants(frame)) {
            let sent = wire.outbox.push_frame(item, self.msid);
            add(if sent { &stats.frames_out } else { &stats.oversized }, 1);
        }
    }
}

impl Count for Interrupts {
    fn add_out(&self, bytes: u64) {
        self.entry.add_out(bytes);
    }
}

impl<S: Service, T: Transport> Connection<S, T> {
    /// Ready once there may be more to write for this task. A viewer that gets all of one stream, as nearly all do, sits in a
    /// row meanwhile.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let [viewing] = &mut self.viewing[..]
            && let Some(seat) = self.wire.seat()
        {
            if viewing.watching.is_seated() {
                let rest = ready!(viewing.watching.poll_left(&seat, cx));
                self.wire.outbox.push(rest);
                return Poll::Ready(());
            }
            if viewing.wants_all() && viewing.watching.sit(&self.shared.rows, seat, self.interrupts.clone(), cx.waker())
            {
                return Poll::Pending;
            }
        }
        poll_any_ready(&mut self.viewing, cx)
    }

    /// Whether the client is to be cut with what waits to be written: it has not taken the rest of a stream that has ended.
    pub(super) fn is_overdue(&mut self) -> bool {
        // All are asked, so that each knows since when its stream has ended.
        self.viewing.iter_mut().filter_map(|viewing| viewing.watching.is_overdue().then_some(())).count() > 0
    }

    /// From now on this task writes.
    pub(super) fn get_up(&mut self) {
        if let [viewing] = &mut self.viewing[..]
            && let Some(seat) = self.wire.seat()
            && let Some(rest) = viewing.watching.get_up(&seat)
        {
            self.wire.outbox.push(rest);
        }
    }

    pub(super) fn with_viewing(&mut self, msid: u32, change: impl FnOnce(&mut Viewing)) {
        self.get_up();
        if let Some(viewing) = self.viewing.iter_mut().find(|viewing| viewing.msid == msid) {
            change(viewing);
        }
    }

    pub(super) fn forget_play(&mut self, msid: u32) {
        self.get_up();
        self.forget_pending(msid);
        self.viewing.retain(|viewing| viewing.msid != msid);
        self.note_role();
    }

    /// Puts out what is due: what the session has to say, and, once all before it is gone, the next frames.
    pub(super) fn put_out(&mut self) -> Result<(), Ended> {
        while let Some(bytes) = self.wire.session.poll_output() {
            self.get_up();
            self.wire.say(bytes);
        }
        self.put_out_frames()?;
        Ok(())
    }

    /// The same where the session has nothing to say: nothing has happened to it since it was asked.
    pub(super) fn put_out_frames(&mut self) -> Result<Plays, Ended> {
        if self.viewing.iter().all(|viewing| viewing.watching.is_seated()) || !self.wire.is_drained() {
            return Ok(Plays::GoOn);
        }
        let mut over = Vec::new();
        for viewing in &mut self.viewing {
            if viewing.put_out(&mut self.wire, &self.shared.stats)? {
                over.push(viewing.msid);
            }
            if self.wire.outbox.bytes() >= BATCH.bytes {
                break;
            }
        }
        // Whoever had to wait is first next time.
        self.viewing.rotate_left(1);
        if !self.wire.is_drained() {
            self.note_first_frame();
        }
        // A reset takes publishers and viewers alike: the end of the one's stream is no news for the other.
        if !over.is_empty() && self.interrupts.signals.reset.is_cancelled() {
            return Err(Ended::Reset);
        }
        for msid in &over {
            self.wire.session.end_play(*msid, Instant::now().into_std());
            self.forget_play(*msid);
            self.wire.collect();
        }
        Ok(if over.is_empty() { Plays::GoOn } else { Plays::OneIsOver })
    }
}
