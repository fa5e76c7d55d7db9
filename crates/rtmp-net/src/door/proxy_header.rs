//! The header of the PROXY protocol, versions 1 and 2: for whom a proxy connects.
//!
//! Parsed by hand: a library would parse as much, but of a header that came with other bytes behind it; here what follows
//! belongs to others and must not be read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// For whom a proxy connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// For this client.
    Client(SocketAddr),
    /// For itself, to see whether we live, or for somebody without an address.
    Itself,
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many more bytes belong to it for certain.
    Missing(usize),
    /// It is all there.
    Whole(Told),
}

/// Bytes that are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no PROXY header: {0}")]
pub struct Malformed(&'static str);

/// Longest header. Version 2 may carry more about the client's TLS than its address, which nobody here reads.
pub const HEADER_BYTES_MAX: usize = 4096;

/// What the bytes so far say. Hand in what was missing before, and nothing of what follows the header.
pub fn parse(header: &[u8]) -> Result<Progress, Malformed> {
    let text = header.len().min(TEXT_START.len());
    let binary = header.len().min(BINARY_START.len());
    if header[..text] == TEXT_START[..text] {
        parse_text(header)
    } else if header[..binary] == BINARY_START[..binary] {
        parse_binary(header)
    } else {
        Err(Malformed("it begins as neither version does"))
    }
}

fn parse_text(header: &[u8]) -> Result<Progress, Malformed> {
    if header.len() < SHORTEST_BYTES {
        return Ok(Progress::Missing(SHORTEST_BYTES - header.len()));
    }
    let Some(line) = header.strip_suffix(b"\r\n") else {
        // One byte if the line may end with it, two if not.
        let missing = if header.ends_with(b"\r") { 1 } else { 2 };
        return match header.len() + missing {
            ..=TEXT_BYTES_MAX => Ok(Progress::Missing(missing)),
            _ => Err(Malformed("the line is too long")),
        };
    };
    let line = std::str::from_utf8(line).map_err(|_| Malformed("the line is no text"))?;
    let mut words = line.split(' ').skip(1);
    let told = match words.next() {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => return Ok(Progress::Whole(Told::Itself)),
        Some("TCP4") => client(&mut words, |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)),
        Some("TCP6") => client(&mut words, |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)),
        _ => return Err(Malformed("the protocol is neither TCP4, TCP6 nor UNKNOWN")),
    };
    match (told, words.next()) {
        (Some(client), None) => Ok(Progress::Whole(Told::Client(client))),
        _ => Err(Malformed("the addresses are not addresses")),
    }
}

/// The first of the two addresses; the second must be one as well.
fn client<'a>(words: &mut impl Iterator<Item = &'a str>, ip: impl Fn(&str) -> Option<IpAddr>) -> Option<SocketAddr> {
    let (from, to) = (ip(words.next()?)?, ip(words.next()?)?);
    let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    let _ours = SocketAddr::new(to, to_port);
    Some(SocketAddr::new(from, from_port))
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn parse_binary(header: &[u8]) -> Result<Progress, Malformed> {
    let Some((fixed, rest)) = header.split_first_chunk::<BINARY_FIXED_BYTES>() else {
        // Twelve bytes tell the versions apart, and no header is shorter.
        let next = if header.len() < BINARY_START.len() { SHORTEST_BYTES } else { BINARY_FIXED_BYTES };
        return Ok(Progress::Missing(next - header.len()));
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if BINARY_FIXED_BYTES + length > HEADER_BYTES_MAX {
        return Err(Malformed("it is too long"));
    }
    if rest.len() < length {
        return Ok(Progress::Missing(length - rest.len()));
    }
    let told = match (command, family) {
        (LOCAL, _) | (PROXY, UNSPECIFIED | UNIX_STREAM) => Told::Itself,
        (PROXY, TCP_OVER_IPV4) => Told::Client(binary_client::<4>(rest)?),
        (PROXY, TCP_OVER_IPV6) => Told::Client(binary_client::<16>(rest)?),
        (PROXY, _) => return Err(Malformed("the connection is none of TCP")),
        _ => return Err(Malformed("the version or the command is unknown")),
    };
    Ok(Progress::Whole(told))
}

/// Both addresses come first, then both ports.
fn binary_client<const N: usize>(rest: &[u8]) -> Result<SocketAddr, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let ip = rest.first_chunk::<N>();
    let port = rest.get(2 * N..2 * N + 4).and_then(|ports| ports.first_chunk::<2>());
    match (ip, port) {
        (Some(ip), Some(port)) => Ok(SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port))),
        _ => Err(Malformed("it is too short for its addresses")),
    }
}

const TEXT_START: &[u8; 6] = b"PROXY ";
const BINARY_START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, length.
const BINARY_FIXED_BYTES: usize = 16;
/// The longest line, with its end.
const TEXT_BYTES_MAX: usize = 107;
/// What may be read before it is known which version it is: `PROXY UNKNOWN` and its end are longer.
const SHORTEST_BYTES: usize = 12;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as the door does: no byte beyond what is missing.
    fn read(bytes: &[u8]) -> Result<(Told, usize), Option<Malformed>> {
        let mut have = 0;
        loop {
            match parse(&bytes[..have]).map_err(Some)? {
                Progress::Whole(told) => return Ok((told, have)),
                Progress::Missing(count) => {
                    assert!(count > 0);
                    have += count;
                    if have > bytes.len() {
                        return Err(None);
                    }
                }
            }
        }
    }

    fn client(address: &str) -> Told {
        Told::Client(address.parse().unwrap())
    }

    #[test]
    fn both_versions_name_the_client_and_leave_what_follows() {
        let lines: [(&[u8], Told); 6] = [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 1935\r\n", client("192.0.2.7:40000")),
            (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", client("[2001:db8::1]:1")),
            (b"PROXY UNKNOWN\r\n", Told::Itself),
            (b"PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n", Told::Itself),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x9c\x40\x07\x8f",
                client("192.0.2.7:40000"),
            ),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", Told::Itself),
        ];
        for (header, told) in lines {
            let followed = [header, b"\x03more"].concat();
            assert_eq!(read(&followed), Ok((told, header.len())), "{header:?}");
            for end in 0..header.len() {
                assert_eq!(read(&header[..end]), Err(None), "{header:?} cut at {end}");
            }
        }
    }

    #[test]
    fn what_follows_the_addresses_of_version_2_is_left_out() {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21".to_vec();
        let more = [7; 300];
        header.extend((36 + more.len() as u16).to_be_bytes());
        header.extend("2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
        header.extend([0; 16]);
        header.extend([0x1f, 0x90, 0, 80]);
        header.extend(more);
        assert_eq!(read(&header), Ok((client("[2001:db8::9]:8080"), header.len())));
    }

    #[test]
    fn whatever_else_comes_is_refused_and_costs_no_more_than_a_header() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        let refused: [&[u8]; 14] = [
            &[3; 12],
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 1935 x\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 1935\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 70000 1935\r\n",
            b"PROXY TCP4  192.0.2.7 10.0.0.1 1 1935\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 \xff\xff\xff\r\n",
            &long,
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02ab",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ];
        for bytes in refused {
            assert!(matches!(read(bytes), Err(Some(_))), "{:?}: {:?}", String::from_utf8_lossy(bytes), read(bytes));
        }
    }
}
