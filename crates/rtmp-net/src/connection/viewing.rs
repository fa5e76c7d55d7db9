//! What a viewer gets: items off a stream's ring, in batches.

use std::{cell::RefCell, future::poll_fn, pin::pin, sync::Arc};

use hub::{Body, Budget, Event, Item, Read, Reader};
use media::{Frame, Kind, Medium};
use tokio::time::Instant;

use super::{Connection, io::Wire};
use crate::{
    config::Config,
    ended::Ended,
    service::Service,
    stats::{Stats, add},
    transport::Transport,
};

/// One accepted play.
pub(super) struct Viewing {
    msid: u32,
    reader: Reader,
    paused: bool,
    audio_wanted: bool,
    video_wanted: bool,
    /// Video was switched on again: nothing of it before the next keyframe.
    key_awaited: bool,
    /// Since when it skips and never catches up.
    behind_since: Option<Instant>,
}

/// What is taken off the ring at once. The bytes are those that one viewer can keep alive beyond the ring.
const BATCH: Budget = Budget { items: 64, bytes: 256 * 1024 };

thread_local! {
    /// Items on their way from a ring into an outbox: only within one call.
    static ITEMS: RefCell<Vec<Arc<Item>>> = const { RefCell::new(Vec::new()) };
}

/// Waits until one of them may have something; for ever if none plays. Safe to drop at any await.
pub(super) async fn any_ready(viewings: &mut [Viewing]) {
    match viewings {
        [] => std::future::pending().await,
        [one] => one.ready().await,
        many => {
            let mut waits: Vec<_> = many.iter_mut().map(|viewing| Box::pin(viewing.ready())).collect();
            poll_fn(|cx| {
                let ready = waits.iter_mut().any(|wait| wait.as_mut().poll(cx).is_ready());
                if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        }
    }
}

impl Viewing {
    pub(super) fn new(msid: u32, reader: Reader) -> Self {
        let (paused, key_awaited) = (false, false);
        Self { msid, reader, paused, audio_wanted: true, video_wanted: true, key_awaited, behind_since: None }
    }

    async fn ready(&mut self) {
        pin!(self.reader.ready()).await;
    }

    /// A live stream does not wait: what came during the pause is left out, and it goes on at a keyframe.
    pub(super) fn set_paused(&mut self, paused: bool) {
        if self.paused && !paused {
            self.reader.rejoin_at_next_keyframe();
            self.behind_since = None;
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

    /// Puts the next batch into the outbox. The answer is whether the stream has ended.
    fn fill<T: Transport>(&mut self, wire: &mut Wire<T>, stats: &Stats, config: &Config) -> Result<bool, Ended> {
        ITEMS.with_borrow_mut(|items| {
            let ended = match self.reader.read(BATCH, items) {
                Read::Ended => true,
                Read::Empty => {
                    self.behind_since = None;
                    false
                }
                Read::Items => false,
                Read::Skipped(missed) => {
                    add(&stats.skips, 1);
                    add(&stats.frames_skipped, missed);
                    let since = *self.behind_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= config.behind_max {
                        items.clear();
                        return Err(Ended::Behind);
                    }
                    false
                }
            };
            let mut sent = 0;
            let mut closed = false;
            for item in items.drain(..) {
                match &item.body {
                    Body::Event(event) => closed |= matches!(event, Event::Close { .. }),
                    Body::Frame(frame) | Body::Setup(frame) if !closed && self.wants(frame) => {
                        match wire.outbox.push_frame(item, self.msid) {
                            true => sent += 1,
                            false => add(&stats.oversized, 1),
                        }
                    }
                    Body::Frame(_) | Body::Setup(_) => {}
                }
            }
            add(&stats.frames_out, sent);
            Ok(ended || closed)
        })
    }
}

impl<S: Service, T: Transport> Connection<S, T> {
    pub(super) fn with_viewing(&mut self, msid: u32, change: impl FnOnce(&mut Viewing)) {
        if let Some(viewing) = self.viewing.iter_mut().find(|viewing| viewing.msid == msid) {
            change(viewing);
        }
    }

    pub(super) fn forget_play(&mut self, msid: u32) {
        self.forget_pending(msid);
        self.viewing.retain(|viewing| viewing.msid != msid);
        if self.viewing.is_empty() {
            self.interrupts.entry.set_idle();
        }
    }

    /// Puts out what is due: what the session has to say, and, once all before it is gone, the next frames.
    pub(super) fn fill(&mut self) -> Result<(), Ended> {
        self.wire.collect();
        if self.viewing.is_empty() || !self.wire.is_drained() {
            return Ok(());
        }
        let (shared, viewing) = (&self.shared, &mut self.viewing);
        let mut over = Vec::new();
        self.wire.filling(|wire| {
            for viewing in viewing.iter_mut() {
                if viewing.fill(wire, &shared.stats, &shared.config)? {
                    over.push(viewing.msid);
                }
                if wire.outbox.bytes() >= BATCH.bytes {
                    break;
                }
            }
            Ok::<_, Ended>(())
        })?;
        // Whoever had to wait is first next time.
        self.viewing.rotate_left(1);
        if self.wire.outbox.bytes() > shared.session_config.limits.send_queue_hard_bytes {
            return Err(Ended::Behind);
        }
        if !self.wire.is_drained() {
            self.note_first_frame();
        }
        // A reset takes publishers and viewers alike: the end of the one's stream is no news for the other.
        if !over.is_empty() && self.interrupts.signals.reset.is_cancelled() {
            return Err(Ended::Reset);
        }
        for msid in over {
            self.wire.session.end_play(msid, Instant::now().into_std());
            self.forget_play(msid);
            self.wire.collect();
        }
        Ok(())
    }
}
