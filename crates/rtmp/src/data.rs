//! Data messages, made one form: AMF0, without the words that address only the server.

use bytes::Bytes;
use media::tag;

use crate::{
    amf::{self, amf0},
    limits::Limits,
    message::{Message, type_id},
};

/// What a data message asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// To be passed on: an AMF0 body, `@setDataFrame` stripped.
    Relay(Bytes),
    /// `@clearDataFrame`: the metadata is void.
    ClearMetadata,
    /// Nothing: it is empty, or clears something that nobody keeps.
    Nothing,
}

/// Why a data message cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damaged {
    /// Its values cannot be read.
    #[error(transparent)]
    Amf(#[from] amf::Error),
    /// It would be longer than data may be.
    #[error("a data message has more than {max} bytes as AMF0")]
    TooLong {
        /// The limit.
        max: usize,
    },
}

/// Reads a message of type 15 or 18. An AMF0 body is passed on bit for bit, but metadata has to be readable: it is kept for all who
/// join later. AMF3 can be much shorter than the AMF0 that says the same, which may not be longer than data may be.
pub(crate) fn read(message: &Message, limits: &Limits) -> Result<Data, Damaged> {
    let body = match message.type_id {
        type_id::DATA_AMF3 => amf::data::amf3_to_amf0(&message.payload, &limits.amf_data)?,
        _ => message.payload.clone(),
    };
    if body.len() > limits.data_bytes_max {
        return Err(Damaged::TooLong { max: limits.data_bytes_max });
    }
    if tag::is_clear_metadata(&body) {
        return Ok(Data::ClearMetadata);
    }
    let body = tag::strip_set_data_frame(&body);
    if tag::is_metadata(&body) {
        read_metadata(&body, limits)?;
    }
    let nothing = body.is_empty() || begins_with(&body, "@clearDataFrame");
    Ok(if nothing { Data::Nothing } else { Data::Relay(body) })
}

/// Reads the name and the values behind it. What follows them concerns nobody.
fn read_metadata(body: &[u8], limits: &Limits) -> Result<(), amf::Error> {
    let mut decoder = amf0::Decoder::new(body, &limits.amf_data);
    decoder.next_value()?;
    decoder.next_value()?;
    Ok(())
}

/// Whether the first value is this short AMF0 string.
pub(crate) fn begins_with(body: &[u8], text: &str) -> bool {
    let len = (text.len() as u16).to_be_bytes();
    body.strip_prefix(&[2, len[0], len[1]]).is_some_and(|rest| rest.starts_with(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amf::Value;

    fn read_values(type_id: u8, values: &[Value]) -> Data {
        let message = Message { type_id, timestamp: 0, msid: 1, payload: amf0::encode_all(values) };
        read(&message, &Limits::default()).unwrap()
    }

    #[test]
    fn words_for_the_server_are_stripped() {
        let metadata: [Value; 2] = ["onMetaData".into(), Value::EcmaArray(vec![("width".into(), 2.0.into())])];
        let set = [&["@setDataFrame".into()][..], &metadata].concat();
        for type_id in [type_id::DATA_AMF0, type_id::DATA_AMF3] {
            assert_eq!(read_values(type_id, &set), Data::Relay(amf0::encode_all(&metadata)));
        }
        assert_eq!(read_values(18, &["@clearDataFrame".into(), "onMetaData".into()]), Data::ClearMetadata);
        assert_eq!(read_values(18, &["@clearDataFrame".into(), "other".into()]), Data::Nothing);
        assert_eq!(read_values(18, &["@setDataFrame".into()]), Data::Nothing);
        assert_eq!(read_values(18, &[]), Data::Nothing);
    }

    #[test]
    fn metadata_that_cannot_be_read_is_kept_for_nobody() {
        let metadata = amf0::encode_all(&["onMetaData".into(), Value::EcmaArray(vec![("width".into(), 2.0.into())])]);
        let set = [&amf0::encode_all(&["@setDataFrame".into()])[..], &metadata].concat();
        let read = |payload: &[u8]| {
            let payload = Bytes::copy_from_slice(payload);
            read(&Message { type_id: type_id::DATA_AMF0, timestamp: 0, msid: 1, payload }, &Limits::default())
        };
        for whole in [&metadata[..], &set] {
            assert!(matches!(read(whole), Ok(Data::Relay(body)) if body == metadata));
            assert!(matches!(read(&whole[..whole.len() - 1]), Err(Damaged::Amf(_))));
        }
        let with_more = [&metadata[..], b"\xff"].concat();
        assert!(matches!(read(&with_more), Ok(Data::Relay(body)) if body == with_more));
    }

    #[test]
    fn other_data_is_passed_on_bit_for_bit() {
        for body in [&b"\x02\0\x0aonTextData\xff\xff"[..], b"\0garbage", b"\x02\0\xff"] {
            let payload = Bytes::copy_from_slice(body);
            let message = Message { type_id: type_id::DATA_AMF0, timestamp: 0, msid: 1, payload: payload.clone() };
            assert_eq!(read(&message, &Limits::default()).unwrap(), Data::Relay(payload));
        }
    }
}
