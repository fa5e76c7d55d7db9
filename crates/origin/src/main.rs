//! The origin's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    let program = daemon::Program {
        name: "headwater-origin",
        about: "Headwater origin: keeps each stream whole and hands it to edges",
        version: env!("CARGO_PKG_VERSION"),
    };
    daemon::run(program, origin::serve)
}
