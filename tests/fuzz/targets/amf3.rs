//! AMF3, alone and inside data messages that become AMF0: paid for with bytes, and read again as the same.
#![no_main]

use bytes::Bytes;
use fuzz::{assert_paid, wider};
use libfuzzer_sys::fuzz_target;
use rtmp::{
    AmfLimits, Limits,
    amf::{amf0, amf3, data},
};

fuzz_target!(|input: &[u8]| {
    let Limits { amf_command, amf_data, .. } = Limits::default();
    for limits in [amf_command, amf_data] {
        alone(input, &limits);
        as_data(input, &limits);
    }
});

fn alone(input: &[u8], limits: &AmfLimits) {
    let Ok(values) = amf3::decode_all(input, limits) else { return };
    assert_paid(&values, input.len(), limits);
    let written = amf3::encode_all(&values);
    let again = amf3::decode_all(&written, &wider(limits)).expect("what was written can be read");
    assert_eq!(amf3::encode_all(&again), written);
}

fn as_data(input: &[u8], limits: &AmfLimits) {
    let Ok(body) = data::amf3_to_amf0(&Bytes::copy_from_slice(input), limits) else { return };
    assert!(amf0::decode_all(&body, &wider(limits)).is_ok(), "what was made AMF0 can be read as that");
}
