//! A connection: handshake, connect, commands and their answers.

use std::{io::ErrorKind, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use super::{
    Message, Reader, Value,
    amf::{self, amf0, amf3},
    chunks,
};

/// How long an answer may take on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);

/// An address of the form `rtmp://host:port/app[/instance]/name[?query]`, in its parts.
#[derive(Debug, Clone)]
pub struct Url {
    /// Host and port.
    pub authority: String,
    /// Application and instance.
    pub app: String,
    /// Stream name and query.
    pub name: String,
}

impl Url {
    /// Takes the address apart.
    pub fn parse(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("rtmp://").context("an address begins with rtmp://")?;
        let (authority, path) = rest.split_once('/').context("an address has a path")?;
        let (app, name) = path.rsplit_once('/').context("an address has an app and a name")?;
        Ok(Self { authority: authority.to_owned(), app: app.to_owned(), name: name.to_owned() })
    }
}

/// What an onStatus or a refusal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// Such as `NetStream.Play.Start`.
    pub code: String,
}

/// A connected client.
pub struct Connection {
    socket: TcpStream,
    reader: Reader,
    chunk_size: usize,
    amf3: bool,
    transactions: u32,
}

impl Connection {
    /// Connects to the app with AMF0 commands and 4096-byte chunks.
    pub async fn open(url: &Url) -> Result<Self> {
        Self::open_as(url, false, 4096).await
    }

    /// Connects with commands in AMF3, or with chunks of another size; 128 is the default of the protocol and is not announced.
    pub async fn open_as(url: &Url, amf3: bool, chunk_size: usize) -> Result<Self> {
        time::timeout(ANSWER, Self::try_open(url, amf3, chunk_size)).await.context("connecting took too long")?
    }

    /// Connects to the app over a socket of the test's own, as [`Connection::open`] does.
    pub async fn over(socket: TcpStream, url: &Url) -> Result<Self> {
        time::timeout(ANSWER, Self::begin(socket, url, false, 4096)).await.context("connecting took too long")?
    }

    async fn try_open(url: &Url, amf3: bool, chunk_size: usize) -> Result<Self> {
        let socket = TcpStream::connect(&url.authority).await.with_context(|| url.authority.clone())?;
        Self::begin(socket, url, amf3, chunk_size).await
    }

    async fn begin(mut socket: TcpStream, url: &Url, amf3: bool, chunk_size: usize) -> Result<Self> {
        socket.set_nodelay(true)?;
        handshake(&mut socket).await?;
        let mut this = Self { socket, reader: Reader::default(), chunk_size: 128, amf3: false, transactions: 0 };
        if chunk_size != 128 {
            this.control(1, &(chunk_size as u32).to_be_bytes()).await?;
            this.chunk_size = chunk_size;
        }
        let encoding = if amf3 { 3.0 } else { 0.0 };
        let connect = Value::object(&[
            ("app", Value::text(&url.app)),
            ("flashVer", Value::text("LNX 9,0,124,2")),
            ("tcUrl", Value::text(&format!("rtmp://{}/{}", url.authority, url.app))),
            ("objectEncoding", Value::Number(encoding)),
        ]);
        let answer = this.call("connect", 0, &[connect]).await?;
        ensure!(answer.field("code") == Some("NetConnection.Connect.Success"), "connect: {answer:?}");
        this.amf3 = amf3;
        Ok(this)
    }

    /// Makes a message stream and gives its id.
    pub async fn create_stream(&mut self) -> Result<u32> {
        let answer = self.call("createStream", 0, &[Value::Null]).await?;
        answer.as_number().map(|msid| msid as u32).with_context(|| format!("createStream: {answer:?}"))
    }

    /// Sends a command and waits for its `_result`, whose last value it gives.
    pub async fn call(&mut self, name: &str, msid: u32, arguments: &[Value]) -> Result<Value> {
        self.transactions += 1;
        let transaction = f64::from(self.transactions);
        self.command(name, transaction, msid, arguments).await?;
        loop {
            let message = self.next().await?.with_context(|| format!("{name}: the server closed"))?;
            let Some(values) = command_values(&message) else { continue };
            if values.get(1).and_then(Value::as_number) == Some(transaction) {
                match values[0].as_text() {
                    Some("_result") => return values.last().cloned().context("a result has values"),
                    Some("_error") => bail!("{name}: {:?}", values.last()),
                    _ => {}
                }
            }
        }
    }

    /// Sends a command and waits for nothing.
    pub async fn command(&mut self, name: &str, transaction: f64, msid: u32, arguments: &[Value]) -> Result<()> {
        let mut values = vec![Value::text(name), Value::Number(transaction)];
        values.extend_from_slice(arguments);
        let (type_id, payload) = if self.amf3 { (17, amf3(&values)) } else { (20, amf0(&values)) };
        self.send(3, &Message { type_id, timestamp: 0, msid, payload: payload.into() }).await
    }

    /// Waits for the next onStatus.
    pub async fn status(&mut self) -> Result<Status> {
        loop {
            let message = self.next().await?.context("the server closed")?;
            if let Some(status) = status(&message) {
                return Ok(status);
            }
        }
    }

    /// Sends a message in chunks of the connection's size.
    pub async fn send(&mut self, csid: u8, message: &Message) -> Result<()> {
        let wire = chunks(csid, message, self.chunk_size).concat();
        self.send_raw(&wire).await
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, wire: &[u8]) -> Result<()> {
        time::timeout(ANSWER, self.socket.write_all(wire)).await.context("the server does not read")??;
        Ok(())
    }

    /// The size of the chunks that this side sends.
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// The next message other than pings, which are answered; `None` when the server closed.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        loop {
            while let Some(message) = self.reader.message() {
                if !self.is_answered_ping(&message).await? {
                    return Ok(Some(message));
                }
            }
            if self.socket.read_buf(self.reader.buffer()).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Waits until the server has sent something, or closed. May be dropped at any time.
    pub async fn readable(&self) -> Result<()> {
        Ok(self.socket.readable().await?)
    }

    /// The messages that have come by now, pings answered and left out, and whether the connection is still open.
    pub async fn take(&mut self) -> Result<(Vec<Message>, bool)> {
        let open = match self.socket.try_read_buf(self.reader.buffer()) {
            Ok(len) => len > 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => return Err(error.into()),
        };
        let mut messages = Vec::new();
        while let Some(message) = self.reader.message() {
            if !self.is_answered_ping(&message).await? {
                messages.push(message);
            }
        }
        Ok((messages, open))
    }

    async fn is_answered_ping(&mut self, message: &Message) -> Result<bool> {
        let ping = message.type_id == 4 && message.payload.starts_with(&[0, 6]);
        if ping {
            let answer = [&[0, 7][..], &message.payload[2..]].concat();
            self.control(4, &answer).await?;
        }
        Ok(ping)
    }

    async fn control(&mut self, type_id: u8, payload: &[u8]) -> Result<()> {
        self.send(2, &Message { type_id, timestamp: 0, msid: 0, payload: Bytes::copy_from_slice(payload) }).await
    }
}

/// What an onStatus command says.
pub fn status(message: &Message) -> Option<Status> {
    let values = command_values(message)?;
    let info = values.last().filter(|_| values[0].as_text() == Some("onStatus"))?;
    Some(Status { level: info.field("level")?.to_owned(), code: info.field("code")?.to_owned() })
}

fn command_values(message: &Message) -> Option<Vec<Value>> {
    match message.type_id {
        20 => Some(amf::read(&message.payload)),
        17 => Some(amf::read(message.payload.get(1..)?)),
        _ => None,
    }
    .filter(|values| !values.is_empty())
}

/// The plain handshake.
async fn handshake(socket: &mut TcpStream) -> Result<()> {
    let mut hello = vec![3u8; 1537];
    hello[1..9].fill(0);
    socket.write_all(&hello).await?;
    let mut answer = vec![0u8; 1 + 1536 + 1536];
    socket.read_exact(&mut answer).await.context("handshake")?;
    ensure!(answer[0] == 3, "the server's version is {}", answer[0]);
    socket.write_all(&answer[1..1537]).await?;
    Ok(())
}
