//! Connections that have left the web server as WebSockets.

use std::{io, sync::Arc, time::Duration};

use axum::extract::Request;
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use rtmp_net::{Entry, SharedSocket};
use tokio::net::TcpStream;

use super::{
    flv_file::FlvFile,
    playback::Playback,
    sending::Sending,
    server::{Shared, attend},
    stall::StallGuard,
};

/// What the web server was given as a connection.
pub(super) type Served = TokioIo<StallGuard<TcpStream>>;

/// Sends the viewer its stream, once the answer to this request has left the web server.
pub(super) fn serve<P: Playback>(request: Request, (file, session): (FlvFile, Arc<Entry>), shared: &Arc<Shared<P>>) {
    let upgrade = hyper::upgrade::on(request);
    let tasks = &shared.tasks;
    let shared = shared.clone();
    tasks.spawn(async move {
        attend(send(upgrade, file, shared.config.stall_timeout), &session, &shared).await;
    });
}

async fn send(upgrade: OnUpgrade, file: FlvFile, stall_timeout: Duration) -> io::Result<()> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let Parts { io, read_buf, .. } =
        upgraded.downcast::<Served>().map_err(|_| io::Error::other("not the connection that was served"))?;
    let (socket, unread) = io.into_inner().into_parts();
    let unread = Bytes::from([read_buf, unread].concat());
    let stream = StallGuard::new(SharedSocket::new(socket), stall_timeout).with_unread(unread);
    Sending::of_messages(stream, file).run().await
}
