//! The values that AMF0 and AMF3 carry.

use bytes::Bytes;

/// One AMF value, of either version. Members keep the order in which they were sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// null.
    Null,
    /// undefined, and AMF0's "unsupported".
    Undefined,
    /// A truth value.
    Bool(bool),
    /// A number; AMF3's integers are numbers too.
    Number(f64),
    /// Text. Bytes that are not UTF-8 were replaced by U+FFFD.
    String(String),
    /// An anonymous object.
    Object(Vec<(String, Value)>),
    /// An array with names; how metadata is usually sent.
    EcmaArray(Vec<(String, Value)>),
    /// An array without names, and AMF3's vectors.
    StrictArray(Vec<Value>),
    /// A point in time.
    Date {
        /// Milliseconds since 1970.
        unix_ms: f64,
        /// Minutes to UTC; reserved, usually 0, not in AMF3.
        zone: i16,
    },
    /// An XML text, which nothing here parses.
    Xml(String),
    /// An object of a named class.
    Typed {
        /// The class's name.
        class: String,
        /// Its members.
        members: Vec<(String, Value)>,
    },
    /// A byte array; AMF3 only.
    Bytes(Bytes),
    /// A map with keys of any kind; AMF3 only.
    Dictionary(Vec<(Value, Value)>),
}

impl Value {
    /// An object of these members.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The members of an object, ECMA array or typed object.
    pub fn members(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(members) | Self::EcmaArray(members) | Self::Typed { members, .. } => Some(members),
            _ => None,
        }
    }

    /// The first member of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members()?.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether it is null or undefined.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Null | Self::Undefined)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}
