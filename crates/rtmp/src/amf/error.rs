//! Why AMF cannot be read.

/// How AMF bytes are wrong, or more than is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside a value, or an end marker is missing.
    #[error("AMF ends inside a value")]
    Truncated,
    /// A marker that stands for no value.
    #[error("AMF has the unknown marker {0:#04x}")]
    UnknownMarker(u8),
    /// Objects and arrays lie too deep within each other.
    #[error("AMF is nested deeper than {max}")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// An object or a trait has too many members.
    #[error("an AMF object has more than {max} members")]
    TooManyKeys {
        /// The limit.
        max: usize,
    },
    /// An array, vector or dictionary has too many items.
    #[error("an AMF array has more than {max} items")]
    TooManyItems {
        /// The limit.
        max: usize,
    },
    /// A string, key, XML text or byte array is too long.
    #[error("an AMF string has more than {max} bytes")]
    StringTooLong {
        /// The limit.
        max: usize,
    },
    /// All values together are too many.
    #[error("AMF has more than {max} values")]
    TooManyValues {
        /// The limit.
        max: usize,
    },
    /// All strings together are too long.
    #[error("AMF has more than {max} bytes of text")]
    TooMuchText {
        /// The limit.
        max: usize,
    },
    /// A reference to something that has not been sent.
    #[error("AMF refers to something that has not been sent")]
    UnknownReference,
    /// A reference to an object or array from within itself.
    #[error("an AMF value refers to itself")]
    CyclicReference,
    /// An object whose form only its class knows.
    #[error("AMF has an object of an externalizable class")]
    Externalizable,
}

impl Error {
    /// The limit that was reached, in a word for counting; none where the bytes are simply wrong.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::TooDeep { .. } => Some("amf_depth"),
            Self::TooManyKeys { .. } => Some("amf_keys"),
            Self::TooManyItems { .. } => Some("amf_items"),
            Self::StringTooLong { .. } => Some("amf_string_bytes"),
            Self::TooManyValues { .. } => Some("amf_values"),
            Self::TooMuchText { .. } => Some("amf_text_bytes"),
            Self::Truncated
            | Self::UnknownMarker(_)
            | Self::UnknownReference
            | Self::CyclicReference
            | Self::Externalizable => None,
        }
    }
}
