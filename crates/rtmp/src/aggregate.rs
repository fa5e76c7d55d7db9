//! Aggregate messages (type 22): many media messages in one, in FLV tag form (RTMP 1.0, 7.1.6).

use bytes::{Buf, Bytes};

use crate::{
    limits::Limits,
    message::{Message, type_id},
};

/// The audio, video and data messages of an aggregate, on its message stream and its time.
///
/// Their payloads are parts of the aggregate's. Messages of other types in it are left out.
pub fn split(aggregate: Message, limits: &Limits) -> Result<Vec<Message>, Error> {
    let mut rest = aggregate.payload;
    let mut messages = Vec::new();
    let mut first_timestamp = None;
    let mut count = 0;
    while !rest.is_empty() {
        count += 1;
        if count > limits.aggregate_messages_max {
            return Err(Error::TooMany { max: limits.aggregate_messages_max });
        }
        let mut message = take(&mut rest, aggregate.msid)?;
        let first = *first_timestamp.get_or_insert(message.timestamp);
        message.timestamp = message.timestamp.wrapping_sub(first).wrapping_add(aggregate.timestamp);
        match message.type_id {
            type_id::AGGREGATE => return Err(Error::Nested),
            type_id::AUDIO | type_id::VIDEO | type_id::DATA_AMF0 | type_id::DATA_AMF3 => messages.push(message),
            _ => {}
        }
    }
    Ok(messages)
}

/// Takes a message and the back pointer after it, which is not looked at: its length says all that is needed.
fn take(rest: &mut Bytes, msid: u32) -> Result<Message, Error> {
    if rest.len() < HEADER_BYTES {
        return Err(Error::Truncated);
    }
    let type_id = rest.get_u8();
    let length = rest.get_uint(3) as usize;
    let timestamp = rest.get_uint(3) as u32 | u32::from(rest.get_u8()) << 24;
    rest.advance(3); // The message stream: the aggregate's own wins.
    if rest.len() < length {
        return Err(Error::Truncated);
    }
    let payload = rest.split_to(length);
    rest.advance(rest.len().min(4));
    Ok(Message { type_id, timestamp, msid, payload })
}

/// Why an aggregate cannot be split. The peer's fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends inside a message, or a message in it says it is longer than it is.
    #[error("an aggregate ends inside a message")]
    Truncated,
    /// It has too many messages.
    #[error("an aggregate has more than {max} messages")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// It has an aggregate within it.
    #[error("an aggregate within an aggregate")]
    Nested,
}

const HEADER_BYTES: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(type_id: u8, length: u32, timestamp: u32, body: &[u8]) -> Vec<u8> {
        let mut out = vec![type_id];
        out.extend_from_slice(&length.to_be_bytes()[1..]);
        out.extend_from_slice(&timestamp.to_be_bytes()[1..]);
        out.push((timestamp >> 24) as u8);
        out.extend_from_slice(&[0, 0, 9]);
        out.extend_from_slice(body);
        out.extend_from_slice(&(11 + body.len() as u32).to_be_bytes());
        out
    }

    fn aggregate(timestamp: u32, tags: &[Vec<u8>]) -> Message {
        Message { type_id: type_id::AGGREGATE, timestamp, msid: 1, payload: tags.concat().into() }
    }

    fn split(message: Message) -> Result<Vec<Message>, Error> {
        super::split(message, &Limits::default())
    }

    #[test]
    fn messages_take_the_aggregates_time_and_message_stream() {
        let tags = [tag(8, 2, 0x0100_0010, b"ab"), tag(9, 3, 0x0100_0020, b"cde"), tag(8, 1, 0x0100_0008, b"f")];
        let messages = split(aggregate(u32::MAX - 7, &tags)).unwrap();
        let seen: Vec<_> = messages.iter().map(|m| (m.type_id, m.timestamp, m.msid, &m.payload[..])).collect();
        assert_eq!(seen, [(8, u32::MAX - 7, 1, &b"ab"[..]), (9, 8, 1, &b"cde"[..]), (8, u32::MAX - 15, 1, &b"f"[..])]);
    }

    #[test]
    fn sizes_that_lie_are_errors() {
        for length in [3, 1000, 0xFF_FFFF] {
            assert_eq!(split(aggregate(0, &[tag(8, length * 10, 0, b"ab")])), Err(Error::Truncated));
        }
        let short = Message { payload: Bytes::from_static(&[8, 0, 0]), ..aggregate(0, &[]) };
        assert_eq!(split(short), Err(Error::Truncated));
    }

    #[test]
    fn empty_messages_and_a_missing_last_back_pointer_are_accepted() {
        let mut message = aggregate(5, &[tag(8, 0, 0, b""), tag(9, 1, 0, b"x")]);
        message.payload.truncate(message.payload.len() - 4);
        assert_eq!(split(message).unwrap().len(), 2);
        assert_eq!(split(aggregate(5, &[])), Ok(vec![]));
    }

    #[test]
    fn aggregates_do_not_nest_and_commands_in_them_are_left_out() {
        let inner = tag(8, 1, 0, b"x");
        assert_eq!(split(aggregate(0, &[tag(22, inner.len() as u32, 0, &inner)])), Err(Error::Nested));
        assert_eq!(split(aggregate(0, &[tag(20, 1, 0, b"x"), tag(1, 4, 0, &[0; 4])])), Ok(vec![]));
    }

    #[test]
    fn the_number_of_messages_is_bounded() {
        let max = Limits::default().aggregate_messages_max;
        assert_eq!(split(aggregate(0, &vec![tag(8, 0, 0, b""); max])).unwrap().len(), max);
        assert_eq!(split(aggregate(0, &vec![tag(1, 0, 0, b""); max + 1])), Err(Error::TooMany { max }));
    }
}
