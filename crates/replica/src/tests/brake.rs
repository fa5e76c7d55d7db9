//! What an active takes while it commits nothing.

use super::*;

#[test]
fn an_active_that_commits_nothing_is_held_up_and_loses_nothing_of_what_it_took() {
    let (mut pool, ticket) = pair();
    pool.cut_off("o2");
    let mut taken = 10;
    // As time passes, until no more should come.
    while !pool.at("o1").is_held_up(&ticket) {
        pool.feed("o1", &ticket, taken..taken + 1);
        // Nobody to ask, and no edge by whose word it may go on alone.
        pool.pass_in(40, Surroundings::default());
        taken += 1;
        assert!(taken < 300, "it goes on for ever");
    }
    assert_eq!((taken, pool.at("o1").standing().lag), (260, Duration::from_secs(10)));
    let other = StreamName::from_app("_default", "live", "bar").unwrap();
    let source = Source { edge: None, peer: String::new() };
    let (now, new) = (pool.now, Publish { name: other, publication: B, source, first_number: 0 });
    assert_eq!(pool.at("o1").publish(new, now).map(drop), Err(Refused::HeldUp));
    let again = pool.try_publish("o1", A, 0).expect("one that comes back adds nothing");
    pool.follow("o2", "o1");
    pool.talk();
    assert!(!pool.at("o1").is_held_up(&again));
    assert_eq!(pool.seen("o1", 0).len() as u64, taken);
}

#[test]
fn a_stream_of_which_too_much_waits_is_held_up_before_its_time() {
    let mut pool = Pool::new(&["o2"]);
    pool.start("o1", RingLimits { items: 100, ..RingLimits::default() });
    pool.follow("o2", "o1");
    pool.grant("o1", 1, &["o1", "o2"]);
    pool.talk();
    let ticket = pool.publish("o1", A);
    let mut taken = 0;
    while !pool.at("o1").is_held_up(&ticket) {
        pool.feed("o1", &ticket, taken..taken + 1);
        taken += 1;
        assert!(taken < 100, "some would be gone before anybody has seen it");
    }
    pool.talk();
    assert!(!pool.at("o1").is_held_up(&ticket));
    assert_eq!(pool.seen("o1", 0).len() as u64, taken);
}
