//! The rules of replication, explored and simulated.

mod cases;
mod masters;
mod mistakes;
mod model;
mod rng;
mod seeds;
mod world;
