//! AMF3, alone and inside data messages that become AMF0.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rtmp::{
    AmfLimits,
    amf::{amf3, data},
};

fuzz_target!(|input: &[u8]| {
    let limits = AmfLimits::default();
    let _any = data::amf3_to_amf0(&Bytes::copy_from_slice(input), &limits);
    let Ok(values) = amf3::decode_all(input, &limits) else { return };
    let written = amf3::encode_all(&values);
    if let Ok(again) = amf3::decode_all(&written, &limits) {
        assert_eq!(amf3::encode_all(&again), written);
    }
});
