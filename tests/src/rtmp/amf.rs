//! As much AMF as a test peer needs.

/// A value of AMF0.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// A string.
    String(String),
    /// Named values in order; an ECMA array reads as one.
    Object(Vec<(String, Value)>),
    /// Values in order, without names.
    Array(Vec<Value>),
    /// Null or undefined.
    Null,
    /// Something else: its marker.
    Other(u8),
}

impl Value {
    /// A string.
    pub fn text(text: &str) -> Self {
        Self::String(text.to_owned())
    }

    /// An object.
    pub fn object(fields: &[(&str, Value)]) -> Self {
        Self::Object(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    /// A field of an object, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_text())
    }

    /// The text of a string.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The number of a number.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    fn write0(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(0);
                out.extend(number.to_be_bytes());
            }
            Self::Bool(bool) => out.extend([1, u8::from(*bool)]),
            Self::String(text) => {
                out.push(2);
                key(text, out);
            }
            Self::Object(fields) => {
                out.push(3);
                for (name, value) in fields {
                    key(name, out);
                    value.write0(out);
                }
                out.extend([0, 0, 9]);
            }
            Self::Array(values) => {
                out.push(10);
                out.extend((values.len() as u32).to_be_bytes());
                values.iter().for_each(|value| value.write0(out));
            }
            Self::Null => out.push(5),
            Self::Other(marker) => out.push(*marker),
        }
    }

    fn write3(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(5);
                out.extend(number.to_be_bytes());
            }
            Self::Bool(bool) => out.push(if *bool { 3 } else { 2 }),
            Self::String(text) => {
                out.push(6);
                key3(text, out);
            }
            Self::Object(fields) => {
                // A dynamic object without a class: all its members follow by name, an empty one ends them.
                out.extend([0x0a, 0x0b, 0x01]);
                for (name, value) in fields {
                    key3(name, out);
                    value.write3(out);
                }
                out.push(1);
            }
            Self::Array(_) | Self::Null | Self::Other(_) => out.push(1),
        }
    }
}

/// The values as AMF0.
pub fn amf0(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| value.write0(&mut out));
    out
}

/// The values as the body of an AMF3 message: a zero byte, the first two (name and transaction) plain, each other one switched to AMF3.
pub fn amf3(values: &[Value]) -> Vec<u8> {
    let mut out = vec![0];
    for (at, value) in values.iter().enumerate() {
        if at < 2 {
            value.write0(&mut out);
        } else {
            out.push(0x11);
            value.write3(&mut out);
        }
    }
    out
}

/// The values of an AMF0 body; stops at the first that it does not know.
pub fn read(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while let Some(value) = value(&mut bytes) {
        values.push(value);
    }
    values
}

fn value(bytes: &mut &[u8]) -> Option<Value> {
    Some(match take(bytes, 1)?[0] {
        0 => Value::Number(f64::from_be_bytes(take(bytes, 8)?.try_into().ok()?)),
        1 => Value::Bool(take(bytes, 1)?[0] != 0),
        2 => Value::String(read_key(bytes)?),
        3 => fields(bytes)?,
        5 | 6 => Value::Null,
        8 => {
            take(bytes, 4)?;
            fields(bytes)?
        }
        10 => {
            let count = u32::from_be_bytes(take(bytes, 4)?.try_into().ok()?);
            Value::Array((0..count).map(|_| value(bytes)).collect::<Option<_>>()?)
        }
        other => {
            *bytes = &[];
            Value::Other(other)
        }
    })
}

fn fields(bytes: &mut &[u8]) -> Option<Value> {
    let mut fields = Vec::new();
    loop {
        let name = read_key(bytes)?;
        if name.is_empty() && bytes.first() == Some(&9) {
            take(bytes, 1)?;
            return Some(Value::Object(fields));
        }
        fields.push((name, value(bytes)?));
    }
}

fn read_key(bytes: &mut &[u8]) -> Option<String> {
    let len = u16::from_be_bytes(take(bytes, 2)?.try_into().ok()?);
    Some(String::from_utf8_lossy(take(bytes, len.into())?).into_owned())
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn key(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn key3(text: &str, out: &mut Vec<u8>) {
    let length = text.len() << 1 | 1;
    assert!(length < 0x4000, "two bytes of length are enough for a test");
    if length >= 0x80 {
        out.push((length >> 7) as u8 | 0x80);
    }
    out.push((length & 0x7f) as u8);
    out.extend(text.as_bytes());
}
