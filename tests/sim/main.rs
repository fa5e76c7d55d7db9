//! The rules of replication, explored and simulated.

mod cases;
mod model;
mod rng;
mod seeds;
mod world;
