//! The service: binds, serves, ends.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use cluster::Incarnation;
use daemon::Process;
use rpc::{
    auth::Auth,
    node::{Identity, NodeKind},
    server::{Health, Server},
};

use crate::{config::Config, node::OwnNode, plane::ControlPlane};

/// Runs the control plane until its process is told to end.
pub async fn serve(config: Config, process: Process<Config>) -> anyhow::Result<()> {
    let listener = daemon::bind("gRPC", "listen", config.listen)?;
    let address = listener.local_addr().context("the gRPC port has no address")?;
    let auth = Arc::new(Auth::open(config.tokens.as_deref(), process.dev)?);
    let failed = auth.clone();
    process.metrics.collect(move |samples| failed.sample(samples));
    let opened = ControlPlane::open(config.clone(), &process.metrics)?;
    let control = opened.control.clone();
    let health = Health::new().await;
    let listeners = [("grpc", address), ("admin", process.admin.address())];
    let identity = Identity {
        id: config.node.clone(),
        incarnation: Incarnation::from_bits(rand::random()),
        kind: NodeKind::ControlPlane,
        version: env!("CARGO_PKG_VERSION"),
        started: Instant::now(),
        listeners: listeners.into_iter().map(|(name, at)| (name.to_owned(), at.to_string())).collect(),
    };
    let node = OwnNode { control: control.clone(), process: process.clone(), identity };
    let server = Server::builder(auth.clone(), &health).control(Arc::new(control.clone())).node(Arc::new(node));
    let server = server.build().await;
    process.admin.inspect(Arc::new(control.clone()));
    health.set_ready(true).await;
    tracing::info!(%address, "grpc.listening");

    let shutdown = process.shutdown.clone();
    let not_ready = async {
        shutdown.begun().await;
        health.set_ready(false).await;
    };
    // First the answers end, then what is behind them.
    let left = control.clone();
    let leaving = async {
        shutdown.begun().await;
        left.leave();
    };
    let serving = async {
        tokio::join!(server.serve(listener, leaving), not_ready);
    };
    tokio::select! {
        outcome = opened.run(serving) => outcome.context("the control plane cannot go on"),
        () = reload(control, auth, config, process.clone()) => unreachable!("it reloads for ever"),
    }
}

/// Applies new route entries and tokens whenever the configuration is read again.
async fn reload(control: ControlPlane, auth: Arc<Auth>, started: Config, mut process: Process<Config>) {
    loop {
        let new = process.reloads.next().await;
        control.seed_routes(new.routes.clone()).await;
        auth.read_again(started.tokens.as_deref());
    }
}
