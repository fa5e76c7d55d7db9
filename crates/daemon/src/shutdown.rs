//! The end of a process: announced, drained, and over at a deadline.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::TaskEnded;

/// Tells every task of a process when to stop; cheap to clone.
///
/// [`Shutdown::begin`] announces it: listeners close, sessions are drained. [`Shutdown::expired`] is the deadline: what
/// is left then is dropped.
#[derive(Clone, Debug)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: Duration,
    begun: CancellationToken,
    now: CancellationToken,
    cause: OnceLock<Cause>,
}

#[derive(Debug)]
struct Cause {
    reason: String,
    deadline: Instant,
}

impl Shutdown {
    /// A process that, once told to end, has `limit` for it.
    pub fn new(limit: Duration) -> Self {
        let (begun, now) = (CancellationToken::new(), CancellationToken::new());
        Self { inner: Arc::new(Inner { limit, begun, now, cause: OnceLock::new() }) }
    }

    /// Begins to drain, for a reason that is logged. Only the first call counts.
    pub fn begin(&self, reason: &str) {
        self.begin_within(self.inner.limit, reason);
    }

    /// Begins to drain as an operator asks: with a deadline, or the configured one where none is given.
    pub fn begin_as_asked(&self, limit: Option<Duration>, reason: &str) {
        let reason = if reason.is_empty() { "drain" } else { reason };
        self.begin_within(limit.unwrap_or(self.inner.limit), reason);
    }

    /// Begins to drain with another deadline than the configured one, as an operator's Drain may ask.
    pub fn begin_within(&self, limit: Duration, reason: &str) {
        let limit = limit.min(LIMIT_MAX);
        let cause = Cause { reason: reason.to_owned(), deadline: Instant::now() + limit };
        if self.inner.cause.set(cause).is_ok() {
            tracing::info!(reason, limit_ms = limit.as_millis() as u64, "process.draining");
            self.inner.begun.cancel();
        }
    }

    /// Ends the drain at once: the second signal.
    pub fn expire(&self, reason: &str) {
        self.begin_within(Duration::ZERO, reason);
        self.inner.now.cancel();
    }

    /// True from [`Shutdown::begin`] on.
    pub fn has_begun(&self) -> bool {
        self.inner.begun.is_cancelled()
    }

    /// Why the process ends, once it does.
    pub fn reason(&self) -> Option<&str> {
        self.inner.cause.get().map(|cause| cause.reason.as_str())
    }

    /// When the drain must be over, once it has begun.
    pub fn deadline(&self) -> Option<std::time::Instant> {
        self.inner.cause.get().map(|cause| cause.deadline.into_std())
    }

    /// Waits until the process is told to end. May be dropped at any time.
    pub async fn begun(&self) {
        self.inner.begun.cancelled().await;
    }

    /// Waits until the process is told to end, or until a task has ended that it cannot do without
    /// ([`Tasks::first_ended`](crate::Tasks::first_ended)): that is a reason to drain, too. May be dropped at any time.
    pub async fn begun_or(&self, first_ended: impl Future<Output = TaskEnded>) -> Result<(), TaskEnded> {
        let ended = tokio::select! {
            biased;
            () = self.begun() => return Ok(()),
            ended = first_ended => ended,
        };
        self.begin(&ended.to_string());
        Err(ended)
    }

    /// Waits until the drain's deadline has passed. May be dropped at any time.
    pub async fn expired(&self) {
        self.begun().await;
        let deadline = self.inner.cause.get().expect("the cause is set before the token is cancelled").deadline;
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => {}
            () = self.inner.now.cancelled() => {}
        }
    }

    /// A token that is cancelled when the drain begins, for tasks that know nothing of processes.
    pub fn token(&self) -> CancellationToken {
        self.inner.begun.child_token()
    }
}

/// A drain takes no longer, whatever was asked for: not every span that can be named leads to a moment.
const LIMIT_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tasks;

    #[tokio::test]
    async fn a_task_that_ends_begins_the_drain_and_is_its_reason() {
        let (shutdown, mut tasks) = (Shutdown::new(Duration::from_secs(10)), Tasks::default());
        tasks.spawn("streams", async {});
        let ended = shutdown.begun_or(tasks.first_ended()).await.expect_err("nobody has told it to end");
        assert!(matches!(ended, TaskEnded::Returned("streams")), "{ended}");
        assert_eq!(shutdown.reason(), Some("the task `streams` has ended"));
    }

    #[tokio::test]
    async fn tasks_may_end_once_the_drain_has_begun() {
        let (shutdown, mut tasks) = (Shutdown::new(Duration::from_secs(10)), Tasks::default());
        tasks.spawn("streams", async {});
        shutdown.begin("SIGTERM");
        tokio::task::yield_now().await;
        assert!(shutdown.begun_or(tasks.first_ended()).await.is_ok());
        assert_eq!(shutdown.reason(), Some("SIGTERM"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_without_end_ends() {
        let shutdown = Shutdown::new(Duration::from_secs(10));
        shutdown.begin_as_asked(Some(Duration::MAX), "");
        assert_eq!(shutdown.deadline(), Some((Instant::now() + LIMIT_MAX).into_std()));
    }

    #[tokio::test(start_paused = true)]
    async fn drain_expires_at_its_deadline() {
        let shutdown = Shutdown::new(Duration::from_secs(10));
        let token = shutdown.token();
        assert!(!shutdown.has_begun() && !token.is_cancelled());
        let start = Instant::now();
        shutdown.begin("SIGTERM");
        assert!(shutdown.has_begun() && token.is_cancelled());
        shutdown.expired().await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn second_signal_ends_the_drain_at_once_and_the_first_reason_stays() {
        let shutdown = Shutdown::new(Duration::from_secs(3600));
        shutdown.begin("SIGTERM");
        shutdown.expire("SIGINT");
        let start = Instant::now();
        shutdown.expired().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(shutdown.reason(), Some("SIGTERM"));
    }
}
