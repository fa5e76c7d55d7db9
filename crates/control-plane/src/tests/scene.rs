//! A control plane on a free port, its callers, and its nodes.

use std::{
    collections::HashMap,
    future::Future,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use cluster::{
    Beat, Epoch, Grant, Incarnation, KnownRecord, Load, Member, NodeAddresses, NodeId, NodeKind, PoolId, Registration,
    Role, RouteConfig, SyncChange, SyncRequest,
};
use daemon::TaskEnded;
use futures_util::StreamExt;
use rpc::{
    auth::{Auth, Caller, Token, Tokens},
    channel::{Channel, Target},
    control::{Client, Command, CommandResult, FromControl, FromNode, Step, Steps, Watched},
    server::{Health, Server},
    status::Failure,
};
use telemetry::metrics::Registry;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time,
};

use crate::{
    Config,
    plane::{ControlPlane, Open, lock},
};

/// Nothing that is awaited takes longer.
pub(super) const SOON: Duration = Duration::from_secs(20);

pub(super) struct Scene {
    pub(super) control: ControlPlane,
    address: String,
    tokens: HashMap<Caller, Token>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), TaskEnded>>,
}

/// Settings with short waits.
pub(super) fn config(dir: &Path) -> Config {
    let mut config = Config { data_dir: dir.to_owned(), ..Config::default() };
    config.roles.gather = Duration::from_millis(20).into();
    config.roles.settle = Duration::from_millis(200).into();
    config
}

pub(super) fn routes(list: &[&str]) -> Vec<RouteConfig> {
    list.iter().map(|text| serde_json::from_value(serde_json::Value::from(*text)).unwrap()).collect()
}

impl Scene {
    pub(super) async fn start(config: Config) -> Self {
        Self::run(ControlPlane::open(config, &Registry::new()).unwrap()).await
    }

    pub(super) async fn run(open: Open) -> Self {
        let (mut known, mut tokens) = (Tokens::default(), HashMap::new());
        for caller in Caller::ALL {
            let token = Token::generate();
            known.add(caller, &token);
            tokens.insert(caller, token);
        }
        let control = open.control.clone();
        let health = Health::new().await;
        let builder = Server::builder(Arc::new(Auth::new(known)), &health).drain(Duration::from_millis(100));
        let server = builder.control(Arc::new(control.clone())).build().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, told) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let control = open.control.clone();
            let leaving = async move {
                told.await.unwrap_or_default();
                control.leave();
            };
            let serving = server.serve(listener, leaving);
            // As the process does it: first the answers end, then what is behind them.
            open.run(serving).await
        });
        Self { control, address, tokens, stop, task }
    }

    /// Ends it in good order: its store may be opened again.
    pub(super) async fn stop(self) {
        let Self { control, stop, task, .. } = self;
        let _ = stop.send(());
        soon(task).await.unwrap().unwrap();
        drop(control);
    }

    /// Why it ends although nobody told it to.
    pub(super) async fn ends(self) -> TaskEnded {
        soon(self.task).await.unwrap().unwrap_err()
    }

    pub(super) async fn client(&self, caller: Caller) -> Client {
        Client::new(self.channel(Some(caller)).await)
    }

    pub(super) async fn channel(&self, caller: Option<Caller>) -> Channel {
        let token = caller.map(|caller| self.tokens[&caller].clone());
        Channel::connect(&Target::new([&self.address], token)).await.unwrap()
    }

    pub(super) async fn operator(&self) -> Client {
        self.client(Caller::Operator).await
    }

    /// An origin that is registered and talks.
    pub(super) async fn origin(&self, id: &str, start: u64) -> Talking {
        Talking::begin(&self.client(Caller::Origin).await, registration(id, start, NodeKind::Origin)).await.unwrap()
    }

    /// An edge that is registered and talks.
    pub(super) async fn edge(&self, id: &str, start: u64) -> Talking {
        Talking::begin(&self.client(Caller::Edge).await, registration(id, start, NodeKind::Edge)).await.unwrap()
    }
}

pub(super) fn node(id: &str) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(super) fn registration(id: &str, start: u64, kind: NodeKind) -> Registration {
    let member = Member { node: node(id), incarnation: Incarnation::from_bits(start) };
    let number = id.bytes().last().unwrap_or_default() % 10;
    let address = |port: u16| format!("10.0.0.{number}:{port}").parse().ok();
    Registration {
        member,
        pool: (kind == NodeKind::Origin).then(PoolId::main),
        kind,
        addresses: NodeAddresses { public: address(1935), peer: address(9001), ..NodeAddresses::default() },
        labels: Default::default(),
        version: "1".into(),
        capabilities: vec![],
        highest_epoch: Epoch(0),
        serving: None,
    }
}

/// A node in a conversation: it beats by itself, takes the roles it is given, and answers commands as it is told.
pub(super) struct Talking {
    pub(super) up: mpsc::Sender<FromNode>,
    roles: mpsc::UnboundedReceiver<Grant>,
    commands: mpsc::UnboundedReceiver<Command>,
    kept: mpsc::UnboundedReceiver<u64>,
    state: Arc<Mutex<State>>,
    task: JoinHandle<Option<Failure>>,
}

#[derive(Default)]
struct State {
    beat: Beat,
    quiet: bool,
    obstinate: bool,
    stubborn: bool,
    answer: Option<CommandResult>,
}

impl Talking {
    pub(super) async fn begin(client: &Client, registration: Registration) -> Result<Self, Failure> {
        let member = registration.member.clone();
        let beat = Beat { serving: registration.serving, highest_epoch: registration.highest_epoch, ..Beat::default() };
        client.register(registration).await?;
        Self::resume(client, member, beat).await
    }

    /// The conversation of a node that is registered.
    pub(super) async fn resume(client: &Client, member: Member, beat: Beat) -> Result<Self, Failure> {
        let (up, said) = mpsc::channel(64);
        let said = futures_util::stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
        let mut down = client.converse(member, said).await?;
        let state = Arc::new(Mutex::new(State { beat, ..State::default() }));
        let (role_sender, roles) = mpsc::unbounded_channel();
        let (command_sender, commands) = mpsc::unbounded_channel();
        let (kept_sender, kept) = mpsc::unbounded_channel();
        let (sender, shared) = (up.clone(), state.clone());
        let task = tokio::spawn(async move {
            let mut number = 0;
            let mut ticks = time::interval(Duration::from_millis(100));
            loop {
                tokio::select! {
                    message = down.next() => match message {
                        None => return None,
                        Some(Err(failure)) => return Some(failure),
                        Some(Ok(FromControl::Role(grant))) => {
                            take(&shared, &grant);
                            if grant.yields && !lock(&shared).stubborn {
                                let _ = sender.send(FromNode::Yielded { epoch: grant.epoch }).await;
                            }
                            let _ = role_sender.send(grant);
                            number += 1;
                            say(&sender, &shared, number).await;
                        }
                        Some(Ok(FromControl::Command { id, command })) => {
                            let answer = lock(&shared).answer.clone();
                            let _ = command_sender.send(command);
                            if let Some(answer) = answer {
                                let answer = CommandResult { command_id: id, ..answer };
                                let _ = sender.send(FromNode::Result(answer)).await;
                            }
                        }
                        Some(Ok(FromControl::NoticesKept { through })) => drop(kept_sender.send(through)),
                        Some(Ok(_)) => {}
                    },
                    _ = ticks.tick() => {
                        number += 1;
                        say(&sender, &shared, number).await;
                    }
                }
            }
        });
        Ok(Self { up, roles, commands, kept, state, task })
    }

    /// The next role it is given.
    pub(super) async fn role(&mut self) -> Grant {
        soon(self.roles.recv()).await.expect("the conversation goes on")
    }

    /// The role and epoch it ends up with: the first that is as wanted.
    pub(super) async fn role_until(&mut self, wanted: (Role, u64)) -> Grant {
        loop {
            let grant = self.role().await;
            if (grant.role, grant.epoch.0) == wanted {
                return grant;
            }
        }
    }

    pub(super) async fn command(&mut self) -> Command {
        soon(self.commands.recv()).await.expect("the conversation goes on")
    }

    /// The next word on how far its notices are stored.
    pub(super) async fn kept(&mut self) -> u64 {
        soon(self.kept.recv()).await.expect("the conversation goes on")
    }

    /// Answers every further command.
    pub(super) fn answers(&self, affected: u32, error: Option<&str>) {
        let error = error.map(str::to_owned);
        lock(&self.state).answer = Some(CommandResult { command_id: String::new(), affected, error });
    }

    /// Beats no more, or again.
    pub(super) fn quiet(&self, quiet: bool) {
        lock(&self.state).quiet = quiet;
    }

    /// Hears these nodes, and says so with its next beat.
    pub(super) fn hears(&self, nodes: &[&str]) {
        lock(&self.state).beat.hears = nodes.iter().map(|id| node(id)).collect();
    }

    /// Asks for a change of the in-sync set, on the record that it knows.
    pub(super) async fn asks(&self, change: SyncChange) {
        let (epoch, version) = {
            let state = lock(&self.state);
            (state.beat.highest_epoch, state.beat.record.clone().unwrap_or_default().version)
        };
        let request = SyncRequest { pool: PoolId::main(), epoch, version, change };
        self.up.send(FromNode::SyncRequest(request)).await.unwrap();
    }

    /// Does not yield whatever it is told.
    pub(super) fn stubborn(&self) {
        lock(&self.state).stubborn = true;
    }

    /// Keeps serving whatever it is told.
    pub(super) fn obstinate(&self) {
        lock(&self.state).obstinate = true;
    }

    pub(super) fn carries(&self, load: Load) {
        lock(&self.state).beat.load = load;
    }

    pub(super) fn hears_epoch(&self, epoch: u64) {
        lock(&self.state).beat.highest_epoch = Epoch(epoch);
    }

    /// As an edge that knows of which pool it is.
    pub(super) fn hears_epoch_of(&self, pool: &str, epoch: u64) {
        self.hears_epoch(epoch);
        lock(&self.state).beat.pool_epochs.insert(PoolId::new(pool).ok(), Epoch(epoch));
    }

    /// Why the control plane ended the conversation.
    pub(super) async fn ended(self) -> Option<Failure> {
        soon(self.task).await.unwrap()
    }

    /// Its process is gone.
    pub(super) async fn die(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn take(state: &Mutex<State>, grant: &Grant) {
    let mut state = lock(state);
    if !state.obstinate && grant.epoch >= state.beat.highest_epoch {
        state.beat.role = Some(grant.role);
        state.beat.serving = (grant.role == Role::Active).then_some(grant.epoch);
        state.beat.highest_epoch = state.beat.highest_epoch.max(grant.epoch);
        let Grant { version, written_by, loss_epoch, in_sync, epoch, store, .. } = grant.clone();
        state.beat.record = Some(KnownRecord { version, written_by, loss_epoch, in_sync, epoch, granted_by: store });
    }
}

async fn say(up: &mpsc::Sender<FromNode>, state: &Mutex<State>, number: u64) {
    let beat = {
        let state = lock(state);
        (!state.quiet).then(|| state.beat.clone())
    };
    if let Some(beat) = beat {
        let _ = up.send(FromNode::Beat { number, beat: Box::new(beat) }).await;
    }
}

/// What must not take long.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    time::timeout(SOON, future).await.expect("it takes too long")
}

/// The next step that is no heartbeat.
pub(super) async fn next<T>(steps: &mut Steps<T>) -> Step<T> {
    loop {
        let step = soon(steps.next()).await.expect("the watch goes on").expect("it goes well");
        if !matches!(step.event, Watched::Heartbeat) {
            return step;
        }
    }
}

/// Follows a watch until a thing is as wanted.
pub(super) async fn until<T: Clone>(steps: &mut Steps<T>, wanted: impl Fn(&T) -> bool) -> T {
    loop {
        if let Watched::Put(thing) | Watched::Snapshot(thing) = next(steps).await.event
            && wanted(&thing)
        {
            return thing;
        }
    }
}

/// Why it was refused.
pub(super) fn reason<T>(outcome: Result<T, Failure>) -> String {
    outcome.err().expect("it is refused").reason
}
