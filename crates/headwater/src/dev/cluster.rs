//! The running cluster: starts the processes, tells when one dies, restarts one when asked, ends all.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use futures_util::{FutureExt as _, future::select_all};
use nix::sys::signal::Signal;
use tokio::{
    signal::unix::{Signal as Listener, SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Args, Ports,
    child::{Child, End},
    control::{Control, Restart},
    files::Files,
    follow,
    plan::{Kind, Node, Plan},
    ports,
};
use crate::{http, output};

/// How long the whole cluster, or a restarted process, may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a process that is not ready is asked again.
const READY_PERIOD: Duration = Duration::from_millis(50);
/// How much of a log is shown when its process could not start.
const LOG_LINES: usize = 12;

/// Runs a cluster until it is told to end.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let files = Files::prepare(&args.place.dir)?;
    let (ports, _held) = match args.ports {
        Ports::Fixed => (ports::fixed()?, None),
        Ports::Free => ports::free().map(|(ports, lock)| (ports, Some(lock)))?,
    };
    let plan = Plan::new(ports);
    let binaries = binaries(args.bin_dir)?;
    files.write(&plan)?;
    let (control, requests) = Control::listen(files.dir())?;
    let signals = Signals::listen()?;
    let logs = plan.nodes.iter().map(|node| (node.name, files.log(node.name))).collect();
    let follow = async {
        match args.log {
            true => follow::follow(logs).await,
            false => std::future::pending().await,
        }
    };
    let children = plan.nodes.iter().map(|node| Child::new(node.clone(), binaries.join(node.kind.binary()))).collect();
    let cluster = Cluster { files, children, waiting: Vec::new(), watches: JoinSet::new() };
    tokio::select! {
        outcome = cluster.live(&plan, signals, requests) => outcome,
        () = control.run() => unreachable!("it serves for ever"),
        () = follow => unreachable!("it follows for ever"),
    }
}

/// The directory of the services' binaries: this program's own, unless another is given.
fn binaries(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let dir = match given {
        Some(dir) => dir,
        None => {
            let own = env::current_exe().context("cannot tell where this program is")?;
            own.parent().map(Path::to_owned).unwrap_or_default()
        }
    };
    for kind in [Kind::ControlPlane, Kind::Origin, Kind::Edge] {
        let path = dir.join(kind.binary());
        if !path.exists() {
            bail!(
                "{} is missing: `cargo build --workspace` builds it (with --release if this program is)",
                path.display()
            );
        }
    }
    Ok(dir)
}

type Told = Result<(), String>;

/// A process that was started again, and whether it became ready.
struct Watched {
    name: &'static str,
    pid: Option<u32>,
    told: Told,
}

struct Cluster {
    files: Files,
    children: Vec<Child>,
    /// Who waits for the restart of which child.
    waiting: Vec<(&'static str, oneshot::Sender<Told>)>,
    /// Looks whether restarted processes are ready.
    watches: JoinSet<Watched>,
}

impl Cluster {
    async fn live(
        mut self,
        plan: &Plan,
        mut signals: Signals,
        mut requests: mpsc::Receiver<Restart>,
    ) -> anyhow::Result<()> {
        for child in &mut self.children {
            child.start(&self.files)?;
        }
        let started = tokio::select! {
            started = self.all_ready(plan) => Some(started),
            _ = signals.next() => None,
        };
        let outcome = match started {
            Some(Ok(())) => {
                let told = output::print(&format!("{}ready\n", plan.hints(self.files.dir())));
                if told.is_ok() {
                    self.serve(&mut signals, &mut requests).await;
                }
                told.context("cannot write to standard output")
            }
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        self.end(&mut signals).await;
        outcome
    }

    /// Waits until every process is ready and an origin is active, or one of them cannot start.
    async fn all_ready(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let Self { files, children, .. } = self;
        let ready = async {
            for node in &plan.nodes {
                ready(node).await?;
            }
            active(plan).await
        };
        tokio::select! {
            ready = ready => ready.map_err(|error| anyhow!("{error}\n{}", files.last_logs(plan, LOG_LINES))),
            (name, end) = first_end(children) => {
                bail!("{name} cannot start: {}\n{}", describe(end.status), files.last_log(name, LOG_LINES))
            }
        }
    }

    /// Until a signal comes.
    async fn serve(&mut self, signals: &mut Signals, requests: &mut mpsc::Receiver<Restart>) {
        loop {
            tokio::select! {
                _ = signals.next() => return,
                Some(request) = requests.recv() => self.on_restart(request),
                (name, end) = first_end(&mut self.children) => self.on_end(name, &end),
                Some(Ok(watched)) = self.watches.join_next() => self.on_watched(watched),
            }
        }
    }

    fn on_restart(&mut self, Restart { name, done }: Restart) {
        let Some(child) = self.children.iter_mut().find(|child| child.node.name == name) else {
            let names: Vec<_> = self.children.iter().map(|child| child.node.name).collect();
            return tell(done, Err(format!("there is no {name:?} here, but {}", names.join(", "))));
        };
        let name = child.node.name;
        self.waiting.push((name, done));
        match child.is_running() {
            true => child.stop(),
            false => self.start_again(name),
        }
    }

    fn on_end(&mut self, name: &'static str, end: &End) {
        if end.asked && self.waiting.iter().any(|(waiting, _)| *waiting == name) {
            return self.start_again(name);
        }
        eprintln!(
            "{name} (process {}) has ended: {}; its log is {}; `headwater dev restart {name} --dir {}` brings it back",
            end.pid,
            describe(end.status),
            self.files.log(name).display(),
            self.files.dir().display(),
        );
        let told = format!("it has ended again: {}\n{}", describe(end.status), self.files.last_log(name, LOG_LINES));
        self.answer(name, Err(told));
    }

    /// Starts a child that does not run; who waits is answered when it is ready.
    fn start_again(&mut self, name: &'static str) {
        let Some(child) = self.children.iter_mut().find(|child| child.node.name == name) else { return };
        if let Err(error) = child.start(&self.files) {
            return self.answer(name, Err(daemon::explain(&error)));
        }
        eprintln!("{name} is started again");
        let (node, pid) = (child.node.clone(), child.pid());
        self.watches.spawn(async move {
            let told = ready(&node).await.map_err(|error| daemon::explain(&error));
            Watched { name, pid, told }
        });
    }

    fn on_watched(&mut self, Watched { name, pid, told }: Watched) {
        // A process that has ended since, or was started yet again, has another answer.
        if self.children.iter().any(|child| child.node.name == name && child.pid() == pid) {
            self.answer(name, told);
        }
    }

    fn answer(&mut self, name: &str, told: Told) {
        for (_, done) in self.waiting.extract_if(.., |(waiting, _)| *waiting == name) {
            tell(done, told.clone());
        }
    }

    /// Ends edges, then origins, then the control plane; a second signal ends all at once.
    async fn end(&mut self, signals: &mut Signals) {
        self.watches.shutdown().await;
        let Self { children, .. } = self;
        let in_order = async {
            for kind in [Kind::Edge, Kind::Origin, Kind::ControlPlane] {
                let mut these: Vec<_> = children.iter_mut().filter(|child| child.node.kind == kind).collect();
                these.iter_mut().filter(|child| child.is_running()).for_each(|child| child.stop());
                while these.iter().any(|child| child.is_running()) {
                    first_end(these.iter_mut().map(|child| &mut **child)).await;
                }
            }
        };
        let done = tokio::select! {
            () = in_order => true,
            _ = signals.next() => false,
        };
        if !done {
            children.iter_mut().for_each(Child::kill);
            while children.iter().any(Child::is_running) {
                first_end(children.iter_mut()).await;
            }
        }
    }
}

/// Waits for the first child to end; for ever when none runs. May be dropped at any time.
async fn first_end<'a>(children: impl IntoIterator<Item = &'a mut Child>) -> (&'static str, End) {
    let ends: Vec<_> = children
        .into_iter()
        .filter(|child| child.is_running())
        .map(|child| async move { (child.node.name, child.ended().await) }.boxed_local())
        .collect();
    match ends.is_empty() {
        true => std::future::pending().await,
        false => select_all(ends).await.0,
    }
}

/// Waits until a node says that it is ready.
async fn ready(node: &Node) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let said = match http::get(node.admin, "/readyz").await {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => answer.body.trim().replace('\n', "; "),
            Err(error) => format!("no answer from its admin port: {error}"),
        };
        if Instant::now() > deadline {
            bail!("{} is not ready after {READY_TIMEOUT:?}: {said}", node.name);
        }
        sleep(READY_PERIOD).await;
    }
}

/// Waits until an origin serves as active.
async fn active(plan: &Plan) -> anyhow::Result<()> {
    let search = async {
        loop {
            for origin in plan.of(Kind::Origin) {
                if http::get(origin.admin, "/active").await.is_ok_and(|answer| answer.status == 200) {
                    return;
                }
            }
            sleep(READY_PERIOD).await;
        }
    };
    timeout(READY_TIMEOUT, search).await.map_err(|_| anyhow!("no origin is active after {READY_TIMEOUT:?}"))
}

/// Whoever asked may have gone away; then nobody is told.
fn tell(done: oneshot::Sender<Told>, told: Told) {
    let _ = done.send(told);
}

/// How a process ended, in words.
fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

/// What tells this program to end.
struct Signals([Listener; 3]);

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    /// The next one. May be dropped at any time.
    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
