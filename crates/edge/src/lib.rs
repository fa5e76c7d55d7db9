//! The edge service: takes viewers and encoders in, fetches each stream once, fans it out.

pub mod http;
