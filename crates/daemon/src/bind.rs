//! Listening on a port, or saying what is in the way.

use std::{fmt, io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// The queue of connections that were made but not yet accepted.
const BACKLOG: u32 = 4096;

/// A port that could not be listened on: what for, where, why, and what to do about it.
#[derive(Debug)]
pub struct BindError {
    what: String,
    key: String,
    address: SocketAddr,
    error: io::Error,
}

/// Listens on `address` for `what` (e.g. "RTMP"), which the config names in `key` (e.g. "rtmp.listen").
///
/// Call it inside a tokio runtime. Port 0 takes a free one: ask the listener.
pub fn bind(what: &str, key: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|error| BindError::new(what, key, address, error))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A process that restarts must not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl BindError {
    /// The same words for a port that was bound elsewhere.
    pub fn new(what: &str, key: &str, address: SocketAddr, error: io::Error) -> Self {
        Self { what: what.to_owned(), key: key.to_owned(), address, error }
    }

    /// The cause as the system gave it.
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }

    fn advice(&self) -> String {
        let Self { key, address, .. } = self;
        let variable = crate::config::variable_name(key);
        let port = address.port();
        match self.error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "another process listens there (`ss -ltnp 'sport = :{port}'` names it): end it, or give {key} another \
                 address, in the YAML file or as {variable}"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "ports below 1024 need a privilege: give {key} a higher port, or the process CAP_NET_BIND_SERVICE"
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "this machine has no such address (`ip address` lists them): give {key} one it has, or 0.0.0.0 or [::] \
                 for all"
            ),
            _ => format!("check {key} in the YAML file, or {variable}"),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, key, address, error } = self;
        write!(f, "cannot listen on {address} for {what} ({key}): {error}; {}", self.advice())
    }
}

// The cause is part of the text, so it is no source of its own.
impl std::error::Error for BindError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn taken_port_says_what_where_and_what_to_do() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let first = bind("RTMP", "rtmp.listen", any).expect("a free port");
        let address = first.local_addr().expect("bound");
        let error = bind("RTMP", "rtmp.listen", address).expect_err("taken");
        let text = error.to_string();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        for part in ["RTMP", &address.to_string(), "ss -ltnp", "rtmp.listen", "HEADWATER_RTMP__LISTEN"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }

    #[tokio::test]
    async fn address_of_another_machine_says_so() {
        let error = bind("RTMP", "listen", "192.0.2.1:1935".parse().expect("an address")).expect_err("not ours");
        assert!(error.to_string().contains("this machine has no such address"), "{error}");
    }
}
