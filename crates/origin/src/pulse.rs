//! Signs of life between nodes: given each 100 ms, and missed after 400 (REPLICATION L1, L2).

use rpc::beat::{LATE, SILENCE};
use tokio::time::Interval;

pub(crate) use rpc::beat::{BEAT, beats};

/// Our beats on one connection, by which we also notice that the other side has none: whoever beats late himself suspects
/// late.
#[derive(Debug)]
pub(crate) struct Pulse {
    beats: Interval,
    /// Beats of ours since the other side was heard, in tenths: one that came late counts little.
    unheard: u32,
}

/// The other side has said nothing for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing was heard for {} ms", SILENCE.as_millis())]
pub(crate) struct Silent;

/// So many beats of ours span the silence: five are 400 ms apart.
const UNHEARD_MAX: u32 = (SILENCE.as_millis() / BEAT.as_millis()) as u32 + 1;
/// What a beat counts that came on time. A late one counts 1: however late we are, nobody is waited for ten times as long.
const ON_TIME: u32 = 10;

impl Pulse {
    /// The first beat is due at once.
    pub(crate) fn new() -> Self {
        Self { beats: beats(BEAT), unheard: 0 }
    }

    /// The other side was heard.
    pub(crate) fn heard(&mut self) {
        self.unheard = 0;
    }

    /// Waits until our next beat is due. Those that come late count for little: on a machine that is too busy to read its
    /// sockets, the other side may have spoken long ago. Safe to drop at the await.
    pub(crate) async fn next(&mut self) -> Result<(), Silent> {
        let due = self.beats.tick().await;
        self.unheard += if due.elapsed() < LATE { ON_TIME } else { 1 };
        if self.unheard < UNHEARD_MAX * ON_TIME { Ok(()) } else { Err(Silent) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_noticed_after_400_ms() {
        let (mut pulse, begin) = (Pulse::new(), Instant::now());
        while pulse.next().await.is_ok() {}
        assert_eq!(begin.elapsed(), Duration::from_millis(400));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_away_himself_does_not_blame_the_other() {
        let mut pulse = Pulse::new();
        pulse.next().await.unwrap();
        advance(Duration::from_secs(5)).await;
        for _ in 0..3 {
            pulse.next().await.unwrap();
        }
        pulse.heard();
        pulse.next().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_beats_late_suspects_late_and_not_never() {
        let mut pulse = Pulse::new();
        let mut beats = 0;
        loop {
            // Each of our beats is late: the machine is away when it is due.
            advance(BEAT + LATE).await;
            beats += 1;
            if pulse.next().await.is_err() {
                break;
            }
        }
        assert_eq!(beats, UNHEARD_MAX * ON_TIME);
    }
}
