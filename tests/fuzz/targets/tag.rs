//! FLV tag bodies of every medium.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use media::{Medium, tag};

fuzz_target!(|data: &[u8]| {
    let Some((medium, data)) = data.split_first() else { return };
    let medium = [Medium::Audio, Medium::Video, Medium::Data][usize::from(*medium) % 3];
    let payload = Bytes::copy_from_slice(data);
    let class = tag::classify(medium, &payload);
    assert!(class.slot.is_none() || class.kind == media::Kind::Config, "only set-ups are kept");
    if medium == Medium::Data {
        let stripped = tag::strip_set_data_frame(&payload);
        assert!(stripped.len() <= payload.len());
        let _either = (tag::is_metadata(&stripped), tag::is_clear_metadata(&payload));
    }
});
