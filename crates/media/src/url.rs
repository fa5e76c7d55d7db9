//! URLs of streams: `rtmp://host[:port]/app[/instance]/name[?query]` and its kin.

use std::{fmt, str::FromStr};

use crate::{DEFAULT_INSTANCE, DEFAULT_VHOST, NameError, StreamName};

/// The query parameter that names a vhost.
const VHOST_KEY: &str = "vhost";
/// The longest URL, or part of one, that is looked at, in bytes.
pub const URL_BYTES_MAX: usize = 4096;
/// The most parameters of a query. Each is held in many times the bytes that it is written in.
pub const PARAMETERS_MAX: usize = 64;

/// How a stream is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RTMP over TCP, port 1935.
    Rtmp,
    /// RTMP over TLS, port 443.
    Rtmps,
    /// HTTP-FLV, port 80.
    Http,
}

impl Scheme {
    /// As it is written before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
            Self::Http => "http",
        }
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Rtmp => 1935,
            Self::Rtmps => 443,
            Self::Http => 80,
        }
    }
}

/// The URL of a stream. Its text forms for people leave the query out: keys and tokens stand there.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamUrl {
    /// How the stream is reached.
    pub scheme: Scheme,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, named or the scheme's own.
    pub port: u16,
    /// The stream; its vhost is [`DEFAULT_VHOST`] unless `?vhost=` names one.
    pub stream: StreamName,
    /// The query, percent-decoded, in its order.
    pub query: Vec<(String, String)>,
    /// The query as it was written, without `?`.
    raw_query: String,
}

impl StreamUrl {
    /// `host:port`, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// `app[/instance]`, as RTMP's connect names it.
    pub fn app(&self) -> String {
        match self.stream.instance() {
            DEFAULT_INSTANCE => self.stream.app().to_owned(),
            instance => format!("{}/{instance}", self.stream.app()),
        }
    }

    /// The `tcUrl` of RTMP's connect: everything before the name.
    pub fn tc_url(&self) -> String {
        format!("{}://{}/{}", self.scheme.as_str(), self.authority(), self.app())
    }

    /// `name[?query]`, as RTMP's publish and play name it. Holds keys: not for logs.
    pub fn name_and_query(&self) -> String {
        self.with_query(self.stream.name().to_owned())
    }

    /// The target of an HTTP request, `/app[/instance]/name.flv[?query]`. Holds keys: not for logs.
    pub fn http_target(&self) -> String {
        self.with_query(format!("/{}/{}{FLV_SUFFIX}", self.app(), self.stream.name()))
    }

    /// The first query parameter of this name.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    fn with_query(&self, text: String) -> String {
        if self.raw_query.is_empty() { text } else { format!("{text}?{}", self.raw_query) }
    }
}

impl FromStr for StreamUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        if url.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = [Scheme::Rtmp, Scheme::Rtmps, Scheme::Http]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(scheme))
            .ok_or(UrlError::Scheme)?;
        let (rest, raw_query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_authority(authority)?;
        let query = parse_query(raw_query)?;
        let vhost = query.iter().find(|(key, _)| key == VHOST_KEY).map_or(DEFAULT_VHOST, |(_, value)| value);
        let stream = match scheme {
            Scheme::Http => parse_flv_path(vhost, path)?,
            Scheme::Rtmp | Scheme::Rtmps => parse_path(vhost, path)?,
        };
        let (host, port) = (host.to_owned(), port.unwrap_or(scheme.default_port()));
        Ok(Self { scheme, host, port, stream, query, raw_query: raw_query.to_owned() })
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.scheme == Scheme::Http { FLV_SUFFIX } else { "" };
        write!(f, "{}/{}{suffix}", self.tc_url(), self.stream.name())
    }
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The stream at `app[/instance]/name`, each part percent-decoded once.
pub fn parse_path(vhost: &str, path: &str) -> Result<StreamName, UrlError> {
    let parts: Vec<_> = path.trim_start_matches('/').splitn(4, '/').map(percent_decode).collect();
    match parts.as_slice() {
        [app, name] => Ok(StreamName::new(vhost, app, "", name)?),
        [app, instance, name] => Ok(StreamName::new(vhost, app, instance, name)?),
        _ => Err(UrlError::Path),
    }
}

/// The stream at `app[/instance]/name.flv`, each part percent-decoded once.
pub fn parse_flv_path(vhost: &str, path: &str) -> Result<StreamName, UrlError> {
    parse_path(vhost, path.strip_suffix(FLV_SUFFIX).ok_or(UrlError::NotFlv)?)
}

/// The parameters of a query string without its `?`: percent-decoded, in order; a key alone has an empty value.
pub fn parse_query(query: &str) -> Result<Vec<(String, String)>, UrlError> {
    if query.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong);
    }
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    if pairs.clone().count() > PARAMETERS_MAX {
        return Err(UrlError::TooManyParameters);
    }
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    Ok(pairs.map(|(k, v)| (percent_decode(k), percent_decode(v))).collect())
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), UrlError> {
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
            let port = port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or(UrlError::Port)?;
            (host, port)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            if host.is_empty() || !host.bytes().all(plain) {
                return Err(UrlError::Host);
            }
            (host, port)
        }
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    match port.parse::<u16>() {
        Ok(1..) if !port.starts_with('+') => Ok((host, port.parse().ok())),
        _ => Err(UrlError::Port),
    }
}

/// `%XX` made bytes, once; what is not UTF-8 then is replaced, and a `%` without two digits stays.
fn percent_decode(text: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|d| d as u8);
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

const FLV_SUFFIX: &str = ".flv";

/// Why a text is not the URL of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not begin with a scheme that we speak.
    #[error("a stream's URL begins with rtmp://, rtmps:// or http://")]
    Scheme,
    /// It is longer than 4096 bytes.
    #[error("the URL is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// Its query has more than 64 parameters.
    #[error("the URL's query has more than {PARAMETERS_MAX} parameters")]
    TooManyParameters,
    /// There is a user name or password before the host.
    #[error("the URL has a user name; pass keys in its query")]
    UserInfo,
    /// The host is missing or is neither a name nor an address.
    #[error("the URL's host is missing or wrong; an IPv6 address stands in brackets")]
    Host,
    /// The port is not 1 to 65535.
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
    /// The path has too few or too many parts.
    #[error("the URL's path is not /APP/NAME or /APP/INSTANCE/NAME")]
    Path,
    /// The path of an HTTP URL does not end in `.flv`.
    #[error("the path of an http:// URL ends in .flv")]
    NotFlv,
    /// One of the path's parts cannot be part of a stream's name.
    #[error(transparent)]
    Name(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> StreamUrl {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_where_encoders_put_them() {
        let u = url("rtmp://h.example/app/inst/stream?token=a%20b&x");
        assert_eq!((u.scheme, u.host.as_str(), u.port), (Scheme::Rtmp, "h.example", 1935));
        assert_eq!(u.stream, StreamName::new(DEFAULT_VHOST, "app", "inst", "stream").unwrap());
        assert_eq!(u.query, [("token".into(), "a b".into()), ("x".into(), String::new())]);
        assert_eq!((u.app().as_str(), u.name_and_query().as_str()), ("app/inst", "stream?token=a%20b&x"));
        assert_eq!(u.tc_url(), "rtmp://h.example:1935/app/inst");
        assert_eq!(url("rtmps://h/live/foo").port, 443);
    }

    #[test]
    fn http_urls_end_in_flv() {
        let u = url("HTTP://127.0.0.1:8080/live/foo.flv?k=v");
        assert_eq!((u.port, u.stream.to_string().as_str()), (8080, "live/foo"));
        assert_eq!(u.http_target(), "/live/foo.flv?k=v");
        assert_eq!("http://h/live/foo".parse::<StreamUrl>(), Err(UrlError::NotFlv));
        assert_eq!("http://h/live/.flv".parse::<StreamUrl>(), Err(UrlError::Name(NameError::Empty { part: "name" })));
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        let u = url("rtmp://[::1]:1936/live/foo");
        assert_eq!((u.host.as_str(), u.port, u.authority().as_str()), ("::1", 1936, "[::1]:1936"));
        assert_eq!(url("rtmp://[fe80::1]/live/foo").authority(), "[fe80::1]:1935");
    }

    #[test]
    fn the_vhost_is_named_by_the_query_and_not_by_the_host() {
        assert_eq!(url("rtmp://other.example/live/foo").stream.vhost(), DEFAULT_VHOST);
        assert_eq!(url("rtmp://h/live/foo?vhost=v.example").stream.vhost(), "v.example");
    }

    #[test]
    fn queries_are_bounded_in_length_and_in_number() {
        let parsed = |query: &str| parse_query(query).map(|parameters| parameters.len());
        assert_eq!(parsed(&"a&".repeat(64)), Ok(64));
        assert_eq!(parsed(&"a&".repeat(65)), Err(UrlError::TooManyParameters));
        assert_eq!(parsed(&"a".repeat(4096)), Ok(1));
        assert_eq!(parsed(&"a".repeat(4097)), Err(UrlError::TooLong));
        let url = format!("rtmp://h/live/foo?{}", "a&".repeat(65));
        assert_eq!(url.parse::<StreamUrl>(), Err(UrlError::TooManyParameters));
    }

    #[test]
    fn keys_do_not_show_in_text_for_people() {
        let u = url("http://h/live/foo.flv?key=secret");
        assert_eq!(format!("{u} {u:?}"), "http://h:80/live/foo.flv http://h:80/live/foo.flv");
        assert_eq!(u.parameter("key"), Some("secret"));
    }

    #[test]
    fn wrong_urls_say_what_is_wrong() {
        for (text, error) in [
            ("live/foo", UrlError::Scheme),
            ("ftp://h/live/foo", UrlError::Scheme),
            ("rtmp://user:pass@h/live/foo", UrlError::UserInfo),
            ("rtmp:///live/foo", UrlError::Host),
            ("rtmp://h%0d/live/foo", UrlError::Host),
            ("rtmp://[::1/live/foo", UrlError::Host),
            ("rtmp://::1/live/foo", UrlError::Host),
            ("rtmp://h:0/live/foo", UrlError::Port),
            ("rtmp://h:65536/live/foo", UrlError::Port),
            ("rtmp://[::1]1935/live/foo", UrlError::Port),
            ("rtmp://h/live", UrlError::Path),
            ("rtmp://h", UrlError::Path),
            ("rtmp://h/a/b/c/d", UrlError::Path),
            ("rtmp://h/live/", UrlError::Name(NameError::Empty { part: "name" })),
            ("rtmp://h/live/%2e%2e", UrlError::Name(NameError::EndsWithDot { part: "name" })),
            ("rtmp://h/live/%252e", UrlError::Name(NameError::Forbidden { part: "name", byte: b'%' })),
            ("rtmp://h/live/a%2fb", UrlError::Name(NameError::Forbidden { part: "name", byte: b'/' })),
            ("rtmp://h/live/a%00", UrlError::Name(NameError::Forbidden { part: "name", byte: 0 })),
        ] {
            assert_eq!(text.parse::<StreamUrl>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = text.parse::<StreamUrl>();
            let _ = format!("rtmp://{text}").parse::<StreamUrl>();
            let _ = format!("http://h/{text}.flv").parse::<StreamUrl>();
        }
    }
}
