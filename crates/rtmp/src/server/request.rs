//! Requests: each is accepted or refused once.

use std::{fmt, time::Instant};

use super::{Closed, Event, Phase, Session, streams::Use};
use crate::{
    amf::{Value, amf0},
    chunk,
    command::{
        Command,
        status::{Status, code},
    },
    message::{Control, Message, UserEvent, type_id},
};

/// A client wants to connect.
#[must_use]
pub struct ConnectRequest {
    /// `app[/instance][?query]` as the client gave it; never empty.
    pub app: String,
    /// The URL that the client connected to, or empty. Holds keys: not for logs.
    pub tc_url: String,
    /// The whole command object.
    pub object: Value,
    /// All that follows the command object, such as credentials.
    pub arguments: Vec<Value>,
    pub(super) transaction: f64,
}

/// A client wants to publish.
#[must_use]
pub struct PublishRequest {
    /// The message stream.
    pub msid: u32,
    /// `name[?query]` as the client gave it; may be empty. Holds keys: not for logs.
    pub name: String,
    /// What for.
    pub kind: PublishKind,
    pub(super) serial: u32,
}

/// A client wants to play.
#[must_use]
pub struct PlayRequest {
    /// The message stream.
    pub msid: u32,
    /// `name[?query]` as the client gave it; may be empty. Holds keys: not for logs.
    pub name: String,
    /// Where to begin.
    pub start: PlayStart,
    /// How many milliseconds to play; `None` is all.
    pub duration_ms: Option<f64>,
    pub(super) reset: bool,
    pub(super) serial: u32,
}

/// What is to become of what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishKind {
    /// It is not kept.
    Live,
    /// It is kept, and replaces what was.
    Record,
    /// It is kept, after what was.
    Append,
}

/// Where playing begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlayStart {
    /// Live; else recorded; else wait for a publisher.
    LiveOrRecorded,
    /// Live and nothing else.
    LiveOnly,
    /// In a recorded stream, at so many milliseconds.
    At(f64),
}

/// The message stream, or the connection, has ended before the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has left")]
pub struct Gone;

impl ConnectRequest {
    /// Lets the client connect.
    pub fn accept(self, session: &mut Session, now: Instant) -> Result<(), Gone> {
        if session.phase != Phase::Deciding {
            return Err(Gone);
        }
        session.phase = Phase::Connected;
        session.idle_since = now;
        let window = session.config.window;
        let wire = &mut session.wire;
        wire.announce_window(window);
        wire.send_control(Control::SetPeerBandwidth { window, limit: 2 });
        wire.set_chunk_size(chunk::OUT_CHUNK_SIZE);
        wire.send_control(Control::User(UserEvent::StreamBegin(0)));
        let version = Value::object([("fmsVer", "FMS/3,5,7,7009".into()), ("capabilities", 31.0.into())]);
        wire.send_command(0, &Command::result(self.transaction, version, vec![self.success()]));
        Ok(())
    }

    /// Does not let the client connect; the session ends.
    pub fn reject(self, session: &mut Session, status: &Status) {
        if session.phase == Phase::Deciding {
            session.reject_connect(self.transaction, status);
        }
    }

    /// What a relay can do (Enhanced RTMP v2, "Enhancing NetConnection connect Command"): it forwards every codec,
    /// multitrack, ModEx and nanosecond offsets.
    fn success(&self) -> Value {
        let encoding = self.object.get("objectEncoding").and_then(Value::as_number);
        let encoding = if encoding == Some(3.0) { 3.0 } else { 0.0 };
        let forward = || Value::object([("*", 4.0.into())]);
        Value::object([
            ("level", "status".into()),
            ("code", code::CONNECT_SUCCESS.into()),
            ("description", "Connection succeeded.".into()),
            ("objectEncoding", encoding.into()),
            ("fourCcList", Value::StrictArray(vec!["*".into()])),
            ("videoFourCcInfoMap", forward()),
            ("audioFourCcInfoMap", forward()),
            ("capsEx", Value::Number(CAPS_EX)),
            ("videoFunction", Value::Number(VIDEO_FUNCTION)),
        ])
    }
}

/// Multitrack, ModEx, nanosecond offset.
const CAPS_EX: f64 = (2 | 4 | 8) as f64;
/// HDR, video metadata packets, large-scale tiles.
const VIDEO_FUNCTION: f64 = (2 | 4 | 8) as f64;

impl PublishRequest {
    /// Lets the client send.
    pub fn accept(self, session: &mut Session, now: Instant) -> Result<(), Gone> {
        let first_media_by = Some(now + session.config.limits.first_media_timeout);
        session.decide(self.msid, self.serial)?.used = Use::Publishing { name: bare(&self.name), first_media_by };
        session.mistakes = 0;
        session.wire.set_authorised();
        session.send_user(UserEvent::StreamBegin(self.msid));
        session.send_status(self.msid, &Status::ok(code::PUBLISH_START, "The stream is published."));
        Ok(())
    }

    /// Does not let the client send.
    pub fn refuse(self, session: &mut Session, status: &Status, now: Instant) -> Result<(), Gone> {
        session.refuse(self.msid, self.serial, status, now)
    }
}

impl PlayRequest {
    /// Lets the client receive: what it must hear before the first frame is sent. What it asked for meanwhile comes as
    /// events.
    pub fn accept(self, session: &mut Session) -> Result<(), Gone> {
        let stream = session.decide(self.msid, self.serial)?;
        let asked = std::mem::replace(&mut stream.used, Use::Playing);
        session.mistakes = 0;
        session.send_user(UserEvent::StreamBegin(self.msid));
        if self.reset {
            session.send_status(self.msid, &Status::ok(code::PLAY_RESET, "Playing and resetting."));
        }
        session.send_status(self.msid, &Status::ok(code::PLAY_START, "The stream is played."));
        // No NetStream.Data.Start: no player waits for that data message, and ffmpeg takes it for a stream of its own.
        let payload = amf0::encode_all(&["|RtmpSampleAccess".into(), Value::Bool(true), Value::Bool(true)]);
        session.wire.send(&Message { type_id: type_id::DATA_AMF0, timestamp: 0, msid: self.msid, payload });
        if let Use::PlayAsked(_, wishes) = asked {
            session.grant(self.msid, &wishes);
        }
        Ok(())
    }

    /// Does not let the client receive.
    pub fn refuse(self, session: &mut Session, status: &Status, now: Instant) -> Result<(), Gone> {
        session.refuse(self.msid, self.serial, status, now)
    }
}

impl Session {
    pub(super) fn reject_connect(&mut self, transaction: f64, status: &Status) {
        self.wire.send_command(0, &Command::error(transaction, status.info()));
        self.events.push_back(Event::Closed(Closed::Rejected(status.code.clone())));
        self.phase = Phase::Closed;
    }

    /// The message stream whose request this was, if that still stands.
    fn decide(&mut self, msid: u32, serial: u32) -> Result<&mut super::streams::MessageStream, Gone> {
        if self.phase != Phase::Connected {
            return Err(Gone);
        }
        let stream = self.streams.get_mut(msid).ok_or(Gone)?;
        if stream.used.undecided() == Some(serial) { Ok(stream) } else { Err(Gone) }
    }

    fn refuse(&mut self, msid: u32, serial: u32, status: &Status, now: Instant) -> Result<(), Gone> {
        self.decide(msid, serial)?.used = Use::Idle;
        self.idle_since = now;
        self.send_status(msid, status);
        if let Err(closed) = self.on_mistake() {
            self.fail(closed);
        }
        Ok(())
    }
}

/// A name without its query.
pub(super) fn bare(name: &str) -> Box<str> {
    name.split('?').next().unwrap_or_default().into()
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest").field("app", &bare(&self.app)).finish_non_exhaustive()
    }
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { msid, name, kind, serial: _ } = self;
        f.debug_struct("PublishRequest").field("msid", msid).field("name", &bare(name)).field("kind", kind).finish()
    }
}

impl fmt::Debug for PlayRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { msid, name, start, .. } = self;
        let mut out = f.debug_struct("PlayRequest");
        out.field("msid", msid).field("name", &bare(name)).field("start", start).finish_non_exhaustive()
    }
}
