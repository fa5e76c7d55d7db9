use std::time::Duration;

use bytes::Bytes;
use media::{MediaMessage, Medium};

use super::*;

fn message(size: usize) -> Entry {
    let mut payload = vec![1; size];
    payload[0] = 0xaf;
    Entry::Message(MediaMessage { medium: Medium::Audio, timestamp: 0, payload: Bytes::from(payload) })
}

fn queue(bytes: usize) -> ReplayQueue {
    ReplayQueue::new(&SharedBudget::new(usize::MAX), Limits { bytes, duration: Duration::from_secs(10) })
}

fn entries(from: u64, count: u64, size: usize) -> Next {
    Next::Pieces((from..from + count).map(|number| Piece::Entry(number, message(size))).collect())
}

#[tokio::test]
async fn a_publication_is_done_when_its_end_is_acked() {
    let queue = queue(1 << 20);
    for _ in 0..3 {
        queue.push(message(10)).await.unwrap();
    }
    assert_eq!(queue.next(0, 1 << 20).await, entries(0, 3, 10));
    queue.ack_below(2);
    assert_eq!(queue.next(2, 1 << 20).await, entries(2, 1, 10), "again, from the first unacked");
    queue.end(End::Closed);
    assert_eq!(queue.next(3, 1 << 20).await, Next::End(3, End::Closed));
    queue.ack_below(3);
    assert!(!queue.is_done(), "the origin has all messages and does not know yet that they were the last");
    queue.ack_below(4);
    assert!(queue.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_the_encoder_wait_while_acks_come() {
    let queue = queue(200);
    queue.push(message(100)).await.unwrap();
    queue.push(message(100)).await.unwrap();
    queue.ack_below(1);
    queue.push(message(100)).await.unwrap();
    let wait = queue.push(message(1));
    tokio::pin!(wait);
    assert!(futures_util::poll!(&mut wait).is_pending());
    queue.ack_below(2);
    assert!(futures_util::poll!(&mut wait).is_ready());
    queue.give_up(IngestEnded::TakenOver);
    assert_eq!(queue.push(message(1)).await, Err(IngestEnded::TakenOver));
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_nobody_acks_is_not_held_up() {
    let queue = queue(1000);
    let mut skipped = 0;
    for _ in 0..100 {
        let gone = queue.push(message(100)).await.unwrap();
        skipped += gone.end - gone.start;
    }
    assert!(skipped > 80);
    assert_eq!(queue.next(0, usize::MAX).await, {
        let skip = Piece::Skip { from: 0, to: skipped - 1 };
        let held = (skipped..100).map(|number| Piece::Entry(number, message(100)));
        Next::Pieces([skip].into_iter().chain(held).collect())
    });
}

#[tokio::test(start_paused = true)]
async fn an_ack_that_does_not_come_is_not_waited_for_long() {
    let queue = queue(300);
    for _ in 0..3 {
        queue.push(message(100)).await.unwrap();
        queue.ack_below(1);
    }
    let begin = Instant::now();
    queue.push(message(100)).await.unwrap();
    assert!(queue.push(message(100)).await.is_ok_and(|skipped| !skipped.is_empty()));
    assert!(begin.elapsed() <= Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn batches_are_bounded_and_the_sender_waits_when_there_is_nothing() {
    let queue = queue(1 << 20);
    {
        let next = queue.next(0, 100);
        tokio::pin!(next);
        assert!(futures_util::poll!(&mut next).is_pending());
        queue.push(message(100)).await.unwrap();
        queue.push(message(100)).await.unwrap();
        assert_eq!(next.await, entries(0, 1, 100));
    }
    assert_eq!(queue.next(1, 100).await, entries(1, 1, 100));
}

#[tokio::test]
async fn a_crowded_edge_takes_from_those_who_hold_most() {
    let budget = SharedBudget::new(2000);
    let limits = Limits { bytes: usize::MAX, duration: Duration::from_secs(10) };
    let (large, small) = (ReplayQueue::new(&budget, limits), ReplayQueue::new(&budget, limits));
    for _ in 0..10 {
        large.push(message(200)).await.unwrap();
    }
    assert!(budget.bytes() < 2400, "{}", budget.bytes());
    let small_one = small.push(message(100)).await.unwrap();
    assert!(small_one.is_empty(), "it holds less than its share");
    assert!(!large.push(message(200)).await.unwrap().is_empty());
    drop((large, small));
    assert_eq!(budget.bytes(), 0);
}
