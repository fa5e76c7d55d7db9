use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cluster::{Epoch, Grant, Incarnation, Member, Mishap, NodeId, Notice, PoolId, Role, Surroundings, SyncChange};
use hub::{Body, Budget, Hub, Read, RingLimits, Start};
use media::{MediaMessage, Medium, PublicationId, StreamName};

use super::*;

mod alone;
mod brake;
mod loss;

const A: PublicationId = PublicationId::from_bits(0xa);
const B: PublicationId = PublicationId::from_bits(0xb);
const CALM: Surroundings = Surroundings { control_heard: true, edges: 1, edges_hearing: 1 };

fn member(node: &str) -> Member {
    Member { node: NodeId::new(node).unwrap(), incarnation: Incarnation::from_bits(1) }
}

fn stream() -> StreamName {
    StreamName::from_app("_default", "live", "foo").unwrap()
}

fn video(n: u64) -> MediaMessage {
    let payload = if n.is_multiple_of(5) {
        &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65][..]
    } else {
        &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41]
    };
    MediaMessage { medium: Medium::Video, timestamp: 40 * n as u32, payload: Bytes::from_static(payload) }
}

/// Origins of one pool, the Follows between them, and the record that they are told.
struct Pool {
    origins: BTreeMap<&'static str, Replica>,
    /// Follower and member, and the numbers of the connection at each.
    follows: Vec<(&'static str, &'static str, u64, u64)>,
    now: Instant,
    version: u64,
}

impl Pool {
    fn new(names: &[&'static str]) -> Self {
        let mut pool = Self { origins: BTreeMap::new(), follows: Vec::new(), now: Instant::now(), version: 0 };
        names.iter().for_each(|name| pool.start(name, RingLimits::default()));
        pool
    }

    fn start(&mut self, name: &'static str, limits: RingLimits) {
        let replica = Replica::new(member(name), Hub::new(limits), Config::default());
        self.origins.insert(name, replica);
    }

    fn at(&mut self, name: &str) -> &mut Replica {
        self.origins.get_mut(name).unwrap()
    }

    fn grant(&mut self, active: &'static str, epoch: u64, in_sync: &[&str]) {
        self.grant_with_loss(active, epoch, in_sync, 0);
    }

    fn grant_with_loss(&mut self, active: &'static str, epoch: u64, in_sync: &[&str], loss_epoch: u64) {
        self.version += 1;
        self.tell(active, active, epoch, in_sync, loss_epoch);
    }

    fn tell(&mut self, name: &str, active: &str, epoch: u64, in_sync: &[&str], loss_epoch: u64) {
        let grant = Grant {
            pool: PoolId::new("main").unwrap(),
            member: member(name),
            role: if name == active { Role::Active } else { Role::Standby },
            epoch: Epoch(epoch),
            version: self.version,
            written_by: String::new(),
            loss_epoch: Epoch(loss_epoch),
            active: Some(member(active)),
            in_sync: in_sync.iter().map(|name| member(name)).collect(),
            fenced: Default::default(),
            yields: false,
            store: String::new(),
        };
        let now = self.now;
        self.at(name).handle_grant(grant, now).unwrap();
    }

    fn follow(&mut self, follower: &'static str, leader: &'static str) {
        let hello = self.at(follower).hello();
        let at_leader = self.at(leader).follower_opened(hello);
        let at_follower = self.at(follower).leader_opened(NodeId::new(leader).unwrap());
        self.follows.push((follower, leader, at_follower, at_leader));
    }

    /// Ends all Follows of an origin.
    fn cut_off(&mut self, name: &str) {
        let (cut, rest) = std::mem::take(&mut self.follows).into_iter().partition(|f| f.0 == name || f.1 == name);
        self.follows = rest;
        let cut: Vec<_> = cut;
        for (follower, leader, at_follower, at_leader) in cut {
            self.at(follower).leader_closed(at_follower);
            self.at(leader).follower_closed(at_leader);
        }
    }

    /// Lets everything be said that is to be said.
    fn talk(&mut self) {
        while self.say_one_round() {}
    }

    fn say_one_round(&mut self) -> bool {
        let (now, mut said) = (self.now, false);
        for (follower, leader, at_follower, at_leader) in self.follows.clone() {
            while let Some(down) = self.at(leader).poll_down(at_leader) {
                self.at(follower).handle_down(at_follower, down, now).unwrap();
                said = true;
            }
            while let Some(up) = self.at(follower).poll_up(at_follower) {
                self.at(leader).handle_up(at_leader, up).unwrap();
                said = true;
            }
        }
        said
    }

    fn pass(&mut self, ms: u64) {
        self.pass_in(ms, CALM);
    }

    fn pass_in(&mut self, ms: u64, around: Surroundings) {
        for _ in 0..ms / 10 {
            self.now += Duration::from_millis(10);
            let now = self.now;
            self.origins.values_mut().for_each(|origin| origin.handle_timeout(now, around));
        }
    }

    fn publish(&mut self, name: &str, publication: PublicationId) -> Ticket {
        self.try_publish(name, publication, 0).unwrap()
    }

    fn try_publish(&mut self, name: &str, publication: PublicationId, first_number: u64) -> Result<Ticket, Refused> {
        let source = Source { edge: Some(NodeId::new("edge").unwrap()), peer: String::new() };
        let now = self.now;
        self.at(name).publish(Publish { name: stream(), publication, source, first_number }, now)
    }

    fn feed(&mut self, name: &str, ticket: &Ticket, numbers: std::ops::Range<u64>) {
        let now = self.now;
        for n in numbers {
            self.at(name).handle_message(ticket, n, video(n), now).unwrap();
        }
    }

    /// Positions and times of the frames that readers of an origin may see.
    fn seen(&mut self, name: &str, after: u64) -> Vec<(u64, u64)> {
        let mut items = Vec::new();
        let Some(stream) = self.at(name).hub.get(&stream()) else { return Vec::new() };
        let mut reader = stream.subscribe(Start::After(after));
        let budget = Budget { items: 10_000, bytes: usize::MAX };
        while let Read::Items | Read::Skipped(_) = reader.read(budget, &mut items) {}
        let frame = |item: &std::sync::Arc<hub::Item>| match &item.body {
            Body::Frame(frame) => Some((item.seq, frame.dts)),
            _ => None,
        };
        items.iter().filter_map(frame).collect()
    }
}

/// Two in sync, and a stream with ten frames committed.
fn pair() -> (Pool, Ticket) {
    let mut pool = Pool::new(&["o1", "o2"]);
    pool.follow("o2", "o1");
    pool.follow("o1", "o2");
    pool.grant("o1", 1, &["o1", "o2"]);
    pool.talk();
    let ticket = pool.publish("o1", A);
    pool.feed("o1", &ticket, 0..10);
    pool.talk();
    (pool, ticket)
}

#[test]
fn nothing_is_seen_or_acked_before_the_follower_has_it() {
    let (mut pool, mut ticket) = pair();
    assert_eq!(*ticket.acked.borrow_and_update(), Acked { open: true, through: Some(9), closed: false });
    pool.feed("o1", &ticket, 10..12);
    assert_eq!(pool.seen("o1", 0).len(), 10);
    assert!(!ticket.acked.has_changed().unwrap());
    pool.talk();
    assert_eq!(pool.seen("o1", 0).len(), 12);
    assert_eq!(ticket.acked.borrow_and_update().through, Some(11));
}

#[test]
fn nothing_uncommitted_is_listed_and_its_name_is_taken() {
    let mut pool = Pool::new(&["o1", "o2"]);
    pool.follow("o2", "o1");
    pool.grant("o1", 1, &["o1", "o2"]);
    pool.talk();
    let ticket = pool.publish("o1", A);
    assert!(pool.at("o1").list().is_empty(), "o2 has not heard of it");
    assert!(matches!(pool.try_publish("o1", B, 0), Err(Refused::Busy)));
    pool.talk();
    let told = |pool: &mut Pool| (pool.at("o1").list()[0].head, pool.at("o1").list()[0].info.last_dts);
    let (opened, _) = told(&mut pool);
    pool.feed("o1", &ticket, 0..3);
    assert_eq!(told(&mut pool), (opened, None));
    pool.talk();
    assert_eq!(told(&mut pool), (opened + 3, Some(80)));
}

#[test]
fn the_next_active_goes_on_with_position_time_and_number() {
    let (mut pool, ticket) = pair();
    let before = pool.seen("o1", 0);
    pool.feed("o1", &ticket, 10..12);
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2"]);
    let again = pool.try_publish("o2", A, 8).unwrap();
    assert_eq!(again.next_number, 10, "what o2 never had is not in its log");
    pool.feed("o2", &again, 8..15);
    let after = pool.seen("o2", 0);
    assert_eq!(after[..10], before[..]);
    assert_eq!(after.iter().map(|(_, dts)| *dts).collect::<Vec<_>>(), (0..15).map(|n| 40 * n).collect::<Vec<_>>());
    assert!(after.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
    assert_eq!(again.acked.borrow().through, Some(14));
}

#[test]
fn a_replayed_message_is_acked_when_it_is_committed_anew_and_not_before() {
    let mut pool = Pool::new(&["o1", "o2", "o3"]);
    for (follower, leader) in [("o2", "o1"), ("o3", "o1"), ("o3", "o2")] {
        pool.follow(follower, leader);
    }
    pool.grant("o1", 1, &["o1", "o2", "o3"]);
    pool.talk();
    let ticket = pool.publish("o1", A);
    pool.feed("o1", &ticket, 0..5);
    pool.talk();
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2", "o3"]);
    let again = pool.try_publish("o2", A, 0).unwrap();
    pool.feed("o2", &again, 0..5);
    assert_eq!(*again.acked.borrow(), Acked::default(), "o3 has not confirmed what o2 has");
    pool.talk();
    assert_eq!(again.acked.borrow().through, Some(4));
}

#[test]
fn a_deposed_active_commits_nothing_and_its_tail_is_discarded() {
    let (mut pool, ticket) = pair();
    // o1 is frozen: it takes three more frames that nobody hears of.
    pool.follows.clear();
    pool.feed("o1", &ticket, 10..13);
    pool.grant("o2", 2, &["o2"]);
    let again = pool.try_publish("o2", A, 10).unwrap();
    pool.feed("o2", &again, 10..12);
    pool.follow("o1", "o2");
    assert_eq!(pool.at("o1").standing().epoch, Epoch(1));
    let stale = pool.at("o1").beat_down();
    assert!(matches!(stale, FollowDown::Beat { epoch: Epoch(1), active: true, .. }));
    pool.talk();
    assert!(!pool.at("o1").standing().active, "it heard of a higher epoch");
    let now = pool.now;
    assert_eq!(pool.at("o1").handle_message(&ticket, 13, video(13), now), Err(NotTaken::Superseded));
    pool.feed("o2", &again, 12..14);
    pool.talk();
    let mut beat = pool.at("o2").beat_down();
    if let FollowDown::Beat { committed, .. } = &mut beat {
        *committed = 100;
    }
    let (_, _, conn, _) = pool.follows[0];
    pool.at("o1").handle_down(conn, beat, now).unwrap();
    assert_eq!(pool.seen("o1", 0), pool.seen("o2", 0));
}

#[test]
fn words_of_an_ended_epoch_are_refused() {
    let (mut pool, _ticket) = pair();
    let (_, _, conn, _) = pool.follows[0];
    let now = pool.now;
    pool.at("o2").handle_epoch(Epoch(2));
    let entries = FollowDown::Entries { epoch: Epoch(1), order: 12, committed: 0, entries: Vec::new() };
    let refused = pool.at("o2").handle_down(conn, entries, now);
    assert_eq!(refused, Err(FollowError::Stale { epoch: Epoch(1), highest: Epoch(2) }));
    assert_eq!(pool.at("o2").poll_up(conn), None, "nothing of it is acked");
}

#[test]
fn a_grant_is_taken_once() {
    let (mut pool, _ticket) = pair();
    let now = pool.now;
    pool.at("o1").handle_epoch(Epoch(2));
    let grant = Grant { version: 99, ..pool.at("o1").grant.clone().unwrap() };
    let stale = GrantRefused::Stale { epoch: Epoch(1), highest: Epoch(2) };
    assert_eq!(pool.at("o1").handle_grant(grant.clone(), now), Err(stale));
    let other = Grant { member: member("o2"), ..grant };
    assert_eq!(pool.at("o1").handle_grant(other, now), Err(GrantRefused::NotMine));
}

#[test]
fn a_newcomer_gets_everything_and_is_asked_in() {
    let mut pool = Pool::new(&["o1", "o2"]);
    pool.grant("o1", 1, &["o1"]);
    let ticket = pool.publish("o1", A);
    pool.feed("o1", &ticket, 0..300);
    pool.follow("o2", "o1");
    pool.talk();
    pool.pass(10);
    let asked = pool.at("o1").poll_request().map(|request| request.change);
    assert_eq!(asked, Some(SyncChange::Grow(member("o2"))));
    pool.feed("o1", &ticket, 300..310);
    assert_eq!(pool.seen("o1", 0).len(), 300);
    pool.talk();
    assert_eq!(pool.seen("o1", 0).len(), 310);
    let list = pool.at("o2").list();
    assert_eq!((list.len(), list[0].info.next_seq), (1, pool.at("o1").list()[0].info.next_seq));
}

#[test]
fn what_waits_only_for_a_newcomer_that_leaves_is_let_out_at_once() {
    let mut pool = Pool::new(&["o1", "o2"]);
    pool.grant("o1", 1, &["o1"]);
    pool.follow("o2", "o1");
    pool.talk();
    let ticket = pool.publish("o1", A);
    pool.pass(10);
    assert_eq!(pool.at("o1").standing().counted, 1, "o2 is nearly there, and not asked in yet");
    pool.feed("o1", &ticket, 0..1);
    assert_eq!(ticket.acked.borrow().through, None);
    pool.cut_off("o2");
    assert_eq!(ticket.acked.borrow().through, Some(0), "nobody may call any more to let it out");
}

#[test]
fn a_follower_that_was_away_goes_on_from_the_ring_or_gets_a_snapshot() {
    for (limits, items) in [(RingLimits::default(), 100), (RingLimits { items: 30, ..RingLimits::default() }, 30)] {
        let mut pool = Pool::new(&["o2"]);
        pool.start("o1", limits);
        pool.follow("o2", "o1");
        pool.grant("o1", 1, &["o1"]);
        let ticket = pool.publish("o1", A);
        pool.feed("o1", &ticket, 0..50);
        pool.talk();
        pool.cut_off("o2");
        pool.feed("o1", &ticket, 50..100);
        pool.follow("o2", "o1");
        pool.talk();
        pool.pass(10);
        pool.talk();
        let (a, b) = (pool.at("o1").list()[0].info, pool.at("o2").list()[0].info);
        assert_eq!(a.next_seq, b.next_seq);
        pool.grant("o2", 2, &["o2"]);
        assert!(pool.seen("o2", a.next_seq - items).len() as u64 >= items - 1);
        let again = pool.try_publish("o2", A, 0).unwrap();
        assert_eq!(again.next_number, 100);
    }
}

#[test]
fn a_follower_keeps_what_it_has_until_its_snapshot_is_complete() {
    let mut pool = Pool::new(&["o2"]);
    pool.start("o1", RingLimits { items: 20, ..RingLimits::default() });
    pool.follow("o2", "o1");
    pool.grant("o1", 1, &["o1"]);
    let ticket = pool.publish("o1", A);
    pool.feed("o1", &ticket, 0..30);
    pool.talk();
    pool.cut_off("o2");
    pool.feed("o1", &ticket, 30..400);
    pool.follow("o2", "o1");
    let (_, _, at_follower, at_leader) = pool.follows[0];
    let held = pool.at("o2").list()[0].info.next_seq;
    let now = pool.now;
    loop {
        let Some(down) = pool.at("o1").poll_down(at_leader) else {
            let up = pool.at("o2").poll_up(at_follower).unwrap();
            pool.at("o1").handle_up(at_leader, up).unwrap();
            continue;
        };
        let end = matches!(down, FollowDown::SnapshotEnd { .. });
        if end {
            assert_eq!(pool.at("o2").list()[0].info.next_seq, held);
        }
        pool.at("o2").handle_down(at_follower, down, now).unwrap();
        if end {
            assert!(pool.at("o2").list()[0].info.next_seq > held);
            break;
        }
    }
}

#[test]
fn a_clean_end_and_a_new_encoder_are_replicated() {
    let (mut pool, ticket) = pair();
    pool.at("o1").handle_close(&ticket, 10).unwrap();
    assert!(matches!(pool.try_publish("o1", B, 0), Err(Refused::Ending)), "until the end is committed");
    pool.talk();
    let acked = *ticket.acked.borrow();
    assert_eq!(acked, Acked { open: true, through: Some(10), closed: true });
    assert!(pool.at("o1").list().is_empty());
    let (_, _, conn, _) = pool.follows[0];
    let (beat, now) = (pool.at("o1").beat_down(), pool.now);
    pool.at("o2").handle_down(conn, beat, now).unwrap();
    assert!(pool.at("o2").logs.is_empty());
    let second = pool.publish("o1", B);
    pool.feed("o1", &second, 0..3);
    pool.talk();
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2"]);
    assert!(matches!(pool.try_publish("o2", A, 3), Err(Refused::Gone)), "A has ended");
    assert_eq!(pool.try_publish("o2", B, 3).unwrap().next_number, 3);
}

#[test]
fn a_publication_that_ended_just_before_another_began_does_not_come_back() {
    let (mut pool, ticket) = pair();
    pool.at("o1").handle_close(&ticket, 10).unwrap();
    pool.talk();
    // The follower hears that the end is committed only with what comes after it.
    let second = pool.publish("o1", B);
    pool.feed("o1", &second, 0..3);
    pool.talk();
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2"]);
    pool.pass(3010);
    assert!(matches!(pool.try_publish("o2", A, 11), Err(Refused::Gone)));
    assert_eq!(pool.try_publish("o2", B, 3).unwrap().next_number, 3);
}

#[test]
fn publications_of_the_old_origins_own_port_yield_and_those_of_edges_are_waited_for() {
    let (mut pool, _ticket) = pair();
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2"]);
    assert!(matches!(pool.try_publish("o2", B, 0), Err(Refused::Busy)));
    pool.pass(3010);
    assert!(pool.try_publish("o2", B, 0).is_ok());

    let mut pool = Pool::new(&["o1", "o2"]);
    pool.follow("o2", "o1");
    pool.grant("o1", 1, &["o1", "o2"]);
    pool.talk();
    let (source, now) = (Source { edge: None, peer: String::new() }, pool.now);
    let direct = Publish { name: stream(), publication: A, source, first_number: 0 };
    let _ticket = pool.at("o1").publish(direct, now).unwrap();
    pool.talk();
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2"]);
    assert!(pool.try_publish("o2", B, 0).is_ok());
}

#[test]
fn an_active_that_yields_to_nobody_goes_on_after_a_while() {
    let (mut pool, ticket) = pair();
    pool.version += 1;
    let version = pool.version;
    let grant = Grant { yields: true, version, ..pool.at("o1").grant.clone().unwrap() };
    let now = pool.now;
    pool.at("o1").handle_grant(grant, now).unwrap();
    pool.pass(2900);
    assert!(matches!(pool.try_publish("o1", B, 0), Err(Refused::NotActive)));
    pool.pass(200);
    assert!(!pool.at("o1").standing().yielding);
    pool.feed("o1", &ticket, 10..12);
}

#[test]
fn a_publication_whose_end_only_the_follower_has_does_not_come_back() {
    let (mut pool, ticket) = pair();
    pool.at("o1").handle_close(&ticket, 10).unwrap();
    let (_, _, at_follower, at_leader) = pool.follows[0];
    let now = pool.now;
    while let Some(down) = pool.at("o1").poll_down(at_leader) {
        pool.at("o2").handle_down(at_follower, down, now).unwrap();
    }
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2"]);
    assert!(matches!(pool.try_publish("o2", A, 5), Err(Refused::Gone)));
}

#[test]
fn a_third_member_does_not_take_for_committed_what_the_second_lacks() {
    let mut pool = Pool::new(&["o1", "o2", "o3"]);
    for (follower, leader) in [("o2", "o1"), ("o3", "o1"), ("o2", "o3"), ("o3", "o2")] {
        pool.follow(follower, leader);
    }
    pool.grant("o1", 1, &["o1", "o2", "o3"]);
    pool.talk();
    let ticket = pool.publish("o1", A);
    pool.talk();
    // o2 gets a frame that o3 never hears of, and leads.
    pool.feed("o1", &ticket, 0..1);
    let (_, _, at_follower, at_leader) = pool.follows[0];
    let now = pool.now;
    while let Some(down) = pool.at("o1").poll_down(at_leader) {
        pool.at("o2").handle_down(at_follower, down, now).unwrap();
    }
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2", "o3"]);
    let known = pool.at("o2").list()[0].info.committed_below;
    let (_, _, at_follower, at_leader) = *pool.follows.iter().find(|f| (f.0, f.1) == ("o3", "o2")).unwrap();
    loop {
        while let Some(down) = pool.at("o2").poll_down(at_leader) {
            pool.at("o3").handle_down(at_follower, down, now).unwrap();
        }
        let Some(up) = pool.at("o3").poll_up(at_follower) else { break };
        if matches!(up, FollowUp::Ack { .. }) {
            break;
        }
        pool.at("o2").handle_up(at_leader, up).unwrap();
    }
    let info = pool.at("o3").list()[0].info;
    assert!(info.next_seq > info.committed_below, "it has the frame");
    assert_eq!(info.committed_below, known, "and what is committed is what o1 had said");
}

#[test]
fn what_an_active_committed_alone_is_named_when_it_follows_another() {
    let (mut pool, ticket) = pair();
    pool.follows.clear();
    // The record has taken o2 out, as far as o1 knows.
    pool.version += 1;
    pool.tell("o1", "o1", 1, &["o1"], 0);
    pool.feed("o1", &ticket, 10..13);
    let end = pool.at("o1").list()[0].info.committed_below;
    pool.grant("o2", 2, &["o2"]);
    pool.follow("o1", "o2");
    pool.talk();
    let what = Mishap::Split { node: NodeId::new("o1").unwrap(), from: end - 3, to: end - 1 };
    assert_eq!(pool.at("o2").poll_notice(), Some(Notice { stream: stream(), what }));
    assert_eq!(pool.at("o2").poll_notice(), None);
}

#[test]
fn a_follower_that_claims_a_position_nobody_wrote_is_refused() {
    let (mut pool, _ticket) = pair();
    let (_, _, _, at_leader) = pool.follows[0];
    let lie = FollowUp::Ack { epoch: Epoch(1), order: 1000 };
    assert!(matches!(pool.at("o1").handle_up(at_leader, lie), Err(FollowError::FalsePosition(_))));
}

#[test]
fn an_active_that_yields_takes_nothing_more_and_says_when_all_is_committed() {
    let (mut pool, ticket) = pair();
    pool.feed("o1", &ticket, 10..12);
    pool.version += 1;
    let version = pool.version;
    let grant = Grant { yields: true, version, ..pool.at("o1").grant.clone().unwrap() };
    let now = pool.now;
    pool.at("o1").handle_grant(grant, now).unwrap();
    assert!(matches!(pool.try_publish("o1", B, 0), Err(Refused::NotActive)));
    assert!(!pool.at("o1").standing().yielded);
    pool.talk();
    assert!(pool.at("o1").standing().yielded);
}
