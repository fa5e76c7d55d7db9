//! Live streams in memory: publisher in, subscribers out, one bounded ring a stream.
