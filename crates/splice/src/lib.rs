//! Which source feeds a stream now, and one unbroken timeline.
