use super::*;

fn registration(node: &str, start: u64, kind: NodeKind) -> Registration {
    Registration {
        member: Member { node: NodeId::new(node).unwrap(), incarnation: Incarnation::from_bits(start) },
        kind,
        pool: None,
        addresses: NodeAddresses::default(),
        labels: BTreeMap::new(),
        version: "1".into(),
        capabilities: vec![],
        highest_epoch: Epoch(0),
        serving: None,
    }
}

fn joined(start: u64) -> (Membership, SessionNumber, Member, Instant) {
    let now = Instant::now();
    let mut members = Membership::new(MembershipLimits::default());
    let edge = registration("edge-1", start, NodeKind::Edge);
    let member = edge.member.clone();
    members.register(edge, now, 0).unwrap();
    let (session, change) = members.open_session(&member, now, 0).unwrap();
    assert!(matches!(change, Some(Change::Liveness { now: Liveness::Alive, .. })));
    (members, session, member, now)
}

#[test]
fn a_node_without_beats_turns_silent_and_comes_back_with_one() {
    let (mut members, session, member, now) = joined(1);
    assert_eq!(members.poll_timeout(), Some(now + Duration::from_millis(600)));
    assert_eq!(members.handle_timeout(now + Duration::from_millis(599)), []);
    let later = now + Duration::from_millis(600);
    let silent = Change::Liveness { member: member.clone(), was: Liveness::Alive, now: Liveness::Silent };
    assert_eq!(members.handle_timeout(later), [silent]);
    assert_eq!(members.poll_timeout(), None);
    let changes = members.beat(&member.node, session, Beat::default(), later, 0).unwrap();
    assert_eq!(changes, [Change::Liveness { member, was: Liveness::Silent, now: Liveness::Alive }]);
}

#[test]
fn a_restarted_node_replaces_its_former_start_for_good() {
    let (mut members, session, old, now) = joined(1);
    let change = members.register(registration("edge-1", 2, NodeKind::Edge), now, 0).unwrap();
    assert!(matches!(change, Some(Change::Joined { was: Some(was), .. }) if was == old.incarnation));
    let late = members.register(registration("edge-1", 1, NodeKind::Edge), now, 0);
    assert_eq!(late, Err(RegisterError::Replaced { by: Incarnation::from_bits(2) }));
    assert_eq!(members.open_session(&old, now, 0), Err(SessionError::Replaced));
    assert_eq!(members.beat(&old.node, session, Beat::default(), now, 0), Err(SessionError::Replaced));
}

/// What a store has after all of it was written.
fn stored(members: &mut Membership) -> Vec<Starts> {
    let unstored = members.unstored();
    members.handle_stored(&unstored);
    assert_eq!(members.unstored(), []);
    unstored.into_iter().filter_map(|(_, starts)| starts).collect()
}

fn start(node: &str, start: u64) -> Registration {
    registration(node, start, NodeKind::Origin)
}

#[test]
fn a_former_start_is_refused_by_a_control_plane_that_has_restarted() {
    let now = Instant::now();
    let mut before = Membership::new(MembershipLimits::default());
    before.register(start("o1", 1), now, 0).unwrap();
    before.register(start("o1", 2), now, 0).unwrap();
    let mut members = Membership::new(MembershipLimits::default());
    members.restore(stored(&mut before), now, 0);
    assert_eq!(members.nodes().count(), 0, "nobody has been heard");
    let refused = members.register(start("o1", 1), now, 0).unwrap_err();
    assert_eq!(refused, RegisterError::Replaced { by: Incarnation::from_bits(2) });
    assert!(refused.to_string().contains("end this process"), "{refused}");
    assert!(matches!(members.register(start("o1", 2), now, 0), Ok(Some(Change::Joined { was: None, .. }))));
    assert!(members.is_stored(&start("o1", 2).member.node), "nothing new");
    let third = members.register(start("o1", 3), now, 0);
    assert!(matches!(third, Ok(Some(Change::Joined { was: Some(_), .. }))));
    assert!(members.register(start("o1", 2), now, 0).is_err());
}

#[test]
fn a_start_that_was_not_heard_again_is_a_former_one_once_the_next_has_come() {
    let now = Instant::now();
    let mut before = Membership::new(MembershipLimits::default());
    before.register(start("o1", 1), now, 0).unwrap();
    let mut members = Membership::new(MembershipLimits::default());
    members.restore(stored(&mut before), now, 0);
    members.register(start("o1", 2), now, 0).unwrap();
    assert!(members.register(start("o1", 1), now, 0).is_err(), "it was frozen all the while");
}

#[test]
fn what_changes_while_it_is_written_is_still_to_be_stored() {
    let (mut members, _, member, now) = joined(1);
    let being_written = members.unstored();
    members.register(registration("edge-1", 2, NodeKind::Edge), now, 0).unwrap();
    members.handle_stored(&being_written);
    assert!(!members.is_stored(&member.node));
    members.deregister(&member.node, None).unwrap();
    assert_eq!(members.unstored(), [(member.node, None)]);
}

#[test]
fn former_starts_are_bounded_in_number_and_age() {
    let now = Instant::now();
    let mut members = Membership::new(MembershipLimits::default());
    for n in 0..100 {
        members.register(start("o1", n), now, n).unwrap();
    }
    let id = NodeId::new("o1").unwrap();
    assert_eq!(members.starts_of(&id).unwrap().former.len(), 16);
    let after_30_days = 31 * 24 * 3_600_000;
    let mut later = Membership::new(MembershipLimits::default());
    later.restore(stored(&mut members), now, after_30_days);
    let starts = later.starts_of(&id).unwrap();
    assert_eq!((starts.current, starts.former.len()), (Incarnation::from_bits(99), 0));
}

#[test]
fn edges_that_do_not_come_after_a_restart_are_forgotten_and_nobody_is_kept_out_for_them() {
    let now = Instant::now();
    let limits = MembershipLimits { nodes_max: 2, ..MembershipLimits::default() };
    let mut before = Membership::new(limits.clone());
    before.register(start("o1", 1), now, 0).unwrap();
    before.register(registration("edge-1", 1, NodeKind::Edge), now, 0).unwrap();
    let kept = stored(&mut before);
    let mut members = Membership::new(limits.clone());
    members.restore(kept.clone(), now, 0);
    let left = members.handle_timeout(now + limits.forget_after);
    assert!(matches!(&left[..], [Change::Left { member }] if member.node.as_str() == "edge-1"), "{left:?}");
    assert_eq!(members.unstored(), [(NodeId::new("edge-1").unwrap(), None)]);

    let mut members = Membership::new(limits);
    members.restore(kept, now, 0);
    members.register(registration("edge-2", 1, NodeKind::Edge), now, 0).unwrap();
    assert!(members.starts_of(&NodeId::new("edge-1").unwrap()).is_none(), "it gave way");
    assert!(members.starts_of(&NodeId::new("o1").unwrap()).is_some());
}

#[test]
fn a_second_session_takes_the_first_ones_place() {
    let (mut members, first, member, now) = joined(1);
    let (second, _) = members.open_session(&member, now, 0).unwrap();
    assert_eq!(members.close_session(&member.node, first, now), None, "the end of the first changes nothing");
    assert_eq!(members.beat(&member.node, first, Beat::default(), now, 0), Err(SessionError::Replaced));
    assert!(members.beat(&member.node, second, Beat::default(), now, 0).is_ok());
    let gone = members.close_session(&member.node, second, now);
    assert_eq!(gone, Some(Change::Liveness { member, was: Liveness::Alive, now: Liveness::Gone }));
}

#[test]
fn an_edge_that_is_gone_is_forgotten_and_an_origin_is_not() {
    let (mut members, session, edge, now) = joined(1);
    members.register(registration("origin-1", 1, NodeKind::Origin), now, 0).unwrap();
    members.close_session(&edge.node, session, now);
    let changes = members.handle_timeout(now + Duration::from_secs(600));
    assert_eq!(changes, [Change::Left { member: edge }]);
    assert_eq!(members.nodes().count(), 1);
}

#[test]
fn the_list_has_a_bound_and_names_have_one_kind() {
    let now = Instant::now();
    let mut members = Membership::new(MembershipLimits { nodes_max: 1, ..MembershipLimits::default() });
    members.register(registration("a", 1, NodeKind::Edge), now, 0).unwrap();
    let full = members.register(registration("b", 1, NodeKind::Edge), now, 0);
    assert_eq!(full, Err(RegisterError::TooMany { max: 1 }));
    let other = members.register(registration("a", 2, NodeKind::Origin), now, 0);
    assert_eq!(other, Err(RegisterError::OtherKind { known: NodeKind::Edge }));
}

#[test]
fn a_beat_that_tells_of_another_role_is_a_change() {
    let (mut members, session, member, now) = joined(1);
    let beat = Beat { role: Some(Role::Active), serving: Some(Epoch(3)), ..Beat::default() };
    let changes = members.beat(&member.node, session, beat.clone(), now, 0).unwrap();
    assert_eq!(changes, [Change::Updated { member: member.clone() }]);
    assert_eq!(members.beat(&member.node, session, beat, now, 0), Ok(vec![]));
}

#[test]
fn only_the_named_incarnation_is_deregistered() {
    let (mut members, _, member, _) = joined(1);
    let other = members.deregister(&member.node, Some(Incarnation::from_bits(9)));
    assert_eq!(other, Err(DeregisterError::OtherIncarnation));
    assert!(members.deregister(&member.node, Some(member.incarnation)).is_ok());
    assert_eq!(members.deregister(&member.node, None), Err(DeregisterError::Unknown));
}
