//! What is lost where nobody who had all is left, and what goes on (REPLICATION C7).

use super::*;

#[test]
fn a_promotion_with_loss_names_what_is_lost_and_begins_above_it() {
    let (mut pool, ticket) = pair();
    pool.feed("o1", &ticket, 10..20);
    pool.say_one_round();
    let known = pool.at("o2").list()[0].info.committed_below;
    pool.cut_off("o1");
    pool.grant_with_loss("o2", 3, &["o2"], 3);
    let info = pool.at("o2").list()[0].info;
    assert_eq!(info.next_seq, Epoch(3).first_position() + 1);
    let again = pool.try_publish("o2", A, 0).unwrap();
    pool.feed("o2", &again, again.next_number..again.next_number + 3);
    let positions: Vec<_> = pool.seen("o2", 0).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(positions.iter().filter(|seq| **seq < known).count(), 10);
    assert!(positions.iter().all(|seq| *seq < known || *seq > Epoch(3).first_position()), "{positions:?} {known}");
    // A later grant carries the loss along; it is named once.
    pool.grant_with_loss("o2", 4, &["o2"], 3);
    assert!(pool.at("o2").list()[0].info.next_seq < Epoch(4).first_position());
}

/// o2 is promoted with loss, and has a tail that it does not know to be committed.
fn promoted_with_loss(source: Source) -> Pool {
    let mut pool = Pool::new(&["o1", "o2"]);
    pool.follow("o2", "o1");
    pool.grant("o1", 1, &["o1", "o2"]);
    pool.talk();
    let now = pool.now;
    let publish = Publish { name: stream(), publication: A, source, first_number: 0 };
    let ticket = pool.at("o1").publish(publish, now).unwrap();
    pool.talk();
    pool.feed("o1", &ticket, 0..10);
    pool.talk();
    pool.feed("o1", &ticket, 10..20);
    pool.say_one_round();
    pool.cut_off("o1");
    pool.grant_with_loss("o2", 3, &["o2"], 3);
    pool
}

#[test]
fn a_stream_that_is_cut_back_at_a_promotion_ends_when_its_edge_does_not_come_back() {
    let mut pool = promoted_with_loss(Source { edge: NodeId::new("edge").ok(), peer: String::new() });
    assert_eq!(pool.at("o2").list().len(), 1);
    let config = Config::default();
    pool.pass((config.resume_wait + config.splice.grace).as_millis() as u64 + 20);
    assert!(pool.at("o2").list().is_empty(), "its viewers are told");
}

#[test]
fn an_encoder_of_the_old_origins_port_may_publish_at_once_where_its_stream_was_cut_back() {
    let mut pool = promoted_with_loss(Source { edge: None, peer: String::new() });
    pool.try_publish("o2", B, 0).unwrap();
}

#[test]
fn a_publication_that_the_promoted_never_had_goes_on_when_the_one_before_it_has_not_come() {
    let sequence = || {
        let (mut pool, ticket) = pair();
        // So that o2 hears of what is committed.
        pool.feed("o1", &ticket, 10..20);
        pool.talk();
        pool.cut_off("o2");
        pool.grant("o1", 1, &["o1"]);
        let now = pool.now;
        pool.at("o1").handle_lost(&ticket, now);
        let second = pool.publish("o1", B);
        pool.feed("o1", &second, 0..40);
        assert_eq!(second.acked.borrow().through, Some(39), "its encoder knows that it is on air");
        pool.grant_with_loss("o2", 2, &["o2"], 2);
        assert!(matches!(pool.try_publish("o2", B, 30), Err(Refused::Busy)), "A may live");
        pool
    };
    let mut pool = sequence();
    pool.pass(3010);
    let again = pool.try_publish("o2", B, 30).unwrap();
    pool.feed("o2", &again, 30..45);
    assert_eq!(again.acked.borrow().through, Some(44));
    assert!(matches!(pool.at("o2").poll_notice(), Some(Notice { what: Mishap::Lost { .. }, .. })));
    assert!(matches!(pool.try_publish("o2", A, 10), Err(Refused::Gone)), "it was replaced");

    let mut pool = sequence();
    let first = pool.try_publish("o2", A, 10).unwrap();
    for n in (first.next_number..).take(500) {
        pool.pass(10);
        pool.feed("o2", &first, n..n + 1);
    }
    assert!(matches!(pool.try_publish("o2", B, 30), Err(Refused::Busy)), "a living encoder keeps its name");
}

#[test]
fn a_stream_that_was_lost_whole_is_named_whenever_its_edge_comes_back() {
    for later in [3, 5] {
        let mut pool = Pool::new(&["o2"]);
        pool.grant_with_loss("o2", 3, &["o2"], 3);
        if later > 3 {
            pool.grant_with_loss("o2", later, &["o2"], 3);
        }
        let _new = pool.publish("o2", B);
        assert_eq!(pool.at("o2").poll_notice(), None, "one that begins has lost nothing");
        pool.at("o2").kick(&stream());
        let _old = pool.try_publish("o2", A, 40).unwrap();
        let lost = Notice { stream: stream(), what: Mishap::Lost { from: 0 } };
        assert_eq!(pool.at("o2").poll_notice(), Some(lost), "in epoch {later}");
    }
}
