//! Which of a target's pools a stream is with.

use std::{sync::Arc, time::Duration};

use media::StreamName;
use tokio::time::Instant;

use super::{Directing, Pool, UpstreamError};

/// The place of one stream among the pools of its target. It begins with the first and stays where it is until that pool
/// is gone: pools number and time their streams each for itself, so that to move costs viewers something.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pool: Option<Arc<Pool>>,
    failing_since: Option<Instant>,
}

/// A pool some of whose origins are heard has so long to make one of them active.
const PROMOTION_MAX: Duration = Duration::from_secs(2);

impl Choice {
    /// The pool to ask, and all that may be asked. A stream that has come by one stays there when its route is taken away.
    pub(crate) fn turn(
        &mut self,
        directing: &Directing,
        name: &StreamName,
    ) -> Result<(Arc<Pool>, Vec<Arc<Pool>>), UpstreamError> {
        let pools = match (directing.pools_of(name), &self.pool) {
            (Ok(pools), _) => pools,
            (Err(_), Some(pool)) => vec![pool.clone()],
            (Err(error), None) => return Err(error),
        };
        let pool = self.among(&pools).ok_or(UpstreamError::NoRoute)?;
        Ok((pool, pools))
    }

    fn among(&mut self, pools: &[Arc<Pool>]) -> Option<Arc<Pool>> {
        let stays = self.pool.as_ref().filter(|pool| pools.iter().any(|other| Arc::ptr_eq(other, pool)));
        if stays.is_none() {
            self.pool = pools.first().cloned();
            self.failing_since = None;
        }
        self.pool.clone()
    }

    /// The pool serves.
    pub(crate) fn note_served(&mut self) {
        self.failing_since = None;
    }

    /// The pool does not serve. True: the next one is to be asked.
    pub(crate) fn note_failed(&mut self, pools: &[Arc<Pool>]) -> bool {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let is_gone = self.pool.as_ref().is_some_and(|pool| pool.origins().are_gone());
        (is_gone || since.elapsed() >= PROMOTION_MAX) && self.go_on(pools)
    }

    /// The pool does not have the stream. True: the next one is to be asked.
    pub(crate) fn go_on(&mut self, pools: &[Arc<Pool>]) -> bool {
        let Some(at) = pools.iter().position(|other| self.pool.as_ref().is_some_and(|pool| Arc::ptr_eq(other, pool)))
        else {
            return false;
        };
        self.failing_since = None;
        self.pool = pools.get((at + 1) % pools.len()).cloned();
        pools.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Epoch, Role};
    use tokio::time::advance;

    use super::*;

    fn pools() -> Vec<Arc<Pool>> {
        ["a:1", "b:1"]
            .map(|address| {
                let pool = Pool::new(address.to_owned(), Arc::default());
                pool.direct(vec![(address.to_owned(), None)], None);
                Arc::new(pool)
            })
            .into()
    }

    fn chosen(choice: &mut Choice, pools: &[Arc<Pool>]) -> String {
        choice.among(pools).unwrap().name().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_stays_with_its_pool_until_that_is_gone() {
        let (mut choice, pools) = (Choice::default(), pools());
        assert_eq!(chosen(&mut choice, &pools), "a:1");
        pools[0].note_beat("a:1", Epoch(1), Role::Standby, None);
        assert!(!choice.note_failed(&pools), "somebody there may be promoted yet");
        pools[0].note_silence("a:1");
        assert!(choice.note_failed(&pools));
        assert_eq!(chosen(&mut choice, &pools), "b:1");
        pools[0].note_beat("a:1", Epoch(1), Role::Standby, None);
        assert_eq!(chosen(&mut choice, &pools), "b:1", "it does not go back by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pool_without_an_active_is_waited_for_two_seconds() {
        let (mut choice, pools) = (Choice::default(), pools());
        chosen(&mut choice, &pools);
        assert!(!choice.note_failed(&pools));
        advance(PROMOTION_MAX / 2).await;
        choice.note_served();
        assert!(!choice.note_failed(&pools));
        advance(PROMOTION_MAX).await;
        assert!(choice.note_failed(&pools));
    }

    #[tokio::test(start_paused = true)]
    async fn an_only_pool_is_never_left_and_a_route_that_changes_is_followed() {
        let (mut choice, pools) = (Choice::default(), pools());
        chosen(&mut choice, &pools[..1]);
        assert!(!choice.go_on(&pools[..1]));
        assert_eq!(chosen(&mut choice, &pools[1..]), "b:1");
    }
}
