//! The streams that this origin keeps whole: its [`Replica`], on a clock and among tasks.

mod hold;
mod lookout;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use cluster::{Member, Surroundings, SyncChange, SyncRequest};
use dashmap::DashMap;
use hub::Hub;
use media::StreamName;
use replica::{Publish, Refused, Replica};
use telemetry::Rate;
use tokio::{
    sync::{Notify, watch},
    time::{Instant as TokioInstant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

pub use hold::Hold;
pub use lookout::Lookout;

/// The replica of this origin. Publications come in through [`Streams::publish`]; edges read the [`Hub`].
#[derive(Debug)]
pub struct Streams {
    hub: Hub,
    replica: Mutex<Replica>,
    wake: watch::Receiver<u64>,
    changes: watch::Receiver<u64>,
    asking: Mutex<Asking>,
    /// There is something to ask or tell the control plane at once.
    urgent: Arc<Notify>,
    rates: DashMap<StreamName, Rate>,
}

/// A stream in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What the replica knows of it.
    pub stream: replica::Listed,
    /// When this origin began to hold it.
    pub since: SystemTime,
    /// Payload taken in each second, in bytes.
    pub bytes_per_second: f64,
}

impl Streams {
    /// No streams yet. `urgent` is notified when the control plane is to hear of something at once.
    pub fn new(me: Member, hub: Hub, config: replica::Config, urgent: Arc<Notify>) -> Self {
        let replica = Replica::new(me, hub.clone(), config);
        Self {
            hub,
            wake: replica.wake(),
            changes: replica.changes(),
            replica: Mutex::new(replica),
            asking: Mutex::default(),
            urgent,
            rates: DashMap::new(),
        }
    }

    /// The logs of the streams.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Does something with the replica, now. Never waits for long: no one holds it across an await.
    pub fn with<T>(&self, work: impl FnOnce(&mut Replica, Instant) -> T) -> T {
        work(&mut lock(&self.replica), now())
    }

    /// Changes whenever a connection of the replica may have something new to say.
    pub fn wake(&self) -> watch::Receiver<u64> {
        self.wake.clone()
    }

    /// Changes with the role and with each opening and end of a stream.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Looks for a stream that may not be there yet.
    pub fn look_for(&self, name: StreamName) -> Lookout {
        Lookout::new(self.hub.clone(), name, self.changes())
    }

    /// How the replica stands.
    pub fn standing(&self) -> replica::Standing {
        lock(&self.replica).standing()
    }

    /// A publication asks to feed a stream, for the first time or again on a new connection. Completes when its opening
    /// is committed.
    pub async fn publish(self: &Arc<Self>, publish: Publish) -> Result<Hold, Refused> {
        let mut changes = self.changes();
        let busy_until = TokioInstant::now() + BUSY_PATIENCE;
        let admission = async {
            loop {
                changes.mark_unchanged();
                match self.with(|replica, now| replica.publish(publish.clone(), now)) {
                    // The one before it is ending: its end is committed within moments.
                    Err(Refused::Ending) if changes.changed().await.is_ok() => {}
                    // It may have ended: calls overtake one another, those of one encoder at two edges too.
                    // Whoever waits asks now and then, and not at every change of any stream: there may be many of them.
                    Err(Refused::Busy | Refused::HeldUp) if TokioInstant::now() < busy_until => sleep(BUSY_STEP).await,
                    outcome => return outcome,
                }
            }
        };
        let ticket = timeout(ENDING_MAX, admission).await.unwrap_or(Err(Refused::Busy))?;
        let mut hold = Hold::new(self.clone(), ticket);
        hold.opened().await.map_err(|_| Refused::NotActive)?;
        Ok(hold)
    }

    /// Ends a stream whatever its encoder does. False: there is none.
    pub fn kick(&self, name: &StreamName) -> bool {
        self.with(|replica, _| replica.kick(name))
    }

    /// All streams of which something is committed, in the order of their names.
    pub fn list(&self) -> Vec<Listed> {
        let streams = lock(&self.replica).list();
        self.forget_rates_of_others(&streams);
        let (now, wall) = (now(), SystemTime::now());
        let listed = streams.into_iter().map(|stream| {
            let rate = self.rates.entry(stream.name.clone()).or_default();
            let bytes_per_second = rate.sample(stream.info.bytes_total, now);
            Listed { since: wall - now.saturating_duration_since(stream.since), bytes_per_second, stream }
        });
        listed.collect()
    }

    /// `streams` are all that there are, in the order of their names.
    fn forget_rates_of_others(&self, streams: &[replica::Listed]) {
        self.rates.retain(|name, _| streams.binary_search_by(|stream| stream.name.cmp(name)).is_ok());
    }

    /// What is to be asked of the control plane, once.
    pub fn take_request(&self) -> Option<SyncRequest> {
        lock(&self.asking).due.take()
    }

    /// Lets time pass for the replica, until told to stop: graces end, members are asked in and out.
    pub async fn run(&self, surroundings: impl Fn() -> Surroundings, stop: CancellationToken) {
        let mut changes = self.changes();
        loop {
            let due = self.with(|replica, now| replica.poll_timeout(now));
            let due = async {
                match due {
                    Some(at) => sleep_until(TokioInstant::from_std(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = due => self.handle_timeout(surroundings()),
                changed = changes.changed() => changed.expect("the replica is ours and outlives this loop"),
            }
        }
    }

    fn handle_timeout(&self, around: Surroundings) {
        let request = self.with(|replica, now| {
            replica.handle_timeout(now, around);
            replica.poll_request()
        });
        if let Some(request) = request {
            lock(&self.asking).ask(request);
            self.urgent.notify_one();
        }
    }
}

/// What is asked of the control plane, again and again until it answers.
#[derive(Debug, Default)]
struct Asking {
    due: Option<SyncRequest>,
    last: Option<SyncRequest>,
}

impl Asking {
    fn ask(&mut self, request: SyncRequest) {
        if self.last.as_ref() != Some(&request) {
            let (epoch, version) = (request.epoch.0, request.version);
            match &request.change {
                // Nobody hears this now: it is told to whoever reads our log, and asked for once somebody does.
                SyncChange::Alone { without } => {
                    tracing::error!(epoch, version, ?without, alarm = "ALONE", "replication.alone");
                }
                change => tracing::info!(epoch, version, ?change, "sync.asked"),
            }
            self.last = Some(request.clone());
        }
        self.due = Some(request);
    }
}

/// Our clock; tests pause it.
pub(crate) fn now() -> Instant {
    TokioInstant::now().into_std()
}

/// A panic while the lock was held left at most one message out: the streams go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a name may take to become free after its stream has ended.
const ENDING_MAX: Duration = Duration::from_secs(2);
/// How long the end of the publication before may be on its way here, when another asks for its name. Well within the
/// time that an edge waits for an answer.
const BUSY_PATIENCE: Duration = Duration::from_millis(300);
/// How often it is looked for meanwhile.
const BUSY_STEP: Duration = Duration::from_millis(50);

#[cfg(test)]
pub(crate) mod tests;
