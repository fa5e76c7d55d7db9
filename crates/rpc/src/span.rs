//! Spans of time as messages carry them.

use std::time::Duration;

use crate::status::Failure;

/// A span that is not negative, and no longer than a message may carry.
pub(crate) fn read(field: &str, given: prost_types::Duration) -> Result<Duration, Failure> {
    // Not by prost's own conversion: it overflows at the least possible number of seconds, and has no bound.
    match (u64::try_from(given.seconds), u32::try_from(given.nanos)) {
        (Ok(seconds), Ok(nanos)) if seconds <= SECONDS_MAX && nanos < 1_000_000_000 => {
            Ok(Duration::new(seconds, nanos))
        }
        _ => Err(Failure::invalid_field(field, "must be a span from 0 to 10,000 years")),
    }
}

/// A span for a message; one that is longer than it may carry is cut.
pub(crate) fn wire(span: Duration) -> prost_types::Duration {
    let span = span.min(Duration::from_secs(SECONDS_MAX));
    prost_types::Duration { seconds: span.as_secs() as i64, nanos: span.subsec_nanos() as i32 }
}

/// As protobuf has it: 10,000 years.
const SECONDS_MAX: u64 = 315_576_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_nobody_can_mean_are_refused() {
        let given = |seconds, nanos| read("span", prost_types::Duration { seconds, nanos });
        assert_eq!(given(1, 500_000_000), Ok(Duration::from_millis(1500)));
        assert_eq!(given(315_576_000_000, 0), Ok(Duration::from_secs(SECONDS_MAX)));
        let wrong =
            [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, i32::MIN), (i64::MAX, 0), (9_000_000_000_000_000_000, 0)];
        for (seconds, nanos) in wrong {
            assert_eq!(given(seconds, nanos).unwrap_err().fields[0].field, "span", "{seconds} s {nanos} ns");
        }
        for span in [Duration::ZERO, Duration::from_nanos(1_000_000_001), Duration::from_secs(SECONDS_MAX)] {
            assert_eq!(read("span", wire(span)), Ok(span));
        }
        assert_eq!(read("span", wire(Duration::MAX)), Ok(Duration::from_secs(SECONDS_MAX)));
    }
}
