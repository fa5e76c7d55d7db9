use super::*;

/// Nothing that is awaited takes longer.
const SOON: Duration = Duration::from_secs(20);

/// An origin without a control plane at work on free ports, its process, and its disk.
async fn started() -> (Running, Process<Config>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
    config.public.listen = ([127, 0, 0, 1], 0).into();
    config.peer.listen = ([127, 0, 0, 1], 0).into();
    let process = Process::detached(config.clone()).unwrap();
    (start(config, &process).await.unwrap(), process, dir)
}

#[tokio::test]
async fn an_origin_that_has_lost_a_task_drains_and_ends_with_an_error_that_names_it() {
    let losses: [fn(&mut Running); 2] =
        [|origin| origin.tasks.spawn("lost", async {}), |origin| origin.public_port.spawn("lost", async {})];
    for lose in losses {
        let (mut origin, process, _dir) = started().await;
        lose(&mut origin);
        let error = timeout(SOON, origin.run(&process.shutdown)).await.expect("it ends in time").unwrap_err();
        assert!(matches!(error.downcast_ref::<TaskEnded>(), Some(TaskEnded::Returned("lost"))), "{error:#}");
        assert!(process.shutdown.has_begun());
    }
}

#[tokio::test]
async fn an_origin_that_is_told_to_end_ends_well() {
    let (origin, process, _dir) = started().await;
    process.shutdown.begin("test");
    timeout(SOON, origin.run(&process.shutdown)).await.expect("it ends in time").unwrap();
}
