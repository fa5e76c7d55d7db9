//! As much of an HTTP client as the admin ports and HTTP-FLV need.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long an admin port may take for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The longest answer of an admin port.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// GETs a page of an admin port.
pub(crate) async fn get(address: SocketAddr, target: &str) -> io::Result<Answer> {
    let whole = async {
        let stream = TcpStream::connect(address).await?;
        let mut body = Body::request(stream, &address.to_string(), target).await?;
        let mut bytes = Vec::new();
        while let Some(part) = body.next().await? {
            bytes.extend_from_slice(&part);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
            }
        }
        Ok(Answer { status: body.status, body: String::from_utf8_lossy(&bytes).into_owned() })
    };
    timeout(ANSWER_TIMEOUT, whole).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The body of an answer as it comes in.
#[derive(Debug)]
pub(crate) struct Body {
    /// The status code.
    pub status: u16,
    stream: TcpStream,
    buffer: BytesMut,
}

impl Body {
    /// Sends a GET and reads the answer's head.
    ///
    /// The request is HTTP/1.0: the body then comes as it is, without chunks, and ends with the connection.
    pub(crate) async fn request(mut stream: TcpStream, host: &str, target: &str) -> io::Result<Self> {
        let request = format!("GET {target} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: headwater\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = BytesMut::new();
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if buffer.len() > HEAD_BYTES_MAX || stream.read_buf(&mut buffer).await? == 0 {
                return Err(not_http());
            }
        };
        let head = String::from_utf8_lossy(&buffer.split_to(end)).to_ascii_lowercase();
        let status = head.strip_prefix("http/1.").and_then(|rest| rest.split(' ').nth(1)?.trim().parse().ok());
        if head.contains("\r\ntransfer-encoding:") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the server answers HTTP/1.0 in chunks"));
        }
        Ok(Self { status: status.ok_or_else(not_http)?, stream, buffer })
    }

    /// The next bytes; `None` at the end. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.buffer.is_empty() && self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Ok(None);
        }
        Ok(Some(self.buffer.split().freeze()))
    }
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP server")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes.
    async fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = vec![0; 1024];
            let _ = stream.read(&mut request).await;
            stream.write_all(answer).await.expect("written");
        });
        address
    }

    #[tokio::test]
    async fn answer_is_read_to_its_end() {
        let address = server(b"HTTP/1.0 503 Service Unavailable\r\nX: y\r\n\r\nstarting\n").await;
        let answer = get(address, "/readyz").await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (503, "starting\n"));
    }

    #[tokio::test]
    async fn what_is_no_http_is_an_error() {
        let address = server(b"\x03 this is something else").await;
        assert!(get(address, "/readyz").await.is_err());
    }
}
