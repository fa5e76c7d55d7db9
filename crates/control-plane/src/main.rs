//! The control plane's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    let program = daemon::Program {
        name: "headwater-control-plane",
        about: "Headwater control plane: route entries, membership, and who is active",
        version: env!("CARGO_PKG_VERSION"),
    };
    daemon::run(program, control_plane::serve)
}
