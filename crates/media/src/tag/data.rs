//! Data messages, looked at without decoding them: only a leading AMF0 string is read.

use bytes::Bytes;

use super::input::Input;

/// Whether this data message sets the stream's metadata: its first value is the string `onMetaData`.
///
/// `@setDataFrame` in front of it is looked through, so it makes no difference when it is stripped.
pub fn is_metadata(payload: &[u8]) -> bool {
    let mut input = Input(payload);
    match string(&mut input) {
        Some(SET_DATA_FRAME) => string(&mut input) == Some(ON_METADATA),
        first => first == Some(ON_METADATA),
    }
}

/// Whether this data message is `@clearDataFrame`, alone or followed by `onMetaData`: the metadata is void.
pub fn is_clear_metadata(payload: &[u8]) -> bool {
    let mut input = Input(payload);
    if string(&mut input) != Some(CLEAR_DATA_FRAME) {
        return false;
    }
    input.is_empty() || string(&mut input) == Some(ON_METADATA)
}

/// The payload as viewers get it: without a leading `@setDataFrame`. Nothing is copied.
pub fn strip_set_data_frame(payload: &Bytes) -> Bytes {
    let mut input = Input(payload);
    match string(&mut input) {
        Some(SET_DATA_FRAME) => payload.slice(payload.len() - input.0.len()..),
        _ => payload.clone(),
    }
}

/// Whether a video metadata packet's body is `colorInfo` and a value.
pub(super) fn is_colour_info(mut body: Input<'_>) -> bool {
    string(&mut body) == Some(b"colorInfo") && !body.is_empty()
}

/// The AMF0 string, short or long, that comes next.
fn string<'a>(input: &mut Input<'a>) -> Option<&'a [u8]> {
    let len = match input.u8()? {
        0x02 => input.u16()?,
        0x0c => u32::from_be_bytes(input.array()?) as usize,
        _ => return None,
    };
    input.take(len)
}

const ON_METADATA: &[u8] = b"onMetaData";
const SET_DATA_FRAME: &[u8] = b"@setDataFrame";
const CLEAR_DATA_FRAME: &[u8] = b"@clearDataFrame";

#[cfg(test)]
mod tests {
    use super::*;

    fn amf(strings: &[&str]) -> Bytes {
        let mut out = Vec::new();
        for s in strings {
            out.extend([2, 0, s.len() as u8]);
            out.extend(s.as_bytes());
        }
        out.into()
    }

    #[test]
    fn metadata_is_told_by_its_first_string() {
        assert!(is_metadata(&amf(&["onMetaData"])));
        assert!(is_metadata(&amf(&["@setDataFrame", "onMetaData"])));
        assert!(is_metadata(b"\x0c\0\0\0\x0aonMetaData\x08"), "a long string");
        for other in [amf(&["onTextData"]), amf(&["onMetaDat"]), amf(&[]), Bytes::from_static(b"\x0c\xff\xff\xff\xff")]
        {
            assert!(!is_metadata(&other), "{other:?}");
        }
    }

    #[test]
    fn clearing_names_the_metadata_or_nothing() {
        assert!(is_clear_metadata(&amf(&["@clearDataFrame", "onMetaData"])));
        assert!(is_clear_metadata(&amf(&["@clearDataFrame"])));
        assert!(!is_clear_metadata(&amf(&["@clearDataFrame", "onTextData"])));
        assert!(!is_clear_metadata(&amf(&["onMetaData"])));
    }

    #[test]
    fn set_data_frame_is_stripped_and_nothing_else() {
        assert_eq!(strip_set_data_frame(&amf(&["@setDataFrame", "onMetaData"])), amf(&["onMetaData"]));
        assert_eq!(strip_set_data_frame(&amf(&["onMetaData", "@setDataFrame"])), amf(&["onMetaData", "@setDataFrame"]));
    }
}
