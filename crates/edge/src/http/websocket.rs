//! WebSocket-FLV: the bytes of HTTP-FLV as binary frames.

use std::sync::Arc;

use axum::{
    extract::{
        WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::Response,
};
use futures_util::SinkExt;
use rtmp_net::Entry;
use tracing::debug;

use super::{feed::Feed, playback::Playback, server::Shared};

/// Viewers say nothing but ping, pong and close.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Upgrades the connection and feeds it until either side, the stream or an operator ends it.
pub(super) fn serve<P: Playback>(
    upgrade: WebSocketUpgrade,
    feed: Feed,
    session: Arc<Entry>,
    shared: &Arc<Shared<P>>,
) -> Response {
    let (tracked, shared) = (shared.tasks.token(), shared.clone());
    upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX).on_upgrade(async move |socket| {
        let _tracked = tracked;
        let ended = tokio::select! {
            ended = send_all(socket, feed) => ended.map_err(|error| shared.why(&error)),
            () = shared.cut.cancelled() => Err("stopped".to_owned()),
            reason = session.kicked() => Err(shared.on_kicked(&reason)),
        };
        if let Err(reason) = ended {
            debug!(session = %session.id(), reason, "http.closed");
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
