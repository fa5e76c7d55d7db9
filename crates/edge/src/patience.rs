//! Waiting for others without blaming them for our own delay.

use std::time::Duration;

use rpc::beat::LATE;
use tokio::time::{Instant, sleep_until};

/// So many ticks in each wait tell us whether we are late ourselves.
const TICKS: u32 = 10;
/// However late we are, nobody waits longer than so many times what was asked for.
const STRETCH_MAX: u32 = 10;

/// What the future gives within `wait`, in which only the ticks count that came on time (REPLICATION L2): on a machine
/// that is too busy to read its sockets, the answer may have been there for long.
pub(crate) async fn within<T>(wait: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = on_time(wait) => None,
    }
}

async fn on_time(wait: Duration) {
    let latest = Instant::now() + wait * STRETCH_MAX;
    let mut left = wait;
    while !left.is_zero() && Instant::now() < latest {
        let step = left.min(wait / TICKS);
        let due = Instant::now() + step;
        sleep_until(due).await;
        if due.elapsed() < LATE {
            left -= step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up_in_time() {
        let begin = Instant::now();
        assert_eq!(within(Duration::from_secs(1), std::future::pending::<()>()).await, None);
        assert!(begin.elapsed() < Duration::from_millis(1100));
        assert_eq!(within(Duration::from_secs(1), std::future::ready(7)).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_lateness_does_not_count_and_has_a_bound() {
        let busy = async {
            loop {
                // The machine is away for longer than a tick, again and again.
                tokio::time::advance(Duration::from_millis(200)).await;
                tokio::task::yield_now().await;
            }
        };
        let begin = Instant::now();
        tokio::select! {
            given_up = within(Duration::from_secs(1), std::future::pending::<()>()) => assert_eq!(given_up, None),
            () = busy => {}
        }
        let waited = begin.elapsed();
        assert!(waited > Duration::from_secs(5) && waited < Duration::from_secs(12), "{waited:?}");
    }
}
