//! AMF0: what was read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtmp::{AmfLimits, amf::amf0};

fuzz_target!(|data: &[u8]| {
    let limits = AmfLimits::default();
    let Ok(values) = amf0::decode_all(data, &limits) else { return };
    let written = amf0::encode_all(&values);
    if let Ok(again) = amf0::decode_all(&written, &limits) {
        // Compared as bytes: a number that is none is not equal to itself.
        assert_eq!(amf0::encode_all(&again), written);
    }
});
