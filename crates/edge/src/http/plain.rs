//! The usual request for a stream, answered without a web server between the stream and the socket.
//!
//! Nearly every viewer of HTTP-FLV sends one `GET` and then only listens. Such a connection needs no more than a cursor into
//! the stream: what is due goes out in one write, as it does over RTMP. Whatever else a connection may say goes to the web
//! server, unread.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE},
};
use bytes::{Buf, Bytes, BytesMut};
use rtmp_net::{
    Entry, SharedSocket,
    rows::Rows,
    seat::{Seat, Take},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use super::{
    feed::{END_OF_CHUNK, Feed, FlvRows},
    playback::Playback,
    router::{self, FLV_TYPE, NO_STORE},
    server::Shared,
    stall::StallGuard,
};

/// A request that is answered here.
#[derive(Debug)]
pub(super) struct Usual {
    uri: Uri,
    headers: HeaderMap,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// The body ends with the connection.
    Http10,
    /// The body comes in chunks, so that its end is told from a broken connection.
    Http11,
}

/// Longer heads go to the web server, which has a bound of its own.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// With these a request is not usual.
const UNUSUAL: [HeaderName; 4] = [UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT];
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Reads up to the end of a request's head. What was read is in `head`, whatever it is.
pub(super) async fn read_head(stream: &mut TcpStream, head: &mut BytesMut) -> io::Result<()> {
    let ended = |head: &[u8]| head.windows(END_OF_HEAD.len()).any(|bytes| bytes == END_OF_HEAD);
    while !ended(head) && head.len() < HEAD_BYTES_MAX && stream.read_buf(head).await? > 0 {}
    Ok(())
}

impl Usual {
    /// None: it is for the web server.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head.strip_suffix(END_OF_HEAD)?).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (Some("GET"), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return None;
        };
        let version = match version {
            "HTTP/1.0" => Version::Http10,
            "HTTP/1.1" => Version::Http11,
            _ => return None,
        };
        let uri: Uri = target.parse().ok()?;
        if !target.starts_with('/') || !uri.path().ends_with(".flv") {
            return None;
        }
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            if UNUSUAL.contains(&name) {
                return None;
            }
            headers.append(name, HeaderValue::from_str(value.trim_matches([' ', '\t'])).ok()?);
        }
        Some(Self { uri, headers, version })
    }

    /// Gives the viewer its stream, or says why not. Safe to drop at any await, which closes the connection.
    pub(super) async fn serve<P: Playback>(
        self,
        mut stream: TcpStream,
        (peer, session): (SocketAddr, Arc<Entry>),
        shared: &Shared<P>,
    ) -> io::Result<()> {
        let opened = tokio::select! {
            opened = router::open(shared, (peer, session), &self.uri, &self.headers) => opened,
            left = left(&mut stream) => return left,
        };
        let stream = StallGuard::new(SharedSocket::new(stream), shared.config.stall_timeout);
        match opened {
            Ok(feed) => {
                let head = self.head("200 OK", &[("content-type", FLV_TYPE), ("cache-control", NO_STORE)]);
                Sending::new(stream, head, feed, self.version).run().await
            }
            Err(error) => {
                let text = format!("{error}\n");
                let length = text.len().to_string();
                let mut headers = vec![("content-type", "text/plain; charset=utf-8"), ("content-length", &length)];
                headers.extend(error.retry_after().map(|seconds| ("retry-after", seconds)));
                finish(stream, self.head(&error.status().to_string(), &headers) + &text).await
            }
        }
    }

    fn head(&self, status: &str, headers: &[(&str, &str)]) -> String {
        let version = if self.version == Version::Http11 { "HTTP/1.1" } else { "HTTP/1.0" };
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let mut head = format!("{version} {status}\r\ndate: {date}\r\naccess-control-allow-origin: *\r\n");
        let chunked = !headers.iter().any(|(name, _)| *name == "content-length") && self.version == Version::Http11;
        let own: &[_] = if chunked { &[("transfer-encoding", "chunked")] } else { &[] };
        for (name, value) in headers.iter().chain(own).chain(&[("connection", "close")]) {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }
}

/// Completes when the client has closed its side, or has said more than anybody would who waits for an answer.
async fn left(stream: &mut TcpStream) -> io::Result<()> {
    // Held by every viewer's task: it is kept small.
    let mut said = [0; 64];
    let mut total = 0;
    loop {
        match stream.read(&mut said).await? {
            0 => return Ok(()),
            count => total += count,
        }
        if total > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

async fn finish(mut stream: StallGuard<SharedSocket>, answer: String) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// A stream on its way to one viewer.
struct Sending {
    stream: StallGuard<SharedSocket>,
    feed: Feed,
    version: Version,
    /// What waits to be written; mostly nothing.
    parts: VecDeque<Bytes>,
    /// The end is among it.
    ended: bool,
}

/// Parts handed to the kernel at once.
const SLICES_MAX: usize = 64;
/// An empty queue with room for more parts than this is given back.
const PARTS_KEPT: usize = 4;
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Sending {
    fn new(stream: StallGuard<SharedSocket>, head: String, feed: Feed, version: Version) -> Self {
        Self { stream, feed, version, parts: VecDeque::from([Bytes::from(head)]), ended: false }
    }

    /// Sends until the stream has ended or the viewer has left.
    async fn run(mut self) -> io::Result<()> {
        let stop = self.feed.stop();
        let left = tokio::select! {
            sent = poll_fn(|cx| self.poll_sent(cx)) => sent?,
            () = stop.cancelled() => false,
        };
        if !left {
            let seat = self.seat();
            self.parts.extend(self.feed.get_up(&*seat).filter(|rest| !rest.is_empty()));
            self.feed.end();
            poll_fn(|cx| self.poll_sent(cx)).await?;
            self.stream.shutdown().await?;
        }
        Ok(())
    }

    /// Sends all that is due. Ready with whether the viewer has left before the end.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.poll_write(cx)?.is_pending() {
                return self.poll_left(cx);
            }
            if self.ended {
                return Poll::Ready(Ok(false));
            }
            if self.poll_more(cx).is_pending() {
                return self.poll_left(cx);
            }
        }
    }

    /// Ready once there may be more to write here. Meanwhile a row writes.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let rows: fn(&FlvRows) -> &Rows = match self.version {
            Version::Http10 => |rows| &rows.plain,
            Version::Http11 => |rows| &rows.chunked,
        };
        let seat = self.seat();
        if let Some(rest) = ready!(self.feed.poll_row(rows, seat, cx))
            && !rest.is_empty()
        {
            self.parts.push_back(rest);
            return Poll::Ready(());
        }
        // Whoever got up looks for itself before it sits again: there may be something that no row writes.
        ready!(self.feed.poll_more(cx));
        self.put_out();
        Poll::Ready(())
    }

    fn seat(&self) -> Arc<Seat<dyn Take>> {
        self.stream.get_ref().seat().clone()
    }

    /// Takes what the feed has, as one chunk.
    fn put_out(&mut self) {
        let before = self.parts.len();
        let bytes = self.feed.take(&mut self.parts);
        self.ended = bytes == 0;
        match self.version {
            Version::Http10 => {}
            Version::Http11 if self.ended => self.parts.push_back(Bytes::from_static(LAST_CHUNK)),
            Version::Http11 => {
                self.parts.insert(before, Bytes::from(format!("{bytes:X}\r\n")));
                self.parts.push_back(Bytes::from_static(END_OF_CHUNK));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.parts.iter().zip(&mut slices).map(|(part, slice)| *slice = IoSlice::new(part)).count();
            let mut written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..filled]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            while let Some(part) = self.parts.front_mut() {
                if written < part.len() {
                    part.advance(written);
                    break;
                }
                written -= part.len();
                self.parts.pop_front();
            }
        }
        if self.parts.capacity() > PARTS_KEPT {
            self.parts = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the viewer has left. What it says is not for anybody.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut said = [0; 256];
        // So often in one turn: who talks without end does not keep its stream from others.
        for _ in 0..16 {
            let mut said = ReadBuf::new(&mut said);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut said))?;
            if said.filled().is_empty() {
                return Poll::Ready(Ok(true));
            }
        }
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Option<(String, usize, Version)> {
        let usual = Usual::parse(head.as_bytes())?;
        Some((usual.uri.to_string(), usual.headers.len(), usual.version))
    }

    #[test]
    fn what_players_say_is_usual() {
        let vlc =
            "GET /live/a.flv HTTP/1.1\r\nHost: edge:8080\r\nAccept: */*\r\nRange: bytes=0-\r\nIcy-MetaData: 1\r\n\r\n";
        assert_eq!(parsed(vlc), Some(("/live/a.flv".into(), 4, Version::Http11)));
        let old = "GET /live/i/a.flv?key=%6b&x HTTP/1.0\r\n\r\n";
        assert_eq!(parsed(old), Some(("/live/i/a.flv?key=%6b&x".into(), 0, Version::Http10)));
    }

    #[test]
    fn whatever_else_is_for_the_web_server() {
        for head in [
            "",
            "\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\n",
            "HEAD /live/a.flv HTTP/1.1\r\n\r\n",
            "GET /live/a HTTP/1.1\r\n\r\n",
            "GET http://edge/live/a.flv HTTP/1.1\r\n\r\n",
            "GET  /live/a.flv HTTP/1.1\r\n\r\n",
            "GET /live/a.flv HTTP/2.0\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nX: \u{7f}\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\nHost: a\n\n",
            "GET /live/a.flv HTTP/1.1\r\n\r\nGET /live/b.flv HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parsed(head), None, "{head:?}");
        }
    }
}
