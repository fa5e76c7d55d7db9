//! Rust made from the .proto files, and what they say about who may call what.
//!
//! Only `rpc` uses this crate: generated types go no further. A package `headwater.node.v1` is the module
//! [`node::v1`]; `bytes` fields are [`bytes::Bytes`].

mod methods;

#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod packages {
    include!(concat!(env!("OUT_DIR"), "/packages.rs"));
}

pub use methods::{METHODS, Method, callers};
pub use packages::headwater::*;

/// The compiled protos and all that they import, as an encoded `google.protobuf.FileDescriptorSet` with comments and options.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
