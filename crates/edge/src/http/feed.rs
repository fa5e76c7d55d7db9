//! What one viewer of HTTP-FLV or WebSocket-FLV is sent, piece by piece.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use hub::{Body, Budget, Event, Item, Read, Reader, WireForm};
use media::{Frame, flv};
use tokio_util::sync::CancellationToken;

/// What one look into the stream may bring: a few writes' worth, so that a viewer holds little while it waits.
const BUDGET: Budget = Budget { items: 16, bytes: 1 << 20 };
/// Where in a shared wire header the tag's header ends and its trailer begins.
const TAG_HEADER_LEN: usize = 11;

static FILE_HEADER: [u8; flv::FILE_HEADER.len()] = flv::FILE_HEADER;

/// The bytes of an FLV file that never ends, from a cursor into a stream: file header, then each tag as header,
/// payload and trailer. Headers are made once for all viewers, payloads are copied for none.
#[derive(Debug)]
pub(super) struct Feed {
    reader: Reader,
    stop: CancellationToken,
    items: Vec<Arc<Item>>,
    parts: VecDeque<Bytes>,
    over: bool,
    skipped: u64,
}

impl Feed {
    /// A feed that ends with the stream, or when `stop` is cancelled.
    pub(super) fn new(reader: Reader, stop: CancellationToken) -> Self {
        let parts = VecDeque::from([Bytes::from_static(&FILE_HEADER)]);
        Self { reader, stop, items: Vec::new(), parts, over: false, skipped: 0 }
    }

    /// The next bytes to send; `None` when the viewer has had all. Safe to drop at any await.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Some(part);
            }
            if self.over || self.stop.is_cancelled() {
                return None;
            }
            self.fill().await;
        }
    }

    /// Whether [`Feed::next`] has more to give at once.
    pub(super) fn has_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The feed as the body of a response.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, async |mut feed| feed.next().await.map(|part| (Ok(part), feed)))
    }

    async fn fill(&mut self) {
        match self.reader.read(BUDGET, &mut self.items) {
            Read::Items => {}
            Read::Skipped(count) => self.skipped += count,
            Read::Ended => self.over = true,
            Read::Empty => {
                tokio::select! {
                    () = self.reader.ready() => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
        for item in self.items.drain(..) {
            if let Body::Event(Event::Close { .. }) = item.body {
                self.over = true;
                break;
            }
            push_tag(&item, &mut self.parts);
        }
    }
}

fn push_tag(item: &Item, parts: &mut VecDeque<Bytes>) {
    let Some(frame) = item.frame() else { return };
    // No such message can come in; were one made elsewhere, its length would not fit a tag.
    if frame.payload.len() > flv::BODY_BYTES_MAX {
        return;
    }
    let Some(wire) = item.wire(WireForm::Flv, tag_header_and_trailer) else { return };
    parts.push_back(wire.slice(..TAG_HEADER_LEN));
    if !frame.payload.is_empty() {
        parts.push_back(frame.payload.clone());
    }
    parts.push_back(wire.slice(TAG_HEADER_LEN..));
}

/// Both sides of a tag in one allocation.
fn tag_header_and_trailer(frame: &Frame) -> Bytes {
    let len = frame.payload.len();
    let header = flv::tag_header(frame.medium, frame.wire_timestamp(), len);
    Bytes::from([&header[..], &flv::tag_trailer(len)].concat())
}
