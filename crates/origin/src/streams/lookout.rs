//! Who waits for a stream that is not there.

use std::{sync::Arc, time::Duration};

use hub::{Hub, Stream};
use media::StreamName;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Looks for one stream. Anybody may have any name looked for, and what encoders do with other names is news for all who
/// look: a name that is not there is looked for now and then, and not at all the news.
#[derive(Debug)]
pub struct Lookout {
    hub: Hub,
    name: StreamName,
    changes: watch::Receiver<u64>,
    look_at: Instant,
}

/// What opens is found within this.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Lookout {
    pub(super) fn new(hub: Hub, name: StreamName, changes: watch::Receiver<u64>) -> Self {
        Self { hub, name, changes, look_at: Instant::now() }
    }

    /// The stream, if it is there; nothing of it may be committed yet.
    pub fn look(&mut self) -> Option<Arc<Stream>> {
        let found = self.hub.get(&self.name);
        let rest = if found.is_none() { LOOK_EVERY } else { Duration::ZERO };
        self.look_at = Instant::now() + rest;
        found
    }

    /// Completes when it is to be looked for again; false: it will never be there. Safe to drop at the await by one who looks
    /// then.
    pub async fn changed(&mut self) -> bool {
        let changed = self.changes.changed().await.is_ok();
        sleep_until(self.look_at).await;
        changed
    }
}

#[cfg(test)]
mod tests {
    use hub::RingLimits;
    use media::DEFAULT_VHOST;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_not_there_is_looked_for_now_and_then_whatever_else_happens() {
        let hub = Hub::new(RingLimits::default());
        let name = StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap();
        let changes = watch::Sender::new(0);
        let mut lookout = Lookout::new(hub.clone(), name.clone(), changes.subscribe());
        let begin = Instant::now();
        for looks in 1..10 {
            assert!(lookout.look().is_none());
            changes.send_modify(|count| *count += 1);
            assert!(lookout.changed().await);
            assert_eq!(begin.elapsed(), looks * LOOK_EVERY);
        }
        assert!(lookout.look().is_none());
        tokio::time::advance(LOOK_EVERY).await;
        let (begin, _writer) = (Instant::now(), hub.open(&name).unwrap());
        changes.send_modify(|count| *count += 1);
        assert!(lookout.changed().await && lookout.look().is_some());
        changes.send_modify(|count| *count += 1);
        assert!(lookout.changed().await, "what is there may be committed");
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
