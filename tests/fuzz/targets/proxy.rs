//! Headers of the PROXY protocol: no byte beyond them is asked for, and what was read is read the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The parser is private to its crate, which would bring sockets and TLS: it is compiled here once more.
#[allow(dead_code)]
#[path = "../../../crates/rtmp-net/src/door/proxy_header.rs"]
mod proxy_header;

use proxy_header::{HEADER_BYTES_MAX, Progress, Told, parse};

fuzz_target!(|data: &[u8]| {
    let mut have = 0;
    loop {
        let Some(header) = data.get(..have) else { return };
        match parse(header) {
            Ok(Progress::Missing(count)) => {
                assert!(count > 0 && have + count <= HEADER_BYTES_MAX, "a header is bounded");
                have += count;
            }
            Ok(Progress::Whole(Told::Client(client))) => {
                let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
                let line = format!("PROXY {family} {0} {0} {1} {1}\r\n", client.ip(), client.port());
                assert_eq!(parse(line.as_bytes()), Ok(Progress::Whole(Told::Client(client))));
                return;
            }
            Ok(Progress::Whole(Told::Itself)) | Err(_) => return,
        }
    }
});
