//! The edge's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    let program = daemon::Program {
        name: "headwater-edge",
        about: "Headwater edge: takes viewers and encoders in, fetches each stream once, fans it out",
        version: env!("CARGO_PKG_VERSION"),
    };
    daemon::run(program, edge::serve)
}
