//! gRPC between services, spoken in our own types.
