//! Which source feeds a stream now, and one unbroken timeline.
//!
//! A [`Splice`] is the life of one live stream: publications come, are lost, come back and end; it says who may feed
//! the stream, numbers what has been heard, and puts each message on the stream's [`Timeline`], on which decoding times
//! go on without falling or jumping, whoever feeds it. It reads no clock: the time comes in with each call.

mod splice;
mod timeline;

pub use splice::{Accepted, Config, Gone, Opened, Splice, TakeOver, Taken};
pub use timeline::Timeline;
