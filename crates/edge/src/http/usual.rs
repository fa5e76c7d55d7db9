//! What the usual request for a stream looks like.

use axum::http::{
    HeaderName, HeaderValue, Uri,
    header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE},
};

use super::framing::Framing;

/// A request that needs no web server: a `GET` of a stream, and nothing else.
#[derive(Debug)]
pub(super) struct Usual {
    pub(super) uri: Uri,
    pub(super) host: Option<HeaderValue>,
    /// How the body is wrapped, which says the version of HTTP as well.
    pub(super) framing: Framing,
}

/// Longer heads go to the web server.
pub(super) const USUAL_BYTES_MAX: usize = 8 << 10;
/// The web server refuses more headers than this.
const HEADERS_MAX: usize = 100;
/// With these a request is not usual.
const UNUSUAL: [HeaderName; 4] = [UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT];
/// An empty line.
pub(super) const END_OF_HEAD: &[u8] = b"\r\n\r\n";

impl Usual {
    /// None: it is for the web server.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        if head.len() > USUAL_BYTES_MAX {
            return None;
        }
        let text = std::str::from_utf8(head.strip_suffix(END_OF_HEAD)?).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (Some("GET"), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return None;
        };
        let framing = match version {
            "HTTP/1.0" => Framing::Bare,
            "HTTP/1.1" => Framing::Chunks,
            _ => return None,
        };
        let uri: Uri = target.parse().ok()?;
        // A fragment is no part of a target (RFC 9112, 3.2), and nobody has looked at what is in it.
        if !target.starts_with('/') || !uri.path().ends_with(".flv") || target.contains('#') {
            return None;
        }
        if lines.clone().count() > HEADERS_MAX {
            return None;
        }
        let mut host = None;
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            if UNUSUAL.contains(&name) {
                return None;
            }
            let value = HeaderValue::from_str(value.trim_matches([' ', '\t'])).ok()?;
            if name == HOST {
                host.get_or_insert(value);
            }
        }
        Some(Self { uri, host, framing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Option<(String, Option<HeaderValue>, Framing)> {
        let Usual { uri, host, framing } = Usual::parse(head.as_bytes())?;
        Some((uri.to_string(), host, framing))
    }

    #[test]
    fn what_players_say_is_usual() {
        let vlc =
            "GET /live/a.flv HTTP/1.1\r\nHost: edge:8080\r\nAccept: */*\r\nRange: bytes=0-\r\nIcy-MetaData: 1\r\n\r\n";
        let host = Some(HeaderValue::from_static("edge:8080"));
        assert_eq!(parsed(vlc), Some(("/live/a.flv".into(), host, Framing::Chunks)));
        let old = "GET /live/i/a.flv?key=%6b&x HTTP/1.0\r\n\r\n";
        assert_eq!(parsed(old), Some(("/live/i/a.flv?key=%6b&x".into(), None, Framing::Bare)));
    }

    #[test]
    fn as_many_headers_are_usual_as_the_web_server_takes() {
        let with = |count: usize| parsed(&format!("GET /live/a.flv HTTP/1.1{}\r\n\r\n", "\r\nX: y".repeat(count)));
        assert!(with(100).is_some());
        assert_eq!(with(101), None);
    }

    #[test]
    fn whatever_else_is_for_the_web_server() {
        for head in [
            "",
            "\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\n",
            "HEAD /live/a.flv HTTP/1.1\r\n\r\n",
            "GET /live/a HTTP/1.1\r\n\r\n",
            "GET http://edge/live/a.flv HTTP/1.1\r\n\r\n",
            "GET  /live/a.flv HTTP/1.1\r\n\r\n",
            "GET /live/a.flv#\0 HTTP/1.1\r\n\r\n",
            "GET /live/a.flv HTTP/2.0\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\r\nX: \u{7f}\r\n\r\n",
            "GET /live/a.flv HTTP/1.1\nHost: a\n\n",
            "GET /live/a.flv HTTP/1.1\r\n\r\nGET /live/b.flv HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parsed(head), None, "{head:?}");
        }
    }
}
