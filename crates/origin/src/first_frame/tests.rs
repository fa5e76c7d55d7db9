use super::*;
use crate::streams::tests::{B, key, publish, streams};

/// What is told of epoch 1 by now.
fn told(first_frames: &FirstFrames) -> FirstFrame {
    first_frames.of(Epoch(1))
}

fn first_frames(streams: &Arc<Streams>) -> Arc<FirstFrames> {
    Arc::new(FirstFrames::new(streams.clone(), Arc::default()))
}

#[tokio::test(start_paused = true)]
async fn the_first_new_frame_of_a_live_stream_ends_the_wait() {
    let streams = streams();
    let feed = publish(&streams, B).await.unwrap();
    feed.handle_message(0, key(0)).unwrap();
    let first_frames = first_frames(&streams);
    let wait = tokio::spawn(first_frames.begin(Epoch(1)));
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(told(&first_frames), FirstFrame::Awaited, "what was there before is not it");
    feed.handle_message(0, key(0)).unwrap();
    tokio::task::yield_now().await;
    assert_eq!(told(&first_frames), FirstFrame::Awaited, "nor is what comes again");
    feed.handle_message(1, key(40)).unwrap();
    wait.await.unwrap();
    assert_eq!(told(&first_frames), FirstFrame::After(Duration::from_millis(40)));
    assert_eq!(first_frames.of(Epoch(2)), FirstFrame::NotTold);
}

#[tokio::test(start_paused = true)]
async fn without_a_live_stream_nothing_is_waited_for() {
    let streams = streams();
    let first_frames = first_frames(&streams);
    first_frames.begin(Epoch(1)).await;
    assert_eq!(told(&first_frames), FirstFrame::NotTold);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_without_a_frame_is_not_told() {
    let streams = streams();
    let feed = publish(&streams, B).await.unwrap();
    feed.handle_message(0, key(0)).unwrap();
    let first_frames = first_frames(&streams);
    let wait = tokio::spawn(first_frames.begin(Epoch(1)));
    feed.handle_close(1).unwrap();
    wait.await.unwrap();
    assert_eq!(told(&first_frames), FirstFrame::Awaited);
}
