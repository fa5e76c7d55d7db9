//! What waits to be written to one connection.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use hub::{Item, WireForm};
use media::Frame;
use rtmp::chunk;
use tokio::io::AsyncWrite;

/// A queue of parts that go out in one vectored write, as far as the socket takes them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    parts: VecDeque<Part>,
    /// Bytes of the first part that are written.
    written: usize,
    bytes: usize,
    /// Whether bytes were written since the last flush.
    dirty: bool,
}

#[derive(Debug)]
enum Part {
    /// Bytes of this connection alone.
    Own(Bytes),
    /// A frame as all viewers get it.
    Shared(Arc<Item>),
}

/// The message stream of nearly every viewer: its first.
pub(crate) const USUAL_MSID: u32 = 1;
/// While so much waits nothing is read: whoever takes no answers is asked for no questions.
const UNANSWERED_BYTES_MAX: usize = 64 * 1024;
/// The same in parts: a short answer takes many times its bytes.
const UNANSWERED_PARTS_MAX: usize = 512;
/// Slices handed to the kernel at once.
const SLICES_MAX: usize = 128;
/// An empty queue with room for more parts than this is given back.
const PARTS_KEPT: usize = 8;

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && !self.dirty
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether so much waits that nothing more is to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= UNANSWERED_BYTES_MAX || self.parts.len() >= UNANSWERED_PARTS_MAX
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.parts.push_back(Part::Own(bytes));
        }
    }

    /// Adds a frame; what is not a frame, or longer than one chunk, is left out, and the answer is no.
    pub(crate) fn push_frame(&mut self, item: Arc<Item>, msid: u32) -> bool {
        let Some(frame) = item.frame().filter(|frame| frame.payload.len() <= MESSAGE_BYTES_MAX) else { return false };
        if msid == USUAL_MSID {
            let part = Part::Shared(item);
            self.bytes += part.slices().iter().map(|slice| slice.len()).sum::<usize>();
            self.parts.push_back(part);
        } else {
            let payload = frame.payload.clone();
            self.push(header(frame, msid));
            self.push(payload);
        }
        true
    }

    /// Writes until the queue is empty or the socket full, and returns how much that was. Whatever is left, the task is
    /// woken when the socket takes more.
    pub(crate) fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        mut io: Pin<&mut W>,
    ) -> io::Result<usize> {
        let mut total = 0;
        while !self.parts.is_empty() {
            match self.poll_write_once(cx, io.as_mut()) {
                Poll::Ready(count) => total += count?,
                Poll::Pending => return Ok(total),
            }
        }
        if self.dirty
            && let Poll::Ready(flushed) = io.poll_flush(cx)
        {
            flushed?;
            self.dirty = false;
        }
        Ok(total)
    }

    /// Writes until nothing is left.
    pub(crate) fn poll_drain<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: Pin<&mut W>,
    ) -> Poll<io::Result<()>> {
        match self.write(cx, io) {
            Ok(_) if !self.is_empty() => Poll::Pending,
            written => Poll::Ready(written.map(drop)),
        }
    }

    fn poll_write_once<W: AsyncWrite>(&mut self, cx: &mut Context<'_>, io: Pin<&mut W>) -> Poll<io::Result<usize>> {
        let written = match &self.parts {
            parts
                if parts.len() == 1
                    && let Part::Own(bytes) = &parts[0] =>
            {
                io.poll_write(cx, &bytes[self.written..])
            }
            parts => poll_write_all(parts, self.written, cx, io),
        };
        written.map(|count| match count? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                self.dirty = true;
                self.take(count);
                Ok(count)
            }
        })
    }

    fn take(&mut self, count: usize) {
        self.bytes -= count;
        self.written += count;
        while let Some(part) = self.parts.front() {
            let len = part.slices().iter().map(|slice| slice.len()).sum();
            if self.written < len {
                return;
            }
            self.written -= len;
            self.parts.pop_front();
        }
        if self.parts.capacity() > PARTS_KEPT {
            self.parts = VecDeque::new();
        }
    }
}

/// Writes parts from the byte `skip` on, as many as go in one call.
fn poll_write_all<W: AsyncWrite>(
    parts: &VecDeque<Part>,
    mut skip: usize,
    cx: &mut Context<'_>,
    io: Pin<&mut W>,
) -> Poll<io::Result<usize>> {
    const EMPTY: &[u8] = &[];
    let mut slices = [IoSlice::new(EMPTY); SLICES_MAX];
    let mut filled = 0;
    for slice in parts.iter().flat_map(Part::slices) {
        let (done, slice) = slice.split_at(skip.min(slice.len()));
        skip -= done.len();
        if slice.is_empty() {
            continue;
        }
        slices[filled] = IoSlice::new(slice);
        filled += 1;
        if filled == SLICES_MAX {
            break;
        }
    }
    io.poll_write_vectored(cx, &slices[..filled])
}

impl Part {
    fn slices(&self) -> [&[u8]; 2] {
        match self {
            Self::Own(bytes) => [bytes, &[]],
            Self::Shared(item) => {
                let header = item.wire(WireForm::Rtmp, |frame| header(frame, USUAL_MSID));
                let payload = item.frame().map(|frame| &frame.payload[..]);
                [header.map_or(&[], |header| &header[..]), payload.unwrap_or(&[])]
            }
        }
    }
}

/// A group as nearly every viewer gets it: chunks one after the other, in one piece.
pub(crate) fn chunks(items: &[Arc<Item>]) -> Bytes {
    let frames = || items.iter().filter_map(|item| item.frame());
    let payload: usize = frames().map(|frame| frame.payload.len()).sum();
    let mut out = BytesMut::with_capacity(payload + frames().count() * HEADER_BYTES_MAX);
    for frame in frames() {
        out.put(header(frame, USUAL_MSID));
        out.put_slice(&frame.payload);
    }
    out.freeze()
}

fn header(frame: &Frame, msid: u32) -> Bytes {
    chunk::media_header(frame.medium.type_id(), frame.wire_timestamp(), frame.payload.len(), msid)
}

/// A full chunk header with a one-byte chunk stream id and an extended time.
const HEADER_BYTES_MAX: usize = 1 + 11 + 4;
/// What all viewers are sent is cut into chunks for none of them.
pub(crate) const MESSAGE_BYTES_MAX: usize = chunk::OUT_CHUNK_SIZE as usize;

#[cfg(test)]
mod tests {
    use hub::Body;
    use media::{Kind, Medium};
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;

    fn item(seq: u64, payload: &[u8]) -> Arc<Item> {
        let payload = Bytes::copy_from_slice(payload);
        let frame = Frame { medium: Medium::Video, kind: Kind::Delta, track: 0, dts: seq, composition_ms: 0, payload };
        Arc::new(Item::new(seq, Body::Frame(frame)))
    }

    async fn write_all(outbox: &mut Outbox, io: &mut DuplexStream) -> usize {
        let mut total = 0;
        std::future::poll_fn(|cx| {
            total += outbox.write(cx, Pin::new(io)).unwrap();
            if outbox.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        total
    }

    #[tokio::test]
    async fn all_parts_arrive_in_order_however_little_the_socket_takes() {
        for window in [1, 7, 12, 13, 64, 10_000] {
            let (mut ours, mut theirs) = tokio::io::duplex(window);
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for seq in 0..100 {
                let payload = vec![seq as u8; seq as usize % 17];
                let msid = 1 + seq as u32 % 2;
                expected.extend(chunk::media_header(9, seq as u32, payload.len(), msid));
                expected.extend(&payload);
                assert!(outbox.push_frame(item(seq, &payload), msid));
                expected.extend(b"own");
                outbox.push(Bytes::from_static(b"own"));
            }
            assert_eq!(outbox.bytes(), expected.len());
            let mut got = Vec::new();
            let (written, read) = tokio::join!(
                async {
                    let written = write_all(&mut outbox, &mut ours).await;
                    drop(ours);
                    written
                },
                theirs.read_to_end(&mut got)
            );
            assert_eq!((written, read.unwrap(), outbox.bytes()), (expected.len(), expected.len(), 0));
            assert_eq!(got, expected);
        }
    }

    #[tokio::test]
    async fn a_group_is_the_same_bytes_as_its_items() {
        let items: Vec<_> = (0..4).map(|seq| item(0xFF_FFFE + seq, &vec![seq as u8; 100 * seq as usize])).collect();
        let (mut ours, mut theirs) = tokio::io::duplex(10_000);
        let mut outbox = Outbox::default();
        for item in &items {
            assert!(outbox.push_frame(item.clone(), USUAL_MSID));
        }
        write_all(&mut outbox, &mut ours).await;
        drop(ours);
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(chunks(&items), got);
    }

    #[test]
    fn who_pings_and_never_listens_is_read_until_a_thousand_answers_wait() {
        let now = std::time::Instant::now();
        let mut session = rtmp::server::Session::new(Arc::default(), now);
        session.handle_bytes(&[&[3][..], &[0; 2 * 1536]].concat(), now);
        let ping = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1];
        let mut outbox = Outbox::default();
        while !outbox.is_full() {
            if session.wants_input() {
                session.handle_bytes(&ping.repeat(3640), now);
            }
            while session.poll_event().is_some() {}
            while let Some(answer) = session.poll_output() {
                outbox.push(answer);
            }
        }
        assert!((512..=1024).contains(&outbox.parts.len()), "{}", outbox.parts.len());
    }

    #[test]
    fn what_is_longer_than_a_chunk_is_left_out() {
        let mut outbox = Outbox::default();
        assert!(!outbox.push_frame(item(1, &vec![0; MESSAGE_BYTES_MAX + 1]), USUAL_MSID));
        assert!(outbox.push_frame(item(1, &vec![0; MESSAGE_BYTES_MAX]), USUAL_MSID));
        assert!(!outbox.push_frame(Arc::new(Item::new(1, Body::Event(hub::Event::MetadataCleared))), USUAL_MSID));
    }
}
