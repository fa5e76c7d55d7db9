//! Clients that have not finished their handshake. When somebody attacks they are many: each holds its place, what it sent
//! of its handshake, and next to nothing else.

use std::{future::poll_fn, io, net::SocketAddr};

use rtmp::server::{Closed, Event, Session};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::Shared;
use crate::{
    connection::poll_scratch,
    door::{Guest, Pass},
    ended::Ended,
    service::Service,
    sessions::Entry,
    stats::add,
    transport::Transport,
};

/// A client whose handshake is done.
pub(crate) struct Greeted<T> {
    pub(crate) transport: T,
    pub(crate) session: Session,
    pub(crate) entry: Entry,
    pub(crate) peer: SocketAddr,
    /// When it was let in.
    pub(crate) since: Instant,
}

impl<S: Service> Shared<S> {
    /// Everything before the first byte of RTMP: hears the client's proxy, and sets its transport up, as TLS has to be.
    pub(super) async fn introduce<T, F>(
        &self,
        guest: Guest,
        set_up: impl FnOnce(TcpStream) -> F + Send,
    ) -> Option<(T, SocketAddr, Pass)>
    where
        T: Transport,
        F: Future<Output = io::Result<T>> + Send,
    {
        // The door has told and counted why not.
        let Guest { stream, peer, pass } = guest.introduced().await.ok()?;
        let transport = timeout_at(pass.deadline(), set_up(stream)).await;
        match transport.map_err(io::Error::from).flatten() {
            Ok(transport) => Some((transport, peer, pass)),
            Err(error) => {
                self.on_ended(peer, &Ended::Tls(error));
                None
            }
        }
    }

    /// Shakes hands. The pass is given back with it.
    pub(super) async fn greet<T: Transport>(
        &self,
        mut transport: T,
        peer: SocketAddr,
        pass: Pass,
    ) -> Option<Greeted<T>> {
        let since = pass.since();
        let mut session = Session::new(self.session_config.clone(), since.into_std());
        let shaken = timeout_at(pass.deadline(), self.shake_hands(&mut transport, &mut session)).await;
        match shaken.unwrap_or(Err(Closed::HandshakeTimeout.into())) {
            Ok(bytes_out) => {
                self.stats.handshake.add(since.elapsed());
                let entry = self.sessions.open(transport.protocol(), peer);
                entry.add_in(session.bytes_received());
                entry.add_out(bytes_out);
                Some(Greeted { transport, session, entry, peer, since })
            }
            Err(ended) => {
                self.on_ended(peer, &ended);
                match ended {
                    // With a reset: of thousands that never finish nothing is to be remembered.
                    Ended::Session(Closed::HandshakeTimeout) => transport.reset_on_drop(),
                    // Whoever does not hear this in time sees the end anyway.
                    _ => drop(timeout(self.config.farewell_timeout, transport.shutdown()).await),
                }
                None
            }
        }
    }

    /// Reads and answers until the handshake is done, and says how many bytes the answer had.
    async fn shake_hands<T: Transport>(&self, transport: &mut T, session: &mut Session) -> Result<u64, Ended> {
        let mut bytes_out = 0;
        loop {
            let read = poll_fn(|cx| {
                poll_scratch(transport, cx, |bytes| session.handle_bytes(bytes, Instant::now().into_std()))
            });
            match read.await? {
                0 => return Err(Ended::Left),
                count => add(&self.stats.bytes_in, count as u64),
            }
            if session.is_open() {
                // What else came, and what is still to be said, is for whoever goes on with the session.
                return Ok(bytes_out);
            }
            if let Some(Event::Closed(closed)) = session.poll_event() {
                return Err(closed.into());
            }
            while let Some(bytes) = session.poll_output() {
                transport.write_all(&bytes).await?;
                transport.flush().await?;
                bytes_out += bytes.len() as u64;
                add(&self.stats.bytes_out, bytes.len() as u64);
            }
        }
    }

    fn on_ended(&self, peer: SocketAddr, ended: &Ended) {
        self.stats.count_ended(ended);
        tracing::debug!(%peer, reason = ended.reason(), error = %ended, "connection.ended");
    }
}
