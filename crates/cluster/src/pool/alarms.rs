//! Faults that last.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{PoolAlarm, PoolEvent};

/// What is wrong, since when, and whether that was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Alarms {
    lasting: BTreeMap<PoolAlarm, Fault>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    since: Instant,
    told: bool,
    evidence: String,
}

impl Alarms {
    /// How it stands with one of them now; what is to be told, once it has lasted.
    pub(super) fn note(
        &mut self,
        alarm: PoolAlarm,
        evidence: Option<String>,
        after: Duration,
        now: Instant,
    ) -> Option<PoolEvent> {
        let Some(evidence) = evidence else {
            let fault = self.lasting.remove(&alarm)?;
            return fault.told.then_some(PoolEvent::Cleared { alarm });
        };
        let fault = self.lasting.entry(alarm).or_insert(Fault { since: now, told: false, evidence: String::new() });
        fault.evidence = evidence;
        if fault.told || now < fault.since + after {
            return None;
        }
        fault.told = true;
        Some(PoolEvent::Raised { alarm, evidence: fault.evidence.clone() })
    }

    /// Those that were told and last, with what is seen now.
    pub(super) fn raised(&self) -> impl Iterator<Item = (PoolAlarm, &str)> {
        self.lasting.iter().filter(|(_, fault)| fault.told).map(|(alarm, fault)| (*alarm, fault.evidence.as_str()))
    }

    /// When the others are to be told.
    pub(super) fn due(&self, after: Duration) -> impl Iterator<Item = Instant> {
        self.lasting.values().filter(|fault| !fault.told).map(move |fault| fault.since + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_once_when_it_has_lasted_and_once_when_it_ends() {
        let (mut alarms, start, after) = (Alarms::default(), Instant::now(), Duration::from_secs(1));
        let mut note = |text: Option<&str>, ms| {
            let now = start + Duration::from_millis(ms);
            alarms.note(PoolAlarm::ControlLink, text.map(str::to_owned), after, now)
        };
        assert_eq!(note(Some("a"), 0), None);
        assert_eq!(note(None, 500), None, "it did not last");
        assert_eq!(note(Some("a"), 600), None);
        let raised = PoolEvent::Raised { alarm: PoolAlarm::ControlLink, evidence: "b".into() };
        assert_eq!(note(Some("b"), 1600), Some(raised));
        assert_eq!(note(Some("c"), 9000), None);
        assert_eq!(note(None, 9001), Some(PoolEvent::Cleared { alarm: PoolAlarm::ControlLink }));
        assert_eq!(note(None, 9002), None);
    }
}
