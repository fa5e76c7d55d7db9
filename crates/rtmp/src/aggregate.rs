//! Aggregate messages (type 22): many media messages in one, in FLV tag form (RTMP 1.0, 7.1.6).

use bytes::{Buf, Bytes};

use crate::{
    chunk,
    limits::Limits,
    message::{Message, type_id},
};

/// The audio, video and data messages of an aggregate, on its message stream and its time.
///
/// Each is as long as a message of its type may be, and has a buffer of its own: with a part of the aggregate's, a byte
/// that somebody keeps would keep all of it. Messages of other types are left out.
pub fn split(aggregate: Message, limits: &Limits) -> Result<Vec<Message>, Error> {
    let mut rest = &aggregate.payload[..];
    let mut messages = Vec::new();
    let mut first_timestamp = None;
    let mut count = 0;
    while !rest.is_empty() {
        count += 1;
        if count > limits.aggregate_messages_max {
            return Err(Error::TooMany { max: limits.aggregate_messages_max });
        }
        let part = take(&mut rest)?;
        let (type_id, length, max) = (part.type_id, part.body.len(), limits.message_bytes_max(part.type_id));
        if length > max {
            return Err(Error::TooLong(chunk::Error::MessageTooLong { type_id, length, max }));
        }
        let first = *first_timestamp.get_or_insert(part.timestamp);
        match type_id {
            type_id::AGGREGATE => return Err(Error::Nested),
            type_id::AUDIO | type_id::VIDEO | type_id::DATA_AMF0 | type_id::DATA_AMF3 => messages.push(Message {
                type_id,
                timestamp: part.timestamp.wrapping_sub(first).wrapping_add(aggregate.timestamp),
                msid: aggregate.msid,
                payload: Bytes::copy_from_slice(part.body),
            }),
            _ => {}
        }
    }
    Ok(messages)
}

/// A message as it lies in an aggregate.
struct Part<'a> {
    type_id: u8,
    timestamp: u32,
    body: &'a [u8],
}

/// Takes a message and the back pointer after it, which is not looked at: its length says all that is needed.
fn take<'a>(rest: &mut &'a [u8]) -> Result<Part<'a>, Error> {
    if rest.len() < HEADER_BYTES {
        return Err(Error::Truncated);
    }
    let type_id = rest.get_u8();
    let length = rest.get_uint(3) as usize;
    let timestamp = rest.get_uint(3) as u32 | u32::from(rest.get_u8()) << 24;
    rest.advance(3); // The message stream: the aggregate's own wins.
    let (body, behind) = rest.split_at_checked(length).ok_or(Error::Truncated)?;
    *rest = &behind[behind.len().min(BACK_POINTER_BYTES)..];
    Ok(Part { type_id, timestamp, body })
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
    /// A message in it is longer than its type may be: the same as for one that comes by itself.
    #[error(transparent)]
    TooLong(chunk::Error),
    /// It has an aggregate within it.
    #[error("an aggregate within an aggregate")]
    Nested,
}

const HEADER_BYTES: usize = 11;
const BACK_POINTER_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
    fn a_message_that_is_kept_does_not_keep_the_aggregate() {
        let whole = Arc::new([tag(20, 9, 0, &[0; 9]), tag(8, 1, 0, b"a"), tag(9, 2, 0, b"bc")].concat());
        /// What a message of it would hold on to.
        struct Buffer(Arc<Vec<u8>>);
        impl AsRef<[u8]> for Buffer {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let payload = Bytes::from_owner(Buffer(whole.clone()));
        let messages = split(Message { payload, ..aggregate(0, &[]) }).unwrap();
        assert_eq!((messages.len(), Arc::strong_count(&whole)), (2, 1));
    }

    #[test]
    fn each_message_is_as_long_as_its_type_may_be() {
        let limits = Limits {
            video_bytes_max: 50,
            audio_bytes_max: 40,
            data_bytes_max: 30,
            command_bytes_max: 20,
            ..Limits::default()
        };
        for (type_id, max) in [(9, 50), (8, 40), (18, 30), (15, 30), (20, 20), (17, 20)] {
            let of = |length: usize| aggregate(0, &[tag(type_id, length as u32, 0, &vec![0; length])]);
            assert!(super::split(of(max), &limits).is_ok(), "{type_id}");
            let error = chunk::Error::MessageTooLong { type_id, length: max + 1, max };
            assert_eq!(super::split(of(max + 1), &limits), Err(Error::TooLong(error)));
        }
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
