//! The active origin changes while viewers watch.

use cluster::Role;
use futures_util::StreamExt as _;
use rpc::relay::LinkDown;

use super::{pools::view, *};
use crate::upstream::testing::beat;

/// The Link of an origin, on which it beats until it is told to be silent.
struct Beats {
    says: watch::Sender<Option<(u64, Role)>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Beats on the next Link that comes to an origin.
async fn beats(origin: &mut Played, epoch: u64, role: Role) -> Beats {
    let (_, up, down) = timeout(LONG, origin.link()).await.expect("a Link in time");
    let says = watch::Sender::new(Some((epoch, role)));
    let mut said = says.subscribe();
    let task = tokio::spawn(async move {
        // Held, so that the edge can beat too.
        let _up = up;
        loop {
            let now = *said.borrow_and_update();
            if let Some((epoch, role)) = now {
                let _left = down.send(beat(epoch, role));
            }
            let _changed_or_due = timeout(Duration::from_millis(100), said.changed()).await;
        }
    });
    Beats { says, task }
}

impl Beats {
    fn say(&self, epoch: u64, role: Role) {
        self.says.send_replace(Some((epoch, role)));
    }

    fn fall_silent(&self) {
        self.says.send_replace(None);
    }
}

impl Bench {
    /// A bench whose Links stand: A is active in epoch 5, B follows.
    async fn linked() -> (Self, Beats, Beats) {
        let mut bench = Self::new();
        tokio::spawn(bench.pulls.upstream.clone().keep_links(CancellationToken::new()));
        let a = beats(&mut bench.a, 5, Role::Active).await;
        let b = beats(&mut bench.b, 5, Role::Standby).await;
        while bench.pulls.upstream.counts().heard < 2 {
            tokio::task::yield_now().await;
        }
        (bench, a, b)
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_moves_at_once_when_a_higher_epoch_is_heard() {
    let (mut bench, _a, b) = Bench::linked().await;
    let (mut reader, old) = bench.viewer_at_8().await;
    let begin = TokioInstant::now();
    b.say(6, Role::Active);
    let new = take(&mut bench.b, 6).await;
    assert!(begin.elapsed() < Duration::from_millis(5), "{:?}", begin.elapsed());
    assert_eq!((new.request.from, new.request.epoch, new.request.via), (PullFrom::After(8), Epoch(6), false));
    old.send(vec![delta(9)]);
    new.open(9);
    new.send(vec![key(9), delta(10)]);
    assert_eq!(next(&mut reader).await, [9, 10]);
    assert!(old.down.is_closed(), "the old origin is left for good");
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_publishes_stand_back_when_the_pool_moves() {
    let (mut bench, _a, b) = Bench::linked().await;
    let mut absent = Vec::new();
    for n in 0..100 {
        let name = StreamName::from_app(media::DEFAULT_VHOST, "live", &format!("absent-{n}")).unwrap();
        let viewer = bench.play_of(name);
        let taken = take(&mut bench.a, 5).await;
        taken.beat(0);
        absent.push((viewer, taken));
    }
    let (_reader, _old) = bench.viewer_at_8().await;
    let begin = TokioInstant::now();
    b.say(6, Role::Active);
    let (moved, _reply) = timeout(LONG, bench.b.pull()).await.unwrap();
    assert_eq!((moved.stream, begin.elapsed()), (name(), Duration::ZERO), "it is missed");
    let mut asked = Vec::new();
    for _ in 0..100 {
        asked.push(timeout(LONG, bench.b.pull()).await.unwrap());
        assert!(begin.elapsed() >= Duration::from_millis(100), "{:?}", begin.elapsed());
    }
    assert!(begin.elapsed() <= Duration::from_millis(510), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_from_an_epoch_that_is_over() {
    let mut bench = Bench::new();
    let (mut reader, mut taken) = bench.viewer_at_8().await;
    taken.epoch = Epoch(6);
    taken.send(vec![delta(9)]);
    taken.epoch = Epoch(5);
    taken.send(vec![delta(10)]);
    assert_eq!(next(&mut reader).await, [9]);
    let again = take(&mut bench.a, 6).await;
    assert_eq!((again.request.from, again.request.epoch), (PullFrom::After(9), Epoch(6)));
}

#[tokio::test(start_paused = true)]
async fn a_cut_link_costs_a_detour_and_not_the_viewer() {
    let (mut bench, a, _b) = Bench::linked().await;
    let (mut reader, _cut) = bench.viewer_at_8().await;
    let begin = TokioInstant::now();
    a.fall_silent();
    let detour = take(&mut bench.b, 5).await;
    assert!(begin.elapsed() < Duration::from_millis(600), "{:?}", begin.elapsed());
    assert_eq!((detour.request.from, detour.request.via), (PullFrom::After(8), true));
    detour.open(9);
    detour.send(vec![delta(9)]);
    assert_eq!(next(&mut reader).await, [9]);
    drop(a);
    let _a = beats(&mut bench.a, 5, Role::Active).await;
    let direct = take(&mut bench.a, 5).await;
    assert_eq!(
        (direct.request.from, direct.request.via),
        (PullFrom::After(9), false),
        "the detour ends with its reason"
    );
}

#[tokio::test(start_paused = true)]
async fn a_viewer_who_came_by_a_vip_makes_the_detour_as_soon() {
    let mut bench = Bench::along(Config::default(), &[r#""*:*;vip:1""#]);
    let mut vip = bench.net.listen("vip:1");
    tokio::spawn(bench.pulls.upstream.clone().keep_links(CancellationToken::new()));
    let (_, _up, vip_link) = timeout(LONG, vip.link()).await.expect("a Link to the VIP");
    let viewer = bench.play();
    let by_vip = take(&mut vip, 5).await;
    by_vip.open(8);
    by_vip.send(vec![key(7), delta(8)]);
    let mut reader = viewer.await.unwrap().unwrap();
    assert_eq!(next(&mut reader).await, [7, 8]);
    vip_link.send(Ok(LinkDown::Beat { epoch: Epoch(5), role: Role::Active, active: Some("a:1".into()) })).unwrap();
    let mut pool = view("main", "a:1");
    pool.members.extend(view("second", "b:1").members);
    bench.routes.send_modify(|directions| directions.pools = vec![pool]);
    let a = beats(&mut bench.a, 5, Role::Active).await;
    let _b = beats(&mut bench.b, 5, Role::Standby).await;
    timeout(LONG, vip_link.closed()).await.expect("those behind it are heard");
    assert!(!by_vip.down.is_closed(), "nobody moves for that");
    let begin = TokioInstant::now();
    a.fall_silent();
    let detour = take(&mut bench.b, 5).await;
    assert!(begin.elapsed() < Duration::from_millis(600), "{:?}", begin.elapsed());
    assert_eq!((detour.request.from, detour.request.via), (PullFrom::After(8), true));
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_is_cut_off_and_does_not_answer_is_given_up_for_the_one_that_has_opened() {
    let (mut bench, a_beats, b_beats) = Bench::linked().await;
    let (_reader, _taken) = bench.viewer_at_8().await;
    a_beats.fall_silent();
    let (request, detour) = timeout(LONG, bench.b.pull()).await.unwrap();
    assert!(request.via);
    // It has been granted the role, and has not opened yet.
    detour.refuse(RelayError::NotActive { epoch: Epoch(6), active: None });
    let (request, _never_answered) = timeout(LONG, bench.a.pull()).await.unwrap();
    assert_eq!((request.via, request.epoch), (false, Epoch(6)));
    let begin = TokioInstant::now();
    b_beats.say(6, Role::Active);
    let (request, _reply) = timeout(LONG, bench.b.pull()).await.unwrap();
    assert_eq!((request.via, request.from), (false, PullFrom::After(8)));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_serves_the_edge_asks_and_waits_for_news() {
    let (mut bench, a, b) = Bench::linked().await;
    let (mut reader, old) = bench.viewer_at_8().await;
    drop(a);
    drop(std::mem::replace(&mut bench.a, bench.net.listen("other:1")));
    old.reset();
    let (request, reply) = timeout(LONG, bench.b.pull()).await.expect("by way of the standby");
    assert!(request.via);
    reply.refuse(RelayError::NotActive { active: Some("a:1".into()), epoch: Epoch(5) });
    let (request, reply) = timeout(LONG, bench.b.pull()).await.expect("and the standby itself");
    assert!(!request.via);
    reply.refuse(RelayError::NotActive { active: Some("a:1".into()), epoch: Epoch(5) });
    b.say(6, Role::Active);
    let new = loop {
        let taken = take(&mut bench.b, 6).await;
        if taken.request.epoch == Epoch(6) {
            break taken;
        }
    };
    new.open(9);
    new.send(vec![delta(9)]);
    assert_eq!(next(&mut reader).await, [9]);
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_cannot_reach_the_active_one_is_still_connected_when_it_is_active_itself() {
    let (mut bench, a, b) = Bench::linked().await;
    let (_reader, old) = bench.viewer_at_8().await;
    let dials = bench.net.dials("b:1");
    drop(a);
    drop(std::mem::replace(&mut bench.a, bench.net.listen("other:1")));
    old.reset();
    let (request, reply) = timeout(LONG, bench.b.pull()).await.expect("by way of the standby");
    assert!(request.via);
    reply.refuse(RelayError::Transport("a:1: connection refused".into()));
    b.say(6, Role::Active);
    let (request, _reply) = timeout(LONG, bench.b.pull()).await.expect("the one that is active now");
    assert!(!request.via);
    assert_eq!(bench.net.dials("b:1"), dials, "the connection that its Link keeps warm is used");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_was_away_for_long_has_its_time_to_come_by_the_stream_again() {
    let mut bench = Bench::along(Config::default(), &[r#""*:*;a:1""#]);
    let (mut reader, old) = bench.viewer_at_8().await;
    drop(std::mem::replace(&mut bench.a, bench.net.listen("other:1")));
    old.reset();
    sleep(Duration::from_secs(60)).await;
    bench.a = bench.net.listen("a:1");
    let without = take(&mut bench.a, 5).await;
    without.beat(0);
    assert!(timeout(Duration::from_secs(2), next(&mut reader)).await.is_err(), "its encoder's edge may be on its way");
    without.open(9);
    without.send(vec![delta(9)]);
    assert_eq!(next(&mut reader).await, [9]);
    without.reset();
    let without = take(&mut bench.a, 5).await;
    let begin = TokioInstant::now();
    loop {
        without.beat(0);
        if let Ok(items) = timeout(Duration::from_secs(1), next(&mut reader)).await {
            assert_eq!(items, [0_u64; 0]);
            break;
        }
    }
    assert!(begin.elapsed() > Duration::from_secs(30) && begin.elapsed() < Duration::from_secs(32));
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_a_gap_behind_which_viewers_go_on_at_a_keyframe() {
    let (mut bench, _a, b) = Bench::linked().await;
    let (mut reader, _old) = bench.viewer_at_8().await;
    b.say(6, Role::Active);
    let new = take(&mut bench.b, 6).await;
    let base = 6 << 40;
    new.open(base);
    let loss = Event::Loss { epoch: 6, from: 8, to: None };
    new.send(vec![Placed { seq: base, body: Body::Event(loss) }, delta(base + 1), key(base + 2), delta(base + 3)]);
    assert_eq!(next(&mut reader).await, [base + 2, base + 3]);
    assert_eq!(bench.pulls.head(&name()), base + 3);
}

#[tokio::test(start_paused = true)]
async fn what_an_edge_sends_again_after_a_loss_comes_to_no_viewer_twice() {
    let (mut bench, _a, b) = Bench::linked().await;
    let (mut reader, _old) = bench.viewer_at_8().await;
    b.say(6, Role::Active);
    let new = take(&mut bench.b, 6).await;
    let base = 6 << 40;
    let again = |item: Placed, seq| Placed { seq, ..item };
    new.open(base);
    new.send(vec![again(key(7), base + 1)]);
    new.send(vec![again(delta(8), base + 2), again(delta(9), base + 3)]);
    let items = next_items(&mut reader).await;
    assert_eq!(items.iter().map(|item| item.frame().unwrap().dts).collect::<Vec<_>>(), [360]);
    new.reset();
    let then = take(&mut bench.b, 6).await;
    assert_eq!(then.request.from, PullFrom::After(base + 3), "the origin is asked in its own numbers");
}

#[tokio::test(start_paused = true)]
async fn viewers_of_an_origin_that_went_on_alone_go_on_with_its_successor() {
    let (mut bench, _a, b) = Bench::linked().await;
    let (mut reader, alone) = bench.viewer_at_8().await;
    alone.send((9..200).map(|seq| if seq % 25 == 0 { key(seq) } else { delta(seq) }).collect());
    while next(&mut reader).await.last() != Some(&199) {}
    let begin = TokioInstant::now();
    b.say(6, Role::Active);
    // The successor has had up to 8, and so much again of what the encoder's edge keeps.
    let asked = take(&mut bench.b, 6).await;
    assert_eq!(asked.request.from, PullFrom::After(199));
    asked.open(20);
    let anew = take(&mut bench.b, 6).await;
    assert_eq!((anew.request.from, begin.elapsed() < Duration::from_millis(5)), (PullFrom::After(0), true));
    let again = |of, seq| Placed { seq, ..if of % 25 == 0 { key(of) } else { delta(of) } };
    anew.open(20);
    anew.send(vec![key(7), delta(8), again(190, 9), again(191, 10)]);
    anew.send((11..21).map(|seq| again(seq + 181, seq)).collect());
    let items = next_items(&mut reader).await;
    let placed: Vec<_> = items.iter().map(|item| (item.seq, item.frame().unwrap().dts)).collect();
    assert_eq!(placed, [(200, 40 * 200), (201, 40 * 201)], "nothing lost, nothing twice, nobody cut");
    anew.reset();
    let then = take(&mut bench.b, 6).await;
    assert_eq!(then.request.from, PullFrom::After(20), "the origin is asked in its own numbers");
    then.open(21);
    then.send(vec![again(202, 21)]);
    assert_eq!(next(&mut reader).await, [202]);
}

#[tokio::test(start_paused = true)]
async fn viewers_wait_for_a_successor_that_has_nothing_new_for_them() {
    let (mut bench, _a, b) = Bench::linked().await;
    let (mut reader, alone) = bench.viewer_at_8().await;
    alone.send((9..300).map(delta).collect());
    while next(&mut reader).await.last() != Some(&299) {}
    b.say(6, Role::Active);
    take(&mut bench.b, 6).await.open(8);
    let anew = take(&mut bench.b, 6).await;
    anew.open(8);
    anew.send(vec![key(7), delta(8)]);
    for _ in 0..10 {
        anew.beat(8);
        assert!(timeout(Duration::from_secs(1), next(&mut reader)).await.is_err(), "neither cut nor shown it again");
    }
    anew.send(vec![Placed { seq: 9, ..key(400) }]);
    assert_eq!(next(&mut reader).await, [301], "set apart by a gap");
}

#[tokio::test(start_paused = true)]
async fn both_sides_of_a_link_say_whether_they_hear() {
    let mut bench = Bench::new();
    let upstream = bench.pulls.upstream.clone();
    tokio::spawn(upstream.clone().keep_links(CancellationToken::new()));
    let (hello, mut up, down) = bench.a.link().await;
    assert_eq!((hello.kind, hello.epoch), (cluster::NodeKind::Edge, Epoch(0)));
    let first = futures_util::StreamExt::next(&mut up).await;
    assert_eq!(first, Some(relay::LinkUp::Beat { epoch: Epoch(0), hears: false }));
    down.send(Ok(LinkDown::Beat { epoch: Epoch(7), role: Role::Active, active: None })).unwrap();
    let second = futures_util::StreamExt::next(&mut up).await;
    assert_eq!(second, Some(relay::LinkUp::Beat { epoch: Epoch(7), hears: true }));
    assert_eq!(upstream.highest_epoch(), Epoch(7));
    assert_eq!(upstream.pool_epochs(), [(None, Epoch(7))].into(), "nobody has told which pool it is");
    timeout(LONG, async {
        while upstream.counts().heard > 0 {
            upstream.hearing().notified().await;
        }
    })
    .await
    .expect("silence is noticed, and told");
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_ends_says_so_on_its_links_and_waits_until_that_is_heard() {
    let mut bench = Bench::new();
    let leaving = CancellationToken::new();
    let links = tokio::spawn(bench.pulls.upstream.clone().keep_links(leaving.clone()));
    let (_hello, mut a_up, a_down) = bench.a.link().await;
    let (_hello, mut b_up, b_down) = bench.b.link().await;
    let beat = Some(relay::LinkUp::Beat { epoch: Epoch(0), hears: false });
    assert_eq!((a_up.next().await, b_up.next().await), (beat, beat));
    leaving.cancel();
    let leave = Some(relay::LinkUp::Leave { epoch: Epoch(0) });
    assert_eq!((a_up.next().await, a_up.next().await), (leave, None));
    assert_eq!((b_up.next().await, b_up.next().await), (leave, None));
    drop(a_down);
    tokio::task::yield_now().await;
    assert!(!links.is_finished(), "b has not ended the call");
    // As an origin does that does not know the word.
    b_down.send(Err(RelayError::Invalid("a link request without a body".into()))).unwrap();
    let begin = TokioInstant::now();
    links.await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_has_not_heard_us_is_heard_all_the_same_unless_it_stays_silent() {
    let mut bench = Bench::new();
    let upstream = bench.pulls.upstream.clone();
    tokio::spawn(upstream.clone().keep_links(CancellationToken::new()));
    let (_hello, _up, down) = bench.a.link().await;
    down.send(Ok(LinkDown::Beat { epoch: Epoch(7), role: Role::Active, active: None })).unwrap();
    upstream.hearing().notified().await;
    let (begin, hearing) = (TokioInstant::now(), upstream.hearing().clone());
    let changed = hearing.notified();
    down.send(Err(RelayError::Unheard)).unwrap();
    let (_hello, _up, _silent) = bench.a.link().await;
    assert_eq!((upstream.counts().heard, begin.elapsed()), (1, Duration::ZERO), "an answer is a sign of life");
    timeout(LONG, changed).await.expect("silence is noticed, and told");
    assert_eq!(upstream.counts().heard, 0);
    assert!(begin.elapsed() < Duration::from_millis(450));
}

#[tokio::test(start_paused = true)]
async fn a_running_pull_follows_a_changed_route() {
    let mut bench = Bench::along(Config::default(), &[r#""*:*;a:1""#]);
    let (mut reader, _old) = bench.viewer_at_8().await;
    bench.routes.send_replace(directions(&[r#""*:*;b:1""#]));
    let new = take(&mut bench.b, 1).await;
    assert_eq!(new.request.from, PullFrom::Live, "it is another pool, with positions of its own");
    new.open(700);
    new.send(vec![key(700)]);
    assert_eq!(next(&mut reader).await, [10], "set apart by a gap");
}
