//! The session against a client made of the same chunk layer, message by message.

mod hostile;
mod order;
mod publish;
mod rml;
mod timing;
mod watch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use media::MediaMessage;

use super::*;
use crate::{
    amf::{Value, amf0},
    chunk,
    command::{Command, status::code},
    handshake::Handshake,
    limits::Limits,
    message::{Control, UserEvent, type_id},
};

/// A client that says what the test wants, and a session that hears it.
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) now: Instant,
    reader: chunk::Reader,
    writer: chunk::Writer,
    /// What the session said, without commands.
    pub(super) heard: Vec<Message>,
    /// What the session said in commands, by message stream.
    pub(super) told: Vec<(u32, Command)>,
}

impl Peer {
    /// A client that has not said anything.
    pub(super) fn silent(config: Config) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(Arc::new(config), now),
            now,
            reader: chunk::Reader::new(&Limits::default()),
            writer: chunk::Writer::new(),
            heard: Vec::new(),
            told: Vec::new(),
        }
    }

    /// A client whose handshake is done.
    pub(super) fn greeted(config: Config) -> Self {
        let mut peer = Self::silent(config);
        let (mut handshake, hello) = Handshake::client();
        peer.session.handle_bytes(&hello, peer.now);
        while let Some(bytes) = peer.session.poll_output() {
            let progress = handshake.handle_bytes(&bytes).unwrap();
            peer.session.handle_bytes(&progress.to_send, peer.now);
        }
        assert!(peer.session.is_open());
        peer
    }

    /// A client whose connect was accepted.
    pub(super) fn connected() -> Self {
        let mut peer = Self::greeted(Config::default());
        peer.call(0, "connect", 1.0, Value::object([("app", "live".into())]), vec![]);
        peer.accept_connect();
        peer.hear();
        peer.told.clear();
        peer
    }

    pub(super) fn accept_connect(&mut self) {
        let Some(Event::Connect(request)) = self.session.poll_event() else { panic!("no connect") };
        request.accept(&mut self.session, self.now).unwrap();
    }

    /// A client with the message streams 1 to `count`.
    pub(super) fn with_streams(count: u32) -> Self {
        let mut peer = Self::connected();
        for id in 0..count {
            peer.call(0, "createStream", f64::from(id) + 2.0, Value::Null, vec![]);
        }
        assert!(peer.events().is_empty());
        peer.told.clear();
        peer
    }

    /// A client that publishes `foo` on message stream 1.
    pub(super) fn publishing() -> Self {
        let mut peer = Self::with_streams(1);
        peer.notice(1, "publish", ["foo?key=1".into(), "live".into()]);
        let Some(Event::Publish(request)) = peer.session.poll_event() else { panic!("no publish") };
        request.accept(&mut peer.session, peer.now).unwrap();
        peer.hear();
        peer.told.clear();
        peer
    }

    /// A client that plays `foo` on message stream 1.
    pub(super) fn playing() -> Self {
        let mut peer = Self::with_streams(1);
        peer.notice(1, "play", ["foo".into()]);
        let Some(Event::Play(request)) = peer.session.poll_event() else { panic!("no play") };
        request.accept(&mut peer.session).unwrap();
        peer.hear();
        peer.told.clear();
        peer
    }

    pub(super) fn chunks(&self, message: &Message) -> Vec<u8> {
        let mut out: Vec<Bytes> = Vec::new();
        self.writer.write(message, &mut out);
        out.concat()
    }

    pub(super) fn send(&mut self, message: &Message) {
        let bytes = self.chunks(message);
        self.session.handle_bytes(&bytes, self.now);
    }

    pub(super) fn control(&mut self, control: Control) {
        self.send(&control.to_message());
    }

    pub(super) fn call(&mut self, msid: u32, name: &str, id: f64, object: Value, arguments: Vec<Value>) {
        self.send(&message(type_id::COMMAND_AMF0, msid, Command::call(name, id, object, arguments).encode()));
    }

    pub(super) fn notice<const N: usize>(&mut self, msid: u32, name: &str, arguments: [Value; N]) {
        self.call(msid, name, 0.0, Value::Null, arguments.into());
    }

    /// All events that are due; what the session says meanwhile is heard.
    pub(super) fn events(&mut self) -> Vec<Event> {
        let events = std::iter::from_fn(|| self.session.poll_event()).collect();
        self.hear();
        events
    }

    /// Reads what the session says.
    pub(super) fn hear(&mut self) {
        while let Some(bytes) = self.session.poll_output() {
            let mut rest = &bytes[..];
            while let Some(message) = self.reader.poll_message(&mut rest).unwrap() {
                match message.type_id {
                    type_id::COMMAND_AMF0 => {
                        self.told.push((message.msid, Command::decode(&message, &Limits::default()).unwrap()));
                    }
                    _ => self.heard.push(message),
                }
            }
        }
    }

    /// The commands heard since this was last asked: message stream, name, and code of the information object.
    pub(super) fn take_told(&mut self) -> Vec<(u32, String, String)> {
        self.hear();
        let code = |command: &Command| {
            let info = command.arguments.iter().find_map(|value| value.get("code")).and_then(Value::as_str);
            info.unwrap_or_default().to_owned()
        };
        self.told.drain(..).map(|(msid, command)| (msid, command.name.clone(), code(&command))).collect()
    }

    pub(super) fn take_heard(&mut self) -> Vec<Message> {
        self.hear();
        std::mem::take(&mut self.heard)
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(self.now);
    }
}

pub(super) fn message(type_id: u8, msid: u32, payload: Bytes) -> Message {
    Message { type_id, timestamp: 0, msid, payload }
}

pub(super) fn told(msid: u32, name: &str, code: &str) -> (u32, String, String) {
    (msid, name.to_owned(), code.to_owned())
}

/// The reason in the last event, which must be the end.
pub(super) fn closed(events: &[Event]) -> &Closed {
    match events.last() {
        Some(Event::Closed(closed)) => closed,
        other => panic!("not closed: {other:?}"),
    }
}

#[test]
fn connect_keeps_every_field_and_argument() {
    let mut peer = Peer::greeted(Config::default());
    let fields = Value::object([
        ("app", "live/room?token=1".into()),
        ("tcUrl", "rtmp://h/live".into()),
        ("flashVer", "X".into()),
        ("fourCcList", Value::StrictArray(vec!["hvc1".into()])),
        ("capsEx", 1.0.into()),
    ]);
    peer.call(0, "connect", 1.0, fields.clone(), vec!["user".into(), "secret".into()]);
    let Some(Event::Connect(request)) = peer.session.poll_event() else { panic!("no connect") };
    assert_eq!((request.app.as_str(), request.tc_url.as_str()), ("live/room?token=1", "rtmp://h/live"));
    assert_eq!((&request.object, &request.arguments), (&fields, &vec!["user".into(), "secret".into()]));
    assert_eq!(format!("{request:?}"), r#"ConnectRequest { app: "live/room", .. }"#);
}

#[test]
fn connect_is_answered_in_order_and_with_capabilities() {
    for (asked, given) in [(None, 0.0), (Some(0.0), 0.0), (Some(3.0), 3.0), (Some(7.0), 0.0)] {
        let mut peer = Peer::greeted(Config::default());
        let mut fields = vec![("app", Value::from("live"))];
        fields.extend(asked.map(|encoding| ("objectEncoding", encoding.into())));
        peer.call(0, "connect", 1.0, Value::object(fields), vec![]);
        peer.accept_connect();
        let controls: Vec<_> = peer.take_heard().iter().map(|heard| Control::parse(heard).unwrap().unwrap()).collect();
        let window = 2_500_000;
        // The chunk size stands between the last two; the reader has obeyed it.
        assert_eq!(
            controls,
            [
                Control::WindowAckSize(window),
                Control::SetPeerBandwidth { window, limit: 2 },
                Control::User(UserEvent::StreamBegin(0)),
            ]
        );
        let [(0, result)] = &peer.told[..] else { panic!("{:?}", peer.told) };
        assert_eq!((result.name.as_str(), result.transaction), ("_result", 1.0));
        let info = &result.arguments[0];
        assert_eq!(info.get("code"), Some(&code::CONNECT_SUCCESS.into()));
        assert_eq!(info.get("objectEncoding"), Some(&given.into()));
        assert_eq!(info.get("videoFourCcInfoMap"), Some(&Value::object([("*", 4.0.into())])));
        assert_eq!(info.get("capsEx"), Some(&14.0.into()));
        assert_eq!(result.object.get("capabilities"), Some(&31.0.into()));
    }
}

#[test]
fn rejected_connects_are_told_why_and_closed() {
    let mut peer = Peer::greeted(Config::default());
    peer.call(0, "connect", 1.0, Value::object([("app", "live".into())]), vec![]);
    let Some(Event::Connect(request)) = peer.session.poll_event() else { panic!("no connect") };
    request.reject(&mut peer.session, &Status::failed(code::CONNECT_REJECTED, "no"));
    assert!(matches!(closed(&peer.events()), Closed::Rejected(_)));
    assert_eq!(peer.take_told(), [told(0, "_error", code::CONNECT_REJECTED)]);
}

#[test]
fn legacy_calls_are_answered_if_they_want_an_answer() {
    let mut peer = Peer::connected();
    for (name, value) in [
        ("releaseStream", Value::Undefined),
        ("FCPublish", Value::Undefined),
        ("FCUnpublish", Value::Undefined),
        ("FCSubscribe", Value::Undefined),
        ("_checkbw", Value::Undefined),
        ("getStreamLength", 0.0.into()),
    ] {
        peer.call(0, name, 9.0, Value::Null, vec!["foo?key=1".into()]);
        assert!(peer.events().is_empty());
        let (msid, answer) = peer.told.remove(0);
        assert_eq!((msid, answer), (0, Command::result(9.0, Value::Null, vec![value])), "{name}");
        peer.told.clear();
        peer.notice(0, name, ["foo?key=1".into()]);
        assert!(peer.events().is_empty());
        assert!(peer.told.iter().all(|(_, command)| command.name.starts_with("on")), "{:?}", peer.told);
        assert!(!format!("{:?}", peer.told).contains("key"), "a notice holds a key");
        peer.told.clear();
    }
}

#[test]
fn unknown_commands_are_refused_and_unknown_events_ignored() {
    let mut peer = Peer::connected();
    peer.call(0, "a.b.doIt", 7.0, Value::Null, vec![]);
    peer.notice(0, "doItQuietly", []);
    for event in [26, 27, 31, 32, 0xFFFF] {
        peer.control(Control::User(UserEvent::Unknown(event)));
    }
    peer.send(&message(type_id::SHARED_OBJECT_AMF0, 0, Bytes::from_static(b"\0")));
    peer.send(&message(77, 0, Bytes::from_static(b"?")));
    assert!(peer.events().is_empty());
    assert_eq!(peer.take_told(), [told(0, "_error", code::CALL_FAILED)]);
    assert_eq!(peer.session.stats().unknown_commands, 2);
}

#[test]
fn pings_are_answered_with_their_number() {
    let mut peer = Peer::connected();
    peer.take_heard();
    peer.control(Control::User(UserEvent::PingRequest(4711)));
    assert!(peer.events().is_empty());
    assert_eq!(peer.take_heard(), [Control::User(UserEvent::PingResponse(4711)).to_message()]);
}

#[test]
fn acknowledgements_say_all_bytes_received() {
    let mut peer = Peer::publishing();
    peer.control(Control::WindowAckSize(5000));
    peer.events();
    peer.take_heard();
    let before = peer.session.bytes_received();
    let mut acknowledged = Vec::new();
    for _ in 0..100 {
        peer.send(&message(type_id::VIDEO, 1, vec![0x27; 1000].into()));
        peer.events();
        for heard in peer.take_heard() {
            assert_eq!(
                Control::parse(&heard),
                Ok(Some(Control::Acknowledgement(peer.session.bytes_received() as u32)))
            );
            acknowledged.push(peer.session.bytes_received());
        }
    }
    let sent = peer.session.bytes_received() - before;
    let windows = acknowledged.windows(2).all(|pair| (5000..7000).contains(&(pair[1] - pair[0])));
    assert!(windows && acknowledged.len() as u64 >= sent / 7000, "{acknowledged:?}");
}

#[test]
fn a_new_bandwidth_is_answered_with_the_window_and_the_same_is_not() {
    let mut peer = Peer::connected();
    peer.take_heard();
    for window in [2_500_000, 5_000_000, 5_000_000] {
        peer.control(Control::SetPeerBandwidth { window, limit: 2 });
    }
    assert!(peer.events().is_empty());
    assert_eq!(peer.take_heard(), [Control::WindowAckSize(5_000_000).to_message()]);
}

#[test]
fn a_session_that_is_closed_from_our_side_says_why() {
    let mut peer = Peer::playing();
    peer.session.close(&Status::ok(code::CONNECT_CLOSED, "enough"));
    peer.notice(0, "createStream", []);
    assert!(peer.events().is_empty());
    assert_eq!(peer.take_told(), [told(0, "onStatus", code::CONNECT_CLOSED)]);
    assert_eq!(peer.session.poll_timeout(), None);
}
