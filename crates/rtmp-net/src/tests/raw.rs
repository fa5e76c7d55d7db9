//! A client that says and hears single messages.

use rtmp::{
    Limits, Message,
    amf::Value,
    chunk,
    command::{Command, status::Status},
    handshake::Handshake,
    message::type_id,
};

use super::*;

pub(super) struct Raw {
    pub(super) io: DuplexStream,
    reader: chunk::Reader,
    writer: chunk::Writer,
    input: Vec<u8>,
}

impl Raw {
    pub(super) async fn greeted(house: &House) -> Self {
        let mut io = house.socket(1 << 20);
        let (mut handshake, hello) = Handshake::client();
        io.write_all(&hello).await.unwrap();
        let mut answer = [0; 3073];
        io.read_exact(&mut answer).await.unwrap();
        let progress = handshake.handle_bytes(&answer).unwrap();
        io.write_all(&progress.to_send).await.unwrap();
        let (reader, writer) = (chunk::Reader::new(&Limits::default()), chunk::Writer::new());
        Self { io, reader, writer, input: Vec::new() }
    }

    pub(super) async fn connected(house: &House, app: &str) -> Self {
        let mut raw = Self::greeted(house).await;
        let command = Command::call("connect", 1.0, Value::object([("app", app.into())]), vec![]);
        raw.send(type_id::COMMAND_AMF0, 0, 0, &command.encode()).await;
        raw
    }

    pub(super) async fn playing(house: &House, path: &str) -> Self {
        let (app, name) = path.rsplit_once('/').unwrap();
        let mut raw = Self::connected(house, app).await;
        raw.call(0, "createStream", 2.0, vec![]).await;
        raw.notice(1, "play", vec![name.into()]).await;
        raw.status("NetStream.Play.Start").await;
        raw
    }

    pub(super) async fn publishing(house: &House, path: &str) -> Self {
        let (app, name) = path.rsplit_once('/').unwrap();
        let mut raw = Self::connected(house, app).await;
        raw.call(0, "createStream", 2.0, vec![]).await;
        raw.notice(1, "publish", vec![name.into()]).await;
        raw.status("NetStream.Publish.Start").await;
        raw
    }

    pub(super) async fn send(&mut self, type_id: u8, msid: u32, timestamp: u32, payload: &[u8]) {
        let message = Message { type_id, timestamp, msid, payload: Bytes::copy_from_slice(payload) };
        let mut out: Vec<Bytes> = Vec::new();
        self.writer.write(&message, &mut out);
        self.io.write_all(&out.concat()).await.unwrap();
    }

    pub(super) async fn call(&mut self, msid: u32, name: &str, id: f64, arguments: Vec<Value>) {
        let command = Command::call(name, id, Value::Null, arguments);
        self.send(type_id::COMMAND_AMF0, msid, 0, &command.encode()).await;
    }

    pub(super) async fn notice(&mut self, msid: u32, name: &str, arguments: Vec<Value>) {
        self.call(msid, name, 0.0, arguments).await;
    }

    /// The next message, whatever it is; `None` at the end.
    pub(super) async fn hear(&mut self) -> Option<Message> {
        loop {
            let mut rest = &self.input[..];
            let message = self.reader.poll_message(&mut rest).unwrap();
            self.input = rest.to_vec();
            if message.is_some() {
                return message;
            }
            let mut buffer = [0; 4096];
            match self.io.read(&mut buffer).await.unwrap() {
                0 => return None,
                count => self.input.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Hears on until this status comes.
    pub(super) async fn status(&mut self, code: &str) {
        loop {
            let heard = self.hear().await.unwrap_or_else(|| panic!("the end came before {code}"));
            if heard.type_id == type_id::COMMAND_AMF0 {
                let command = Command::decode(&heard, &Limits::default()).unwrap();
                let status = command.arguments.first().and_then(Status::read);
                if status.as_ref().is_some_and(|status| status.code == code) {
                    return;
                }
            }
        }
    }

    /// Comes back once the server has read all that was sent.
    pub(super) async fn settle(&mut self) {
        self.call(0, "_checkbw", 4711.0, vec![]).await;
        loop {
            let heard = self.hear().await.expect("the server goes on");
            if heard.type_id == type_id::COMMAND_AMF0 {
                let command = Command::decode(&heard, &Limits::default()).unwrap();
                if command.transaction == 4711.0 {
                    return;
                }
            }
        }
    }

    /// The next audio, video or data message that is part of a stream, and its message stream.
    pub(super) async fn media(&mut self) -> (u32, MediaMessage) {
        loop {
            let heard = self.hear().await.expect("the stream goes on");
            let about_playing =
                heard.payload.starts_with(b"\x02\0\x11|Rtmp") || heard.payload.starts_with(b"\x02\0\x08onStatus");
            if let (Some(medium), false) = (Medium::from_type_id(heard.type_id), about_playing) {
                return (heard.msid, MediaMessage { medium, timestamp: heard.timestamp, payload: heard.payload });
            }
        }
    }

    pub(super) async fn frames(&mut self, count: usize) -> Vec<MediaMessage> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.push(self.media().await.1);
        }
        frames
    }
}
