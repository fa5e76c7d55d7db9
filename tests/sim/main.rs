//! The rules of replication, explored and simulated.

mod model;
