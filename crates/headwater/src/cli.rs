//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{dev, events, load, play, pools, probe, publish, status};

/// A live-streaming cluster: run it on a laptop, publish to it, play from it, look at it.
#[derive(Parser, Debug)]
#[command(name = "headwater", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a whole cluster on this machine: a control plane, two origins, two edges, all on loopback.
    Dev(dev::Args),
    /// Publish an FLV file as an encoder would, in its own time.
    Publish(publish::Args),
    /// Play a stream and say what came: frames, gaps, timestamps, time to the first frame.
    Play(play::Args),
    /// Many viewers of a stamped stream, and its publisher: who was served, what was lost, how long it took, what it cost.
    Load(load::Args),
    /// Show what the nodes of a cluster say about themselves.
    Status(status::Args),
    /// Show the pools of origins, and say who is to be active.
    Pools(pools::Args),
    /// Show what happened in the cluster: role changes with cause and evidence, nodes that came and went, kicks.
    Events(events::Args),
    /// Ask one node whether it is healthy, ready or active; the exit code answers.
    Probe(probe::Args),
}

impl Cli {
    /// Runs the command until it is done.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Dev(args) => dev::run(args).await,
            Command::Publish(args) => publish::run(args).await,
            Command::Play(args) => play::run(args).await,
            Command::Load(args) => load::run(args).await,
            Command::Status(args) => status::run(args).await,
            Command::Pools(args) => pools::run(args).await,
            Command::Events(args) => events::run(args).await,
            Command::Probe(args) => probe::run(args).await,
        }
    }
}
