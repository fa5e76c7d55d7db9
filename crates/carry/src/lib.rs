//! An edge's part in keeping streams whole: it carries them over a change of origin, in both directions.
//!
//! - [`Replay`]: what an encoder has sent is kept until it is committed, and a little longer, and sent again to whoever is
//!   active next (REPLICATION P2).
//! - [`Mirror`]: viewers' copy of a stream. Whichever origin, or pool, its items come from, positions ascend, times never
//!   fall, and no frame comes twice.
//!
//! Nothing here reads a clock or waits: the time comes in with each call. The simulation runs these very types.

mod entry;
mod mirror;
mod replay;
mod seam;
mod setup;

pub use entry::{Entry, Part, Slot};
pub use mirror::{Appended, Mirror, Spliced};
pub use replay::{Limits, Piece, Replay};
