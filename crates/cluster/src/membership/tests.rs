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
