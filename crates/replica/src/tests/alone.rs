//! What an active commits while it is alone, and how it is named afterwards (REPLICATION C5, C6, R1).

use super::*;

/// Nobody can be asked, and the edges are here.
const DESERTED: Surroundings = Surroundings { control_heard: false, edges: 1, edges_hearing: 1 };

fn other_stream() -> StreamName {
    StreamName::from_app("_default", "live", "bar").unwrap()
}

impl Pool {
    fn pass_deserted(&mut self, name: &str, ms: u64) {
        for _ in 0..ms / 10 {
            self.now += Duration::from_millis(10);
            let now = self.now;
            self.at(name).handle_timeout(now, DESERTED);
        }
    }

    fn publish_other(&mut self, name: &str, publication: PublicationId) -> Ticket {
        let source = Source { edge: Some(NodeId::new("edge").unwrap()), peer: String::new() };
        let now = self.now;
        let publish = Publish { name: other_stream(), publication, source, first_number: 0 };
        self.at(name).publish(publish, now).unwrap()
    }

    fn notices(&mut self, name: &str) -> Vec<Notice> {
        std::iter::from_fn(|| self.at(name).poll_notice()).collect()
    }

    fn end_of(&mut self, name: &str, stream: &StreamName) -> u64 {
        self.at(name).list().iter().find(|log| log.name == *stream).unwrap().info.next_seq
    }
}

/// o1 was in sync with o2, is cut off from it and from the control plane, and goes on alone.
fn deserted() -> (Pool, Ticket) {
    let (mut pool, ticket) = pair();
    pool.cut_off("o2");
    pool.pass_deserted("o1", 1000);
    assert!(pool.at("o1").standing().alone_from.is_some());
    (pool, ticket)
}

fn split(stream: StreamName, from: u64, to: u64) -> Notice {
    Notice { stream, what: Mishap::Split { node: NodeId::new("o1").unwrap(), from, to } }
}

#[test]
fn streams_that_ended_at_an_active_that_was_alone_are_named_when_it_follows_another() {
    let (mut pool, ticket) = deserted();
    let parted = pool.end_of("o1", &stream());
    pool.feed("o1", &ticket, 10..13);
    pool.at("o1").handle_close(&ticket, 13).unwrap();
    let other = pool.publish_other("o1", B);
    let begun = pool.end_of("o1", &other_stream()) - 1;
    pool.at("o1").handle_close(&other, 0).unwrap();
    assert!(pool.at("o1").list().is_empty());
    pool.grant("o2", 2, &["o2"]);
    pool.follow("o1", "o2");
    pool.talk();
    // Three frames and the end; the opening and the end of the stream that o2 never heard of.
    let told = pool.notices("o2");
    assert!(told.contains(&split(stream(), parted, parted + 3)), "{told:?}");
    assert!(told.contains(&split(other_stream(), begun, begun + 1)), "{told:?}");
    assert_eq!(told.len(), 2);
    // It is told once.
    pool.cut_off("o1");
    pool.follow("o1", "o2");
    pool.talk();
    assert_eq!(pool.notices("o2"), []);
}

#[test]
fn an_open_stream_that_only_an_active_had_that_was_alone_is_named() {
    let (mut pool, _ticket) = deserted();
    let other = pool.publish_other("o1", B);
    let now = pool.now;
    pool.at("o1").handle_message(&other, 0, video(0), now).unwrap();
    let end = pool.end_of("o1", &other_stream());
    pool.grant("o2", 2, &["o2"]);
    pool.follow("o1", "o2");
    pool.talk();
    assert_eq!(pool.notices("o2"), [split(other_stream(), end - 2, end - 1)]);
    assert_eq!(pool.at("o1").list().len(), 1, "it is gone from there");
}

/// o1 was in sync with o2 and o3, is cut off from o2 and from the control plane, and goes on with o3 on its own word.
fn deserted_by_one_of_two() -> Pool {
    let mut pool = Pool::new(&["o1", "o2", "o3"]);
    pool.follow("o2", "o1");
    pool.follow("o3", "o1");
    pool.grant("o1", 1, &["o1", "o2", "o3"]);
    pool.talk();
    pool.cut_off("o2");
    pool.pass_deserted("o1", 1000);
    let standing = pool.at("o1").standing();
    assert_eq!((standing.counted, standing.alone_from.is_some()), (1, true));
    pool
}

#[test]
fn what_a_third_member_had_too_is_named_where_the_next_active_was_left_out() {
    let mut pool = deserted_by_one_of_two();
    let open = pool.publish("o1", A);
    pool.feed("o1", &open, 0..3);
    let ended = pool.publish_other("o1", B);
    pool.talk();
    assert!(open.acked.borrow().open && ended.acked.borrow().open, "both are seen");
    let (open_end, ended_end) = (pool.end_of("o1", &stream()), pool.end_of("o1", &other_stream()));
    pool.at("o1").handle_close(&ended, 0).unwrap();
    pool.talk();
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2"]);
    for follower in ["o1", "o3"] {
        pool.follow(follower, "o2");
        pool.talk();
    }
    let told = pool.notices("o2");
    assert!(told.contains(&split(stream(), open_end - 4, open_end - 1)), "{told:?}");
    assert!(told.contains(&split(other_stream(), ended_end - 1, ended_end)), "{told:?}");
    assert_eq!(told.len(), 2);
    assert!(pool.at("o1").list().is_empty() && pool.at("o3").list().is_empty());
}

#[test]
fn what_all_have_whom_the_record_names_is_kept_in_mind_no_longer() {
    let mut pool = deserted_by_one_of_two();
    let open = pool.publish("o1", A);
    let ended = pool.publish_other("o1", B);
    pool.at("o1").handle_close(&ended, 0).unwrap();
    pool.talk();
    assert_eq!(pool.at("o1").alone.ended().count(), 1);
    pool.version += 1;
    pool.tell("o1", "o1", 1, &["o1", "o3"], 0);
    pool.feed("o1", &open, 0..1);
    pool.talk();
    assert_eq!(pool.at("o1").alone.ended().count(), 0);
    assert!(pool.at("o1").logs.values().all(|log| log.alone_from.is_none()));
}

#[test]
fn what_others_have_caught_up_with_is_not_named() {
    let (mut pool, ticket) = deserted();
    let other = pool.publish_other("o1", B);
    pool.at("o1").handle_close(&other, 0).unwrap();
    pool.feed("o1", &ticket, 10..13);
    // o2 is back, and all that was committed alone is committed by it, too.
    pool.version += 1;
    pool.tell("o1", "o1", 1, &["o1"], 0);
    pool.follow("o2", "o1");
    pool.talk();
    pool.version += 1;
    pool.tell("o1", "o1", 1, &["o1", "o2"], 0);
    pool.feed("o1", &ticket, 13..14);
    pool.talk();
    pool.cut_off("o1");
    pool.grant("o2", 2, &["o2"]);
    pool.at("o2").kick(&stream());
    pool.follow("o1", "o2");
    pool.talk();
    assert_eq!(pool.notices("o2"), []);
}

#[test]
fn a_follower_whose_memory_begins_above_what_is_in_common_gets_the_log_whole_and_keeps_its_own_until_then() {
    let mut pool = Pool::new(&["o2"]);
    pool.start("o1", RingLimits { items: 10, ..RingLimits::default() });
    pool.follow("o2", "o1");
    pool.grant("o1", 1, &["o1", "o2"]);
    pool.talk();
    let ticket = pool.publish("o1", A);
    pool.feed("o1", &ticket, 0..10);
    pool.talk();
    // o1 writes more than it can remember, and o2 hears of none of it.
    pool.follows.clear();
    pool.feed("o1", &ticket, 10..40);
    let tail = pool.end_of("o1", &stream());
    pool.grant("o2", 2, &["o2"]);
    let again = pool.try_publish("o2", A, 10).unwrap();
    pool.feed("o2", &again, 10..15);
    pool.follow("o1", "o2");
    let (_, _, at_follower, at_leader) = pool.follows[0];
    let now = pool.now;
    for _ in 0..100 {
        let held = pool.at("o1").list().first().map(|log| log.info.next_seq);
        let Some(down) = pool.at("o2").poll_down(at_leader) else {
            let Some(up) = pool.at("o1").poll_up(at_follower) else { break };
            pool.at("o2").handle_up(at_leader, up).unwrap();
            continue;
        };
        let completes = matches!(down, FollowDown::SnapshotEnd { .. });
        assert!(completes || held != Some(0));
        pool.at("o1").handle_down(at_follower, down, now).unwrap();
        let held_then = pool.end_of("o1", &stream());
        assert!(completes || held_then == tail || Some(held_then) == held, "in one step");
    }
    assert_eq!(pool.end_of("o1", &stream()), pool.end_of("o2", &stream()));
    assert_eq!(pool.at("o1").standing().epoch, Epoch(2));
}

/// The control plane may lose the request: it is asked again, by an active that has nobody else to listen to.
#[test]
fn an_active_that_is_alone_says_so_until_a_record_answers() {
    let (mut pool, _ticket) = deserted();
    let mut asked = 0;
    for _ in 0..100 {
        pool.now += Duration::from_millis(10);
        let now = pool.now;
        let active = pool.at("o1");
        if active.poll_timeout(now).is_some_and(|due| due <= now) {
            active.handle_timeout(now, CALM);
            asked += usize::from(
                active.poll_request().is_some_and(|request| matches!(request.change, SyncChange::Alone { .. })),
            );
        }
    }
    assert!((4..=6).contains(&asked), "each 200 ms for a second: {asked}");
    pool.grant("o1", 1, &["o1"]);
    let now = pool.now;
    assert_eq!(pool.at("o1").poll_timeout(now), None, "it has been answered");
}
