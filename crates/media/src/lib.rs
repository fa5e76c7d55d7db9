//! Values: stream names, media messages, frames, FLV tags.
//!
//! What every other crate speaks about. Nothing here reads a clock, a socket or a file; payloads are
//! [`bytes::Bytes`], cloned by reference count and never changed.

pub mod flv;
mod frame;
mod name;
mod provenance;
mod publication;
pub mod tag;
pub mod url;

pub use frame::{Frame, Kind, MediaMessage, Medium};
pub use name::{DEFAULT_INSTANCE, DEFAULT_VHOST, NameError, StreamName};
pub use provenance::{Clock, Provenance};
pub use publication::{ParsePublicationIdError, PublicationId};
pub use url::{Scheme, StreamUrl, UrlError};
