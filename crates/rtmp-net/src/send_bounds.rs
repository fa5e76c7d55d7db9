//! What the kernel keeps for one viewer.

use std::{io, time::Duration};

use socket2::SockRef;
use tokio::net::TcpStream;

/// Bounds on a viewer's socket. Whatever the kernel holds for a slow viewer is old when it arrives, and memory meanwhile:
/// better that the viewer's cursor falls behind and skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendBounds {
    /// Bytes sent and not acknowledged, or to be sent; the kernel takes as much again for its own. 0: as it likes.
    pub buffer_bytes: usize,
    /// Of these, the bytes that are not yet under way. 0: as many as the buffer holds.
    pub unsent_bytes: u32,
    /// A viewer that acknowledges nothing for so long is gone. Zero: as long as the kernel likes.
    pub silence_max: Duration,
}

impl Default for SendBounds {
    /// Enough for 20 Mb/s to a viewer 200 ms away, and for the largest frames of usual streams in one write.
    fn default() -> Self {
        Self { buffer_bytes: 512 << 10, unsent_bytes: 256 << 10, silence_max: Duration::from_secs(15) }
    }
}

impl SendBounds {
    /// Holds a socket to them from now on.
    pub fn apply(&self, socket: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(socket);
        if self.buffer_bytes > 0 {
            socket.set_send_buffer_size(self.buffer_bytes)?;
        }
        if self.unsent_bytes > 0 {
            socket.set_tcp_notsent_lowat(self.unsent_bytes)?;
        }
        if !self.silence_max.is_zero() {
            socket.set_tcp_user_timeout(Some(self.silence_max))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_held_to_them() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let silence_max = Duration::from_secs(7);
        SendBounds { buffer_bytes: 64 << 10, unsent_bytes: 16 << 10, silence_max }.apply(&socket).unwrap();
        let held = SockRef::from(&socket);
        // The kernel doubles it, for its own part.
        assert_eq!(held.send_buffer_size().unwrap(), 128 << 10);
        assert_eq!(held.tcp_notsent_lowat().unwrap(), 16 << 10);
        assert_eq!(held.tcp_user_timeout().unwrap(), Some(silence_max));
    }

    #[tokio::test]
    async fn none_leaves_it_to_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let before = SockRef::from(&socket).send_buffer_size().unwrap();
        let none = SendBounds { buffer_bytes: 0, unsent_bytes: 0, silence_max: Duration::ZERO };
        none.apply(&socket).unwrap();
        assert_eq!(SockRef::from(&socket).send_buffer_size().unwrap(), before);
    }
}
