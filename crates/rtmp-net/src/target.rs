//! What a client means: the stream and the parameters in connect, publish and play.

use std::{fmt, sync::Arc};

use media::{DEFAULT_VHOST, StreamName, UrlError, url};

/// The parameters of a request, wherever in it they stood: those after the stream's name first, then those of the
/// application, then those of `tcUrl`. They hold keys, so their text form shows names only. Cheap to clone.
#[derive(Clone, Default)]
pub struct Query {
    /// Of this request.
    own: Parameters,
    /// Of its connection: all its requests share them.
    connection: Parameters,
}

type Parameters = Arc<[(String, String)]>;
type Pairs = Vec<(String, String)>;

impl Query {
    /// The first parameter of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.own.iter().chain(self.connection.iter()).map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Query {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self { own: pairs.into_iter().collect(), ..Self::default() }
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(key, _)| key)).finish()
    }
}

/// What connect says about all streams of a connection.
#[derive(Debug)]
pub(crate) struct Target {
    /// The vhost of `tcUrl`'s host.
    vhost: Box<str>,
    /// `app[/instance]`.
    app: Box<str>,
    /// Of the application and of `tcUrl`.
    query: Parameters,
}

impl Target {
    pub(crate) fn new(app: &str, tc_url: &str, vhosts: &[String]) -> Result<Self, UrlError> {
        let (app, mut query) = split_query(app)?;
        let (tc_url, tc_query) = split_query(tc_url)?;
        query.extend(tc_query);
        let host = host_of(tc_url);
        let vhost = vhosts.iter().find(|vhost| vhost.eq_ignore_ascii_case(host));
        let vhost = vhost.map_or(DEFAULT_VHOST, String::as_str);
        Ok(Self { vhost: vhost.into(), app: app.trim_matches('/').into(), query: query.into() })
    }

    /// The stream that `name[?query]` of a publish or play means.
    pub(crate) fn stream(&self, name: &str) -> Result<(StreamName, Query), UrlError> {
        let (name, own) = split_query(name)?;
        let name = CONTAINERS.iter().find_map(|container| name.strip_prefix(container)).unwrap_or(name);
        let query = Query { own: own.into(), connection: self.query.clone() };
        let vhost = query.get("vhost").unwrap_or(&self.vhost);
        let stream = url::parse_path(vhost, &format!("{}/{}", self.app, name.trim_matches('/')))?;
        Ok((stream, query))
    }
}

/// What players put before a name to say which recorded container they want; ffmpeg does so whenever a name ends in
/// `.mp4`. It is no part of the name.
const CONTAINERS: [&str; 3] = ["flv:", "mp4:", "mp3:"];

/// What stands before the query of a part of a URL, and the query's parameters.
fn split_query(part: &str) -> Result<(&str, Pairs), UrlError> {
    if part.len() > url::URL_BYTES_MAX {
        return Err(UrlError::TooLong);
    }
    let (part, query) = part.split_once('?').unwrap_or((part, ""));
    Ok((part, url::parse_query(query)?))
}

/// The host of a URL, or nothing of what is none.
fn host_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else { return "" };
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
    match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(app: &str, tc_url: &str) -> Target {
        Target::new(app, tc_url, &["v.example".to_owned()]).unwrap()
    }

    fn resource(target: &Target, name: &str) -> Result<String, UrlError> {
        target.stream(name).map(|(stream, _)| stream.resource())
    }

    #[test]
    fn parameters_are_taken_from_all_three_places_and_the_nearest_counts() {
        let target = target("live?token=app&a=1", "rtmp://h/live?token=url&b=2");
        let (stream, query) = target.stream("foo?token=name").unwrap();
        assert_eq!(stream.to_string(), "live/foo");
        assert_eq!((query.get("token"), query.get("a"), query.get("b")), (Some("name"), Some("1"), Some("2")));
        assert_eq!(format!("{query:?}"), r#"{"token", "token", "a", "token", "b"}"#);
    }

    #[test]
    fn parameters_are_bounded_in_all_three_places() {
        let with = |count: usize| format!("x?{}", "a&".repeat(count));
        let refused = |app: &str, tc_url: &str| Target::new(app, tc_url, &[]).err();
        assert_eq!(refused(&with(32_000), ""), Some(UrlError::TooLong));
        assert_eq!(refused(&with(65), ""), Some(UrlError::TooManyParameters));
        assert_eq!(refused("x", &with(65)), Some(UrlError::TooManyParameters));
        assert_eq!(refused("x", &"/".repeat(4097)), Some(UrlError::TooLong));
        let target = target(&with(64), &with(64));
        assert_eq!(resource(&target, &with(65)), Err(UrlError::TooManyParameters));
        assert_eq!(resource(&target, &format!("x{}", "/".repeat(4096))), Err(UrlError::TooLong));
        assert_eq!(target.stream(&with(64)).unwrap().1.iter().count(), 3 * 64);
    }

    #[test]
    fn a_connections_parameters_are_held_once() {
        let target = target("live?key=1", "");
        let [one, other] = ["foo", "bar?key=2"].map(|name| target.stream(name).unwrap().1);
        assert!(Arc::ptr_eq(&one.connection, &other.clone().connection));
        assert_eq!((one.get("key"), other.get("key")), (Some("1"), Some("2")));
    }

    #[test]
    fn instance_may_stand_in_the_app_or_in_the_name() {
        let resource_of = |app, name| resource(&target(app, ""), name).unwrap();
        assert_eq!(resource_of("live/room", "foo"), "streams/_default/live/room/foo");
        assert_eq!(resource_of("live", "room/foo"), "streams/_default/live/room/foo");
        assert_eq!(resource_of("live/", "foo"), "streams/_default/live/_definst_/foo");
        assert_eq!(resource_of("live", "mp4:foo.mp4"), "streams/_default/live/_definst_/foo.mp4");
    }

    #[test]
    fn vhost_is_the_listed_host_or_the_one_that_the_query_names() {
        let vhost_of = |tc_url, name| target("live", tc_url).stream(name).unwrap().0.vhost().to_owned();
        assert_eq!(vhost_of("rtmp://127.0.0.1/live", "foo"), "_default");
        assert_eq!(vhost_of("rtmp://v.example:1935/live", "foo"), "v.example");
        assert_eq!(vhost_of("rtmp://user:secret@v.example/live", "foo"), "v.example");
        assert_eq!(vhost_of("rtmp://h/live", "foo?vhost=w.example"), "w.example");
        assert_eq!(vhost_of("no url at all", "foo"), "_default");
        assert_eq!(vhost_of("rtmp://[::1]:1935/live", "foo"), "_default");
    }

    #[test]
    fn names_that_could_do_harm_are_refused() {
        let long = "x".repeat(10 * 1024);
        for name in
            ["", "?key=1", "../../tmp/x", "/etc/passwd", "%2e%2e", "..\\x", "a\0b", "a\r\nb", "a;b", "$(x)", ".", &long]
        {
            let in_instance = resource(&target("live", ""), name);
            assert!(in_instance.is_err() || name == "/etc/passwd", "{name:?} {in_instance:?}");
            assert!(resource(&target("live/room", ""), name).is_err(), "{name:?}");
        }
        assert!(resource(&target("%2e%2e", ""), "foo").is_err());
    }
}
