//! HTTP and WebSocket by hand: status pages, metrics, and FLV streams as bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// How long a plain answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header lines.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Asks for a path and reads the whole answer.
pub fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut socket = ask(address, path, "Connection: close\r\n")?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text).with_context(|| format!("GET {address}{path}"))?;
    let text = String::from_utf8_lossy(&text);
    let (head, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
    Ok(Answer { status: status(head)?, head: head.to_owned(), body: body.to_owned() })
}

/// The head of an answer whose body may be endless.
pub fn head_of(address: SocketAddr, path: &str) -> Result<String> {
    head(&mut ask(address, path, "")?)
}

/// The sum of all samples of a metric, with these words in its labels.
pub fn metric(address: SocketAddr, name: &str, labels: &[&str]) -> Result<f64> {
    let text = get(address, "/metrics")?.body;
    let mut found = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (series_name, series_labels) = series.split_once('{').unwrap_or((series, ""));
        if series_name == name && labels.iter().all(|label| series_labels.contains(label)) {
            *found.get_or_insert(0.0) += value.parse::<f64>().with_context(|| line.to_owned())?;
        }
    }
    found.with_context(|| format!("no metric {name} with {labels:?} at {address}"))
}

/// The upper bound of the bucket of a histogram in which this share of its samples is reached.
pub fn histogram_quantile(address: SocketAddr, name: &str, share: f64) -> Result<f64> {
    let text = get(address, "/metrics")?.body;
    let prefix = format!("{name}_bucket{{");
    let mut buckets = Vec::new();
    for line in text.lines().filter(|line| line.starts_with(&prefix)) {
        let (series, count) = line.rsplit_once(' ').context("a sample has a value")?;
        let bound = series.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).context("a bucket has le")?;
        buckets.push((bound.parse::<f64>().unwrap_or(f64::INFINITY), count.parse::<f64>()?));
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = buckets.last().map(|(_, count)| *count).with_context(|| format!("no {name} at {address}"))?;
    let reached = buckets.into_iter().find(|(_, count)| *count >= all * share);
    reached.map(|(bound, _)| bound).context("the last bucket holds all")
}

/// The first `len` bytes of an endless body.
pub fn body_start(address: SocketAddr, path: &str, len: usize) -> Result<Vec<u8>> {
    let mut socket = ask(address, path, "")?;
    let head = head(&mut socket)?;
    if status(&head)? != 200 {
        bail!("{head}");
    }
    let mut body = Vec::new();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    while body.len() < len {
        if chunked {
            let line = line(&mut socket)?;
            let size = usize::from_str_radix(line.trim(), 16).with_context(|| format!("chunk size {line:?}"))?;
            take(&mut socket, size, &mut body)?;
            line_end(&mut socket)?;
        } else {
            take(&mut socket, 1, &mut body)?;
        }
    }
    Ok(body)
}

/// The first `len` bytes that a WebSocket brings in binary frames.
pub fn websocket_start(address: SocketAddr, path: &str, len: usize) -> Result<Vec<u8>> {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: aGVhZHdhdGVyLXRlc3RzIQ==\r\n";
    let mut socket = ask(address, path, upgrade)?;
    let head = head(&mut socket)?;
    if status(&head)? != 101 {
        bail!("{head}");
    }
    let mut body = Vec::new();
    while body.len() < len {
        let mut header = [0; 2];
        socket.read_exact(&mut header)?;
        let mut size = [0; 8];
        let extra = match header[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        socket.read_exact(&mut size[8 - extra..])?;
        let size = if extra == 0 { usize::from(header[1]) } else { u64::from_be_bytes(size) as usize };
        let mut frame = Vec::new();
        take(&mut socket, size, &mut frame)?;
        match header[0] & 0x0f {
            0 | 2 => body.extend(frame),
            9 => {}
            other => bail!("a frame of kind {other}"),
        }
    }
    Ok(body)
}

fn ask(address: SocketAddr, path: &str, headers: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect_timeout(&address, ANSWER).with_context(|| address.to_string())?;
    socket.set_read_timeout(Some(ANSWER))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n")?;
    Ok(socket)
}

fn head(socket: &mut TcpStream) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &line(socket)?;
    }
    Ok(head)
}

fn status(head: &str) -> Result<u16> {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).with_context(|| format!("no status in {head:?}"))
}

fn line(socket: &mut TcpStream) -> Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        take(socket, 1, &mut line)?;
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn line_end(socket: &mut TcpStream) -> Result<()> {
    take(socket, 2, &mut Vec::new())
}

fn take(socket: &mut TcpStream, len: usize, into: &mut Vec<u8>) -> Result<()> {
    let start = into.len();
    into.resize(start + len, 0);
    socket.read_exact(&mut into[start..])?;
    Ok(())
}
