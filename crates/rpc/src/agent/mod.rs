//! A node's standing conversation with the control plane.
//!
//! The agent makes the node known, beats, reports its streams and sessions, hands roles and commands to it, and keeps a
//! copy of the route entries and pools. That copy is the last good answer: it stays while the control plane is away, and
//! outlives the process on disk. Nothing live waits for the control plane.
//!
//! ```text
//! connect ─▶ register ─▶ ┬ conversation: beats and reports up, roles and commands down ─▶ Local
//!    ▲                   ├ watch of the route entries ─┬▶ Snapshot ─▶ disk
//!    └── back off ◀──────┴ watch of the pools ─────────┘
//!        when any ends
//! ```

mod backoff;
mod conversation;
mod disk;
mod replica;
mod reports;
mod standing;

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use cluster::{Beat, Grant, Notice, PoolView, Registration, RouteEntry};
use futures_util::{StreamExt, TryStreamExt};
use media::StreamName;
use tokio::{
    select,
    sync::{Notify, watch},
    task::JoinHandle,
    time,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use crate::{
    channel::{Channel, Target},
    control::{Client, Deregister, FromNode, PoolInfo, RouteInfo, Steps, StreamReport},
    node::Operated,
    status::{Code, Failure},
};
use backoff::Backoff;
use replica::{Replica, follow};
pub use standing::Standing;

/// How a node keeps in touch.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the control plane is, and as whom to call it.
    pub target: Target,
    /// Who the node is. The epochs in it are brought up to date from [`Local::beat`] each time.
    pub registration: Registration,
    /// Where the last snapshot is kept. None: nowhere.
    pub snapshot_file: Option<PathBuf>,
    /// Notified (`notify_one`) by the node when what it has to say must not wait for the next beat: a request, another role, somebody
    /// whom it does not hear any more. Requests and a beat go out at once then.
    pub urgent: Arc<Notify>,
}

/// The node, as the agent sees it. All of it should answer at once.
pub trait Local: Operated {
    /// What it says of itself with each beat.
    fn beat(&self) -> Beat;

    /// The streams that it holds now.
    fn streams(&self) -> Vec<StreamReport>;

    /// Takes its role, which is told when a conversation begins and at each change. It has to refuse what is older than
    /// what it has heard.
    fn role(&self, grant: Grant);

    /// The next thing that the node has to say of its own accord. Asked until there is none, with each beat and whenever
    /// [`Config::urgent`] is notified; what is taken here while the conversation ends is not said again.
    fn poll_request(&self) -> Option<FromNode> {
        None
    }

    /// What has happened to streams since the notice of this number, the oldest first, each with its own number. Each
    /// conversation begins at 0, so that what the control plane has not kept is said again.
    fn notices_after(&self, _number: u64) -> Vec<(u64, Notice)> {
        Vec::new()
    }

    /// The control plane has the notices up to this number on disk.
    fn notices_kept(&self, _through: u64) {}

    /// Ends a stream that is published here, and refuses encoders on its name for a while. Returns how many sessions that
    /// concerned.
    fn kick_stream(&self, name: &StreamName, reason: &str, ban_for: Duration) -> u32;
}

/// What a node knows from the control plane.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Whether it knows anything, and since when.
    pub known: Known,
    /// The control plane's route entries.
    pub routes: Arc<[RouteEntry]>,
    /// The pools.
    pub pools: Arc<[PoolView]>,
}

/// Where a snapshot comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Known {
    /// The control plane has not been heard yet, and the disk holds nothing.
    #[default]
    Nothing,
    /// From an earlier life of this node; the control plane has not been heard yet.
    FromDisk,
    /// From the control plane, in this life.
    FromControlPlane,
}

/// The running conversation. Ends when dropped.
#[derive(Debug)]
pub struct Agent {
    snapshot: watch::Receiver<Snapshot>,
    standing: Standing,
    leave: CancellationToken,
    ended: CancellationToken,
    task: JoinHandle<()>,
}

impl Agent {
    /// Reads the snapshot on disk, then goes about finding the control plane; it need not be there.
    pub async fn start<L: Local>(config: Config, local: Arc<L>) -> Self {
        let saved = match &config.snapshot_file {
            Some(path) => disk::load(path.clone()).await,
            None => None,
        };
        let standing = Standing::default();
        let mut snapshot = Snapshot::default();
        if let Some(saved) = saved {
            standing.confirmed_at(saved.confirmed_unix_ms);
            snapshot = saved.snapshot();
        }
        let (publish, watched) = watch::channel(snapshot);
        let (leave, ended) = (CancellationToken::new(), CancellationToken::new());
        let runner = Runner {
            config,
            local,
            publish,
            standing: standing.clone(),
            leave: leave.clone(),
            _ended: ended.clone().drop_guard(),
        };
        let task = tokio::spawn(runner.run());
        Self { snapshot: watched, standing, leave, ended, task }
    }

    /// What the node knows; changes when it does.
    pub fn snapshot(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }

    /// Whether the control plane is there, and how old the snapshot is.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Completes when the conversation is over, which it is before the node leaves only if its task has panicked.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.ended.clone().cancelled_owned()
    }

    /// Tells the control plane that the node ends, if that can be done in a second, and ends the conversation.
    pub async fn leave(mut self) {
        self.leave.cancel();
        if time::timeout(LEAVE_WAIT, &mut self.task).await.is_err() {
            debug!("control.left_without_a_word");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task behind an agent.
struct Runner<L> {
    config: Config,
    local: Arc<L>,
    publish: watch::Sender<Snapshot>,
    standing: Standing,
    leave: CancellationToken,
    /// Says that the task is over, however it ends.
    _ended: DropGuard,
}

impl<L: Local> Runner<L> {
    async fn run(self) {
        let saving = disk::save_changes(self.config.snapshot_file.clone(), self.publish.subscribe(), &self.standing);
        select! {
            () = self.keep_in_touch() => {}
            () = saving => {}
        }
    }

    async fn keep_in_touch(&self) {
        let (routes, pools) = {
            let snapshot = self.publish.borrow();
            (Replica::new(&snapshot.routes, route_name), Replica::new(&snapshot.pools, pool_name))
        };
        let mut copies = Copies { granter: String::new(), routes, pools };
        let mut backoff = Backoff::default();
        let mut told = String::new();
        while !self.leave.is_cancelled() {
            let ended = self.connection(&mut copies).await;
            if self.standing.lost() {
                backoff = Backoff::default();
                told.clear();
            }
            match ended {
                Ok(()) => return,
                // Said once for each reason, however often it is tried.
                Err(failure) if failure.to_string() != told => {
                    told = failure.to_string();
                    warn!(reason = %told, "control.away");
                }
                Err(_) => {}
            }
            let wait = backoff.next();
            select! {
                () = time::sleep(wait) => {}
                () = self.leave.cancelled() => {}
            }
        }
    }

    /// One connection, from connecting to its end: in good order when the node leaves, otherwise as a failure.
    async fn connection(&self, copies: &mut Copies) -> Result<(), Failure> {
        let connecting = async {
            let channel = Channel::connect(&self.config.target).await.map_err(away)?;
            let address = channel.address().to_owned();
            let client = Client::new(channel);
            let registered = in_time(client.register(self.registration())).await?;
            Ok::<_, Failure>((client, address, registered.granter))
        };
        let (client, address, granter) = select! {
            connected = connecting => connected?,
            () = self.leave.cancelled() => return Ok(()),
        };
        info!(%address, "control.registered");
        copies.told_by(granter);
        let member = &self.config.registration.member;
        let routes_client = client.clone();
        let routes = follow(
            &mut copies.routes,
            move |from| watch_routes(routes_client.clone(), from),
            |entries, complete| self.publish_routes(entries, complete),
            || self.standing.routes_confirmed(),
        );
        let pools_client = client.clone();
        let pools = follow(
            &mut copies.pools,
            move |from| watch_pools(pools_client.clone(), from),
            |views, complete| self.publish_pools(views, complete),
            || self.standing.pools_confirmed(),
        );
        let failure = select! {
            failure = conversation::hold(&client, member, self.local.as_ref(), &self.config.urgent, &self.standing) => failure,
            failure = routes => failure,
            failure = pools => failure,
            () = self.leave.cancelled() => {
                self.deregister(&client).await;
                return Ok(());
            }
        };
        Err(failure)
    }

    fn registration(&self) -> Registration {
        let beat = self.local.beat();
        Registration { highest_epoch: beat.highest_epoch, serving: beat.serving, ..self.config.registration.clone() }
    }

    async fn deregister(&self, client: &Client) {
        let member = self.config.registration.member.clone();
        let request = Deregister {
            node: member.node,
            incarnation: Some(member.incarnation),
            validate_only: false,
            reason: "the node ends".to_owned(),
        };
        if let Err(failure) = client.deregister(request).await {
            debug!(%failure, "control.not_deregistered");
        }
    }

    fn publish_routes(&self, entries: Arc<[RouteEntry]>, complete: bool) {
        self.publish.send_if_modified(|snapshot| {
            let changed = snapshot.routes != entries;
            snapshot.routes = entries;
            changed | self.mark_known(snapshot, complete)
        });
    }

    fn publish_pools(&self, views: Arc<[PoolView]>, complete: bool) {
        self.publish.send_if_modified(|snapshot| {
            let changed = snapshot.pools != views;
            snapshot.pools = views;
            changed | self.mark_known(snapshot, complete)
        });
    }

    /// Once both copies are complete, the snapshot is the control plane's.
    fn mark_known(&self, snapshot: &mut Snapshot, complete: bool) -> bool {
        let newly = complete && self.standing.both_confirmed() && snapshot.known != Known::FromControlPlane;
        if newly {
            snapshot.known = Known::FromControlPlane;
        }
        newly
    }
}

async fn watch_routes(client: Client, from: u64) -> Result<Steps<RouteEntry>, Failure> {
    let steps = client.watch_routes(from).await?;
    Ok(steps.map_ok(|step| step.map(|route: RouteInfo| route.entry)).boxed())
}

async fn watch_pools(client: Client, from: u64) -> Result<Steps<PoolView>, Failure> {
    let steps = client.watch_pools(from).await?;
    Ok(steps.map_ok(|step| step.map(|pool: PoolInfo| pool.view)).boxed())
}

/// What is kept from one connection to the next.
struct Copies {
    /// Which start of which store told them.
    granter: String,
    routes: Replica<RouteEntry>,
    pools: Replica<PoolView>,
}

impl Copies {
    /// Another start may be on a store that was restored from a copy, whose revisions mean other changes.
    fn told_by(&mut self, granter: String) {
        if self.granter != granter {
            self.granter = granter;
            self.routes.begin_anew();
            self.pools.begin_anew();
        }
    }
}

fn route_name(entry: &RouteEntry) -> String {
    entry.id.resource()
}

fn pool_name(view: &PoolView) -> String {
    view.id.resource()
}

fn away(error: crate::channel::ConnectError) -> Failure {
    Failure::new(Code::Unavailable, "CONTROL_UNREACHABLE", error.to_string())
}

/// The answer of a call that must not take long.
async fn in_time<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = |_| Failure::new(Code::DeadlineExceeded, "CONTROL_SILENT", "the control plane does not answer");
    time::timeout(CALL_WAIT, call).await.map_err(late)?
}

/// How long a call may take.
const CALL_WAIT: Duration = Duration::from_secs(5);
/// How long leaving may take.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
