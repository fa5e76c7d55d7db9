//! A server on loopback that knows a token of each kind of caller.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time};

use crate::{
    auth::{Auth, Caller, Token, Tokens},
    channel::{Channel, Target},
    server::{Builder, Health, Server},
};

/// A server that runs until it is stopped or dropped.
pub(crate) struct Served {
    pub(crate) address: String,
    pub(crate) health: Health,
    tokens: HashMap<Caller, Token>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Serves what `build` adds on a free port.
pub(crate) async fn serve(build: impl FnOnce(Builder) -> Builder) -> Served {
    serve_at("127.0.0.1:0", build).await
}

/// Serves what `build` adds on this address.
pub(crate) async fn serve_at(address: &str, build: impl FnOnce(Builder) -> Builder) -> Served {
    let (known, tokens) = tokens();
    let auth = Arc::new(Auth::new(known));
    let health = Health::new().await;
    let server = build(Server::builder(auth, &health).drain(Duration::from_millis(200))).build().await;
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (shutdown, told) = oneshot::channel();
    let task = tokio::spawn(async move {
        server.serve(listener, async move { told.await.unwrap_or_default() }).await;
    });
    Served { address, health, tokens, shutdown, task }
}

/// The same token for a kind in every server of one process, so that a node finds itself admitted by the next one too.
fn tokens() -> (Tokens, HashMap<Caller, Token>) {
    let mut known = Tokens::default();
    let mut tokens = HashMap::new();
    for caller in Caller::ALL {
        let token = Token::parse(&format!("token-of-{caller}-0123456789")).unwrap();
        known.add(caller, &token);
        tokens.insert(caller, token);
    }
    (known, tokens)
}

impl Served {
    /// Where it is, as this kind of caller.
    pub(crate) fn target(&self, caller: Caller) -> Target {
        Target::new([&self.address], Some(self.tokens[&caller].clone()))
    }

    /// A connection as this kind of caller.
    pub(crate) async fn channel(&self, caller: Caller) -> Channel {
        Channel::connect(&self.target(caller)).await.unwrap()
    }

    /// A connection of nobody.
    pub(crate) async fn stranger(&self) -> Channel {
        Channel::connect(&Target::new([&self.address], None)).await.unwrap()
    }

    /// Stops it in good order; it must end within its deadline.
    pub(crate) async fn stop(self) {
        drop(self.shutdown);
        time::timeout(Duration::from_secs(5), self.task).await.expect("it ends").unwrap();
    }

    /// Stops it as `kill -9` does, as far as its peers can see.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}
