//! The program `headwater`.

use std::process::ExitCode;

use clap::Parser as _;
use headwater::cli::Cli;
use telemetry::logs;

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
    let outcome = runtime.block_on(async {
        let _logs = logs::init(options())?;
        cli.run().await
    });
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("headwater: {}", daemon::explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Standard output is a command's result; what went wrong on the way is told on standard error.
fn options() -> logs::Options {
    logs::Options {
        service: "headwater".to_owned(),
        level: "warn".to_owned(),
        output: logs::Output::Stderr,
        ..logs::Options::default()
    }
}
