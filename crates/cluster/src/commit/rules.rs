//! The times by which an active counts.

use std::time::Duration;

/// When members are asked out and in, and what an active does that can ask nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitRules {
    /// How often [`super::Commits::tick`] is called.
    pub tick: Duration,
    /// A member that is so far behind is asked out.
    pub behind_max: Duration,
    /// A member is asked in while it is less behind than this.
    pub near_max: Duration,
    /// After a lapse a member must have been near for so long, all in all, and never [`CommitRules::behind_max`] behind
    /// meanwhile; doubled with each further lapse.
    pub return_after: Duration,
    /// The most that [`CommitRules::return_after`] grows to.
    pub return_after_max: Duration,
    /// A request that no newer record has settled is made again after this.
    pub ask_again: Duration,
    /// A control plane that has not settled a request for so long does not answer.
    pub answer_max: Duration,
    /// How long nobody must have answered before the active goes on alone.
    pub alone_after: Duration,
    /// Whether it does at all.
    pub when_alone: WhenAlone,
}

/// What an active does when a member is missing and the control plane does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAlone {
    /// It goes on without the member, while most of its edges hear it.
    #[default]
    Serve,
    /// It commits nothing until one of them is back.
    Stall,
}

impl Default for CommitRules {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(10),
            behind_max: Duration::from_millis(150),
            near_max: Duration::from_millis(50),
            return_after: Duration::from_secs(5),
            return_after_max: Duration::from_secs(300),
            ask_again: Duration::from_millis(200),
            answer_max: Duration::from_millis(1500),
            alone_after: Duration::from_millis(400),
            when_alone: WhenAlone::Serve,
        }
    }
}
