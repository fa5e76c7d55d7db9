//! Commands: the remote calls that RTMP is steered by.

pub mod status;

use bytes::{Bytes, BytesMut};

use crate::{
    amf::{self, Value, amf0},
    limits::Limits,
    message::{Message, type_id},
};

/// A command in either direction: `name, transaction, object, arguments…`.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// What is asked, or `_result`, `_error`, `onStatus`.
    pub name: String,
    /// Ties an answer to its question; 0 wants no answer.
    pub transaction: f64,
    /// The command object; null in most commands.
    pub object: Value,
    /// Whatever follows.
    pub arguments: Vec<Value>,
}

impl Command {
    /// A command that wants no answer and has no object.
    pub fn notice(name: &str, arguments: Vec<Value>) -> Self {
        Self { name: name.to_owned(), transaction: 0.0, object: Value::Null, arguments }
    }

    /// A call that wants an answer.
    pub fn call(name: &str, transaction: f64, object: Value, arguments: Vec<Value>) -> Self {
        Self { name: name.to_owned(), transaction, object, arguments }
    }

    /// The answer to a call that went well.
    pub fn result(transaction: f64, object: Value, arguments: Vec<Value>) -> Self {
        Self { name: "_result".to_owned(), transaction, object, arguments }
    }

    /// The answer to a call that failed.
    pub fn error(transaction: f64, info: Value) -> Self {
        Self { name: "_error".to_owned(), transaction, object: Value::Null, arguments: vec![info] }
    }

    /// Reads a command of either message type. Fields that are missing at the end count as null.
    pub fn decode(message: &Message, limits: &Limits) -> Result<Self, CommandError> {
        let body = match message.type_id {
            // The format byte. Some clients leave it out and begin with an AMF0 string.
            type_id::COMMAND_AMF3 => message.payload.strip_prefix(&[0]).unwrap_or(&message.payload),
            _ => &message.payload[..],
        };
        let mut values = amf0::decode_all(body, &limits.amf_command)?.into_iter();
        let Some(Value::String(name)) = values.next() else { return Err(CommandError::NoName) };
        let transaction = values.next().as_ref().and_then(number).filter(|id| id.is_finite()).unwrap_or(0.0);
        let object = values.next().unwrap_or(Value::Null);
        Ok(Self { name, transaction, object, arguments: values.collect() })
    }

    /// The body of a message of type 20.
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(128);
        amf0::encode(&self.name.as_str().into(), &mut body);
        amf0::encode(&self.transaction.into(), &mut body);
        for value in std::iter::once(&self.object).chain(&self.arguments) {
            amf0::encode(value, &mut body);
        }
        body.freeze()
    }

    /// Argument `index` as a text.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index).and_then(Value::as_str)
    }

    /// Argument `index` as a number; a boolean counts as 0 or 1.
    pub fn number(&self, index: usize) -> Option<f64> {
        self.arguments.get(index).and_then(number)
    }

    /// Argument `index` as a boolean; a number counts as true unless it is 0.
    pub fn flag(&self, index: usize) -> Option<bool> {
        self.number(index).map(|value| value != 0.0)
    }
}

/// The number of a number or boolean value.
fn number(value: &Value) -> Option<f64> {
    value.as_number().or_else(|| value.as_bool().map(|flag| f64::from(u8::from(flag))))
}

/// Why a message is not a command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The first value is not a string.
    #[error("the command has no name")]
    NoName,
    /// The values cannot be read.
    #[error("the command cannot be read: {0}")]
    Amf(#[from] amf::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(type_id: u8, payload: Bytes) -> Message {
        Message { type_id, timestamp: 0, msid: 0, payload }
    }

    #[test]
    fn a_command_round_trips() {
        let command = Command::call(
            "publish",
            5.0,
            Value::Null,
            vec!["foo?key=1".into(), true.into(), Value::object([("a", 1.0.into())])],
        );
        let read = Command::decode(&message(type_id::COMMAND_AMF0, command.encode()), &Limits::default()).unwrap();
        assert_eq!(read, command);
        assert_eq!((read.text(0), read.flag(1), read.number(1)), (Some("foo?key=1"), Some(true), Some(1.0)));
    }

    #[test]
    fn the_format_byte_of_type_17_may_be_missing() {
        let command = Command::notice("createStream", vec![]);
        let plain = command.encode();
        let marked = [&[0][..], &plain].concat();
        for body in [plain, marked.into()] {
            assert_eq!(Command::decode(&message(type_id::COMMAND_AMF3, body), &Limits::default()).unwrap(), command);
        }
    }

    #[test]
    fn a_name_alone_is_a_command_and_anything_else_alone_is_not() {
        let read =
            Command::decode(&message(type_id::COMMAND_AMF0, b"\x02\0\x01x".as_slice().into()), &Limits::default())
                .unwrap();
        assert_eq!(read, Command::notice("x", vec![]));
        for body in [&b""[..], b"\x05", b"\0\0\0\0\0\0\0\0\0", b"\x02\0\xffx"] {
            let body = Bytes::copy_from_slice(body);
            assert!(Command::decode(&message(type_id::COMMAND_AMF0, body), &Limits::default()).is_err());
        }
    }
}
