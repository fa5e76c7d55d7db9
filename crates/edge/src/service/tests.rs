use std::time::Duration;

use tokio::time::timeout;

use super::*;

/// Nothing that is awaited takes longer.
const SOON: Duration = Duration::from_secs(20);

/// An edge without a control plane at work on free ports, and its process.
async fn started() -> (Running, Process<Config>) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config { control_plane: Vec::new(), ..Config::default() };
    config.rtmp.listen = vec![any];
    config.http.listen = vec![any];
    config.peer.listen = any;
    let process = Process::detached(config.clone()).unwrap();
    (start(config, &process).await.unwrap(), process)
}

#[tokio::test]
async fn an_edge_that_has_lost_a_task_drains_and_ends_with_an_error_that_names_it() {
    let losses: [fn(&mut Running); 2] =
        [|edge| edge.tasks.spawn("lost", async {}), |edge| edge.doors.spawn("lost", async {})];
    for lose in losses {
        let (mut edge, process) = started().await;
        lose(&mut edge);
        let error = timeout(SOON, edge.run(&process.shutdown)).await.expect("it ends in time").unwrap_err();
        assert!(matches!(error.downcast_ref::<TaskEnded>(), Some(TaskEnded::Returned("lost"))), "{error:#}");
        assert!(process.shutdown.has_begun());
    }
}

#[tokio::test]
async fn an_edge_that_is_told_to_end_ends_well() {
    let (edge, process) = started().await;
    process.shutdown.begin("test");
    timeout(SOON, edge.run(&process.shutdown)).await.expect("it ends in time").unwrap();
}
