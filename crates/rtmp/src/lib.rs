//! RTMP as a state machine: bytes in, events and bytes out.
