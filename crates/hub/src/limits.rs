//! How much of a stream stays in memory.

/// Bounds of one stream's ring. Whichever is reached first lets the oldest items go, as far as they are committed: who
/// appends stops in time (`Writer::is_backlogged`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingLimits {
    /// Payload bytes, and what each change of the set-up takes beside.
    pub bytes: usize,
    /// Frames and events together.
    pub items: usize,
    /// Milliseconds of media.
    pub duration_ms: u64,
}

impl Default for RingLimits {
    /// 32 MiB, 8192 items, 30 s: several GOPs of a 6 Mb/s stream, and room for an edge that reconnects.
    fn default() -> Self {
        Self { bytes: 32 << 20, items: 8192, duration_ms: 30_000 }
    }
}
