//! Names and addresses of streams: what is accepted can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::{DEFAULT_VHOST, StreamName, StreamUrl, url};

fuzz_target!(|text: &str| {
    let _pairs = url::parse_query(text);
    if let Ok(address) = text.parse::<StreamUrl>() {
        check(&address.stream);
    }
    let (app, name) = text.rsplit_once('/').unwrap_or(("live", text));
    let names = [
        url::parse_path(DEFAULT_VHOST, text).ok(),
        url::parse_flv_path(DEFAULT_VHOST, text).ok(),
        StreamName::from_resource(text).ok(),
        StreamName::from_app(DEFAULT_VHOST, app, name).ok(),
        StreamName::new(text, "live", text, text).ok(),
    ];
    names.iter().flatten().for_each(check);
});

fn check(name: &StreamName) {
    assert_eq!(StreamName::from_resource(&name.resource()).as_ref(), Ok(name));
    for part in [name.vhost(), name.app(), name.instance(), name.name()] {
        assert!(part != ".." && !part.contains(['/', '\\', '\0', '\n', '\r', '%']));
    }
}
