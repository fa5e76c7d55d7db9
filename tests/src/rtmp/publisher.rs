//! A publisher that sends what it is told, in the form it is told.

use anyhow::{Result, ensure};
use bytes::Bytes;

use super::{Connection, Message, Status, Url, Value, amf::amf0, amf::amf3, chunks};
use crate::flv::Tag;

/// A publishing connection.
pub struct Publisher {
    /// The connection, for what the methods below do not do.
    pub connection: Connection,
    msid: u32,
}

impl Publisher {
    /// Publishes to the address; must be welcome.
    pub async fn open(url: &str) -> Result<Self> {
        let parsed = Url::parse(url)?;
        let connection = Connection::open(&parsed).await?;
        Self::on(connection, &parsed.name).await
    }

    /// Publishes on a connection that is open.
    pub async fn on(connection: Connection, name: &str) -> Result<Self> {
        let (publisher, status) = Self::ask(connection, name).await?;
        ensure!(status.code == "NetStream.Publish.Start", "publish: {status:?}");
        Ok(publisher)
    }

    /// Asks to publish, and gives the answer whatever it is.
    pub async fn ask(mut connection: Connection, name: &str) -> Result<(Self, Status)> {
        connection.command("releaseStream", 0.0, 0, &[Value::Null, Value::text(name)]).await?;
        connection.command("FCPublish", 0.0, 0, &[Value::Null, Value::text(name)]).await?;
        let msid = connection.create_stream().await?;
        connection.command("publish", 0.0, msid, &[Value::Null, Value::text(name), Value::text("live")]).await?;
        let status = connection.status().await?;
        Ok((Self { connection, msid }, status))
    }

    /// The tag as a message of this publication.
    pub fn message(&self, tag: &Tag) -> Message {
        Message { type_id: tag.type_id, timestamp: tag.timestamp, msid: self.msid, payload: tag.payload.clone() }
    }

    /// Sends one message as encoders do.
    pub async fn send(&mut self, tag: &Tag) -> Result<()> {
        let message = self.message(tag);
        self.connection.send(csid(tag.type_id), &message).await
    }

    /// Sends messages with their chunks taken in turns. No two may have the same type.
    pub async fn send_interleaved(&mut self, tags: &[Tag]) -> Result<()> {
        let size = self.connection.chunk_size();
        let lines: Vec<Vec<Vec<u8>>> =
            tags.iter().map(|tag| chunks(csid(tag.type_id), &self.message(tag), size)).collect();
        let longest = lines.iter().map(Vec::len).max().unwrap_or_default();
        let turns = (0..longest).flat_map(|turn| lines.iter().filter_map(move |line| line.get(turn)));
        let wire: Vec<u8> = turns.flatten().copied().collect();
        self.connection.send_raw(&wire).await
    }

    /// Sends messages as one aggregate whose own timestamp is the first one's; inside they count from `inner`.
    pub async fn send_aggregate(&mut self, tags: &[Tag], inner: u32) -> Result<()> {
        let first = tags.first().map(|tag| tag.timestamp).unwrap_or_default();
        let mut body = Vec::new();
        for tag in tags {
            let time = tag.timestamp.wrapping_sub(first).wrapping_add(inner).to_be_bytes();
            let len = tag.payload.len() as u32;
            body.push(tag.type_id);
            body.extend(&len.to_be_bytes()[1..]);
            body.extend([time[1], time[2], time[3], time[0], 0, 0, 0]);
            body.extend(&tag.payload);
            body.extend((11 + len).to_be_bytes());
        }
        let message = Message { type_id: 22, timestamp: first, msid: self.msid, payload: body.into() };
        self.connection.send(7, &message).await
    }

    /// Sends onMetaData with one field, the way encoders do, in AMF0 or as an AMF3 data message.
    pub async fn send_metadata(&mut self, field: (&str, f64), as_amf3: bool) -> Result<()> {
        let object = Value::object(&[(field.0, Value::Number(field.1))]);
        let values = [Value::text("@setDataFrame"), Value::text("onMetaData"), object];
        let (type_id, payload) = if as_amf3 { (15, amf3(&values)) } else { (18, amf0(&values)) };
        let message = Message { type_id, timestamp: 0, msid: self.msid, payload: Bytes::from(payload) };
        self.connection.send(5, &message).await
    }

    /// Ends the publication properly. What is left is the connection.
    pub async fn end(mut self, name: &str) -> Result<Connection> {
        self.connection.command("FCUnpublish", 0.0, 0, &[Value::Null, Value::text(name)]).await?;
        self.connection.command("deleteStream", 0.0, 0, &[Value::Null, Value::Number(self.msid.into())]).await?;
        Ok(self.connection)
    }
}

/// Each type on a chunk stream of its own.
fn csid(type_id: u8) -> u8 {
    match type_id {
        8 => 4,
        9 => 6,
        _ => 5,
    }
}
