use cluster::{Incarnation, NodeId, PoolId, PoolViewMember};
use hub::{Hub, RingLimits};
use replica::FollowDown;
use tokio_util::task::AbortOnDropHandle;

use super::*;

fn me() -> Member {
    Member { node: NodeId::new("o1").unwrap(), incarnation: Incarnation::from_bits(1) }
}

fn roles(dir: &Path) -> Roles {
    let urgent = Arc::new(Notify::new());
    let config = replica::Config::default();
    let streams = Arc::new(Streams::new(me(), Hub::new(RingLimits::default()), config, urgent.clone()));
    Roles::standby(dir, streams, watch::channel(Some(pool_view())).1, urgent).unwrap()
}

/// o1 and o2, as the control plane describes them.
fn pool_view() -> PoolView {
    let origin = |name: &str, port: u16| PoolViewMember {
        member: Member { node: NodeId::new(name).unwrap(), incarnation: Incarnation::from_bits(1) },
        role: cluster::Role::Standby,
        in_sync: true,
        public: format!("{name}:1935").parse().unwrap(),
        peer: format!("{name}:{port}").parse().unwrap(),
    };
    PoolView {
        id: PoolId::main(),
        version: 1,
        written_by: String::new(),
        epoch: Epoch(1),
        loss_epoch: Epoch(0),
        active: Some(me().node),
        members: vec![origin("o1", 9001), origin("o2", 9002)],
    }
}

fn grant(role: cluster::Role, epoch: u64, version: u64) -> Grant {
    Grant {
        pool: PoolId::main(),
        member: me(),
        role,
        epoch: Epoch(epoch),
        version,
        written_by: String::new(),
        loss_epoch: Epoch(0),
        active: None,
        in_sync: [me()].into(),
        fenced: Default::default(),
        yields: false,
        store: String::new(),
    }
}

/// Lets the process end in order.
async fn end(roles: &Roles) {
    let stop = CancellationToken::new();
    stop.cancel();
    roles.run(stop).await;
}

#[tokio::test]
async fn a_process_that_starts_is_standby_and_takes_no_epoch_below_those_it_has_heard() {
    let dir = tempfile::tempdir().unwrap();
    let first = roles(dir.path());
    assert_eq!(*first.watch().borrow(), Role::default());
    first.handle_grant(grant(cluster::Role::Active, 7, 1)).unwrap();
    assert!(first.watch().borrow().is_active());
    first.handle_grant(grant(cluster::Role::Standby, 3, 2)).unwrap();
    assert!(first.watch().borrow().is_active(), "old word is left unheard");
    first.handle_grant(grant(cluster::Role::Standby, 8, 3)).unwrap();
    assert!(!first.watch().borrow().is_active());
    end(&first).await;

    let again = roles(dir.path());
    assert_eq!(*again.watch().borrow(), Role { epoch: Epoch(8), ..Role::default() });
    assert!(matches!(again.handle_grant(grant(cluster::Role::Active, 7, 9)), Err(GrantError::Refused(_))));
    again.handle_grant(grant(cluster::Role::Active, 9, 10)).unwrap();
    assert!(again.watch().borrow().is_active());
}

#[test]
fn one_that_yields_is_active_until_another_is() {
    let dir = tempfile::tempdir().unwrap();
    let roles = roles(dir.path());
    let stage = || roles.watch().borrow().stage;
    roles.handle_grant(grant(cluster::Role::Active, 7, 1)).unwrap();
    assert_eq!(stage(), Stage::Active);
    roles.handle_grant(Grant { yields: true, ..grant(cluster::Role::Active, 7, 2) }).unwrap();
    assert_eq!(stage(), Stage::Yielding);
    assert!(roles.watch().borrow().is_active());
    roles.handle_grant(grant(cluster::Role::Standby, 8, 3)).unwrap();
    assert_eq!(stage(), Stage::Standby);
}

#[test]
fn an_active_that_hears_of_a_higher_epoch_is_active_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let roles = roles(dir.path());
    roles.handle_grant(grant(cluster::Role::Active, 2, 1)).unwrap();
    roles.hear(Epoch(2));
    assert!(roles.watch().borrow().is_active());
    roles.hear(Epoch(3));
    assert_eq!(*roles.watch().borrow(), Role { epoch: Epoch(3), ..Role::default() });
}

#[test]
fn of_two_grants_of_one_epoch_the_second_is_refused_and_the_next_epoch_ends_both() {
    let dir = tempfile::tempdir().unwrap();
    let roles = roles(dir.path());
    let by =
        |store: &str, epoch, version| Grant { store: store.into(), ..grant(cluster::Role::Active, epoch, version) };
    roles.handle_grant(by("a", 7, 1)).unwrap();
    let other = Grant { role: cluster::Role::Standby, ..by("b", 7, 2) };
    assert!(matches!(roles.handle_grant(other.clone()), Err(GrantError::Doubled { epoch: Epoch(7) })));
    assert!(roles.watch().borrow().is_active(), "it goes by the first");
    roles.handle_grant(by("a", 7, 3)).unwrap();
    roles.handle_grant(Grant { epoch: Epoch(8), ..other }).unwrap();
    assert!(!roles.watch().borrow().is_active());
}

#[tokio::test]
async fn a_disk_that_takes_its_time_holds_up_no_role() {
    let dir = tempfile::tempdir().unwrap();
    let roles = roles(dir.path());
    let written = roles.heard.be_written();
    roles.handle_grant(grant(cluster::Role::Active, 7, 1)).unwrap();
    assert!(roles.watch().borrow().is_active());
    roles.handle_grant(grant(cluster::Role::Standby, 8, 2)).unwrap();
    assert_eq!(*roles.watch().borrow(), Role { epoch: Epoch(8), ..Role::default() });
    roles.hear(Epoch(9));
    assert_eq!(roles.highest_epoch(), Epoch(9));
    drop(written);
    end(&roles).await;
    assert_eq!(EpochFile::open(dir.path()).unwrap().epoch(), Epoch(9));
}

/// One that has heard of epoch 6, and whose disk does not take that.
async fn with_full_disk(dir: &Path) -> (Arc<Roles>, AbortOnDropHandle<()>) {
    std::fs::create_dir(dir.join("epoch.new")).unwrap();
    let roles = Arc::new(roles(dir));
    let keeping = roles.clone();
    let running = tokio::spawn(async move { keeping.run(CancellationToken::new()).await });
    roles.hear(Epoch(6));
    while roles.heard.failure().is_none() {
        tokio::task::yield_now().await;
    }
    (roles, AbortOnDropHandle::new(running))
}

async fn make_room(dir: &Path, roles: &Roles) {
    std::fs::remove_dir(dir.join("epoch.new")).unwrap();
    while roles.heard.failure().is_some() {
        sleep(STORE_AGAIN).await;
    }
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn one_whose_disk_takes_nothing_takes_the_role_that_it_was_granted_once_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let (roles, _running) = with_full_disk(dir.path()).await;
    for version in 1..3 {
        let refused = roles.handle_grant(grant(cluster::Role::Active, 7, version));
        assert!(matches!(refused, Err(GrantError::Store(_))), "{refused:?}");
    }
    assert!(!roles.watch().borrow().is_active());
    make_room(dir.path(), &roles).await;
    let mut role = roles.watch();
    let taken = timeout(STORE_AGAIN, role.wait_for(|role| role.is_active() && role.epoch == Epoch(7))).await;
    assert!(taken.is_ok(), "it is not granted again");
    assert_eq!(roles.streams.standing().version, 2, "the newest");
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_waited_for_the_disk_is_over_with_newer_word() {
    let dir = tempfile::tempdir().unwrap();
    let (roles, _running) = with_full_disk(dir.path()).await;
    assert!(roles.handle_grant(grant(cluster::Role::Active, 7, 1)).is_err());
    roles.handle_grant(grant(cluster::Role::Standby, 7, 2)).unwrap();
    make_room(dir.path(), &roles).await;
    assert!(roles.refused.lock().unwrap().is_none());
    assert_eq!(*roles.watch().borrow(), Role { epoch: Epoch(7), ..Role::default() });
}

#[tokio::test]
async fn an_origin_that_counts_epochs_itself_has_each_on_disk_first() {
    let dir = tempfile::tempdir().unwrap();
    roles(dir.path()).handle_own_grant(grant(cluster::Role::Active, 7, 1)).await.unwrap();
    assert_eq!(roles(dir.path()).highest_epoch(), Epoch(7));
}

#[tokio::test]
async fn one_that_is_deposed_names_whom_it_follows_and_never_itself() {
    let dir = tempfile::tempdir().unwrap();
    let roles = roles(dir.path());
    roles.handle_grant(Grant { active: Some(me()), ..grant(cluster::Role::Active, 1, 1) }).unwrap();
    roles.hear(Epoch(2));
    let named = || roles.watch().borrow().active_at.clone();
    assert!(!roles.watch().borrow().is_active());
    assert_eq!(named(), None, "who is active in 2 nobody has said");

    let o2 = NodeId::new("o2").unwrap();
    roles.streams.with(|replica, now| {
        let conn = replica.leader_opened(o2);
        let (epoch, committed) = (Epoch(2), 0);
        for down in [
            FollowDown::Lead { epoch },
            FollowDown::Settled { epoch, keep: Vec::new(), gone: Vec::new() },
            FollowDown::Entries { epoch, order: 0, committed, entries: Vec::new() },
        ] {
            replica.handle_down(conn, down, now).unwrap();
        }
    });
    roles.refresh();
    assert_eq!(named().as_deref(), Some("o2:9002"));
}

#[test]
fn one_that_has_started_again_is_not_the_one_that_the_record_names() {
    let dir = tempfile::tempdir().unwrap();
    let roles = roles(dir.path());
    let before = Member { incarnation: Incarnation::from_bits(0), ..me() };
    roles.handle_grant(Grant { active: Some(before), ..grant(cluster::Role::Standby, 1, 1) }).unwrap();
    assert_eq!(roles.watch().borrow().active_at, None);
}
