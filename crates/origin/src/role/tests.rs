use cluster::{Incarnation, NodeId, PoolId};
use hub::{Hub, RingLimits};

use super::*;

fn me() -> Member {
    Member { node: NodeId::new("o1").unwrap(), incarnation: Incarnation::from_bits(1) }
}

fn roles(dir: &Path) -> Roles {
    let urgent = Arc::new(Notify::new());
    let config = replica::Config::default();
    let streams = Arc::new(Streams::new(me(), Hub::new(RingLimits::default()), config, urgent.clone()));
    Roles::standby(dir, streams, watch::channel(None).1, urgent).unwrap()
}

fn grant(role: cluster::Role, epoch: u64, version: u64) -> Grant {
    Grant {
        pool: PoolId::main(),
        member: me(),
        role,
        epoch: Epoch(epoch),
        version,
        loss_epoch: Epoch(0),
        active: None,
        in_sync: [me()].into(),
        yields: false,
        store: String::new(),
    }
}

#[test]
fn a_process_that_starts_is_standby_and_takes_no_epoch_below_those_it_has_heard() {
    let dir = tempfile::tempdir().unwrap();
    let first = roles(dir.path());
    assert_eq!(*first.watch().borrow(), Role::default());
    first.handle_grant(grant(cluster::Role::Active, 7, 1)).unwrap();
    assert!(first.watch().borrow().active);
    first.handle_grant(grant(cluster::Role::Standby, 3, 2)).unwrap();
    assert!(first.watch().borrow().active, "old word is left unheard");
    first.handle_grant(grant(cluster::Role::Standby, 8, 3)).unwrap();
    assert!(!first.watch().borrow().active);

    let again = roles(dir.path());
    assert_eq!(*again.watch().borrow(), Role { epoch: Epoch(8), ..Role::default() });
    assert!(matches!(again.handle_grant(grant(cluster::Role::Active, 7, 9)), Err(GrantError::Refused(_))));
    again.handle_grant(grant(cluster::Role::Active, 9, 10)).unwrap();
    assert!(again.watch().borrow().active);
}

#[test]
fn an_active_that_hears_of_a_higher_epoch_is_active_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let roles = roles(dir.path());
    roles.handle_grant(grant(cluster::Role::Active, 2, 1)).unwrap();
    roles.hear(Epoch(2));
    assert!(roles.watch().borrow().active);
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
    assert!(roles.watch().borrow().active, "it goes by the first");
    roles.handle_grant(by("a", 7, 3)).unwrap();
    roles.handle_grant(Grant { epoch: Epoch(8), ..other }).unwrap();
    assert!(!roles.watch().borrow().active);
}
