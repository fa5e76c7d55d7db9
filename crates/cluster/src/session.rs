//! Who is connected to a process, as its operators see it.

use std::time::SystemTime;

use media::StreamName;

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// An encoder.
    Publish,
    /// A viewer.
    Play,
    /// An edge that pushes a publication.
    Push,
    /// An edge that pulls a stream.
    Pull,
}

/// One connected publisher or viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSession {
    /// Its id, without `sessions/`.
    pub id: String,
    /// What it does.
    pub kind: SessionKind,
    /// What it speaks: `rtmp`, `http-flv`, `ws-flv`, `grpc`.
    pub protocol: String,
    /// Its stream.
    pub stream: StreamName,
    /// Its address.
    pub peer: String,
    /// When it began.
    pub since: SystemTime,
    /// Received from it, in bytes.
    pub bytes_received: u64,
    /// Sent to it, in bytes.
    pub bytes_sent: u64,
}

/// The sessions of a process: kept by whoever serves them, read by whoever answers operators.
pub trait SessionRegister: Send + Sync {
    /// Those that publish or play now, in any order.
    fn sessions(&self) -> Vec<LocalSession>;

    /// Another number once one of [`SessionRegister::sessions`] has come, has gone, or does something else, whatever bytes were
    /// counted. None: that is not known, and who wants to know goes through them.
    fn changes(&self) -> Option<u64> {
        None
    }

    /// How many are connected, whatever they do.
    fn connected(&self) -> usize;

    /// Ends the session with this id. `false`: there is none.
    fn kick_session(&self, session: &str, reason: &str) -> bool;
}

/// Nobody ever connects.
impl SessionRegister for () {
    fn sessions(&self) -> Vec<LocalSession> {
        Vec::new()
    }

    fn connected(&self) -> usize {
        0
    }

    fn kick_session(&self, _session: &str, _reason: &str) -> bool {
        false
    }
}
