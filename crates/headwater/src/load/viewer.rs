//! One viewer's side of a conversation, without its socket: bytes in, frames counted, bytes out.

use std::time::Instant;

use media::{Scheme, StreamUrl};
use rtmp::client::{Config, Event, Purpose, Session};

use super::{
    ledger::Ledger,
    spread::Spread,
    stamp::{LANES, Stamp},
    wire::{Damaged, Message, Wire},
};

/// A viewer that is connected: [`Viewer::poll_output`] after each [`Viewer::handle_bytes`].
pub(super) struct Viewer {
    step: Step,
    wire: Wire,
    output: Vec<u8>,
    received: u64,
    acked: u64,
    /// The server wants to be told each time so many bytes have come; 0 when it has not said so.
    ack_each: u64,
}

/// What a viewer waits for.
enum Step {
    /// The server's answers, up to that to `play`.
    Rtmp(Box<Session>),
    /// The end of the answer's head.
    Http(Vec<u8>),
    /// Frames. What was sent before this moment comes out of the server's memory.
    Play { since_us: u64 },
}

/// What all joins of a viewer got.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// By lane.
    pub ledgers: [Ledger; 2],
    /// Frames came since it joined.
    pub has_frames: bool,
}

/// Where latencies go: by lane.
pub(super) type Latencies = [Spread; 2];

/// Why a viewer is not served, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Gone {
    /// The server said no.
    #[error("refused: {0}")]
    Refused(String),
    /// The server says that the stream has ended.
    #[error("stream ended")]
    Ended,
    /// It cannot be read.
    #[error("damaged")]
    Damaged,
}

/// The longest head of an HTTP answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Message types.
const USER_CONTROL: u8 = 4;
const WINDOW_ACK_SIZE: u8 = 5;
const COMMAND: u8 = 20;
/// User control events.
const STREAM_EOF: u16 = 1;
const PING: u16 = 6;
const PONG: u8 = 7;
/// What status codes say when a stream has ended.
const ENDS: [&[u8]; 3] = [b"NetStream.Play.UnpublishNotify", b"NetStream.Play.Stop", b"NetStream.Play.Complete"];

impl Viewer {
    /// A viewer whose connection was made just now; it has something to say.
    pub(super) fn new(url: &StreamUrl, now: Instant) -> Self {
        let (step, wire, output) = match url.scheme {
            Scheme::Http => {
                let (host, target) = (url.authority(), url.http_target());
                let request = format!("GET {target} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: headwater\r\n\r\n");
                (Step::Http(Vec::new()), Wire::flv(), request.into_bytes())
            }
            Scheme::Rtmp | Scheme::Rtmps => {
                let purpose = Purpose::Play { name: url.name_and_query(), start: ANY_START };
                let session = Session::new(Config::new(url.app(), url.tc_url(), purpose), now);
                (Step::Rtmp(Box::new(session)), Wire::rtmp(), Vec::new())
            }
        };
        let mut this = Self { step, wire, output, received: 0, acked: 0, ack_each: 0 };
        this.collect();
        this
    }

    /// Whether the server has granted the stream.
    pub(super) fn plays(&self) -> bool {
        matches!(self.step, Step::Play { .. })
    }

    /// Takes what the server sent, at this moment in microseconds since 1970. Latencies are told apart from the frames
    /// that the server had before; they go nowhere while nothing is measured.
    pub(super) fn handle_bytes(
        &mut self,
        mut bytes: &[u8],
        now_us: u64,
        book: &mut Book,
        mut latencies: Option<&mut Latencies>,
    ) -> Result<(), Gone> {
        self.received += bytes.len() as u64;
        if !self.plays() {
            bytes = self.open(bytes, now_us)?;
        }
        loop {
            let message = self.wire.next(&mut bytes).map_err(|Damaged| Gone::Damaged)?;
            let Some(Message { kind, start }) = message else { break };
            if let Some((lane, stamp)) = Stamp::read(kind, start) {
                book.has_frames = true;
                book.ledgers[lane.index()].on_frame(stamp);
                if let (Some(latencies), Step::Play { since_us }) = (&mut latencies, &self.step)
                    && stamp.sent_us >= *since_us
                {
                    latencies[lane.index()].record(now_us.saturating_sub(stamp.sent_us));
                }
                continue;
            }
            match (kind, start) {
                (USER_CONTROL, [high, low, data @ ..]) => match (u16::from_be_bytes([*high, *low]), data) {
                    (STREAM_EOF, _) => return Err(Gone::Ended),
                    (PING, [a, b, c, d, ..]) => pong(&mut self.output, [*a, *b, *c, *d]),
                    _ => {}
                },
                (WINDOW_ACK_SIZE, [a, b, c, d, ..]) => {
                    self.ack_each = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
                }
                (COMMAND, start) if ENDS.iter().any(|end| holds(start, end)) => return Err(Gone::Ended),
                _ => {}
            }
        }
        self.acknowledge();
        Ok(())
    }

    /// What is to be sent, if anything.
    pub(super) fn poll_output(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// The server answers; returns the bytes that [`Wire`] has to see.
    fn open<'a>(&mut self, bytes: &'a [u8], now_us: u64) -> Result<&'a [u8], Gone> {
        let rest = match &mut self.step {
            Step::Play { .. } => return Ok(bytes),
            Step::Http(head) => match answer(head, bytes)? {
                Some(rest) => rest,
                None => return Ok(&[]),
            },
            Step::Rtmp(session) => {
                session.handle_bytes(bytes, Instant::now());
                let mut started = false;
                while let Some(event) = session.poll_event() {
                    match event {
                        Event::Started => {
                            started = true;
                            break;
                        }
                        Event::Closed(rtmp::client::Closed::Refused(status)) => return Err(Gone::Refused(status.code)),
                        Event::Closed(closed) => return Err(Gone::Refused(closed.to_string())),
                        Event::Ended => return Err(Gone::Ended),
                        Event::Media(_) | Event::Status(_) => {}
                    }
                }
                self.collect();
                if !started {
                    return Ok(bytes);
                }
                bytes
            }
        };
        self.step = Step::Play { since_us: now_us };
        Ok(rest)
    }

    fn collect(&mut self) {
        if let Step::Rtmp(session) = &mut self.step {
            while let Some(bytes) = session.poll_output() {
                self.output.extend_from_slice(&bytes);
            }
        }
    }

    /// Tells the server how much has come, as often as it wants; only RTMP servers want it.
    fn acknowledge(&mut self) {
        if self.plays() && self.ack_each > 0 && self.received - self.acked >= self.ack_each {
            self.acked = self.received;
            self.output.extend([2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0]);
            // It counts modulo 2 to the 32.
            self.output.extend((self.received as u32).to_be_bytes());
        }
    }
}

impl Book {
    /// The viewer joins, for the first time or again.
    pub(super) fn on_join(&mut self) {
        self.has_frames = false;
        self.ledgers.iter_mut().for_each(Ledger::on_rejoin);
    }

    /// How many frames are missing up to these numbers.
    pub(super) fn missing_to(&self, ends: [Option<(u32, u32)>; 2]) -> u64 {
        let lanes = LANES.into_iter().map(|lane| lane.index());
        lanes.filter_map(|lane| ends[lane].map(|end| self.ledgers[lane].missing_to(end))).sum()
    }
}

/// Whether live or recorded: what most players ask for.
const ANY_START: f64 = -2000.0;

/// A ping's time goes back.
fn pong(output: &mut Vec<u8>, time: [u8; 4]) {
    output.extend([2, 0, 0, 0, 0, 0, 6, USER_CONTROL, 0, 0, 0, 0, 0, PONG]);
    output.extend(time);
}

/// What stands behind the head of an HTTP answer, once it has come.
fn answer<'a>(head: &mut Vec<u8>, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Gone> {
    let had = head.len();
    head.extend_from_slice(bytes);
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
        return if head.len() > HEAD_BYTES_MAX { Err(Gone::Damaged) } else { Ok(None) };
    };
    let text = String::from_utf8_lossy(&head[..end]);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.split([' ', '\r']).nth(1)).ok_or(Gone::Damaged)?;
    if status != "200" {
        return Err(Gone::Refused(format!("HTTP status {status}")));
    }
    Ok(Some(&bytes[end.saturating_sub(had)..]))
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use media::{Medium, flv};

    use super::*;
    use crate::load::shape::Shape;

    const HEAD: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: video/x-flv\r\n\r\n";

    fn flv_viewer() -> (Viewer, Book) {
        let url = "http://h/live/a.flv".parse().expect("it is a URL");
        let mut viewer = Viewer::new(&url, Instant::now());
        assert!(viewer.poll_output().is_some_and(|request| request.starts_with(b"GET /live/a.flv HTTP/1.0\r\n")));
        (viewer, Book::default())
    }

    /// FLV of audio frames with these numbers, sent at these times.
    fn audio(frames: &[(u32, u64)]) -> Vec<u8> {
        let mut bytes = flv::FILE_HEADER.to_vec();
        for &(number, sent_us) in frames {
            let stamp = Stamp { run: 1, number, sent_us };
            let frame = Shape::audio(64).frame(LANES[1], stamp, 0);
            bytes.extend(flv::tag_header(Medium::Audio, 0, frame.payload.len()));
            bytes.extend(&frame.payload);
            bytes.extend(flv::tag_trailer(frame.payload.len()));
        }
        bytes
    }

    #[test]
    fn latency_is_that_of_frames_sent_since_it_joined() {
        let (mut viewer, mut book) = flv_viewer();
        let mut latencies = [Spread::new(), Spread::new()];
        let flv = audio(&[(5, 900), (6, 1000), (7, 1100)]);
        viewer.handle_bytes(HEAD, 1000, &mut book, Some(&mut latencies)).expect("it is granted");
        assert!(viewer.plays() && !book.has_frames);
        viewer.handle_bytes(&flv, 1150, &mut book, Some(&mut latencies)).expect("it is FLV");
        assert!(book.has_frames);
        assert_eq!((book.ledgers[1].count.received, book.ledgers[1].count.lost), (3, 0));
        let summary = latencies[1].summary().expect("two frames");
        assert_eq!((summary.count, summary.worst), (2, 0.15));
        assert_eq!(book.missing_to([Some((1, 9)), Some((1, 9))]), 2);
    }

    #[test]
    fn head_and_frames_may_come_in_any_parts() {
        let answer = [HEAD, &audio(&[(0, 1), (1, 2)])].concat();
        for size in [1, 3, 46, answer.len()] {
            let (mut viewer, mut book) = flv_viewer();
            for bytes in answer.chunks(size) {
                viewer.handle_bytes(bytes, 9, &mut book, None).expect("it is FLV");
            }
            assert_eq!(book.ledgers[1].count.received, 2, "in parts of {size}");
        }
    }

    #[test]
    fn refusal_says_why() {
        let (mut viewer, mut book) = flv_viewer();
        let gone = viewer.handle_bytes(b"HTTP/1.1 404 Not Found\r\n\r\n", 0, &mut book, None);
        assert_eq!(gone, Err(Gone::Refused("HTTP status 404".to_owned())));
    }

    /// An RTMP viewer to whom a server has granted the stream.
    fn rtmp_viewer() -> (Viewer, Book) {
        let url = "rtmp://h/live/a".parse().expect("it is a URL");
        let mut viewer = Viewer::new(&url, Instant::now());
        let mut server = rtmp::server::Session::new(rtmp::server::Config::default().into(), Instant::now());
        let mut book = Book::default();
        while !viewer.plays() {
            server.handle_bytes(&viewer.poll_output().expect("it is its turn"), Instant::now());
            while let Some(event) = server.poll_event() {
                let accepted = match event {
                    rtmp::server::Event::Connect(request) => request.accept(&mut server, Instant::now()),
                    rtmp::server::Event::Play(request) => request.accept(&mut server),
                    other => panic!("{other:?}"),
                };
                accepted.expect("it is still there");
            }
            while let Some(bytes) = server.poll_output() {
                viewer.handle_bytes(&bytes, 0, &mut book, None).expect("it is RTMP");
            }
        }
        viewer.poll_output();
        (viewer, book)
    }

    #[test]
    fn ping_is_answered_and_the_end_is_told() {
        let (mut viewer, mut book) = rtmp_viewer();
        let ping = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 1, 2, 3, 4];
        viewer.handle_bytes(&ping, 0, &mut book, None).expect("it is RTMP");
        assert_eq!(viewer.poll_output().as_deref(), Some(&[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4][..]));
        let eof = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1];
        assert_eq!(viewer.handle_bytes(&eof, 0, &mut book, None), Err(Gone::Ended));
    }

    #[test]
    fn server_is_told_how_much_came_as_often_as_it_wants() {
        let (mut viewer, mut book) = rtmp_viewer();
        let window = [2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0, 0, 1];
        viewer.handle_bytes(&window, 0, &mut book, None).expect("it is RTMP");
        let output = viewer.poll_output().expect("an acknowledgement");
        assert_eq!((output[7], output.len()), (3, 16));
        assert_eq!(output[12..], (viewer.received as u32).to_be_bytes());
    }
}
