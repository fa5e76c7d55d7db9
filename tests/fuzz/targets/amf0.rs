//! AMF0: what was read is paid for with bytes, is written, and read again as the same.
#![no_main]

use fuzz::{assert_paid, wider};
use libfuzzer_sys::fuzz_target;
use rtmp::{Limits, amf::amf0};

fuzz_target!(|data: &[u8]| {
    let Limits { amf_command, amf_data, .. } = Limits::default();
    for limits in [amf_command, amf_data] {
        let Ok(values) = amf0::decode_all(data, &limits) else { continue };
        assert_paid(&values, data.len(), &limits);
        let written = amf0::encode_all(&values);
        let again = amf0::decode_all(&written, &wider(&limits)).expect("what was written can be read");
        // Compared as bytes: a number that is none is not equal to itself.
        assert_eq!(amf0::encode_all(&again), written);
    }
});
