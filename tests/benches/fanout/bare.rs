//! What the kernel asks for a write: a loop that has its frames at hand and hands them to sockets, and does nothing else. It
//! has the kernel copy them for each socket, or refer to the pages of a file where there are many bytes.
//!
//! It is a process of its own: this program, started again. It speaks as much HTTP as its viewers need.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    sendfile::sendfile,
};

/// The argument that says that this is the loop's process.
pub const ARGUMENT: &str = "bare";

/// When frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Each by itself, at once.
    Each,
    /// Audio with the next video frame.
    Ride,
    /// All of so many milliseconds together.
    Merge(u64),
}

/// How the kernel comes by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// One `writev` each.
    Copies,
    /// One `sendfile` each, of so many bytes and more.
    Pages,
}

/// What the frames are: as `headwater load` publishes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// 2.65 Mb/s: 30 video frames a second, a keyframe each 2 s, and AAC.
    Video,
    /// 64 kb/s of AAC.
    Audio,
}

/// Fewer bytes are copied, as an edge does.
const PAGES_BYTES_MIN: usize = 32 * 1024;

/// A command line of the loop's process.
pub fn command(address: SocketAddr, form: Form, by: By, media: Media) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a running bench is a file"));
    let wait = match form {
        Form::Each => "each".to_owned(),
        Form::Ride => "ride".to_owned(),
        Form::Merge(ms) => ms.to_string(),
    };
    let media = if media == Media::Video { "video" } else { "audio" };
    let by = if by == By::Copies { "copies" } else { "pages" };
    command.args([ARGUMENT, &address.to_string(), &wait, by, media]);
    command
}

/// The loop, until it is killed.
pub fn run(arguments: &[String]) -> io::Result<()> {
    let [address, form, by, media] = arguments else { return Err(ErrorKind::InvalidInput.into()) };
    let form = match form.as_str() {
        "each" => Form::Each,
        "ride" => Form::Ride,
        ms => Form::Merge(ms.parse().map_err(|_| ErrorKind::InvalidInput)?),
    };
    let media = if media == "video" { Media::Video } else { Media::Audio };
    let by = if by == "copies" { By::Copies } else { By::Pages };
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let mut viewers = Vec::new();
    let mut due = Due::new(media);
    let mut waiting: Vec<Tag> = Vec::new();
    let mut flushed = Duration::ZERO;
    let start = Instant::now();
    loop {
        while let Ok((stream, _)) = listener.accept() {
            // One that asks for nothing is let go.
            viewers.extend(Viewer::greet(stream).ok());
        }
        let (time, lane, number) = due.next();
        thread::sleep((start + time).saturating_duration_since(Instant::now()));
        waiting.push(Tag::new(media, lane, number, time));
        let write = match form {
            Form::Each => true,
            Form::Ride => lane == Lane::Video,
            Form::Merge(ms) => time >= flushed + Duration::from_millis(ms),
        };
        if write {
            flushed = time;
            let pages = if by == By::Pages { pages(&waiting)? } else { None };
            viewers.retain_mut(|viewer| viewer.write(&waiting, pages.as_ref()).is_ok());
            waiting.clear();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Video,
    Audio,
}

/// Which frame is due when.
struct Due {
    media: Media,
    next: [u32; 2],
}

impl Due {
    fn new(media: Media) -> Self {
        Self { media, next: [0; 2] }
    }

    fn next(&mut self) -> (Duration, Lane, u32) {
        let video = Duration::from_micros(u64::from(self.next[0]) * 1_000_000 / 30);
        let audio = Duration::from_micros(u64::from(self.next[1]) * 1024 * 1_000_000 / 44_100);
        let lane = if self.media == Media::Video && video <= audio { Lane::Video } else { Lane::Audio };
        let number = self.next[lane as usize];
        self.next[lane as usize] += 1;
        (if lane == Lane::Video { video } else { audio }, lane, number)
    }
}

/// A frame in FLV's form.
struct Tag {
    header: [u8; 11],
    body: Vec<u8>,
    trailer: [u8; 4],
}

/// Sizes of the frames that `headwater load` publishes at 2650 and at 64 kbit/s.
const DELTA_BYTES: usize = 9410;
const KEY_BYTES: usize = 8 * DELTA_BYTES;
const AUDIO_BYTES: usize = 371;
const AUDIO_ONLY_BYTES: usize = 185;
const GOP: u32 = 60;
/// The run that all stamps name.
const RUN: u64 = 1;

impl Tag {
    fn new(media: Media, lane: Lane, number: u32, time: Duration) -> Self {
        let key = number.is_multiple_of(GOP);
        let (kind, mut body, size) = match (lane, media) {
            (Lane::Video, _) => {
                let first = if key { 0x17 } else { 0x27 };
                (9, vec![first, 1, 0, 0, 0, 0, 0, 0, 0, 0x41], if key { KEY_BYTES } else { DELTA_BYTES })
            }
            (Lane::Audio, Media::Video) => (8, vec![0xaf, 1, 0x21], AUDIO_BYTES),
            (Lane::Audio, Media::Audio) => (8, vec![0xaf, 1, 0x21], AUDIO_ONLY_BYTES),
        };
        stamp(&mut body, number);
        body.resize(size, 0xa5);
        let [_, a, b, c] = (size as u32).to_be_bytes();
        let [high, x, y, z] = (time.as_millis() as u32).to_be_bytes();
        Self { header: [kind, a, b, c, x, y, z, high, 0, 0, 0], body, trailer: (size as u32 + 11).to_be_bytes() }
    }

    fn parts(&self) -> [&[u8]; 3] {
        [&self.header, &self.body, &self.trailer]
    }
}

/// All of it in a file, if it is much.
fn pages(tags: &[Tag]) -> io::Result<Option<File>> {
    let bytes = tags.iter().flat_map(Tag::parts).collect::<Vec<_>>().concat();
    if bytes.len() < PAGES_BYTES_MIN {
        return Ok(None);
    }
    let mut file = File::from(memfd_create(c"frames", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&bytes)?;
    Ok(Some(file))
}

/// As docs/benchmarks.md describes it: a mark, then publication, number and time in digits of seven bits.
fn stamp(body: &mut Vec<u8>, number: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    body.extend(b"HWld");
    for (value, digits) in [(RUN, 5), (u64::from(number), 5), (now, 10)] {
        body.extend((0..digits).rev().map(|digit: u32| 0x80 | value.checked_shr(7 * digit).unwrap_or(0) as u8));
    }
}

/// A socket, and what it did not take.
struct Viewer {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Viewer {
    fn greet(mut stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.set_nodelay(true)?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut part = [0; 1024];
            match stream.read(&mut part)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => request.extend(&part[..read]),
            }
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nFLV\x01\x05\0\0\0\x09\0\0\0\0")?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, rest: Vec::new() })
    }

    /// One call for all of it; what the socket does not take goes before the next.
    fn write(&mut self, tags: &[Tag], pages: Option<&File>) -> io::Result<()> {
        let parts = || tags.iter().flat_map(Tag::parts);
        let mut taken = 0;
        if self.rest.is_empty() {
            taken = waited(match pages {
                Some(file) => {
                    let count = parts().map(<[u8]>::len).sum();
                    sendfile(&self.stream, file, Some(&mut 0), count).map_err(io::Error::from)
                }
                None => self.stream.write_vectored(&parts().map(IoSlice::new).collect::<Vec<_>>()),
            })?;
        }
        for part in parts() {
            let skipped = taken.min(part.len());
            self.rest.extend(&part[skipped..]);
            taken -= skipped;
        }
        if !self.rest.is_empty() {
            let taken = waited(self.stream.write(&self.rest))?;
            self.rest.drain(..taken);
        }
        Ok(())
    }
}

fn waited(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
