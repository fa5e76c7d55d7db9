//! Who is asked next, and what became of those who were.

use std::collections::{HashSet, VecDeque};

use rpc::relay::RelayError;

use super::{UpstreamError, origins::Attempt, pool::Pool};

/// One round of asking the origins of a pool.
pub(super) struct Search<'a> {
    pool: &'a Pool,
    due: VecDeque<Attempt>,
    asked: HashSet<Attempt>,
    /// Those that could not be reached.
    failed: HashSet<String>,
    /// Those that answered and do not serve: they may pass a call on.
    standbys: Vec<String>,
    tried: Vec<String>,
}

impl<'a> Search<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        Self {
            pool,
            due: pool.origins().attempts().into(),
            asked: HashSet::new(),
            failed: HashSet::new(),
            standbys: Vec::new(),
            tried: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> Option<Attempt> {
        let next = self.due.iter().position(|attempt| !self.asked.contains(attempt))?;
        let attempt = self.due.drain(..=next).next_back()?;
        self.asked.insert(attempt.clone());
        Some(attempt)
    }

    /// Goes on with the search, unless the active origin has said a final word.
    pub(super) fn note_failure(&mut self, attempt: &Attempt, error: RelayError) -> Result<(), UpstreamError> {
        let Attempt { address, via } = attempt;
        match &error {
            RelayError::NotActive { active, epoch } => {
                self.pool.note_not_active(address, *epoch, active.as_deref());
                if !via {
                    self.standbys.push(address.clone());
                    self.follow_hint(active.as_deref());
                }
            }
            RelayError::Transport(_) => {
                self.failed.insert(address.clone());
                if !via {
                    self.ask_standbys();
                }
            }
            // Nothing that this origin alone has decided: its tokens or its place in the path may be wrong.
            RelayError::NotAdmitted(_) | RelayError::Loop | RelayError::Invalid(_) => {
                if let Some(silenced) = self.pool.complaints.allow(address) {
                    tracing::error!(%address, %error, silenced, "origin.refuses_us");
                }
            }
            _ => return Err(UpstreamError::Refused(error)),
        }
        self.tried.push(format!("{address}{}: {error}", if *via { " (via)" } else { "" }));
        Ok(())
    }

    /// Whoever answers knows better than our list who is active.
    fn follow_hint(&mut self, active: Option<&str>) {
        match active {
            Some(active) if self.failed.contains(active) => self.ask_standbys(),
            Some(active) => self.due.push_front(Attempt { address: active.to_owned(), via: false }),
            None => {}
        }
    }

    /// The active origin cannot be reached from here; from those that answer it may be.
    fn ask_standbys(&mut self) {
        self.due.extend(self.standbys.iter().map(|address| Attempt { address: address.clone(), via: true }));
    }

    pub(super) fn failed(self) -> UpstreamError {
        UpstreamError::Unreachable(match self.tried.is_empty() {
            true => format!("no origin of {} is known yet", self.pool.name()),
            false => self.tried.join("; "),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rpc::relay::PublishRefusal;

    use super::*;

    #[test]
    fn an_origin_that_refuses_us_does_not_fill_the_log() {
        let pool = Pool::new("originPools/main".into(), Arc::default());
        let attempt = Attempt { address: "10.0.0.6:1935".into(), via: false };
        let told = || pool.complaints.allow(&attempt.address).is_none();
        let mut search = Search::new(&pool);
        assert!(search.note_failure(&attempt, RelayError::Refused(PublishRefusal::Denied)).is_err());
        for error in [RelayError::Loop, RelayError::NotAdmitted("no token".into())] {
            assert!(search.note_failure(&attempt, error).is_ok());
            assert!(told(), "it was told just now");
        }
    }
}
