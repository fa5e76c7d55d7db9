//! When the public port is open: it opens and closes with the role.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cluster::Epoch;
use rpc::server::Health;
use tokio::{net::TcpListener, sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    first_frame::FirstFrames,
    public::Public,
    role::{Duty, Role, Roles},
    rtmp,
};

/// The public port. Whoever opens and closes it carries the role out, and says so in the duty.
pub(crate) struct PublicPort {
    pub(crate) listen: SocketAddr,
    pub(crate) roles: Arc<Roles>,
    pub(crate) first_frames: Arc<FirstFrames>,
    /// What stands behind it.
    pub(crate) public: Arc<Public<rtmp::Service>>,
    pub(crate) health: Health,
    pub(crate) duty: watch::Sender<Duty>,
    /// Where others reach our peer port.
    pub(crate) own_peer: String,
}

impl PublicPort {
    /// Keeps it open while this origin is active, until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut roles = self.roles.watch();
        self.health.set_ready(true).await;
        while !stop.is_cancelled() {
            let role = roles.borrow_and_update().clone();
            if role.is_active() {
                self.serve_as_active(&mut roles, &stop).await;
                continue;
            }
            self.duty.send_replace(Duty::standby(role));
            tokio::select! {
                () = stop.cancelled() => {}
                changed = roles.changed() => changed.expect("the roles live as long as we do"),
            }
        }
        self.health.set_ready(false).await;
    }

    /// Keeps the port open until told to stop or another is active; then nothing public is left. A later grant to this
    /// same origin changes the epoch and nothing else.
    async fn serve_as_active(&self, roles: &mut watch::Receiver<Role>, stop: &CancellationToken) {
        let Some(listener) = self.bind(roles, stop).await else { return };
        let close = CancellationToken::new();
        let serving = self.public.clone().serve(listener, close.clone());
        tokio::pin!(serving);
        // Since when the port is open in an epoch, and what waits for its first frame.
        let mut opened: Option<(Epoch, AbortOnDropHandle<()>)> = None;
        loop {
            let role = roles.borrow_and_update().clone();
            if !role.is_active() || stop.is_cancelled() {
                break;
            }
            // Edges that come through a VIP learn by it who is behind that.
            let active_at = Some(self.own_peer.clone());
            let duty = Duty { stage: role.stage, epoch: role.epoch, active_at };
            let opens = opened.as_ref().is_none_or(|(epoch, _)| *epoch != role.epoch);
            if opens {
                // Before anybody can hear that it is open.
                let first_frame = self.first_frames.begin(role.epoch);
                opened = Some((role.epoch, AbortOnDropHandle::new(tokio::spawn(first_frame))));
            }
            self.duty.send_replace(duty);
            if opens {
                self.health.set_active(true).await;
                tracing::info!(epoch = role.epoch.0, "public.opened");
            }
            tokio::select! {
                () = &mut serving => unreachable!("it serves until it is told to close"),
                () = stop.cancelled() => {}
                changed = roles.changed() => changed.expect("the roles live as long as we do"),
            }
        }
        // Told before anything ends, so that whoever is cut off knows that the streams have not ended.
        let role = roles.borrow().clone();
        let epoch = role.epoch.0;
        self.duty.send_replace(Duty::standby(role));
        self.health.set_active(false).await;
        close.cancel();
        serving.await;
        tracing::info!(epoch, "public.closed");
    }

    async fn bind(&self, roles: &mut watch::Receiver<Role>, stop: &CancellationToken) -> Option<TcpListener> {
        let mut told = false;
        loop {
            match daemon::bind("RTMP and relay gRPC", "public.listen", self.listen) {
                Ok(listener) => return Some(listener),
                Err(error) if !told => {
                    tracing::error!(%error, "public.bind_failed");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = sleep(BIND_RETRY) => {}
                () = stop.cancelled() => return None,
                _ = roles.changed() => return None,
            }
        }
    }
}

/// How often the port is tried again when another process holds it.
const BIND_RETRY: Duration = Duration::from_millis(200);
