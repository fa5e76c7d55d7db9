//! The usual request for a stream, answered without a web server between the stream and the socket.
//!
//! Nearly every viewer of HTTP-FLV sends one `GET` and then only listens. Such a connection needs no more than a cursor into
//! the stream: what is due goes out in one write, as it does over RTMP. Whatever else a connection may say goes to the web
//! server, unread.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use rtmp_net::{Entry, SharedSocket};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    framing::Framing,
    playback::Playback,
    router::{self, FLV_TYPE, NO_STORE},
    sending::Sending,
    server::{BUFFER_BYTES_MAX, Shared},
    stall::StallGuard,
    usual::{END_OF_HEAD, USUAL_BYTES_MAX, Usual},
};

/// Reads up to the end of a request's head, or as much as the web server reads of one before it refuses it. What was read
/// is in `head`, whatever it is.
pub(super) async fn read_head(stream: &mut TcpStream, head: &mut BytesMut) -> io::Result<()> {
    // What was looked through once cannot end the head any more, but for its last bytes.
    let mut looked_through = 0;
    while head.len() < BUFFER_BYTES_MAX && stream.read_buf(head).await? > 0 {
        if head[looked_through..].windows(END_OF_HEAD.len()).any(|bytes| bytes == END_OF_HEAD) {
            break;
        }
        looked_through = (head.len() + 1).saturating_sub(END_OF_HEAD.len());
    }
    Ok(())
}

impl Usual {
    /// Gives the viewer its stream, or says why not. Safe to drop at any await, which closes the connection.
    pub(super) async fn serve<P: Playback>(
        mut self,
        mut stream: TcpStream,
        (peer, session): (SocketAddr, Arc<Entry>),
        shared: &Shared<P>,
    ) -> io::Result<()> {
        let asked = router::asked(&self.uri, self.host.as_ref(), &shared.config.vhosts);
        // A viewer may watch for hours: what it asked with is not kept for that.
        drop((std::mem::take(&mut self.uri), self.host.take()));
        let opened = tokio::select! {
            opened = router::open(shared, (peer, session), asked) => opened,
            left = left(&mut stream) => return left,
        };
        let stream = StallGuard::new(SharedSocket::new(stream), shared.config.stall_timeout);
        match opened {
            Ok(file) => {
                let head = self.head("200 OK", &[("content-type", FLV_TYPE), ("cache-control", NO_STORE)]);
                Sending::of_body(stream, head, file, self.framing).run().await
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
        let version = if self.framing == Framing::Bare { "HTTP/1.0" } else { "HTTP/1.1" };
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let mut head = format!("{version} {status}\r\ndate: {date}\r\naccess-control-allow-origin: *\r\n");
        let chunked = !headers.iter().any(|(name, _)| *name == "content-length") && self.framing == Framing::Chunks;
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
        if total > USUAL_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

async fn finish(mut stream: StallGuard<SharedSocket>, answer: String) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
