//! First-frame times and latency through the cluster.
fn main() {}
