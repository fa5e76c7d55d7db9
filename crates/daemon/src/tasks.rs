//! The tasks that a service cannot do without.

use std::{
    collections::HashMap,
    future::{Future, pending},
    panic::resume_unwind,
};

use tokio::task::{Id, JoinError, JoinHandle, JoinSet};

use crate::Threads;

/// Tasks that go on until they are told to stop, each with a name. Without one of them a service looks alive and does
/// not do its work, so that the process had better end: see [`Shutdown::begun_or`](crate::Shutdown::begun_or).
///
/// They are aborted when this is dropped.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts one. Call it inside a tokio runtime.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Starts one on other threads.
    pub fn spawn_on(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static, threads: &Threads) {
        let id = self.running.spawn_on(task, threads).id();
        self.names.insert(id, name);
    }

    /// Takes one in that has been started already. It is not aborted when this is dropped.
    pub fn watch(&mut self, name: &'static str, task: JoinHandle<()>) {
        self.spawn(name, async move {
            if let Err(error) = task.await
                && let Ok(panic) = error.try_into_panic()
            {
                // It has been logged, and is not once more.
                resume_unwind(panic);
            }
        });
    }

    /// Waits for the first that ends, which is logged; for ever where there is none. To be asked as long as none of
    /// them has been told to stop. May be dropped at any time.
    pub async fn first_ended(&mut self) -> TaskEnded {
        match self.next_ended().await {
            Some(ended) => {
                tracing::error!(error = %ended, "task.ended");
                ended
            }
            None => pending().await,
        }
    }

    /// Waits until all have ended, once they have been told to stop.
    pub async fn join(mut self) {
        while let Some(ended) = self.next_ended().await {
            if let TaskEnded::Failed(..) = ended {
                tracing::error!(error = %ended, "task.ended");
            }
        }
    }

    async fn next_ended(&mut self) -> Option<TaskEnded> {
        let (id, error) = match self.running.join_next_with_id().await? {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let name = self.names.remove(&id).expect("each has a name from its start");
        Some(match error {
            None => TaskEnded::Returned(name),
            Some(error) => TaskEnded::Failed(name, error),
        })
    }
}

/// A task of this name ended although nobody had told it to.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnded {
    /// It returned.
    #[error("the task `{0}` has ended")]
    Returned(&'static str),
    /// It panicked, or was aborted.
    #[error("the task `{0}` has failed: {1}")]
    Failed(&'static str, JoinError),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn fall() {
        panic!("out of the blue");
    }

    /// Two that go on.
    fn going_on() -> Tasks {
        let mut tasks = Tasks::default();
        tasks.spawn("first", pending());
        tasks.spawn("second", pending());
        tasks
    }

    #[tokio::test]
    async fn one_that_panics_is_named_with_its_panic() {
        let mut tasks = going_on();
        tasks.spawn("third", fall());
        let ended = tasks.first_ended().await;
        assert!(matches!(&ended, TaskEnded::Failed("third", error) if error.is_panic()), "{ended}");
        assert!(ended.to_string().contains("out of the blue"), "{ended}");
    }

    #[tokio::test]
    async fn one_that_returns_is_named() {
        let threads = Threads::start().expect("threads");
        let mut tasks = going_on();
        tasks.spawn_on("third", async {}, &threads);
        let ended = tasks.first_ended().await;
        assert!(matches!(ended, TaskEnded::Returned("third")), "{ended}");
    }

    #[tokio::test(start_paused = true)]
    async fn as_long_as_none_ends_none_is_named() {
        for mut tasks in [Tasks::default(), going_on()] {
            assert!(timeout(Duration::from_secs(3600), tasks.first_ended()).await.is_err());
        }
    }

    #[tokio::test]
    async fn one_that_was_started_already_is_watched_and_left_alone() {
        let mut tasks = going_on();
        tasks.watch("third", tokio::spawn(fall()));
        let ended = tasks.first_ended().await;
        assert!(matches!(&ended, TaskEnded::Failed("third", error) if error.is_panic()), "{ended}");
        let stop = CancellationToken::new();
        let task = tokio::spawn(stop.clone().cancelled_owned());
        let (mut tasks, left_alone) = (Tasks::default(), task.abort_handle());
        tasks.watch("third", task);
        assert!(timeout(Duration::ZERO, tasks.first_ended()).await.is_err());
        drop(tasks);
        tokio::task::yield_now().await;
        assert!(!left_alone.is_finished());
    }

    #[tokio::test]
    async fn all_are_waited_for() {
        let (mut tasks, stop) = (Tasks::default(), CancellationToken::new());
        tasks.spawn("first", stop.clone().cancelled_owned());
        tasks.spawn("second", async {});
        tasks.spawn("third", fall());
        let mut joining = std::pin::pin!(tasks.join());
        assert!(timeout(Duration::ZERO, &mut joining).await.is_err());
        stop.cancel();
        joining.await;
    }
}
