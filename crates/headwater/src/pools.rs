//! Pools of origins: who is active, and who is to be.

mod text;

use std::process::ExitCode;

use clap::Subcommand;
use cluster::{Epoch, IdError, NodeId, PoolId};
use daemon::config::Period;
use rpc::{
    control::{Client, FailBack, FenceMember, HoldPool, PoolInfo, Promote, PromoteMode, Query, ReleasePool},
    status::Failure,
};

use crate::{
    control::{Plane, refused},
    output,
};

/// `headwater pools`
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show the pools with their members, and what moved the active role last.
    List {
        #[command(flatten)]
        plane: Plane,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make another member active: in good order, with nothing lost.
    Promote {
        /// The member, by its name: origin-2.
        #[arg(value_parser = node)]
        member: NodeId,
        /// At once, without waiting for the present active, and even if the member is not in sync: what it lacks is lost.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        verb: Verb,
    },
    /// Make the first choice active again: the configured one, otherwise the one before the last move.
    Failback {
        #[command(flatten)]
        verb: Verb,
    },
    /// Let no role move by itself.
    Hold {
        /// For so long, such as 30m; until it is released when not given.
        #[arg(long = "for", value_name = "TIME")]
        duration: Option<Period>,
        #[command(flatten)]
        verb: Verb,
    },
    /// Let roles move by themselves again.
    Release {
        #[command(flatten)]
        verb: Verb,
    },
    /// Take a member that is not active out of service.
    Fence {
        /// The member, by its name: origin-2.
        #[arg(value_parser = node)]
        member: NodeId,
        #[command(flatten)]
        verb: Verb,
    },
    /// Let a fenced member in again.
    Unfence {
        /// The member, by its name: origin-2.
        #[arg(value_parser = node)]
        member: NodeId,
        #[command(flatten)]
        verb: Verb,
    },
}

/// What all that changes a pool is told.
#[derive(clap::Args, Debug)]
struct Verb {
    /// Which pool.
    #[arg(long, value_name = "NAME", default_value = "main", value_parser = pool)]
    pool: PoolId,
    /// Refuse if the pool is in another epoch than this; the one that it is in now when not given.
    #[arg(long, value_name = "N")]
    expected_epoch: Option<u64>,
    /// Why, for the events.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Check whether it could be done, and do nothing.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    plane: Plane,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn pool(text: &str) -> Result<PoolId, IdError> {
    PoolId::from_resource(text)
}

fn node(text: &str) -> Result<NodeId, IdError> {
    NodeId::from_resource(text)
}

/// Shows the pools, or changes one and shows what it is then. Exit code 1 when it was refused.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (verb, ask) = match args.command {
        Command::List { plane, json } => {
            show(&all(&plane.connect().await?).await?, json)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Promote { member, force, verb } => {
            let mode = if force { PromoteMode::Force } else { PromoteMode::Graceful };
            (verb, Ask::Promote(member, mode))
        }
        Command::Failback { verb } => (verb, Ask::FailBack),
        Command::Hold { duration, verb } => (verb, Ask::Hold(duration)),
        Command::Release { verb } => (verb, Ask::Release),
        Command::Fence { member, verb } => (verb, Ask::Fence(member)),
        Command::Unfence { member, verb } => (verb, Ask::Unfence(member)),
    };
    let client = verb.plane.connect().await?;
    let expected = match verb.expected_epoch {
        Some(epoch) => Epoch(epoch),
        None => client.pool(&verb.pool).await.map_err(refused)?.view.epoch,
    };
    let pool = ask.of(&client, &verb, expected).await.map_err(refused)?;
    if verb.check {
        eprintln!("it could be done; nothing was changed");
    }
    show(&[pool], verb.json)?;
    Ok(ExitCode::SUCCESS)
}

/// What is asked of a pool.
enum Ask {
    Promote(NodeId, PromoteMode),
    FailBack,
    Hold(Option<Period>),
    Release,
    Fence(NodeId),
    Unfence(NodeId),
}

impl Ask {
    async fn of(self, client: &Client, verb: &Verb, expected_epoch: Epoch) -> Result<PoolInfo, Failure> {
        let (pool, reason, validate_only) = (verb.pool.clone(), verb.reason.clone(), verb.check);
        match self {
            Self::Promote(member, mode) => {
                client.promote(Promote { pool, member, mode, expected_epoch, validate_only, reason }).await
            }
            Self::FailBack => client.fail_back(FailBack { pool, expected_epoch, validate_only, reason }).await,
            Self::Hold(duration) => {
                let (expected_epoch, duration) = (Some(expected_epoch), duration.map(Into::into));
                client.hold_pool(HoldPool { pool, expected_epoch, duration, validate_only, reason }).await
            }
            Self::Release => {
                let expected_epoch = Some(expected_epoch);
                client.release_pool(ReleasePool { pool, expected_epoch, validate_only, reason }).await
            }
            Self::Fence(member) => {
                client.fence_member(FenceMember { pool, member, expected_epoch, validate_only, reason }).await
            }
            Self::Unfence(member) => {
                client.unfence_member(FenceMember { pool, member, expected_epoch, validate_only, reason }).await
            }
        }
    }
}

async fn all(client: &Client) -> anyhow::Result<Vec<PoolInfo>> {
    let mut pools = Vec::new();
    let mut query = Query::default();
    loop {
        let page = client.pools(query.clone()).await.map_err(refused)?;
        pools.extend(page.items);
        if page.next_page_token.is_empty() {
            return Ok(pools);
        }
        query.page_token = page.next_page_token;
    }
}

fn show(pools: &[PoolInfo], json: bool) -> anyhow::Result<()> {
    let text = match json {
        true => format!("{}\n", serde_json::to_string_pretty(&pools.iter().map(text::json).collect::<Vec<_>>())?),
        false => pools.iter().map(text::page).collect(),
    };
    output::print(&text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Command, String> {
        let words = ["pools"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args.command).map_err(|error| error.to_string())
    }

    #[test]
    fn a_promotion_is_graceful_and_of_the_pool_main_unless_said_otherwise() {
        let Ok(Command::Promote { member, force, verb }) = parse("promote origin-2") else { panic!("a promotion") };
        assert_eq!((member.as_str(), force, verb.pool, verb.check), ("origin-2", false, PoolId::main(), false));
        let line = "promote nodes/origin-2 --force --pool originPools/west --expected-epoch 7 --reason why --check";
        let Ok(Command::Promote { force, verb, .. }) = parse(line) else { panic!("a promotion") };
        assert_eq!((force, verb.pool.as_str(), verb.expected_epoch, verb.check), (true, "west", Some(7), true));
    }

    #[test]
    fn a_hold_lasts_until_it_is_released_unless_said_otherwise() {
        assert!(matches!(parse("hold"), Ok(Command::Hold { duration: None, .. })));
        let Ok(Command::Hold { duration: Some(time), .. }) = parse("hold --for 30m") else { panic!("a hold") };
        assert_eq!(*time, std::time::Duration::from_secs(1800));
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
        for line in ["promote", "fence", "promote edges/x", "hold --for ever", "release --pool A", "list --token x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
