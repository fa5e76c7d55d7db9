//! Who says when paced readers are shown more.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use media::Medium;

use crate::{item::Body, stream::Stream, waiters::Place};

/// Shows a stream to its paced readers: they see what it has been shown to them, not what is committed. It does not count
/// as a reader. Once it is dropped, all that is committed is shown at once again.
#[derive(Debug)]
pub struct Pacer {
    stream: Arc<Stream>,
    place: Option<Arc<Place>>,
    seen: u64,
    /// All below this position was looked at.
    looked_below: u64,
}

/// What was committed since a pacer looked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct News {
    /// Items.
    pub items: usize,
    /// Payload bytes.
    pub bytes: usize,
    /// There is video among them.
    pub video: bool,
    /// Something happened to the stream.
    pub event: bool,
    /// Nothing more will come.
    pub ended: bool,
}

impl Pacer {
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        let looked_below = stream.ring_mut().hold_back();
        Self { stream, place: None, seen: 0, looked_below }
    }

    /// Waits until [`Pacer::look`] may find something. Safe to drop at any await.
    pub async fn committed(&mut self) {
        poll_fn(|cx| self.poll_committed(cx)).await;
    }

    fn poll_committed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.commits.poll_news(self.seen, &mut self.place, cx)
    }

    /// What was committed since the last look.
    pub fn look(&mut self) -> News {
        self.seen = self.stream.commits.news();
        let mut news = News { ended: self.stream.has_ended(), ..News::default() };
        let ring = self.stream.ring();
        for item in ring.items_between(self.looked_below, ring.committed_below()) {
            news.items += 1;
            match &item.body {
                Body::Event(_) => news.event = true,
                Body::Frame(frame) | Body::Setup(frame) => {
                    news.bytes += frame.payload.len();
                    news.video |= frame.medium == Medium::Video;
                }
            }
        }
        self.looked_below = ring.committed_below();
        news
    }

    /// Shows all that is committed.
    pub fn show(&mut self) {
        self.stream.show();
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stream.commits.leave(self.place.take());
        self.stream.ring_mut().hold_back_no_more();
        self.stream.show();
    }
}

#[cfg(test)]
mod tests;
