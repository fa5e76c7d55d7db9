//! Beginnings: of a cluster, of a control plane, of an origin.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::world::{member, node};
use crate::{
    By, Cause, EdgeReport, Epoch, FirstFrame, Incarnation, KnownRecord, Member, NodeId, Pool, PoolEvent, PoolId,
    PoolRecord, PoolReport, PoolRules, PromoteError, Promotion, Role, Unclean,
};

struct Scene {
    pool: Pool,
    now: Instant,
}

fn report(node: &str, start: u64) -> PoolReport {
    PoolReport {
        member: member(node, start),
        public: "10.0.0.1:1935".parse().unwrap(),
        peer: "10.0.0.1:9001".parse().unwrap(),
        highest_epoch: Epoch(0),
        serving: None,
        head: (Epoch(0), 0),
        hears: None,
        record: Some(KnownRecord::default()),
        first_frame: FirstFrame::NotTold,
        late: std::time::Duration::ZERO,
    }
}

impl Scene {
    fn new(record: PoolRecord, first_active: Option<&str>) -> Self {
        let now = Instant::now();
        let first_active = first_active.map(|node| NodeId::new(node).unwrap());
        let rules = PoolRules { first_active, ..PoolRules::default() };
        Self { pool: Pool::new(record, rules, now), now }
    }

    fn fresh() -> Self {
        Self::new(PoolRecord::new(PoolId::main()), None)
    }

    /// A cluster in which `o1` was granted epoch 1.
    fn running() -> Self {
        let mut scene = Self::fresh();
        scene.report(report("o1", 1));
        scene.report(report("o2", 1));
        scene.after_ms(300).expect("a grant");
        scene.opens("o1", 1);
        scene
    }

    fn report(&mut self, report: PoolReport) {
        self.now += Duration::from_micros(1);
        self.pool.handle_report(report, self.now);
    }

    /// A new record, by which nobody is promoted unclean.
    fn never() -> Self {
        let now = Instant::now();
        let rules = PoolRules { unclean: Unclean::Never, ..PoolRules::default() };
        Self { pool: Pool::new(PoolRecord::new(PoolId::main()), rules, now), now }
    }

    /// An edge beats that has heard of these epochs: of whatever pool, and of this one.
    fn edge_says(&mut self, highest: u64, of_pool: u64) {
        let (highest_epoch, pool_epoch) = (Epoch(highest), Epoch(of_pool));
        let (records, hears) = (vec![], BTreeSet::new());
        let report =
            EdgeReport { edge: member("e1", 1), highest_epoch, pool_epoch, records, hears, late: Duration::ZERO };
        self.pool.handle_edge(report, self.now);
    }

    /// An operator wants it to be active, whatever it has.
    fn force(&mut self, name: &str) -> Result<(), PromoteError> {
        let by = By { author: "operator".into(), reason: "test".into() };
        let to = self.pool.check_promotion(&node(name), self.pool.record().epoch, Promotion::Forced, self.now)?;
        self.pool.promote(to, Promotion::Forced, by, self.now);
        Ok(())
    }

    /// The active says that it serves, which is told.
    fn opens(&mut self, node: &str, start: u64) {
        let serving = Some(self.pool.record().epoch);
        self.report(PoolReport { serving, ..report(node, start) });
        assert!(self.after_ms(0).expect("it is told").untold.is_none());
    }

    /// Nothing is heard of it any more.
    fn gone(&mut self, node: &str, start: u64) {
        self.pool.handle_gone(&member(node, start), self.now);
    }

    /// The change due after this time, written.
    fn after_ms(&mut self, ms: u64) -> Option<PoolRecord> {
        self.now += Duration::from_millis(ms);
        let change = self.pool.poll_change(self.now, 0)?;
        assert_eq!(change.after, self.pool.record().version, "a change is a compare-and-set on the version");
        self.pool.handle_written(change.record.clone(), self.now);
        Some(change.record)
    }

    fn active(&self) -> (Option<Member>, u64) {
        (self.pool.record().active.clone(), self.pool.record().epoch.0)
    }
}

#[test]
fn the_first_origin_to_come_becomes_active_in_epoch_1() {
    let mut scene = Scene::fresh();
    scene.report(report("o2", 1));
    scene.report(report("o1", 1));
    assert_eq!(scene.after_ms(0).unwrap().active, None, "it waits a moment for others");
    let record = scene.after_ms(300).unwrap();
    assert_eq!((record.active.clone(), record.epoch), (Some(member("o2", 1)), Epoch(1)));
    assert_eq!((record.role_of(&member("o1", 1)), record.loss_epoch), (Role::Standby, Epoch(0)));
    assert_eq!(record.in_sync, BTreeSet::from([member("o2", 1)]));
    scene.opens("o2", 1);
    assert_eq!(scene.after_ms(60_000), None, "nothing moves by itself");
}

#[test]
fn the_configured_origin_becomes_active_as_soon_as_it_is_there() {
    let mut scene = Scene::new(PoolRecord::new(PoolId::main()), Some("o1"));
    scene.report(report("o2", 1));
    assert_eq!(scene.after_ms(5_000).unwrap().active, None);
    scene.report(report("o1", 1));
    assert_eq!(scene.after_ms(0).unwrap().active, Some(member("o1", 1)));
}

#[test]
fn a_configured_origin_that_never_comes_does_not_keep_the_pool_waiting_for_ever() {
    let mut scene = Scene::new(PoolRecord::new(PoolId::main()), Some("o9"));
    scene.report(report("o2", 1));
    scene.after_ms(0);
    assert_eq!(scene.after_ms(30_000).unwrap().active, Some(member("o2", 1)));
}

#[test]
fn a_fenced_origin_does_not_become_active_though_it_came_first_or_is_configured() {
    for first_active in [None, Some("o1")] {
        let mut record = PoolRecord::new(PoolId::main());
        record.fenced.insert(node("o1"));
        let mut scene = Scene::new(record, first_active);
        scene.report(report("o1", 1));
        scene.after_ms(300);
        assert_eq!(scene.active(), (None, 0));
        scene.report(report("o2", 1));
        scene.after_ms(0);
        assert_eq!(scene.active(), (Some(member("o2", 1)), 1));
    }
}

#[test]
fn an_active_that_restarted_is_granted_the_next_epoch_with_loss() {
    let mut scene = Scene::running();
    scene.gone("o1", 1);
    assert_eq!(scene.after_ms(60_000), None, "nobody else is heard");
    scene.report(report("o1", 2));
    let record = scene.after_ms(0).unwrap();
    assert_eq!((record.active.clone(), record.epoch, record.loss_epoch), (Some(member("o1", 2)), Epoch(2), Epoch(2)));
    assert_eq!(record.role_of(&member("o1", 1)), Role::Standby, "the old start has no role any more");
    assert_eq!(record.last_change.unwrap().cause, Cause::Restart);
}

#[test]
fn a_standby_that_restarted_stands_by() {
    let mut scene = Scene::running();
    scene.report(report("o2", 7));
    let record = scene.after_ms(0).unwrap();
    assert_eq!((record.active, record.epoch), (Some(member("o1", 1)), Epoch(1)));
    assert_eq!(record.members[&NodeId::new("o2").unwrap()].incarnation, Incarnation::from_bits(7));
}

#[test]
fn a_control_plane_that_starts_changes_no_role_before_it_has_settled() {
    let record = Scene::running().pool.record().clone();
    let mut scene = Scene::new(record.clone(), None);
    scene.report(report("o1", 2));
    scene.after_ms(0);
    scene.after_ms(3_000);
    assert_eq!(scene.active().1, 1, "o2 has not reported, nor does the active serve");
    scene.report(report("o2", 1));
    assert_eq!(scene.after_ms(0).unwrap().epoch, Epoch(2));

    let mut scene = Scene::new(record, None);
    scene.report(PoolReport { serving: Some(Epoch(1)), ..report("o1", 1) });
    assert_eq!(scene.after_ms(60_000), None, "the active that serves keeps its role and epoch");
}

#[test]
fn an_empty_store_adopts_the_active_that_it_finds_serving() {
    let mut scene = Scene::fresh();
    scene.report(PoolReport { highest_epoch: Epoch(5), ..report("o2", 1) });
    assert_eq!(scene.after_ms(300).unwrap().active, None, "the cluster is not new: wait");
    scene.report(PoolReport { highest_epoch: Epoch(5), serving: Some(Epoch(5)), ..report("o1", 1) });
    let record = scene.after_ms(0).unwrap();
    assert_eq!((record.active, record.epoch), (Some(member("o1", 1)), Epoch(5)));
    assert_eq!(record.last_change.unwrap().cause, Cause::Adopted);
    assert!(scene.after_ms(0).unwrap().untold.is_none(), "it serves already");
    assert_eq!(scene.after_ms(60_000), None);
}

#[test]
fn one_that_serves_and_does_not_say_by_which_record_is_adopted_after_a_while() {
    let mut scene = Scene::fresh();
    scene.report(PoolReport { record: None, serving: Some(Epoch(5)), ..report("o1", 1) });
    scene.report(report("o2", 1));
    scene.after_ms(10);
    assert_eq!(scene.after_ms(900), None, "and nobody else is granted the role meanwhile");
    let told: Vec<_> = std::iter::from_fn(|| scene.pool.poll_grant(scene.now)).map(|grant| grant.member).collect();
    assert_eq!(told, [member("o2", 1)], "nor is it told to stand by");
    let record = scene.after_ms(100).unwrap();
    assert_eq!((record.active, record.epoch), (Some(member("o1", 1)), Epoch(5)));
}

#[test]
fn grants_lie_above_every_epoch_that_any_node_has_heard_of() {
    let mut scene = Scene::running();
    scene.pool.handle_epoch(&NodeId::new("e1").unwrap(), Epoch(9));
    assert_eq!(scene.after_ms(0), None, "an edge's word moves no role");
    scene.report(report("o1", 2));
    assert_eq!(scene.after_ms(0).unwrap().epoch, Epoch(10));
}

#[test]
fn above_an_epoch_in_which_nobody_serves_the_role_is_granted_with_loss() {
    let mut scene = Scene::running();
    scene.report(PoolReport { serving: Some(Epoch(1)), ..report("o1", 1) });
    scene.report(PoolReport { highest_epoch: Epoch(9), ..report("o2", 1) });
    let record = scene.after_ms(0).unwrap();
    assert_eq!((record.active, record.epoch, record.loss_epoch), (Some(member("o1", 1)), Epoch(10), Epoch(10)));
}

#[test]
fn a_second_pool_is_new_whatever_epoch_others_are_in() {
    let mut scene = Scene::never();
    scene.edge_says(5, 0);
    scene.report(report("o1", 1));
    scene.after_ms(0);
    scene.edge_says(5, 0);
    let change = scene.pool.poll_change(scene.now + Duration::from_millis(300), 0).expect("a grant");
    let record = &change.record;
    assert_eq!((record.active.clone(), record.epoch, record.loss_epoch), (Some(member("o1", 1)), Epoch(6), Epoch(0)));
    assert!(!change.events.iter().any(|event| matches!(event, PoolEvent::ResumedWithLoss { .. })));
    assert_eq!(scene.pool.alarms().count(), 0);
}

#[test]
fn a_lost_store_waits_for_an_operator_where_unclean_is_never() {
    for told_by_an_edge in [true, false] {
        let mut scene = Scene::never();
        let highest_epoch = Epoch(if told_by_an_edge { 0 } else { 5 });
        if told_by_an_edge {
            scene.edge_says(7, 5);
        }
        for _ in 0..40 {
            scene.report(PoolReport { highest_epoch, ..report("o1", 2) });
            scene.after_ms(1_000);
        }
        assert_eq!(scene.active(), (None, 0));
        let (_, evidence) = scene.pool.alarms().next().expect("an alarm");
        assert!(evidence.contains("an operator decides"), "{evidence}");
        scene.report(PoolReport { highest_epoch, ..report("o1", 2) });
        scene.force("o1").unwrap();
        let record = scene.after_ms(0).expect("a grant");
        let above = Epoch(if told_by_an_edge { 8 } else { 6 });
        assert_eq!((record.active, record.epoch, record.loss_epoch), (Some(member("o1", 2)), above, above));
        assert_eq!(record.last_change.unwrap().cause, Cause::Promoted);
    }
}

#[test]
fn a_lost_store_goes_on_with_loss_where_it_may_also_when_only_edges_remember() {
    let mut scene = Scene::fresh();
    scene.edge_says(5, 5);
    scene.report(report("o1", 2));
    scene.after_ms(0);
    assert_eq!(scene.after_ms(2_900), None, "it is not new: it settles first");
    let record = scene.after_ms(100).expect("a grant");
    assert_eq!((record.epoch, record.loss_epoch), (Epoch(6), Epoch(6)));
}

#[test]
fn a_view_lists_the_active_first() {
    let view = Scene::running().pool.record().view();
    assert_eq!(view.active_member().unwrap().member, member("o1", 1));
    assert_eq!(view.peers().count(), 2);
}
