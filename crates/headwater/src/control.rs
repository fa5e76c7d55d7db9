//! The control plane, as operators reach it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use rpc::{
    auth::{Caller, Token},
    channel::{Channel, Target},
    control::Client,
    status::Failure,
};

use crate::{dev::Place, target::Cluster};

/// Which control plane, and as whom.
#[derive(clap::Args, Debug)]
pub struct Plane {
    #[command(flatten)]
    place: Place,
    /// The control plane to ask instead of that of the cluster in DIR; several are tried in order.
    #[arg(long, value_name = "HOST:PORT")]
    control: Vec<String>,
    /// The file of the operator's token, for a control plane named by --control.
    #[arg(long, value_name = "FILE", requires = "control")]
    token: Option<PathBuf>,
}

impl Plane {
    /// Connects to it.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let channel = Channel::connect(&self.target()?).await.context("the control plane does not answer")?;
        Ok(Client::new(channel))
    }

    fn target(&self) -> anyhow::Result<Target> {
        if !self.control.is_empty() {
            let token = self.token.as_deref().map(Token::read).transpose()?;
            return Ok(Target::new(&self.control, token));
        }
        let cluster = Cluster::read(&self.place.dir)?;
        let Some(control) = cluster.nodes.values().find(|node| node.kind == "control-plane") else {
            bail!("the cluster in {} has no control plane", self.place.dir.display());
        };
        let token = Token::own(Some(&cluster.tokens), Caller::Operator)?;
        Ok(Target::new([control.grpc.to_string()], token))
    }
}

/// Why the control plane did not do it, with what would help.
pub(crate) fn refused(failure: Failure) -> anyhow::Error {
    let hints: Vec<_> = failure.preconditions().iter().map(|hint| hint.description.as_str()).collect();
    match hints[..] {
        [] => anyhow::Error::new(failure),
        _ => anyhow::anyhow!("{failure}; {}", hints.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use rpc::status::Code;

    use super::*;

    #[test]
    fn a_refusal_says_what_would_help() {
        let failure = Failure::new(Code::FailedPrecondition, "STALE_EPOCH", "the pool is in epoch 8");
        assert_eq!(refused(failure.clone()).to_string(), "the pool is in epoch 8 (STALE_EPOCH)");
        let failure = failure.with_precondition("EPOCH", "originPools/main", "read the pool again, then decide");
        let told = refused(failure).to_string();
        assert_eq!(told, "the pool is in epoch 8 (STALE_EPOCH); read the pool again, then decide");
    }
}
