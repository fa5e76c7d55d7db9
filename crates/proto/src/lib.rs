//! Rust made from the .proto files.
