//! Who is connected now.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use cluster::{LocalSession, SessionKind, SessionRegister};
use media::StreamName;
use tokio::sync::Notify;

/// Identifies a session; not used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

/// The live sessions of a process, whatever their protocol. Cheap to clone; clones share the sessions.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    live: Mutex<HashMap<SessionId, Arc<Session>>>,
    opened: AtomicU64,
    random: RandomState,
    /// How many of the live ones do each.
    counts: Counts,
    /// How often one began or ended to publish or play.
    changes: AtomicU64,
}

/// Kept along with what sessions do, so that no one has to look at each to count them.
#[derive(Debug, Default)]
struct Counts {
    idle: AtomicUsize,
    publishing: AtomicUsize,
    playing: AtomicUsize,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    protocol: Protocol,
    peer: SocketAddr,
    since: SystemTime,
    role: Mutex<(Kind, Option<StreamName>)>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    kick: OnceLock<String>,
    kicked: Notify,
}

/// What a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
    /// FLV over HTTP.
    HttpFlv,
    /// FLV over WebSocket.
    WebSocketFlv,
}

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing yet, or nothing any more.
    Idle,
    /// It publishes.
    Publish,
    /// It plays.
    Play,
}

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// What it does.
    pub kind: Kind,
    /// What it speaks.
    pub protocol: Protocol,
    /// What it publishes or plays; of several streams the last one.
    pub stream: Option<StreamName>,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Since when it is connected.
    pub since: SystemTime,
    /// Bytes it sent.
    pub bytes_in: u64,
    /// Bytes it was sent.
    pub bytes_out: u64,
}

/// A session's own hold on its entry; dropping it is how the session leaves the list.
#[derive(Debug)]
pub struct Entry {
    session: Arc<Session>,
    shared: Arc<Shared>,
}

impl Sessions {
    /// Adds a session.
    pub fn open(&self, protocol: Protocol, peer: SocketAddr) -> Entry {
        let shared = self.shared.clone();
        let id = SessionId(shared.random.hash_one(shared.opened.fetch_add(1, Ordering::Relaxed)));
        let session = Arc::new(Session {
            id,
            protocol,
            peer,
            since: SystemTime::now(),
            role: Mutex::new((Kind::Idle, None)),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            kick: OnceLock::new(),
            kicked: Notify::new(),
        });
        shared.live().insert(id, session.clone());
        shared.counts.of(Kind::Idle).fetch_add(1, Ordering::Relaxed);
        Entry { session, shared }
    }

    /// All live sessions, in no order.
    pub fn list(&self) -> Vec<SessionInfo> {
        self.shared.live().values().map(|session| session.info()).collect()
    }

    /// Those that publish, in no order. Copies nothing of the others, of which there may be thousands.
    pub fn encoders(&self) -> Vec<SessionInfo> {
        let live = self.shared.live();
        let encoders = live.values().filter(|session| session.role().0 == Kind::Publish);
        encoders.map(|session| session.info()).collect()
    }

    /// One of them.
    pub fn get(&self, id: SessionId) -> Option<SessionInfo> {
        self.shared.live().get(&id).map(|session| session.info())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shared.live().len()
    }

    /// How many do this. Costs the same however many there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.shared.counts.of(kind).load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends a session; says whether it was there.
    pub fn kick(&self, id: SessionId, reason: &str) -> bool {
        let live = self.shared.live();
        let Some(session) = live.get(&id) else { return false };
        // A second kick changes nothing: the first one's reason stands.
        session.kick.get_or_init(|| reason.to_owned());
        session.kicked.notify_waiters();
        true
    }
}

impl SessionRegister for Sessions {
    fn changes(&self) -> Option<u64> {
        Some(self.shared.changes.load(Ordering::Acquire))
    }

    fn sessions(&self) -> Vec<LocalSession> {
        self.list().into_iter().filter_map(SessionInfo::into_local).collect()
    }

    fn connected(&self) -> usize {
        self.len()
    }

    fn kick_session(&self, session: &str, reason: &str) -> bool {
        session.parse().is_ok_and(|id| self.kick(id, reason))
    }
}

impl SessionInfo {
    /// As operators see it. None: it does nothing that they would look for.
    fn into_local(self) -> Option<LocalSession> {
        let kind = match self.kind {
            Kind::Publish => SessionKind::Publish,
            Kind::Play => SessionKind::Play,
            Kind::Idle => return None,
        };
        Some(LocalSession {
            id: self.id.to_string(),
            kind,
            protocol: self.protocol.as_str().to_owned(),
            stream: self.stream?,
            peer: self.peer.to_string(),
            since: self.since,
            bytes_received: self.bytes_in,
            bytes_sent: self.bytes_out,
        })
    }
}

impl Shared {
    /// A session that did `before` does `after` now, or the same with another stream.
    fn note(&self, before: Kind, after: Kind) {
        self.counts.note(before, after);
        if (before, after) != (Kind::Idle, Kind::Idle) {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Idle => &self.idle,
            Kind::Publish => &self.publishing,
            Kind::Play => &self.playing,
        }
    }

    /// One that did `before` does `after` now.
    fn note(&self, before: Kind, after: Kind) {
        self.of(before).fetch_sub(1, Ordering::Relaxed);
        self.of(after).fetch_add(1, Ordering::Relaxed);
    }
}

impl Session {
    fn role(&self) -> MutexGuard<'_, (Kind, Option<StreamName>)> {
        self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn info(&self) -> SessionInfo {
        let (kind, stream) = self.role().clone();
        SessionInfo {
            id: self.id,
            kind,
            protocol: self.protocol,
            stream,
            peer: self.peer,
            since: self.since,
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

impl Entry {
    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.session.id
    }

    /// Says what the session does now.
    pub fn set(&self, kind: Kind, stream: StreamName) {
        let before = std::mem::replace(&mut *self.session.role(), (kind, Some(stream))).0;
        self.shared.note(before, kind);
    }

    /// The session does nothing any more.
    pub fn set_idle(&self) {
        let before = std::mem::replace(&mut self.session.role().0, Kind::Idle);
        self.shared.note(before, Kind::Idle);
    }

    /// Counts bytes that the session sent.
    pub fn add_in(&self, bytes: u64) {
        self.session.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that the session was sent.
    pub fn add_out(&self, bytes: u64) {
        self.session.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits until someone ends the session, and says why. Safe to drop at any await; all who wait are told.
    pub async fn kicked(&self) -> String {
        // It hears of what happens from here on, also before it is polled.
        let told = self.session.kicked.notified();
        if self.session.kick.get().is_none() {
            told.await;
        }
        self.session.kick.get().cloned().expect("the reason is there before anybody is told")
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.live().remove(&self.session.id);
        let kind = self.session.role().0;
        self.shared.note(kind, Kind::Idle);
        self.shared.counts.of(Kind::Idle).fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseSessionIdError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| ParseSessionIdError)
    }
}

/// The text is not 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 16 hexadecimal digits")]
pub struct ParseSessionIdError;

impl Protocol {
    /// A short name, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
            Self::HttpFlv => "http-flv",
            Self::WebSocketFlv => "ws-flv",
        }
    }
}

impl Kind {
    /// A short name, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn peer() -> SocketAddr {
        "192.0.2.1:1234".parse().unwrap()
    }

    #[test]
    fn sessions_are_listed_until_they_leave() {
        let sessions = Sessions::default();
        let (one, two) = (sessions.open(Protocol::Rtmp, peer()), sessions.open(Protocol::HttpFlv, peer()));
        assert_ne!(one.id(), two.id());
        two.set(Kind::Play, StreamName::from_app("_default", "live", "foo").unwrap());
        two.add_out(7);
        drop(one);
        let info = sessions.get(two.id()).unwrap();
        assert_eq!((info.kind, info.bytes_out, sessions.list()), (Kind::Play, 7, vec![info.clone()]));
        assert_eq!(info.id.to_string().parse(), Ok(info.id));
    }

    #[test]
    fn encoders_are_those_that_publish_now() {
        let sessions = Sessions::default();
        let foo = StreamName::from_app("_default", "live", "foo").unwrap();
        let [encoder, viewer, former, _idle] = [0; 4].map(|_| sessions.open(Protocol::Rtmp, peer()));
        encoder.set(Kind::Publish, foo.clone());
        viewer.set(Kind::Play, foo.clone());
        former.set(Kind::Publish, foo);
        former.set_idle();
        assert_eq!(sessions.encoders(), sessions.get(encoder.id()).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn changes_are_those_of_what_operators_are_told() {
        let sessions = Sessions::default();
        let mut before = sessions.changes();
        let mut changed = || std::mem::replace(&mut before, sessions.changes()) != sessions.changes();
        let foo = StreamName::from_app("_default", "live", "foo").unwrap();
        let one = sessions.open(Protocol::Rtmp, peer());
        one.add_out(7);
        one.set_idle();
        assert!(!changed());
        one.set(Kind::Play, foo.clone());
        assert!(changed() && !changed());
        one.set(Kind::Play, StreamName::from_app("_default", "live", "bar").unwrap());
        assert!(changed());
        one.set_idle();
        assert!(changed());
        drop(one);
        assert!(!changed());
        let two = sessions.open(Protocol::Rtmp, peer());
        two.set(Kind::Publish, foo);
        assert!(changed());
        drop(two);
        assert!(changed());
    }

    #[test]
    fn the_counts_are_those_of_the_list() {
        let sessions = Sessions::default();
        let counts = || [Kind::Idle, Kind::Publish, Kind::Play].map(|kind| sessions.count(kind));
        let (one, two) = (sessions.open(Protocol::Rtmp, peer()), sessions.open(Protocol::HttpFlv, peer()));
        assert_eq!(counts(), [2, 0, 0]);
        let foo = StreamName::from_app("_default", "live", "foo").unwrap();
        one.set(Kind::Publish, foo.clone());
        two.set(Kind::Play, foo.clone());
        two.set(Kind::Play, foo);
        assert_eq!(counts(), [0, 1, 1]);
        one.set_idle();
        assert_eq!(counts(), [1, 0, 1]);
        drop(two);
        assert_eq!((counts(), sessions.len()), ([1, 0, 0], 1));
    }

    #[test]
    fn operators_see_those_who_publish_or_play_and_end_them_by_their_id() {
        let sessions = Sessions::default();
        let (_idle, playing) = (sessions.open(Protocol::Rtmp, peer()), sessions.open(Protocol::Rtmps, peer()));
        playing.set(Kind::Play, StreamName::from_app("_default", "live", "foo").unwrap());
        let register: &dyn SessionRegister = &sessions;
        let [seen] = <[LocalSession; 1]>::try_from(register.sessions()).unwrap();
        assert_eq!((seen.id.as_str(), seen.kind), (playing.id().to_string().as_str(), SessionKind::Play));
        assert_eq!((seen.protocol.as_str(), register.connected()), ("rtmps", 2));
        assert!(register.kick_session(&seen.id, "enough"));
        assert!(!register.kick_session("no id", "enough"));
    }

    #[tokio::test]
    async fn a_kick_reaches_its_session_even_before_that_listens() {
        let sessions = Sessions::default();
        let entry = sessions.open(Protocol::Rtmp, peer());
        assert!(sessions.kick(entry.id(), "enough"));
        assert_eq!(entry.kicked().await, "enough");
        let id = entry.id();
        drop(entry);
        assert!(!sessions.kick(id, "gone"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_kick_reaches_all_who_wait_for_it_also_behind_one_who_is_not_polled() {
        let sessions = Sessions::default();
        let entry = sessions.open(Protocol::Rtmp, peer());
        let mut first = std::pin::pin!(entry.kicked());
        tokio::select! {
            biased;
            _ = first.as_mut() => panic!("nobody has ended it"),
            () = std::future::ready(()) => {}
        }
        let told = async { tokio::join!(entry.kicked(), async { sessions.kick(entry.id(), "enough") }) };
        let (heard, there) = timeout(Duration::from_secs(1), told).await.expect("it is told");
        assert!(there);
        assert_eq!((heard.as_str(), first.await.as_str()), ("enough", "enough"));
    }
}
