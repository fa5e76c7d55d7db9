//! Who stands at the door.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use telemetry::Throttle;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
    sync::mpsc,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Gate, Guest, guest};

/// Accepts clients as fast as they come, and closes at once what is too much.
#[derive(Debug)]
struct Porter {
    listener: TcpListener,
    gate: Arc<Gate>,
    /// The runtime that serves the clients.
    home: Handle,
    pause: Duration,
    complaints: Throttle,
}

/// Puts a porter on a thread of its own, with a queue of events of its own: those of a busy runtime are looked at when there
/// is time for it.
pub(super) fn start(
    listener: TcpListener,
    gate: Arc<Gate>,
    guests: mpsc::UnboundedSender<Guest>,
    stop: CancellationToken,
) -> io::Result<thread::JoinHandle<()>> {
    let (home, listener) = (Handle::current(), listener.into_std()?);
    let own = Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _own = own.enter();
        TcpListener::from_std(listener)?
    };
    let (pause, complaints) = (PAUSE_MIN, Throttle::new(COMPLAIN_EVERY));
    let mut porter = Porter { listener, gate, home, pause, complaints };
    thread::Builder::new().name("door".to_owned()).spawn(move || {
        own.block_on(stop.run_until_cancelled(async { while guests.send(porter.next().await).is_ok() {} }));
    })
}

impl Porter {
    async fn next(&mut self) -> Guest {
        loop {
            // A place comes before the client: there are never more unfinished handshakes than places.
            let place = self.gate.place().await;
            match self.accept().await {
                Ok((stream, peer)) => {
                    self.pause = PAUSE_MIN;
                    match self.gate.admit(place, peer) {
                        Ok(pass) => return Guest::new(stream, peer, pass),
                        Err(error) => guest::turn_away(&stream, peer, &error),
                    }
                }
                Err(error) => {
                    drop(place);
                    self.on_failed(&error).await;
                }
            }
        }
    }

    /// The next client; its socket's events go to those who serve it.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| {
            let _home = self.home.enter();
            self.listener.poll_accept(cx)
        })
        .await
    }

    async fn on_failed(&mut self, error: &io::Error) {
        // One client's misfortune.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        self.gate.count_failed_accept();
        // Most likely out of file descriptors. Those of established sessions stay with them; whoever has been dawdling
        // over its handshake gives up its own. Others come free in time, but not by asking at once.
        self.gate.call_back_stale();
        if let Some(silenced) = self.complaints.allow("accept") {
            tracing::warn!(%error, silenced, "door.accept_failed");
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Between two log lines about accepts that fail.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
