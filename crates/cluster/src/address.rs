//! HOST:PORT.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// A host name or IP address, and a port. IPv6 addresses stand in brackets. Names are resolved where they are used.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The host: a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or(AddressError::Port)?;
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

fn split(text: &str) -> Result<(&str, &str), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once("]:").ok_or(AddressError::Form)?;
        host.parse::<Ipv6Addr>().map_err(|_| AddressError::Host)?;
        return Ok((host, port));
    }
    let (host, port) = text.rsplit_once(':').ok_or(AddressError::Form)?;
    if host.contains(':') {
        return Err(AddressError::Brackets);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(plain) {
        return Err(AddressError::Host);
    }
    Ok((host, port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

/// The longest host name, as in DNS.
const HOST_BYTES_MAX: usize = 253;

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has no colon.
    #[error("an address is HOST:PORT, such as 10.0.0.6:1935 or [::1]:1935")]
    Form,
    /// It is an IPv6 address without brackets.
    #[error("an IPv6 address stands in brackets, such as [::1]:1935")]
    Brackets,
    /// The host is empty, too long, or has other characters than a host name.
    #[error("the host is not a name or an IP address")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["10.0.0.6:1935", "origin.ns.svc:1935", "[::1]:9000"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_says_why() {
        for (text, why) in [
            ("10.0.0.6", AddressError::Form),
            ("::1:1935", AddressError::Brackets),
            (":1935", AddressError::Host),
            ("a b:1935", AddressError::Host),
            ("a/b:1935", AddressError::Host),
            ("a:0", AddressError::Port),
            ("a:65536", AddressError::Port),
            ("[x]:1", AddressError::Host),
        ] {
            assert_eq!(text.parse::<Address>(), Err(why), "{text}");
        }
    }
}
