//! What one viewer of HTTP-FLV or WebSocket-FLV is sent, piece by piece.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use hub::{Body, Budget, Event, Item, Read, Reader, WireForm};
use media::{Frame, flv};
use rtmp_net::{
    Entry, Pressure,
    rows::{Manner, Rows, Ticket},
    seat::{Seat, Take},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    contents,
    framing::Framing,
    stats::{Stats, add},
};

/// What one look into the stream may bring: a few writes' worth, so that a viewer holds little while it waits.
const BUDGET: Budget = Budget { items: 16, bytes: 1 << 20 };
/// Where in a shared wire header the tag's header ends and its trailer begins.
const TAG_HEADER_LEN: usize = 11;
/// An empty queue with room for more parts than this is given back.
const PARTS_KEPT: usize = 4;
/// The size of the tag, behind it.
const TAG_TRAILER_LEN: usize = 4;

/// The bytes of an FLV file that never ends, from a cursor into a stream: file header, then each tag as header,
/// payload and trailer. Headers are made once for all viewers, payloads are copied for none.
///
/// It ends with the stream, when the server stops, or when the viewer keeps skipping and never catches up.
#[derive(Debug)]
pub(super) struct Feed {
    reader: Reader,
    session: Arc<Entry>,
    house: House,
    items: Vec<Arc<Item>>,
    parts: VecDeque<Bytes>,
    /// The file's header is out.
    begun: bool,
    /// Since when the viewer has skipped without having caught up.
    behind: Option<Instant>,
    over: bool,
    ticket: Ticket,
}

/// What all feeds of a server have in common.
#[derive(Debug, Clone)]
pub(super) struct House {
    /// Ends every feed cleanly.
    pub(super) stop: CancellationToken,
    pub(super) stats: Arc<Stats>,
    pub(super) behind_max: Duration,
    pub(super) rows: Arc<FlvRows>,
}

/// Where viewers sit who are all sent the same, by how it is wrapped.
#[derive(Debug)]
pub(super) struct FlvRows([Rows; Framing::COUNT]);

impl FlvRows {
    pub(super) fn new(stats: &Arc<Stats>, pressure: &Pressure) -> Self {
        Self(Framing::ALL.map(|framing| {
            let (form, make) = (framing.form(), framing.make());
            Rows::new(Manner { form, make, totals: stats.clone(), pressure: pressure.clone() })
        }))
    }

    fn of(&self, framing: Framing) -> &Rows {
        &self.0[framing as usize]
    }
}

impl Feed {
    pub(super) fn new(reader: Reader, session: Arc<Entry>, house: House) -> Self {
        Self {
            reader,
            session,
            house,
            items: Vec::new(),
            parts: VecDeque::new(),
            begun: false,
            behind: None,
            over: false,
            ticket: Ticket::default(),
        }
    }

    /// The next bytes to send; `None` when the viewer has had all. Safe to drop at any await.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                self.count(part.len());
                return Some(part);
            }
            if self.over {
                return None;
            }
            let stop = self.stop();
            tokio::select! {
                biased;
                () = stop.cancelled() => self.end(),
                () = poll_fn(|cx| self.poll_more(cx)) => {}
            }
        }
    }

    /// Says that the server stops.
    pub(super) fn stop(&self) -> CancellationToken {
        self.house.stop.clone()
    }

    /// Nothing more comes but what is there.
    pub(super) fn end(&mut self) {
        self.over = true;
        self.begin(&[]);
    }

    /// Ready once there is something to send, or nothing more will come.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.parts.is_empty() && !self.over {
            ready!(self.reader.poll_ready(cx));
            self.fill();
        }
        Poll::Ready(())
    }

    /// Pending while a row of this framing writes for the viewer. Ready with what the row has left to be written first, or with
    /// nothing if there is no row to sit in.
    pub(super) fn poll_row(
        &mut self,
        framing: Framing,
        seat: Arc<Seat<dyn Take>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Bytes>> {
        if self.ticket.is_seated() {
            let rest = ready!(self.ticket.poll_left(&seat, &mut self.reader, cx));
            self.count(rest.len());
            return Poll::Ready(Some(rest));
        }
        let ready = self.begun && self.parts.is_empty() && !self.over;
        let rows = self.house.rows.of(framing);
        if ready && self.ticket.sit(rows, &mut self.reader, (seat, self.session.clone()), cx.waker()) {
            self.behind = None;
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    /// No row writes any more; what it has left is to be written first.
    pub(super) fn get_up(&mut self, seat: &Seat<dyn Take>) -> Option<Bytes> {
        let rest = self.ticket.get_up(seat, &mut self.reader)?;
        self.count(rest.len());
        Some(rest)
    }

    /// Hands over all that is there, and says how many bytes that is.
    pub(super) fn take(&mut self, out: &mut VecDeque<Bytes>) -> usize {
        let bytes = self.parts.iter().map(Bytes::len).sum();
        self.count(bytes);
        out.extend(self.parts.drain(..));
        if self.parts.capacity() > PARTS_KEPT {
            self.parts = VecDeque::new();
        }
        bytes
    }

    /// The viewer is sent so much. Of what a row began, the row has counted what the socket took, and the rest counts here.
    fn count(&self, bytes: usize) {
        self.session.add_out(bytes as u64);
        add(&self.house.stats.bytes_out, bytes as u64);
    }

    /// The feed as the body of a response.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, async |mut feed| feed.next().await.map(|part| (Ok(part), feed)))
    }

    /// Takes what is due off the stream.
    fn fill(&mut self) {
        if let Some(group) = self.reader.read_group() {
            self.behind = None;
            self.begin(group.items());
            let tags = group.wire(WireForm::Flv, tags);
            self.parts.extend((!tags.is_empty()).then(|| tags.clone()));
            add(&self.house.stats.frames_out, group.frames());
            return;
        }
        let mut items = std::mem::take(&mut self.items);
        match self.reader.read(BUDGET, &mut items) {
            Read::Items => {}
            Read::Skipped(count) => self.on_skipped(count),
            Read::Ended => self.over = true,
            Read::Empty => self.behind = None,
        }
        if self.over || !items.is_empty() {
            self.begin(&items);
        }
        for item in items.drain(..) {
            if let Body::Event(Event::Close { .. }) = item.body {
                self.over = true;
                break;
            }
            let sent = push_tag(&item, &mut self.parts);
            add(&self.house.stats.frames_out, sent.into());
        }
        self.items = items;
    }

    /// The file's header goes out with its first tags, of which it tells; without any it goes before the end.
    fn begin(&mut self, items: &[Arc<Item>]) {
        if !self.begun {
            self.begun = true;
            let header = flv::file_header(contents::of(items, self.reader.stream().info().items_total));
            self.parts.push_back(Bytes::copy_from_slice(&header));
        }
    }

    fn on_skipped(&mut self, count: u64) {
        add(&self.house.stats.skips, 1);
        add(&self.house.stats.frames_skipped, count);
        let behind = *self.behind.get_or_insert_with(Instant::now);
        if behind.elapsed() > self.house.behind_max {
            add(&self.house.stats.behind, 1);
            self.over = true;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.session.set_idle();
    }
}

/// A group as every viewer gets it: tags one after the other, in one piece.
pub(super) fn tags(items: &[Arc<Item>]) -> Bytes {
    let frames = || items.iter().filter_map(|item| item.frame());
    let mut out =
        BytesMut::with_capacity(frames().map(|frame| TAG_HEADER_LEN + TAG_TRAILER_LEN + frame.payload.len()).sum());
    for frame in frames() {
        let len = frame.payload.len();
        out.put_slice(&flv::tag_header(frame.medium, frame.wire_timestamp(), len));
        out.put_slice(&frame.payload);
        out.put_slice(&flv::tag_trailer(len));
    }
    out.freeze()
}

/// Says whether the item is something that viewers get.
fn push_tag(item: &Item, parts: &mut VecDeque<Bytes>) -> bool {
    let Some(frame) = item.frame() else { return false };
    // No such message can come in; were one made elsewhere, its length would not fit a tag.
    if frame.payload.len() > flv::BODY_BYTES_MAX {
        return false;
    }
    let Some(wire) = item.wire(WireForm::Flv, tag_header_and_trailer) else { return false };
    parts.push_back(wire.slice(..TAG_HEADER_LEN));
    if !frame.payload.is_empty() {
        parts.push_back(frame.payload.clone());
    }
    parts.push_back(wire.slice(TAG_HEADER_LEN..));
    true
}

/// Both sides of a tag in one allocation.
fn tag_header_and_trailer(frame: &Frame) -> Bytes {
    let len = frame.payload.len();
    let header = flv::tag_header(frame.medium, frame.wire_timestamp(), len);
    Bytes::from([&header[..], &flv::tag_trailer(len)].concat())
}
