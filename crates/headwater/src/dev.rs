//! The laptop cluster: real processes on loopback.
//!
//! ```text
//! plan: names, ports ─▶ files: YAML, tokens, cluster.json ─▶ cluster: children, started on the main thread
//!                                                               ▲ restart NAME, through the socket DIR/dev.sock
//! ```

mod child;
mod cluster;
mod control;
mod files;
mod follow;
mod plan;
mod ports;
mod yaml;

use std::{path::PathBuf, process::ExitCode};

use clap::{Subcommand, ValueEnum};

/// `headwater dev`
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
    /// Which ports to use: those of the manual, or any free ones (see DIR/cluster.json).
    #[arg(long, value_enum, default_value_t = Ports::Fixed)]
    ports: Ports,
    /// Show what the processes log, too.
    #[arg(long)]
    log: bool,
    /// Where the services' binaries are; next to this one by default.
    #[arg(long, value_name = "DIR", hide = true)]
    bin_dir: Option<PathBuf>,
}

/// Where a laptop cluster keeps its files.
#[derive(clap::Args, Clone, Debug)]
pub struct Place {
    /// The cluster's directory: configuration, logs, tokens, store.
    #[arg(long, value_name = "DIR", default_value = DIR)]
    pub dir: PathBuf,
}

/// The directory of a cluster that is given none.
const DIR: &str = ".headwater";

#[derive(Subcommand, Debug)]
enum Command {
    /// Stop a process of the running cluster, if it lives, and start it again.
    Restart {
        /// Its name, e.g. edge-1.
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    Fixed,
    Free,
}

/// Runs the cluster until a signal ends it, or asks a running one to restart a process.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(Command::Restart { name, place }) => control::restart(&place.dir, &name).await?,
        None => cluster::run(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
