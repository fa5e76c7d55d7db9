//! The program `headwater`.

use std::process::ExitCode;

use clap::Parser as _;
use headwater::cli::Cli;

fn main() -> ExitCode {
    daemon::install_crypto();
    let cli = Cli::parse();
    // Children of `dev` end with the thread that started them: this one, which lives as long as the process.
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("headwater: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(cli.run());
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("headwater: {error:#}");
            ExitCode::FAILURE
        }
    }
}
