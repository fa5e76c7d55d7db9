use std::time::Duration;

use bytes::Bytes;
use cluster::Epoch;
use futures_util::{StreamExt, stream::BoxStream};
use media::{MediaMessage, Medium};
use rpc::relay::PushUp;
use rtmp_net::Ingest as _;
use tokio::{sync::watch as directions_watch, task::JoinHandle, time::timeout};

use super::*;
use crate::{
    ingest::{Ingest, Ingests, Request},
    upstream::{
        Directions,
        testing::{Down, Net, Played, directions, name},
    },
};

/// An edge with one encoder, and two origins at `a:1` and `b:1` of one pool.
struct Bench {
    net: Arc<Net>,
    ingests: Arc<Ingests>,
    a: Played,
    b: Played,
    routes: directions_watch::Sender<Directions>,
}

/// A push that an origin has opened.
struct Taken {
    hello: PushHello,
    up: BoxStream<'static, PushUp>,
    down: Down<PushDown>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let net = Net::new();
        let (a, b) = (net.listen("a:1"), net.listen("b:1"));
        let (upstream, routes) = net.upstream(directions(&[r#""*:*;a:1;b:1""#]));
        Self { net, ingests: Arc::new(Ingests::new(upstream, config)), a, b, routes }
    }

    /// Publishes; origin A opens it in epoch 5.
    async fn publish(&mut self) -> (Ingest, Taken) {
        let publishing = self.ask();
        let taken = take(&mut self.a, 5, 0).await;
        (publishing.await.unwrap().unwrap(), taken)
    }

    /// Asks to publish, in a task of its own.
    fn ask(&self) -> JoinHandle<Result<Ingest, PublishRefusal>> {
        let ingests = self.ingests.clone();
        let request = Request { stream: name(), key: None, peer: "192.0.2.1:5000".into() };
        tokio::spawn(async move { ingests.publish(request).await })
    }

    /// A push comes to origin A, and after a while is told that another publication has the name.
    async fn refuse_name(&mut self) {
        let (_, _, reply) = timeout(Duration::from_secs(20), self.a.push()).await.expect("a push in time");
        tokio::time::sleep(Duration::from_millis(300)).await;
        reply.refuse(RelayError::Refused(relay::PublishRefusal::NameTaken));
        // It has come to the edge.
        tokio::task::yield_now().await;
    }

    /// No push comes to origin A for a while.
    async fn asks_for_nothing(&mut self) {
        assert!(timeout(Duration::from_millis(100), self.a.push()).await.is_err(), "it asks");
    }
}

/// Takes the next push that comes to an origin, which has all below `next_number` in its log.
async fn take(origin: &mut Played, epoch: u64, next_number: u64) -> Taken {
    let (hello, up, reply) = timeout(Duration::from_secs(20), origin.push()).await.expect("a push in time");
    let down = reply.accept();
    down.send(Ok(PushDown::Opened { epoch: Epoch(epoch), next_number })).unwrap();
    Taken { hello, up, down }
}

impl Taken {
    /// The next thing that is no beat, in short: numbers of messages, skips as pairs.
    async fn next(&mut self) -> Option<Vec<(u64, u64)>> {
        loop {
            return Some(match timeout(Duration::from_secs(20), self.up.next()).await.expect("something in time")? {
                PushUp::Beat { .. } => continue,
                PushUp::Messages(messages) => messages.iter().map(|(number, _)| (*number, *number)).collect(),
                PushUp::MetadataCleared(number) | PushUp::Close(number) => vec![(number, number)],
                PushUp::Skip { from, to } => vec![(from, to)],
            });
        }
    }

    /// Reads until the number `last` has come; all numbers, as pairs.
    async fn through(&mut self, last: u64) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        while all.last().is_none_or(|(_, to)| *to < last) {
            all.extend(self.next().await.expect("the push goes on"));
        }
        all
    }

    fn ack(&self, epoch: u64, through: u64) {
        self.down.send(Ok(PushDown::Ack { through, epoch: Epoch(epoch) })).unwrap();
    }

    /// Time passes, and the origin beats.
    async fn live_for(&self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.down.send(Ok(PushDown::Beat { epoch: Epoch(5) })).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The connection is gone.
    fn reset(self) {
        self.down.send(Err(RelayError::Transport("reset".into()))).unwrap();
    }
}

fn singly(numbers: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    numbers.map(|number| (number, number)).collect()
}

async fn send(ingest: &mut Ingest, payload: &'static [u8]) -> Result<(), IngestEnded> {
    let medium = if payload[0] == 0xaf { Medium::Audio } else { Medium::Video };
    ingest.message(MediaMessage { medium, timestamp: 0, payload: Bytes::from_static(payload) }).await
}

const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 0x65];
const DELTA: &[u8] = &[0x27, 1, 0, 0, 0, 0x41];
const CONFIG: &[u8] = &[0xaf, 0, 0x12, 0x10];

#[tokio::test(start_paused = true)]
async fn the_next_origin_gets_what_the_first_has_not_acked() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    for payload in [KEY, DELTA, DELTA, DELTA] {
        send(&mut ingest, payload).await.unwrap();
    }
    assert_eq!(first.through(3).await, singly(0..4));
    first.ack(5, 1);
    first.reset();
    let (_, _, reply) = bench.a.push().await;
    reply.refuse(RelayError::NotActive { active: Some("b:1".into()), epoch: Epoch(6) });
    let mut second = take(&mut bench.b, 6, 2).await;
    assert_eq!(second.hello.epoch, Epoch(6));
    assert_eq!(second.through(3).await, singly(2..4));
    send(&mut ingest, DELTA).await.unwrap();
    assert_eq!(second.next().await, Some(singly(4..5)));
}

#[tokio::test(start_paused = true)]
async fn opened_acks_nothing() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    for payload in [KEY, DELTA, DELTA] {
        send(&mut ingest, payload).await.unwrap();
    }
    first.through(2).await;
    first.reset();
    let second = take(&mut bench.a, 6, 3).await;
    // It had all of them in its log, but has died before it could commit them.
    second.reset();
    let mut third = take(&mut bench.a, 7, 0).await;
    assert_eq!(third.through(2).await, singly(0..3));
}

#[tokio::test(start_paused = true)]
async fn an_ack_of_an_epoch_that_is_over_counts_for_nothing() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    send(&mut ingest, KEY).await.unwrap();
    first.through(0).await;
    first.reset();
    let deposed = take(&mut bench.a, 4, 0).await;
    deposed.ack(4, 0);
    let mut second = take(&mut bench.b, 6, 0).await;
    assert_eq!(second.through(0).await, singly(0..1), "it was not acked");
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_ends_is_brought_to_its_end_elsewhere() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    send(&mut ingest, KEY).await.unwrap();
    first.through(0).await;
    ingest.close().await;
    assert_eq!(first.next().await, Some(singly(1..2)), "its close has a number");
    first.reset();
    let mut second = take(&mut bench.a, 6, 1).await;
    assert_eq!(second.next().await, Some(singly(1..2)));
    second.ack(6, 1);
    drop(second);
    bench.ingests.close(Duration::from_secs(5)).await;
    assert_eq!(bench.ingests.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_next_origin_hears_at_once_that_the_encoder_is_lost() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    send(&mut ingest, KEY).await.unwrap();
    first.through(0).await;
    first.ack(5, 0);
    // The encoder and the origin go in the same moment; nothing is left to be brought.
    drop(ingest);
    first.reset();
    let mut second = take(&mut bench.a, 6, 1).await;
    assert_eq!(second.next().await, None, "it ends without a close");
    drop(second);
    bench.ingests.close(Duration::from_secs(5)).await;
    assert_eq!(bench.ingests.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_encoder_outlives_a_long_absence_and_the_gap_has_a_name() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    send(&mut ingest, CONFIG).await.unwrap();
    first.through(0).await;
    first.ack(5, 0);
    first.reset();
    let Bench { net, ingests: _ingests, routes: _routes, .. } = bench;
    // Thirty seconds of two-second GOPs of four frames each, with nobody to take them.
    for n in 0..60 {
        send(&mut ingest, if n % 4 == 0 { KEY } else { DELTA }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut origin = net.listen("a:1");
    let mut second = take(&mut origin, 6, 1).await;
    let told = second.through(60).await;
    let (from, to) = told[0];
    assert_eq!(from, 1);
    assert!(to >= 36 && to % 4 == 0, "whole GOPs, up to about ten seconds ago: {told:?}");
    assert_eq!(told[1..], singly(to + 1..61));
}

#[tokio::test(start_paused = true)]
async fn an_origin_without_memory_gets_the_set_up_first() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    send(&mut ingest, CONFIG).await.unwrap();
    for n in 0..10 {
        first.live_for(Duration::from_secs(1)).await;
        send(&mut ingest, if n % 4 == 0 { KEY } else { DELTA }).await.unwrap();
        first.through(n + 1).await;
        first.ack(5, n + 1);
    }
    first.live_for(Duration::from_millis(100)).await;
    first.reset();
    let mut second = take(&mut bench.a, 6, 0).await;
    assert_eq!(second.hello.first_number, 1, "it learns that it has missed something");
    assert_eq!(second.through(10).await, [(1, 1), (8, 8), (9, 9), (10, 10)], "and two seconds of what was acked");
}

#[tokio::test(start_paused = true)]
async fn a_second_encoder_is_refused_and_told_so() {
    let mut bench = Bench::new();
    let publishing = bench.ask();
    let (_, _, reply) = bench.a.push().await;
    reply.refuse(RelayError::Refused(relay::PublishRefusal::NameTaken));
    assert_eq!(publishing.await.unwrap().map(drop), Err(PublishRefusal::Taken));
    assert_eq!(
        bench.ingests.complaints.allow_peer([192, 0, 2, 1].into()),
        None,
        "that its address is refused was told just now"
    );
}

#[tokio::test(start_paused = true)]
async fn that_an_encoder_on_air_is_cut_off_is_told_each_time() {
    let mut bench = Bench::new();
    let (mut ingest, first) = bench.publish().await;
    first.down.send(Err(RelayError::Refused(relay::PublishRefusal::Denied))).unwrap();
    while send(&mut ingest, KEY).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.ingests.complaints.allow_peer([192, 0, 2, 1].into()), Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_encoder_on_air_is_told_why_it_is_cut_off() {
    let denied = IngestEnded::Refused(PublishRefusal::Denied);
    for (error, told) in [
        (RelayError::Gone, IngestEnded::TakenOver),
        (RelayError::Refused(relay::PublishRefusal::Kicked), denied),
        (RelayError::Refused(relay::PublishRefusal::Denied), denied),
        (RelayError::Invalid("a batch without messages".into()), IngestEnded::Gone),
    ] {
        let mut bench = Bench::new();
        let (mut ingest, first) = bench.publish().await;
        first.down.send(Err(error.clone())).unwrap();
        let why = loop {
            match send(&mut ingest, KEY).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(why) => break why,
            }
        };
        assert_eq!(why, told, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoder_is_not_cut_off_by_an_origin_that_waits_for_an_older_publication() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    send(&mut ingest, KEY).await.unwrap();
    first.through(0).await;
    first.ack(5, 0);
    first.reset();
    let promoted = Instant::now();
    while promoted.elapsed() < Duration::from_secs(3) {
        bench.refuse_name().await;
        send(&mut ingest, DELTA).await.unwrap();
    }
    let mut second = take(&mut bench.a, 6, 0).await;
    send(&mut ingest, KEY).await.unwrap();
    let last = second.hello.first_number.max(1);
    assert!(second.through(last).await.contains(&(last, last)));
    assert!(promoted.elapsed() < Duration::from_millis(3500), "{:?}", promoted.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_encoder_whose_name_another_keeps_is_cut_off_in_time() {
    let mut bench = Bench::new();
    let (mut ingest, first) = bench.publish().await;
    first.reset();
    let begin = Instant::now();
    let why = loop {
        match send(&mut ingest, KEY).await {
            Ok(()) => bench.refuse_name().await,
            Err(why) => break why,
        }
    };
    assert_eq!(why, IngestEnded::TakenOver);
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(11), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_publication_of_a_name_waits_until_the_end_of_the_one_before_has_arrived() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    send(&mut ingest, KEY).await.unwrap();
    first.through(0).await;
    ingest.close().await;
    let publishing = bench.ask();
    assert_eq!(first.next().await, Some(singly(1..2)), "its close has a number");
    bench.asks_for_nothing().await;
    first.ack(5, 1);
    drop(first);
    take(&mut bench.a, 5, 0).await;
    assert!(publishing.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_next_publication_of_a_name_waits_until_the_loss_of_the_one_before_is_known() {
    let mut bench = Bench::new();
    let (ingest, mut first) = bench.publish().await;
    drop(ingest);
    let publishing = bench.ask();
    assert_eq!(first.next().await, None, "it ends without a close");
    bench.asks_for_nothing().await;
    drop(first);
    take(&mut bench.a, 5, 0).await;
    assert!(publishing.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_was_refused_hides_none_that_ends_after_it() {
    let mut bench = Bench::new();
    let (ingest, mut first) = bench.publish().await;
    let refused = bench.ask();
    let (_, _, reply) = bench.a.push().await;
    reply.refuse(RelayError::Refused(relay::PublishRefusal::NameTaken));
    assert_eq!(refused.await.unwrap().map(drop), Err(PublishRefusal::Taken), "one that goes on is not waited for");
    ingest.close().await;
    let publishing = bench.ask();
    assert_eq!(first.next().await, Some(singly(0..1)));
    bench.asks_for_nothing().await;
    first.ack(5, 0);
    drop(first);
    take(&mut bench.a, 5, 0).await;
    assert!(publishing.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_end_that_does_not_arrive_holds_up_the_next_publication_for_a_while_only() {
    let mut bench = Bench::new();
    let (ingest, first) = bench.publish().await;
    ingest.close().await;
    let begin = Instant::now();
    let _publishing = bench.ask();
    // It beats, and never says that the end is committed.
    let alive = first.live_for(Duration::from_secs(20));
    tokio::select! {
        _next = take(&mut bench.a, 5, 0) => {}
        () = alive => panic!("it was held up for too long"),
    }
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_no_origin_takes_is_told_in_time() {
    let bench = Bench::new();
    let Bench { ingests, routes: _routes, .. } = bench;
    let begin = Instant::now();
    let request = Request { stream: name(), key: None, peer: String::new() };
    assert_eq!(ingests.publish(request).await.map(drop), Err(PublishRefusal::Unavailable));
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn a_running_push_follows_a_changed_route() {
    let mut bench = Bench::new();
    let (mut ingest, mut first) = bench.publish().await;
    send(&mut ingest, KEY).await.unwrap();
    first.through(0).await;
    first.ack(5, 0);
    bench.routes.send_replace(directions(&[r#""*:*;b:1""#]));
    let mut second = take(&mut bench.b, 1, 0).await;
    assert_eq!(second.hello.epoch, Epoch(0), "the epochs of the other pool have nothing to do with it");
    assert_eq!(second.through(0).await, singly(0..1));
    bench.routes.send_replace(directions(&[r#""*:*;null""#]));
    send(&mut ingest, DELTA).await.unwrap();
    assert_eq!(second.next().await, Some(singly(1..2)), "a route that is taken away ends nothing");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_is_silent_is_left() {
    let mut bench = Bench::new();
    let (mut ingest, first) = bench.publish().await;
    send(&mut ingest, KEY).await.unwrap();
    let begin = Instant::now();
    let mut second = take(&mut bench.a, 5, 0).await;
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert_eq!(second.through(0).await, singly(0..1));
    drop(first);
}
