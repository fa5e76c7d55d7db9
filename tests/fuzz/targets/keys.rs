//! Files of publish keys: a key opens what its line says, and a mistake elsewhere names its line.
#![no_main]

use cluster::{PublishPolicy, hashed_publish_key};
use libfuzzer_sys::fuzz_target;
use media::{DEFAULT_VHOST, StreamName};

fuzz_target!(|text: &str| {
    let name = StreamName::from_app(DEFAULT_VHOST, "live", "known").expect("it is a name");
    let file = format!("{text}\nlive/known {}", hashed_publish_key("known"));
    match PublishPolicy::from_keys(&file) {
        Ok(policy) => {
            assert!(policy.allows(&name, Some("known")));
            assert!(![None, Some(""), Some("unknown")].iter().any(|key| policy.allows(&name, *key)));
        }
        Err(error) => assert!(error.to_string().starts_with("line "), "{error}"),
    }
});
