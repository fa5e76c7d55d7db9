//! The control plane over loopback, with real clients and nodes that say what a test makes them say.

mod access;
mod kicks;
mod nodes;
mod roles;
mod routes;
mod scene;
mod store;
