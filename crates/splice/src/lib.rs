//! Which source feeds a stream now, and one unbroken timeline.
//!
//! A [`Splice`] is the life of one live stream: publications come, are lost, come back and end; it says who may feed
//! the stream, numbers what has been heard, and puts each message on the stream's timeline, on which decoding times
//! go on without falling or jumping, whoever feeds it. It reads no clock: the time comes in with each call.
//!
//! What it decides is in the log that its stream keeps: each frame's [`media::Provenance`] says of which message it was
//! made and how the encoder's clock stood. So another origin that holds the log has the same splice: [`Splice::replay`].

mod splice;
mod timeline;

pub use splice::{Accepted, Config, Gone, Logged, Opened, Splice, TakeOver, Taken};
