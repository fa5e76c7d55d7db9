use super::*;
use crate::{Incarnation, Role};

const EPOCH: Epoch = Epoch(7);
const CALM: Surroundings = Surroundings { control_heard: true, edges: 2, edges_hearing: 2 };
const DESERTED: Surroundings = Surroundings { control_heard: false, edges: 3, edges_hearing: 2 };

fn member(node: &str) -> Member {
    Member { node: NodeId::new(node).unwrap(), incarnation: Incarnation::from_bits(node.len() as u64) }
}

fn grant(version: u64, in_sync: &[&str]) -> Grant {
    Grant {
        pool: PoolId::new("main").unwrap(),
        member: member("a"),
        role: Role::Active,
        epoch: EPOCH,
        version,
        written_by: String::new(),
        loss_epoch: Epoch(0),
        active: Some(member("a")),
        in_sync: in_sync.iter().map(|node| member(node)).collect(),
        fenced: BTreeSet::new(),
        yields: false,
        store: String::new(),
    }
}

/// A term and its clock.
struct Term {
    commits: Commits,
    now: Instant,
}

impl Term {
    fn new(in_sync: &[&str]) -> Self {
        let now = Instant::now();
        Self { commits: Commits::new(CommitRules::default(), &grant(1, in_sync), now), now }
    }

    fn pass(&mut self, ms: u64, around: Surroundings) {
        for _ in 0..ms / 10 {
            self.now += Duration::from_millis(10);
            self.commits.tick(self.now, around);
        }
    }

    /// A follower that has everything so far.
    fn follow(&mut self, id: FollowerId, node: &str) {
        self.commits.follower_opened(id, member(node));
        self.commits.follower_settled(id, self.commits.head());
        self.ack(id);
    }

    fn ack(&mut self, id: FollowerId) {
        let head = self.commits.head();
        self.commits.handle_ack(id, EPOCH, head).unwrap();
    }

    fn asked(&mut self) -> Option<SyncChange> {
        self.commits.poll_request().map(|request| request.change)
    }
}

#[test]
fn an_active_alone_in_its_pool_commits_at_once() {
    let mut term = Term::new(&["a"]);
    assert_eq!(term.commits.committed(), Some(0));
    term.commits.append();
    assert_eq!(term.commits.committed(), Some(1));
}

#[test]
fn nothing_is_committed_before_every_member_in_sync_has_it() {
    let mut term = Term::new(&["a", "bb", "ccc"]);
    assert_eq!(term.commits.committed(), None, "not even what the log held");
    term.follow(1, "bb");
    assert_eq!(term.commits.committed(), None);
    term.follow(2, "ccc");
    assert_eq!(term.commits.committed(), Some(0));
    term.commits.append();
    term.ack(1);
    assert_eq!(term.commits.committed(), Some(0));
    term.ack(2);
    assert_eq!(term.commits.committed(), Some(1));
}

#[test]
fn acks_count_for_their_epoch_connection_and_settled_tail_only() {
    let mut term = Term::new(&["a", "bb"]);
    term.commits.append();
    term.commits.follower_opened(1, member("bb"));
    assert_eq!(term.commits.handle_ack(1, EPOCH, 1), Err(AckRefused::Stale), "its tail is not settled");
    term.commits.follower_settled(1, 1);
    assert_eq!(term.commits.handle_ack(1, EPOCH, 0), Err(AckRefused::Stale), "from before the tail was settled");
    assert_eq!(term.commits.handle_ack(1, Epoch(6), 1), Err(AckRefused::Stale));
    assert_eq!(term.commits.handle_ack(2, EPOCH, 1), Err(AckRefused::Stale));
    assert_eq!(term.commits.handle_ack(1, EPOCH, 2), Err(AckRefused::Ahead { order: 2, head: 1 }));
    assert_eq!(term.commits.committed(), None);
    term.commits.handle_ack(1, EPOCH, 1).unwrap();
    assert_eq!(term.commits.committed(), Some(1));
}

#[test]
fn another_incarnation_of_a_member_does_not_ack_for_it() {
    let mut term = Term::new(&["a", "bb"]);
    let reborn = Member { incarnation: Incarnation::from_bits(99), ..member("bb") };
    term.commits.follower_opened(1, reborn);
    term.commits.follower_settled(1, 0);
    term.commits.handle_ack(1, EPOCH, 0).unwrap();
    assert_eq!(term.commits.committed(), None);
}

#[test]
fn a_member_that_lags_is_waited_for_until_a_newer_record_leaves_it_out() {
    let mut term = Term::new(&["a", "bb"]);
    term.follow(1, "bb");
    term.commits.append();
    term.pass(140, CALM);
    assert_eq!(term.asked(), None);
    term.pass(20, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Shrink(member("bb"))));
    assert_eq!(term.asked(), None, "once at a time");
    term.pass(200, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Shrink(member("bb"))), "until it is answered");
    assert_eq!(term.commits.committed(), Some(0));
    term.commits.handle_grant(&grant(1, &["a"]));
    assert_eq!(term.commits.committed(), Some(0), "not a newer record");
    term.commits.handle_grant(&grant(2, &["a"]));
    assert_eq!(term.commits.committed(), Some(1));
}

#[test]
fn a_member_whose_follow_closes_is_asked_out_at_once_and_one_yet_to_come_is_given_time() {
    let mut term = Term::new(&["a", "bb"]);
    term.pass(100, CALM);
    assert_eq!(term.asked(), None);
    term.follow(1, "bb");
    term.commits.follower_closed(1);
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Shrink(member("bb"))));

    let mut term = Term::new(&["a", "bb"]);
    term.commits.note_left(&member("bb"));
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Shrink(member("bb"))), "it had left before the term");
}

#[test]
fn who_was_frozen_does_not_blame_the_others() {
    let mut term = Term::new(&["a", "bb"]);
    term.follow(1, "bb");
    term.commits.append();
    term.now += Duration::from_secs(5);
    term.commits.tick(term.now, CALM);
    assert_eq!(term.asked(), None);
}

#[test]
fn a_new_member_counts_from_the_moment_of_asking_until_a_newer_record_says_no() {
    let mut term = Term::new(&["a"]);
    term.commits.append();
    term.follow(1, "bb");
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
    term.commits.append();
    assert_eq!(term.commits.committed(), Some(1), "its ack is needed now");
    term.commits.follower_closed(1);
    term.pass(1000, CALM);
    assert_eq!(term.commits.committed(), Some(1), "the request may still be granted");
    term.commits.handle_grant(&grant(2, &["a"]));
    assert_eq!(term.commits.committed(), Some(2));
}

#[test]
fn a_member_joins_only_with_all_that_is_committed() {
    let mut term = Term::new(&["a"]);
    term.commits.follower_opened(1, member("bb"));
    term.commits.follower_settled(1, 0);
    term.pass(50, CALM);
    assert_eq!(term.asked(), None, "nothing acked yet");
    term.commits.handle_ack(1, EPOCH, 0).unwrap();
    term.commits.append();
    term.pass(10, CALM);
    assert_eq!(term.asked(), None, "order 1 was committed without it");
    term.commits.append();
    assert_eq!(term.commits.committed(), Some(1), "but what comes waits for it");
    term.commits.handle_ack(1, EPOCH, 1).unwrap();
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
}

#[test]
fn a_candidate_that_falls_behind_before_it_was_asked_for_holds_nobody_up() {
    let mut term = Term::new(&["a"]);
    term.commits.follower_opened(1, member("bb"));
    term.commits.follower_settled(1, 0);
    term.commits.handle_ack(1, EPOCH, 0).unwrap();
    term.commits.append();
    term.pass(10, CALM);
    term.commits.append();
    assert_eq!(term.commits.committed(), Some(1));
    term.pass(60, CALM);
    assert_eq!(term.commits.committed(), Some(2));
}

#[test]
fn after_a_lapse_a_member_has_to_be_near_for_longer_each_time() {
    let mut term = Term::new(&["a", "bb"]);
    let mut version = 1;
    term.follow(version, "bb");
    for seconds in [5, 10, 20] {
        term.commits.follower_closed(version);
        term.pass(10, CALM);
        assert_eq!(term.asked(), Some(SyncChange::Shrink(member("bb"))));
        term.commits.handle_grant(&grant(version + 1, &["a"]));
        term.follow(version + 1, "bb");
        term.pass(seconds * 1000 - 20, CALM);
        assert_eq!(term.asked(), None);
        term.pass(40, CALM);
        assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
        term.commits.handle_grant(&grant(version + 2, &["a", "bb"]));
        term.commits.follower_closed(version + 1);
        term.follow(version + 2, "bb");
        version += 2;
    }
}

#[test]
fn moments_in_which_a_member_is_behind_put_its_return_off_and_do_not_begin_it_anew() {
    let mut term = Term::new(&["a", "bb"]);
    term.follow(1, "bb");
    term.commits.follower_closed(1);
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Shrink(member("bb"))));
    term.commits.handle_grant(&grant(2, &["a"]));
    term.follow(2, "bb");
    let be_behind = |term: &mut Term, ms| {
        term.commits.append();
        term.pass(ms, CALM);
        term.ack(2);
    };
    // On a busy machine: each second it is behind for a moment, for the first 40 ms of which it is near.
    for _ in 0..5 {
        term.pass(900, CALM);
        be_behind(&mut term, 100);
    }
    term.pass(200, CALM);
    assert_eq!(term.asked(), None, "the moments do not count");
    be_behind(&mut term, 150);
    term.pass(4990, CALM);
    assert_eq!(term.asked(), None, "so far behind it would have been asked out");
    term.pass(20, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));

    let mut term = Term::new(&["a", "bb"]);
    term.commits.note_left(&member("bb"));
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Shrink(member("bb"))));
    term.commits.handle_grant(&grant(2, &["a"]));
    term.follow(2, "bb");
    for _ in 0..5 {
        term.pass(900, CALM);
        be_behind(&mut term, 100);
    }
    term.pass(310, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
}

#[test]
fn a_member_that_the_record_refuses_is_not_waited_for() {
    let mut term = Term::new(&["a"]);
    term.follow(1, "bb");
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
    for version in [2, 3] {
        term.commits.handle_grant(&grant(version, &["a"]));
        term.pass(10, CALM);
        assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
    }
    term.commits.append();
    assert_eq!(term.commits.committed(), Some(0));
    term.commits.handle_grant(&grant(4, &["a"]));
    assert_eq!(term.commits.committed(), Some(1), "though it is still here");
    term.ack(1);
    term.pass(4000, CALM);
    assert_eq!(term.asked(), None, "and is not asked for again at once");
}

#[test]
fn a_request_that_crossed_with_another_record_is_made_again_on_that_one_and_is_no_lapse() {
    let mut term = Term::new(&["a"]);
    term.follow(1, "bb");
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
    term.commits.append();
    term.commits.handle_grant(&grant(2, &["a"]));
    assert_eq!(term.commits.committed(), Some(0), "it counts all the while: it will hold what is committed");
    term.ack(1);
    term.pass(10, CALM);
    let again = term.commits.poll_request().expect("a request");
    assert_eq!((again.version, again.change), (2, SyncChange::Grow(member("bb"))));
    term.commits.handle_grant(&grant(3, &["a", "bb"]));
    // It drops out for the first time: 5 s, not 10.
    term.commits.follower_closed(1);
    term.pass(10, CALM);
    term.commits.handle_grant(&grant(4, &["a"]));
    term.follow(2, "bb");
    term.pass(5_010, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
}

#[test]
fn a_fenced_member_is_not_asked_for_and_returns_at_once_when_it_is_let_in() {
    let mut term = Term::new(&["a", "bb"]);
    term.follow(1, "bb");
    term.pass(10, CALM);
    term.commits.handle_grant(&Grant { fenced: [member("bb").node].into(), ..grant(2, &["a"]) });
    term.pass(60_000, CALM);
    assert_eq!(term.asked(), None);
    term.commits.handle_grant(&grant(3, &["a"]));
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
}

#[test]
fn a_candidate_that_is_fenced_before_it_is_let_in_is_not_waited_for() {
    let mut term = Term::new(&["a"]);
    term.follow(1, "bb");
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
    term.commits.append();
    term.commits.handle_grant(&Grant { fenced: [member("bb").node].into(), ..grant(2, &["a"]) });
    assert_eq!(term.commits.committed(), Some(1));
}

#[test]
fn a_candidate_that_is_not_near_when_its_request_crosses_is_not_waited_for() {
    let mut term = Term::new(&["a"]);
    term.follow(1, "bb");
    term.pass(10, CALM);
    assert_eq!(term.asked(), Some(SyncChange::Grow(member("bb"))));
    term.commits.append();
    term.pass(100, CALM);
    assert_eq!(term.commits.committed(), Some(0));
    term.commits.handle_grant(&grant(2, &["a"]));
    assert_eq!(term.commits.committed(), Some(1));
}

#[test]
fn a_control_plane_that_beats_and_settles_nothing_is_as_good_as_gone() {
    let beats = Surroundings { control_heard: true, ..DESERTED };
    let mut term = Term::new(&["a", "bb"]);
    term.follow(1, "bb");
    term.commits.append();
    term.commits.follower_closed(1);
    term.pass(1400, beats);
    assert_eq!(term.commits.alone(), None);
    term.pass(600, beats);
    assert_eq!(term.commits.committed(), Some(1));
}

#[test]
fn alone_it_goes_on_while_most_edges_hear_it() {
    let mut term = Term::new(&["a", "bb"]);
    term.follow(1, "bb");
    term.commits.append();
    term.commits.follower_closed(1);
    term.pass(380, DESERTED);
    assert_eq!((term.commits.committed(), term.commits.alone()), (Some(0), None));
    term.pass(30, DESERTED);
    assert_eq!(term.commits.committed(), Some(1));
    let without = BTreeSet::from([member("bb")]);
    assert_eq!(term.commits.alone(), Some(&Alone { from: 0, without: without.clone() }));
    assert_eq!(term.asked(), Some(SyncChange::Alone { without }));
    term.commits.handle_grant(&grant(2, &["a"]));
    assert_eq!(term.commits.alone(), None);
}

#[test]
fn what_was_done_alone_is_told_again_when_the_record_has_changed_meanwhile() {
    let mut term = Term::new(&["a", "bb"]);
    term.commits.append();
    term.pass(600, DESERTED);
    let alone = SyncChange::Alone { without: [member("bb")].into() };
    assert_eq!(term.asked(), Some(alone.clone()));
    term.commits.handle_grant(&grant(2, &["a", "bb"]));
    assert_eq!(term.commits.alone(), None, "the record that is in force has the member");
    term.commits.append();
    assert_eq!(term.commits.committed(), Some(1), "and so it counts again");
    let request = term.commits.poll_request().expect("it is told at once");
    assert_eq!((request.version, request.change), (2, alone));
    term.commits.handle_grant(&grant(3, &["a"]));
    assert_eq!((term.asked(), term.commits.committed()), (None, Some(2)));
}

#[test]
fn alone_it_stops_when_most_edges_do_not_hear_it_or_it_is_told_to() {
    for around in
        [Surroundings { edges_hearing: 1, ..DESERTED }, Surroundings { edges: 0, edges_hearing: 0, ..DESERTED }]
    {
        let mut term = Term::new(&["a", "bb"]);
        term.commits.append();
        term.pass(5000, around);
        assert_eq!((term.commits.committed(), term.commits.alone()), (None, None));
    }
    let mut term = Term::new(&["a", "bb"]);
    term.commits.rules.when_alone = WhenAlone::Stall;
    term.pass(5000, DESERTED);
    assert_eq!((term.commits.committed(), term.commits.alone()), (None, None));
}

#[test]
fn time_in_which_it_was_frozen_does_not_make_it_alone() {
    let mut term = Term::new(&["a", "bb"]);
    for _ in 0..10 {
        term.now += Duration::from_secs(1);
        term.commits.tick(term.now, DESERTED);
    }
    assert_eq!(term.commits.alone(), None);
}

#[test]
fn what_waits_for_a_member_that_has_left_ages_at_any_rate() {
    let mut term = Term::new(&["a", "bb"]);
    term.commits.rules.when_alone = WhenAlone::Stall;
    term.follow(1, "bb");
    term.commits.append();
    term.ack(1);
    term.pass(500, CALM);
    term.commits.follower_closed(1);
    // 10,000 a second.
    for _ in 0..1100 {
        for _ in 0..100 {
            term.commits.append();
        }
        term.pass(10, DESERTED);
    }
    assert_eq!((term.commits.committed(), term.commits.lag()), (Some(1), Duration::from_secs(11)));
    term.follow(2, "bb");
    assert_eq!(term.commits.lag(), Duration::ZERO);
}
