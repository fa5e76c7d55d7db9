//! Names that nobody publishes.

use tokio::task::JoinHandle;

use super::*;

type Viewer = JoinHandle<Result<Reader, PlayRefusal>>;

fn bench(absent_max: usize) -> Bench {
    Bench::with(Config { absent_max, ..Config::default() })
}

fn named(name: &str) -> StreamName {
    StreamName::from_app(media::DEFAULT_VHOST, "live", name).unwrap()
}

impl Bench {
    /// A viewer of a stream that the origin does not have, as the edge knows.
    async fn absent(&mut self, name: &str) -> (Viewer, Taken) {
        let viewer = self.play_of(named(name));
        let taken = take(&mut self.a, 1).await;
        assert_eq!(taken.request.stream, named(name));
        taken.beat(0);
        let mut state = self.pulls.pulls.get(&named(name)).unwrap().state.subscribe();
        state.wait_for(|state| matches!(state, State::Absent)).await.unwrap();
        (viewer, taken)
    }

    /// A viewer of a stream that is there.
    async fn live(&mut self, name: &str) -> (Reader, Taken) {
        let (viewer, taken) = self.absent(name).await;
        taken.open(0);
        (viewer.await.unwrap().unwrap(), taken)
    }
}

/// What the viewer is told, at once.
async fn told(viewer: Viewer) -> Option<PlayRefusal> {
    let begin = TokioInstant::now();
    let told = viewer.await.unwrap().err();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    told
}

#[tokio::test(start_paused = true)]
async fn for_one_too_many_the_one_waited_for_longest_is_given_up() {
    let mut bench = bench(2);
    let (first, asked) = bench.absent("first").await;
    let (second, _asked) = bench.absent("second").await;
    let (_reader, _fed) = bench.live("third").await;
    assert_eq!(told(first).await, Some(PlayRefusal::NotFound));
    asked.down.closed().await;
    assert_eq!((second.is_finished(), bench.pulls.counts()), (false, (2, 1)));
    let (_reader, _fed) = bench.live("fourth").await;
    assert!(!second.is_finished(), "what is there takes no place of what is not");
}

#[tokio::test(start_paused = true)]
async fn streams_are_all_that_keeps_a_name_from_being_asked_for() {
    let mut bench = Bench::with(Config { streams_max: 2, ..Config::default() });
    let (waiting, _asked) = bench.absent("waiting").await;
    let (_one, _fed) = bench.live("one").await;
    let (_two, _fed) = bench.live("two").await;
    assert_eq!(told(waiting).await, Some(PlayRefusal::NotFound));
    assert_eq!(told(bench.play_of(named("three"))).await, Some(PlayRefusal::Unavailable));
    assert_eq!(bench.pulls.counts(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn names_whose_origin_does_not_answer_make_room_as_well() {
    let mut bench = bench(1);
    let first = bench.play_of(named("first"));
    let _unanswered = take(&mut bench.a, 1).await;
    let (_second, _asked) = bench.absent("second").await;
    assert_eq!(told(first).await, Some(PlayRefusal::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_given_up_is_asked_for_again() {
    let mut bench = bench(1);
    let (early, old) = bench.absent("first").await;
    let (_other, _asked) = bench.absent("second").await;
    assert_eq!(told(early).await, Some(PlayRefusal::NotFound));
    let (_reader, _fed) = bench.live("first").await;
    // Too late: it is another call's.
    let _left = old.down.send(Ok(PullDown::Opened { epoch: old.epoch, head: 0, rejoined: false, parted_from: None }));
    assert_eq!(bench.pulls.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_comes_while_its_place_is_taken_stays() {
    let mut bench = bench(1);
    let (_reader, fed) = bench.live("first").await;
    // As if it had come only now.
    let pull = bench.pulls.pulls.get(&named("first")).unwrap().clone();
    bench.pulls.absent.enter(&pull);
    let (_other, _asked) = bench.absent("second").await;
    assert!(!fed.down.is_closed());
    assert_eq!(bench.pulls.counts(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_ended_is_a_name_that_is_waited_for() {
    let mut bench = bench(1);
    let (mut reader, fed) = bench.live("first").await;
    fed.send(vec![Placed { seq: 1, body: Body::Event(Event::Close { publication: A }) }]);
    while !next(&mut reader).await.is_empty() {}
    let again = bench.play_of(named("first"));
    tokio::task::yield_now().await;
    let (_other, _asked) = bench.absent("second").await;
    assert_eq!(told(again).await, Some(PlayRefusal::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_waits_for_are_forgotten() {
    let mut bench = bench(2);
    let (viewer, asked) = bench.absent("first").await;
    let (reader, fed) = bench.live("second").await;
    assert_eq!(bench.pulls.absent.len(), 1);
    viewer.abort();
    asked.down.closed().await;
    drop(reader);
    while timeout(Duration::from_millis(100), fed.down.closed()).await.is_err() {
        fed.beat(0);
    }
    assert_eq!((bench.pulls.absent.len(), bench.pulls.counts()), (0, (0, 0)));
}
