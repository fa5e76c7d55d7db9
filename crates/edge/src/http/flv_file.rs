//! What one viewer of HTTP-FLV or WebSocket-FLV is sent, piece by piece.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use hub::{Budget, Group, Item, WireForm};
use media::{Frame, flv};
use rtmp_net::{
    Entry, Pressure,
    rows::{Due, Manner, Rows, Watching},
    seat::{Seat, Take},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

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
/// payload and trailer. Headers are made once for all viewers, and a group's payloads are copied once for all.
///
/// It ends with the stream, when the server stops, or when the viewer keeps skipping and never catches up, or has not had all long
/// after the stream's end.
#[derive(Debug)]
pub(super) struct FlvFile {
    watching: Watching,
    session: Arc<Entry>,
    common: Common,
    items: Vec<Arc<Item>>,
    parts: VecDeque<Bytes>,
    /// The file's header is out.
    begun: bool,
    over: bool,
    /// Its viewer is cut because it never caught up.
    behind: bool,
}

/// What all files of a server have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    /// Ends every file cleanly.
    pub(super) stop: CancellationToken,
    pub(super) stats: Arc<Stats>,
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

impl FlvFile {
    pub(super) fn new(watching: Watching, session: Arc<Entry>, common: Common) -> Self {
        let (items, parts) = (Vec::new(), VecDeque::new());
        Self { watching, session, common, items, parts, begun: false, over: false, behind: false }
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
        self.common.stop.clone()
    }

    /// Nothing more comes but what is there.
    pub(super) fn end(&mut self) {
        self.over = true;
        self.begin(&[]);
    }

    /// Ready once there is something to send, or nothing more will come.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.parts.is_empty() && !self.over {
            ready!(self.watching.poll_ready(cx));
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
        if self.watching.is_seated() {
            let rest = ready!(self.watching.poll_left(&seat, cx));
            self.count(rest.len());
            return Poll::Ready(Some(rest));
        }
        let ready = self.begun && self.parts.is_empty() && !self.over;
        let rows = self.common.rows.of(framing);
        if ready && self.watching.sit(rows, seat, self.session.clone(), cx.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    /// No row writes any more; what it has left is to be written first.
    pub(super) fn get_up(&mut self, seat: &Seat<dyn Take>) -> Option<Bytes> {
        let rest = self.watching.get_up(seat)?;
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
        add(&self.common.stats.bytes_out, bytes as u64);
    }

    /// Fails when the viewer is to be cut with what waits to be written to it.
    pub(super) fn check_overdue(&mut self) -> io::Result<()> {
        if self.watching.is_overdue() {
            self.note_behind();
            return Err(io::Error::other("behind"));
        }
        Ok(())
    }

    /// The file as the body of a response. The web server does not ask for more while its client takes little, so a task of its
    /// own sees to it that nothing is kept for a viewer that is to be cut.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        let (parts, body) = mpsc::channel(1);
        let feeding = AbortOnDropHandle::new(tokio::spawn(self.feed(parts)));
        stream::unfold((body, feeding), async |(mut body, feeding)| {
            body.recv().await.map(|part| (Ok(part), (body, feeding)))
        })
    }

    async fn feed(mut self, body: mpsc::Sender<Bytes>) {
        while let Some(part) = self.next().await {
            tokio::select! {
                sent = body.send(part) => if sent.is_err() { return },
                () = self.watching.overdue() => return self.note_behind(),
            }
        }
    }

    /// Takes what is due off the stream.
    fn fill(&mut self) {
        let mut items = std::mem::take(&mut self.items);
        match self.watching.due(BUDGET, &mut items) {
            Due::Group(group) => self.put_out_group(&group),
            Due::Items { missed, ended } => {
                self.common.stats.count_skip(missed);
                self.put_out(&items);
                if ended {
                    self.end();
                }
            }
            Due::Behind { missed } => {
                self.common.stats.count_skip(missed);
                self.note_behind();
                self.end();
            }
        }
        items.clear();
        self.items = items;
    }

    fn note_behind(&mut self) {
        if !std::mem::replace(&mut self.behind, true) {
            add(&self.common.stats.behind, 1);
        }
    }

    fn put_out_group(&mut self, group: &Group) {
        self.begin(group.items());
        let tags = group.wire(WireForm::Flv, tags);
        self.parts.extend((!tags.is_empty()).then(|| tags.clone()));
        add(&self.common.stats.frames_out, group.frames());
    }

    fn put_out(&mut self, items: &[Arc<Item>]) {
        if !items.is_empty() {
            self.begin(items);
        }
        for item in items {
            let sent = push_tag(item, &mut self.parts);
            add(&self.common.stats.frames_out, sent.into());
        }
    }

    /// The file's header goes out with its first tags, of which it tells; without any it goes before the end.
    fn begin(&mut self, items: &[Arc<Item>]) {
        if !self.begun {
            self.begun = true;
            let header = flv::file_header(contents::of(items, self.watching.stream().info().items_total));
            self.parts.push_back(Bytes::copy_from_slice(&header));
        }
    }
}

impl Drop for FlvFile {
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

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering, time::Duration};

    use hub::{Body, Hub, RingLimits, Start, Writer};
    use media::{DEFAULT_VHOST, Medium, StreamName};
    use rtmp_net::{Protocol, Sessions};

    use super::*;

    const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
    const DELTA: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41];

    fn push(writer: &mut Writer, payload: &'static [u8]) {
        let seq = writer.append(Body::Frame(Frame::classify(Medium::Video, 0, Bytes::from_static(payload))), None).seq;
        writer.commit_below(seq + 1);
    }

    fn name() -> StreamName {
        StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()
    }

    /// The file of a viewer that is cut as soon as it is slow.
    fn file(writer: &Writer) -> FlvFile {
        let stats = Arc::<Stats>::default();
        let rows = Arc::new(FlvRows::new(&stats, &Pressure::default()));
        let common = Common { stop: CancellationToken::new(), stats, rows };
        let session = Arc::new(Sessions::default().open(Protocol::HttpFlv, "192.0.2.1:1".parse().unwrap()));
        let watching = Watching::new(writer.stream().subscribe_paced(Start::LastKeyframe), Duration::ZERO);
        FlvFile::new(watching, session, common)
    }

    /// Viewers cut as behind, skips, items missed by that, and messages sent.
    fn counts(file: &FlvFile) -> [u64; 4] {
        let stats = &file.common.stats;
        let counts = [&stats.behind, &stats.skips, &stats.frames_skipped, &stats.frames_out];
        counts.map(|count| count.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn who_crosses_a_gap_of_the_log_has_missed_nothing() {
        let video = |payload| Body::Frame(Frame::classify(Medium::Video, 0, Bytes::from_static(payload)));
        let hub = Hub::new(RingLimits::default());
        let mut writer = hub.mirror(&name()).unwrap();
        writer.append_at((1..).zip([KEY, DELTA, DELTA, DELTA, DELTA].map(video)));
        let mut file = file(&writer);
        file.fill();
        writer.append_at([(2 << 40, video(KEY))]);
        file.fill();
        assert_eq!(counts(&file), [0, 0, 0, 6]);
    }

    #[tokio::test]
    async fn who_is_behind_for_too_long_is_cut_and_gets_nothing_of_what_it_skipped_to() {
        let hub = Hub::new(RingLimits { items: 4, ..RingLimits::default() });
        let mut writer = hub.open(&name()).unwrap();
        push(&mut writer, KEY);
        let mut file = file(&writer);
        let mut begun = Vec::new();
        while !begun.ends_with(&flv::tag_trailer(KEY.len())) {
            begun.extend(file.next().await.unwrap());
        }
        [DELTA, DELTA, DELTA, KEY, DELTA, DELTA].into_iter().for_each(|payload| push(&mut writer, payload));
        assert_eq!(file.next().await, None);
        assert_eq!(counts(&file), [1, 1, 3, 1]);
    }
}
