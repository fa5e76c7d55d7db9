//! Heads of HTTP requests: what is answered without a web server, a web server would read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The parser is private to its crate: it is compiled here once more.
#[allow(dead_code)]
#[path = "../../../crates/edge/src/http/usual.rs"]
mod usual;

/// What the parser names.
mod framing {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Framing {
        Bare,
        Chunks,
    }
}

use framing::Framing;
use usual::{USUAL_BYTES_MAX, Usual};

fuzz_target!(|head: &[u8]| {
    let Some(Usual { uri, host, framing }) = Usual::parse(head) else { return };
    assert!(head.len() <= USUAL_BYTES_MAX);
    assert!(uri.path().starts_with('/') && uri.path().ends_with(".flv"));
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    let read = request.parse(head).expect("a web server takes it");
    assert_eq!(read, httparse::Status::Complete(head.len()), "nothing is behind it");
    assert_eq!((request.method, request.path.and_then(|path| path.parse().ok())), (Some("GET"), Some(uri)));
    assert_eq!(request.version, Some(u8::from(framing == Framing::Chunks)));
    let is = |header: &&httparse::Header<'_>, name: &str| header.name.eq_ignore_ascii_case(name);
    let first = request.headers.iter().find(|header| is(header, "host")).map(|header| header.value);
    assert_eq!(first, host.as_ref().map(|host| host.as_bytes()));
    for name in ["upgrade", "content-length", "transfer-encoding", "expect"] {
        assert!(!request.headers.iter().any(|header| is(&header, name)), "{name} is for the web server");
    }
});
