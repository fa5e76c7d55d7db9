//! RTMP over TCP and TLS: accept, drive, limit, fan out.
