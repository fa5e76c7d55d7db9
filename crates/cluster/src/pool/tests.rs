//! The rules of a pool against a small world: origins, edges and a control plane that beat, die, freeze and are cut off.

mod candidates;
mod cases;
mod limits;
mod operators;
mod planned;
mod restored;
mod starts;
mod sync;
mod world;
