//! An origin without a control plane: it gives itself the role (REPLICATION, State).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cluster::{Epoch, Grant, Member, PoolId, Role};
use replica::GrantRefused;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::role::{GrantError, Roles};

/// Nobody else decides: this origin is active from its start, alone.
#[derive(Debug)]
pub(crate) struct Standalone {
    pub(crate) pool: PoolId,
    pub(crate) me: Member,
    pub(crate) roles: Arc<Roles>,
}

impl Standalone {
    /// The highest epoch that edges are believed to have heard of. Since an epoch follows on each, they could use them up.
    pub(crate) fn epoch_believed_max(&self) -> Epoch {
        Epoch(self.roles.highest_epoch().0.saturating_add(Epoch::JUMP_MAX))
    }

    /// Takes the role in the epoch after the highest that was heard of. An error: the disk does not take that.
    pub(crate) async fn take_role(&self) -> Result<(), GrantError> {
        loop {
            match self.roles.handle_own_grant(self.next_grant()).await {
                // A higher one was heard of meanwhile.
                Err(GrantError::Refused(GrantRefused::Stale { .. })) => {}
                done => return done,
            }
        }
    }

    /// Takes the role again whenever it is lost, until told to stop.
    ///
    /// Edges may remember a higher epoch than this origin does, whose disk was replaced. On hearing of it it is deposed, as
    /// any active is (C8): it has forgotten what it served by then. It goes on above that.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.stay_active()).await;
    }

    async fn stay_active(&self) {
        let mut role = self.roles.watch();
        let mut patience = Patience::new();
        loop {
            role.wait_for(|role| !role.is_active()).await.expect("the roles are ours");
            sleep(patience.next_delay()).await;
            // What was seen may have been over in that moment.
            if role.borrow_and_update().is_active() {
                continue;
            }
            while let Err(error) = self.take_role().await {
                tracing::debug!(%error, "role.not_taken");
                sleep(STORE_AGAIN).await;
            }
            patience.role_was_taken();
            tracing::warn!(epoch = self.roles.highest_epoch().0, "role.taken_again");
        }
    }

    fn next_grant(&self) -> Grant {
        let (me, epoch) = (self.me.clone(), self.roles.highest_epoch().next());
        Grant {
            pool: self.pool.clone(),
            member: me.clone(),
            role: Role::Active,
            epoch,
            version: 1,
            written_by: String::new(),
            // What was served in the epochs before, nobody here knows: every stream says so.
            loss_epoch: epoch,
            active: Some(me.clone()),
            in_sync: [me].into(),
            fenced: BTreeSet::new(),
            yields: false,
            store: String::new(),
        }
    }
}

/// How long an origin stands back before it takes the role again: not at all the first time; longer and longer where it
/// loses it again. Edges that were given two such origins as one would drive the two up for ever, each above the other.
#[derive(Debug)]
struct Patience {
    wait: Duration,
    taken: Instant,
}

impl Patience {
    /// The role was taken just now.
    fn new() -> Self {
        Self { wait: Duration::ZERO, taken: Instant::now() }
    }

    fn role_was_taken(&mut self) {
        self.taken = Instant::now();
    }

    fn next_delay(&mut self) -> Duration {
        if self.taken.elapsed() >= CALM {
            self.wait = Duration::ZERO;
        }
        let delay = self.wait;
        self.wait = (delay * 2).clamp(WAIT_MIN, WAIT_MAX);
        delay
    }
}

const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Whoever had the role for so long has lost it for another reason than the last time.
const CALM: Duration = Duration::from_secs(5 * 60);
/// A disk that does not take an epoch is asked again after so long.
const STORE_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use cluster::{Incarnation, NodeId};
    use hub::{Budget, Hub, Read, RingLimits, Start};
    use tokio::{
        sync::{Notify, watch},
        time::timeout,
    };
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::streams::{
        Streams,
        tests::{B, key, publish},
    };

    /// An origin that has just taken the role in epoch 1, and what keeps it.
    struct Origin {
        dir: tempfile::TempDir,
        roles: Arc<Roles>,
        streams: Arc<Streams>,
        _tasks: [AbortOnDropHandle<()>; 2],
    }

    impl Origin {
        async fn start() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let me = Member { node: NodeId::new("o1").unwrap(), incarnation: Incarnation::from_bits(1) };
            let (hub, urgent) = (Hub::new(RingLimits::default()), Arc::new(Notify::new()));
            let streams = Arc::new(Streams::new(me.clone(), hub, replica::Config::default(), urgent.clone()));
            let pool = watch::channel(None).1;
            let roles = Arc::new(Roles::standby(dir.path(), streams.clone(), pool, urgent).unwrap());
            let standalone = Standalone { pool: PoolId::main(), me, roles: roles.clone() };
            assert_eq!(standalone.epoch_believed_max(), Epoch(Epoch::JUMP_MAX));
            standalone.take_role().await.unwrap();
            let keeping = roles.clone();
            let tasks = [
                tokio::spawn(async move { keeping.run(CancellationToken::new()).await }),
                tokio::spawn(standalone.run(CancellationToken::new())),
            ];
            Self { dir, roles, streams, _tasks: tasks.map(AbortOnDropHandle::new) }
        }

        /// An edge says so on whatever call.
        fn hear(&self, epoch: u64) {
            self.streams.with(|replica, _| replica.handle_epoch(Epoch(epoch)));
        }

        async fn active_in(&self, epoch: u64) {
            let mut role = self.roles.watch();
            let active = role.wait_for(|role| role.is_active() && role.epoch == Epoch(epoch));
            timeout(WAIT_MAX * 2, active).await.expect("it takes the role").unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_forgot_its_epochs_goes_on_above_those_that_edges_remember() {
        let origin = Origin::start().await;
        origin.active_in(1).await;
        let feed = publish(&origin.streams, B).await.unwrap();
        feed.handle_message(0, key(0)).unwrap();
        let log = origin.streams.hub().list().pop().unwrap();
        let mut viewer = log.subscribe(Start::After(log.info().next_seq - 1));
        origin.hear(5);
        assert!(!origin.streams.standing().active, "what others heard in 5 is not known here");
        origin.active_in(6).await;
        let on_disk = std::fs::read_to_string(origin.dir.path().join("epoch")).unwrap();
        assert_eq!(on_disk.trim(), "6");
        drop(feed);
        publish(&origin.streams, B).await.unwrap().handle_message(1, key(40)).unwrap();
        // The stream goes on above all that anybody can have seen, behind the loss that says so.
        let mut items = Vec::new();
        assert!(matches!(viewer.read(Budget { items: 10, bytes: 1 << 20 }, &mut items), Read::Skipped(_)));
        assert_eq!(items.last().unwrap().seq, Epoch(6).first_position() + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_drive_each_other_up_do_so_ever_more_slowly() {
        let mut patience = Patience::new();
        let mut delays = Vec::new();
        for _ in 0..9 {
            let delay = patience.next_delay();
            tokio::time::advance(delay).await;
            patience.role_was_taken();
            // The other one stands back for as long.
            tokio::time::advance(delay).await;
            delays.push(delay.as_secs());
        }
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        tokio::time::advance(CALM).await;
        assert_eq!(patience.next_delay(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_whose_disk_takes_nothing_takes_the_role_again_once_it_does() {
        let origin = Origin::start().await;
        std::fs::create_dir(origin.dir.path().join("epoch.new")).unwrap();
        origin.hear(5);
        let mut role = origin.roles.watch();
        role.wait_for(|role| !role.is_active()).await.unwrap();
        assert!(
            timeout(STORE_AGAIN * 3, role.wait_for(|role| role.is_active())).await.is_err(),
            "not before it is on disk"
        );
        std::fs::remove_dir(origin.dir.path().join("epoch.new")).unwrap();
        origin.active_in(6).await;
    }
}
