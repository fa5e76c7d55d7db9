//! Bytes that go to many sockets.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use bytes::Bytes;
use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    sendfile::sendfile,
};
use socket2::SockRef;

/// Bytes that go to many sockets. Where it pays they are in the page cache too: a socket that is sent a file's pages refers to
/// them until they are acknowledged, where it would keep a copy of its own of what it is sent from a program's memory.
#[derive(Debug)]
pub struct SharedBytes {
    bytes: Bytes,
    pages: Option<Pages>,
}

/// A file in memory without a name. It is written once, before anything is sent: a page that sockets refer to is sent as it is
/// when its turn comes. It may be closed meanwhile.
#[derive(Debug)]
struct Pages(File);

/// To look up pages for each socket costs more than to copy fewer bytes (docs/adr/0012).
const BYTES_MIN: usize = 32 * 1024;
/// To make a file costs more than to copy the bytes for fewer sockets.
const SOCKETS_MIN: usize = 32;

impl SharedBytes {
    /// Bytes that go to about so many sockets.
    pub fn new(bytes: Bytes, sockets: usize) -> Self {
        let worth_it = bytes.len() >= BYTES_MIN && sockets >= SOCKETS_MIN;
        let pages = worth_it.then(|| Pages::of(&bytes)).and_then(|pages| {
            // Out of descriptors, or memory: copies are as good.
            pages.inspect_err(|error| tracing::debug!(%error, "sockets are sent copies")).ok()
        });
        Self { bytes, pages }
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Sends as much as the socket has room for, and says how much that was; [`io::ErrorKind::WouldBlock`]: nothing.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn send_to(&self, socket: &impl AsFd) -> io::Result<usize> {
        if let Some(pages) = &self.pages {
            match pages.send_to(socket, self.bytes.len()) {
                // A kernel that cannot, or may not; or a socket that has failed, and says so again.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
        SockRef::from(socket).send(&self.bytes)
    }
}

impl Pages {
    fn of(bytes: &[u8]) -> io::Result<Self> {
        let mut file = File::from(memfd_create(c"headwater-frames", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(bytes)?;
        Ok(Self(file))
    }

    fn send_to(&self, socket: &impl AsFd, count: usize) -> io::Result<usize> {
        Ok(sendfile(socket, &self.0, Some(&mut 0), count)?)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use super::*;

    /// Two ends of a connection, of which the first never waits.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        SockRef::from(&ours).set_send_buffer_size(256 * 1024).unwrap();
        (ours, theirs)
    }

    fn bytes(seed: u8, len: usize) -> Bytes {
        (0..len).map(|at| (at / 251 + at) as u8 ^ seed).collect()
    }

    fn read_to_end(mut theirs: TcpStream) -> Vec<u8> {
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).unwrap();
        got
    }

    #[test]
    fn few_bytes_and_few_sockets_are_no_reason_for_a_file() {
        let paged = |len, sockets| SharedBytes::new(bytes(0, len), sockets).pages.is_some();
        assert!(paged(BYTES_MIN, SOCKETS_MIN));
        assert!(!paged(BYTES_MIN - 1, SOCKETS_MIN) && !paged(BYTES_MIN, SOCKETS_MIN - 1));
    }

    #[test]
    fn what_a_socket_has_not_sent_yet_stays_as_it_was() {
        let connections: Vec<_> = (0..SOCKETS_MIN).map(|_| connection()).collect();
        let mut expected = Vec::<u8>::new();
        // Each is closed before the next is written: its memory is the next one's, but for the pages that sockets refer to.
        for seed in 0..4 {
            let shared = SharedBytes::new(bytes(seed, BYTES_MIN + 100 * usize::from(seed)), connections.len());
            for (ours, _) in &connections {
                assert_eq!(shared.send_to(ours).unwrap(), shared.bytes().len());
            }
            expected.extend(shared.bytes());
        }
        for (ours, theirs) in connections {
            drop(ours);
            assert!(read_to_end(theirs) == expected);
        }
    }

    #[test]
    fn a_socket_takes_what_it_has_room_for_and_then_nothing() {
        let (ours, theirs) = connection();
        let shared = SharedBytes::new(bytes(7, 20 << 20), SOCKETS_MIN);
        let mut expected = Vec::<u8>::new();
        let refused = loop {
            match shared.send_to(&ours) {
                Ok(taken) => expected.extend(&shared.bytes()[..taken]),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(!expected.is_empty() && expected.len() < shared.bytes().len());
        drop(ours);
        assert!(read_to_end(theirs) == expected);
    }

    #[test]
    fn a_socket_that_has_failed_says_so() {
        let (ours, theirs) = connection();
        SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
        drop(theirs);
        ours.set_nonblocking(false).unwrap();
        assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        for shared in [SharedBytes::new(bytes(1, BYTES_MIN), SOCKETS_MIN), SharedBytes::new(bytes(1, 1), 1)] {
            assert_eq!(shared.send_to(&ours).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }
}
