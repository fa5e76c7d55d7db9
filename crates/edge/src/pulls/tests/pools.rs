//! Pools that stand in for each other.

use cluster::{Address, Incarnation, Member, NodeId, PoolId, PoolView, PoolViewMember, Role};

use super::*;

/// Two pools, of one origin each: `main` at `a:1` and `second` at `b:1`.
fn bench() -> Bench {
    let bench = Bench::along(Config::default(), &[r#"{"to":{"pools":["main","second"]}}"#]);
    bench.routes.send_modify(|directions| directions.pools = vec![view("main", "a:1"), view("second", "b:1")]);
    bench
}

/// What the control plane says of a pool of one origin, which is active.
pub(super) fn view(id: &str, peer: &str) -> PoolView {
    let node = NodeId::new(&format!("origin-{id}")).unwrap();
    let peer: Address = peer.parse().unwrap();
    let member = PoolViewMember {
        member: Member { node: node.clone(), incarnation: Incarnation::from_bits(1) },
        role: Role::Active,
        in_sync: true,
        public: peer.clone(),
        peer,
    };
    PoolView {
        id: PoolId::new(id).unwrap(),
        version: 1,
        written_by: String::new(),
        epoch: Epoch(5),
        loss_epoch: Epoch(0),
        active: Some(node),
        members: vec![member],
    }
}

/// The same frame as position `of` in the other pool, at this position and time.
fn copy(item: Placed, seq: u64, dts: u64) -> Placed {
    let Body::Frame(frame) = item.body else { panic!("not a frame") };
    Placed { seq, body: Body::Frame(Frame { dts, ..frame }) }
}

/// Positions and times.
async fn next_placed(reader: &mut Reader) -> Vec<(u64, u64)> {
    let items = next_items(reader).await;
    items.iter().filter_map(|item| Some((item.seq, item.frame()?.dts))).collect()
}

#[tokio::test(start_paused = true)]
async fn viewers_go_on_in_the_other_pool_behind_the_frame_that_they_had() {
    let mut bench = bench();
    let (mut reader, old) = bench.viewer_at_8().await;
    drop(std::mem::replace(&mut bench.a, bench.net.listen("other:1")));
    old.reset();
    let other = take(&mut bench.b, 5).await;
    assert_eq!(other.request.from, PullFrom::Live);
    other.open(103);
    other.send(vec![copy(key(7), 101, 0), copy(delta(8), 102, 40), copy(delta(9), 103, 80)]);
    assert_eq!(next_placed(&mut reader).await, [(9, 360)], "nothing lost, nothing twice, and the clock goes on");
    other.send(vec![copy(delta(10), 104, 120)]);
    assert_eq!(next_placed(&mut reader).await, [(10, 400)]);
    // It breaks, and goes on in that pool's own numbers.
    other.reset();
    let again = take(&mut bench.b, 5).await;
    assert_eq!(again.request.from, PullFrom::After(104));
    again.open(105);
    again.send(vec![copy(delta(10), 104, 120), copy(delta(11), 105, 160)]);
    assert_eq!(next_placed(&mut reader).await, [(11, 440)]);
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_others_begin_at_a_keyframe_and_later_than_what_viewers_had() {
    let mut bench = bench();
    let (mut reader, old) = bench.viewer_at_8().await;
    drop(std::mem::replace(&mut bench.a, bench.net.listen("other:1")));
    old.reset();
    let other = take(&mut bench.b, 5).await;
    other.open(1);
    other.send(vec![copy(key(77), 1, 100_000)]);
    assert_eq!(next_placed(&mut reader).await, [(10, 360)]);
    other.send(vec![copy(delta(78), 2, 100_040)]);
    assert_eq!(next_placed(&mut reader).await, [(11, 400)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_only_the_second_pool_has_is_found_there() {
    let mut bench = bench();
    let viewer = bench.play();
    let without = take(&mut bench.a, 5).await;
    without.beat(0);
    let with = take(&mut bench.b, 5).await;
    with.open(3);
    with.send(vec![key(3)]);
    let mut reader = viewer.await.unwrap().unwrap();
    assert_eq!(next(&mut reader).await, [3], "the first that viewers get passes unchanged");
}

/// As an active origin is that waits for its standby to commit anything.
#[tokio::test(start_paused = true)]
async fn a_pool_that_does_not_say_whether_it_has_the_stream_is_not_waited_for_where_another_may_have_it() {
    let mut bench = bench();
    let viewer = bench.play();
    let _says_nothing = take(&mut bench.a, 5).await;
    let with = take(&mut bench.b, 5).await;
    with.open(3);
    with.send(vec![key(3)]);
    let mut reader = viewer.await.unwrap().unwrap();
    assert_eq!(next(&mut reader).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_promotes_another_origin_is_not_left() {
    let mut bench = bench();
    let (_reader, old) = bench.viewer_at_8().await;
    old.reset();
    for _ in 0..5 {
        let (_, reply) = bench.a.pull().await;
        reply.refuse(RelayError::NotActive { active: None, epoch: Epoch(5) });
    }
    let again = take(&mut bench.a, 6).await;
    assert_eq!(again.request.from, PullFrom::After(8));
}

#[tokio::test(start_paused = true)]
async fn a_vip_leads_to_the_origins_behind_it() {
    let mut bench = Bench::along(Config::default(), &[r#""*:*;a:1""#]);
    bench.routes.send_modify(|directions| directions.pools = vec![view("main", "b:1")]);
    let upstream = bench.pulls.upstream.clone();
    tokio::spawn(upstream.clone().keep_links(CancellationToken::new()));
    let (_, _vip_up, vip) = timeout(LONG, bench.a.link()).await.expect("a Link to the VIP");
    let beat = |active: Option<&str>| {
        Ok(relay::LinkDown::Beat { epoch: Epoch(5), role: Role::Active, active: active.map(str::to_owned) })
    };
    vip.send(beat(Some("b:1"))).unwrap();
    let (_, _up, direct) = timeout(LONG, bench.b.link()).await.expect("a Link to the origin that it has named");
    direct.send(beat(None)).unwrap();
    timeout(LONG, vip.closed()).await.expect("nobody counts us twice");
    assert_eq!(upstream.hears(), [NodeId::new("origin-main").unwrap()]);
    assert_eq!(upstream.pool_epochs(), [(Some(PoolId::main()), Epoch(5))].into());
    bench.play();
    take(&mut bench.b, 5).await;
}
