//! AMF0 and AMF3, the encodings of commands and data messages.
//!
//! Both decoders keep to [`crate::limits::AmfLimits`]: depth, counts and bytes are bounded whatever the input says.

pub mod amf0;
pub mod amf3;
pub mod data;

mod error;
mod source;
mod value;

pub use error::Error;
pub use value::Value;

#[cfg(test)]
mod tests;
