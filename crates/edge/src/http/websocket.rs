//! WebSocket-FLV: the bytes of HTTP-FLV as binary frames.

use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::Response,
};
use futures_util::SinkExt;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{feed::Feed, server::Connection};

/// Viewers say nothing but ping, pong and close.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Upgrades the connection and feeds it until either side ends it.
pub(super) fn serve(upgrade: WebSocketUpgrade, feed: Feed, connection: Connection, tasks: &TaskTracker) -> Response {
    let token = tasks.token();
    upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX).on_upgrade(async move |socket| {
        let _counted = token;
        let Connection { peer, cut } = connection;
        if let Some(Err(error)) = cut.run_until_cancelled(send_all(socket, feed)).await {
            debug!(%peer, %error, "connection ended");
        }
    })
}

async fn send_all(mut socket: WebSocket, mut feed: Feed) -> Result<(), axum::Error> {
    loop {
        tokio::select! {
            part = feed.next() => match part {
                Some(part) => {
                    socket.feed(Message::Binary(part)).await?;
                    if !feed.has_parts() {
                        socket.flush().await?;
                    }
                }
                None => break,
            },
            message = socket.recv() => match message {
                None | Some(Ok(Message::Close(_))) => return Ok(()),
                Some(message) => drop(message?),
            },
        }
    }
    let reason = "the stream has ended".into();
    socket.send(Message::Close(Some(CloseFrame { code: close_code::NORMAL, reason }))).await
}
