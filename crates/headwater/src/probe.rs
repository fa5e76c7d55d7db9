//! One question to one node, answered by the exit code: for load balancers, keepalived and scripts.

use std::{net::SocketAddr, process::ExitCode};

use crate::{http, output};

/// `headwater probe`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The node's admin port.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9080")]
    admin: SocketAddr,
    /// Does it serve as the active origin?
    #[arg(long, group = "question")]
    active: bool,
    /// Does it take work?
    #[arg(long, group = "question")]
    ready: bool,
    /// Does the process live? Asked when nothing else is.
    #[arg(long, group = "question")]
    healthy: bool,
}

/// Exit code 0 for yes, 1 for no or no answer; the answer is printed.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let page = match (args.active, args.ready) {
        (true, _) => "/active",
        (_, true) => "/readyz",
        _ => "/healthz",
    };
    let (yes, answer) = match http::get(args.admin, page).await {
        Ok(answer) => (answer.status == 200, answer.body),
        Err(error) => (false, format!("no answer from {}: {error}", args.admin)),
    };
    output::print(&format!("{}\n", answer.trim()))?;
    Ok(if yes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
