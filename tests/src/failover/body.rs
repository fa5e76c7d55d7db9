//! An endless HTTP-FLV body, tag by tag as it comes.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::flv::Tag;

/// How long the head of the answer may take. A viewer that waits for its stream waits for it.
const HEAD: Duration = Duration::from_secs(60);
/// No line of a head or chunk is longer.
const LINE_MAX: usize = 16 * 1024;

/// A playing HTTP connection.
pub struct Body {
    socket: TcpStream,
    raw: BytesMut,
    flv: BytesMut,
    chunked: bool,
    /// Bytes of the current chunk still to come.
    chunk: usize,
    begun: bool,
    ended: bool,
}

impl Body {
    /// Asks for `http://HOST:PORT/PATH`.
    pub async fn open(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("http://").context("an address begins with http://")?;
        let (host, path) = rest.split_once('/').context("an address has a path")?;
        let mut socket = TcpStream::connect(host).await.with_context(|| host.to_owned())?;
        socket.set_nodelay(true)?;
        socket.write_all(format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        let mut this = Self {
            socket,
            raw: BytesMut::new(),
            flv: BytesMut::new(),
            chunked: false,
            chunk: 0,
            begun: false,
            ended: false,
        };
        let head = timeout(HEAD, this.head()).await.context("no answer")??;
        ensure!(head.starts_with("HTTP/1.1 200"), "{}", head.lines().next().unwrap_or_default());
        this.chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        this.unchunk()?;
        Ok(this)
    }

    /// The next tag; `None` at the end of the body. Not to be dropped half-way.
    pub async fn next(&mut self) -> Result<Option<Tag>> {
        loop {
            if let Some(tag) = self.tag()? {
                return Ok(Some(tag));
            }
            if self.ended || self.socket.read_buf(&mut self.raw).await? == 0 {
                return Ok(None);
            }
            self.unchunk()?;
        }
    }

    async fn head(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.raw.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return Ok(String::from_utf8_lossy(&self.raw.split_to(end + 4)).into_owned());
            }
            ensure!(self.raw.len() < LINE_MAX, "the head is too long");
            ensure!(self.socket.read_buf(&mut self.raw).await? > 0, "closed before an answer");
        }
    }

    /// Moves what has come into `flv`.
    fn unchunk(&mut self) -> Result<()> {
        if !self.chunked {
            self.flv.unsplit(self.raw.split());
            return Ok(());
        }
        loop {
            if self.chunk > 2 {
                let len = self.raw.len().min(self.chunk - 2);
                self.flv.unsplit(self.raw.split_to(len));
                self.chunk -= len;
            }
            if self.chunk > 2 || (self.chunk > 0 && self.raw.len() < self.chunk) {
                return Ok(());
            }
            self.raw.advance(self.chunk);
            self.chunk = 0;
            let Some(end) = self.raw.windows(2).position(|bytes| bytes == b"\r\n") else {
                ensure!(self.raw.len() < LINE_MAX, "a chunk's size is too long");
                return Ok(());
            };
            let line = self.raw.split_to(end + 2);
            let text = std::str::from_utf8(&line[..end]).context("a chunk's size is text")?;
            let size = usize::from_str_radix(text.trim(), 16).with_context(|| format!("chunk size {text:?}"))?;
            if size == 0 {
                self.ended = true;
                return Ok(());
            }
            self.chunk = size + 2;
        }
    }

    fn tag(&mut self) -> Result<Option<Tag>> {
        if !self.begun {
            if self.flv.len() < 13 {
                return Ok(None);
            }
            if !self.flv.starts_with(b"FLV\x01") {
                bail!("not FLV: {:?}", &self.flv[..13]);
            }
            self.flv.advance(13);
            self.begun = true;
        }
        let Some(header) = self.flv.get(..11) else { return Ok(None) };
        let len = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        let (type_id, timestamp) = (header[0], u32::from_be_bytes([header[7], header[4], header[5], header[6]]));
        if self.flv.len() < 11 + len + 4 {
            return Ok(None);
        }
        self.flv.advance(11);
        let payload = self.flv.split_to(len).freeze();
        ensure!(self.flv.get_u32() as usize == 11 + len, "the size behind a tag");
        Ok(Some(Tag { type_id, timestamp, payload }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::failover::stamp;

    /// The FLV header, then the tags.
    fn flv(tags: &[Tag]) -> Vec<u8> {
        let mut bytes = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        for tag in tags {
            let (len, time) = ((tag.payload.len() as u32).to_be_bytes(), tag.timestamp.to_be_bytes());
            bytes.extend([tag.type_id, len[1], len[2], len[3], time[1], time[2], time[3], time[0], 0, 0, 0]);
            bytes.extend(&tag.payload);
            bytes.extend((11 + tag.payload.len() as u32).to_be_bytes());
        }
        bytes
    }

    #[tokio::test]
    async fn tags_come_out_of_chunks_of_any_size() {
        let tags: Vec<Tag> = (0..5).map(|number| stamp::video(number, number * 33, number == 0)).collect();
        for size in [1, 7, 700, 100_000] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}/a/b.flv", listener.local_addr().expect("bound"));
            let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in flv(&tags).chunks(size) {
                wire.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            let server = tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.expect("a client");
                socket.read_buf(&mut BytesMut::new()).await.expect("a request");
                for part in wire.chunks(11) {
                    socket.write_all(part).await.expect("written");
                }
                socket
            });
            let mut body = Body::open(&url).await.expect("an answer");
            let mut seen = Vec::new();
            while let Some(tag) = body.next().await.expect("FLV") {
                seen.push(tag);
            }
            assert_eq!(seen, tags, "chunks of {size}");
            drop(server.await);
        }
    }
}
