//! What the control plane has been told of streams and sessions, and what it has to be told next.

use std::collections::HashMap;

use media::StreamName;

use crate::{
    control::{FromNode, SessionsReport, StreamReport, StreamsReport},
    node::LocalSession,
};

/// The reports of one conversation: all at first, then what changed.
#[derive(Debug, Default)]
pub(super) struct Reports {
    begun: bool,
    number: u64,
    streams: HashMap<StreamName, StreamReport>,
    sessions: HashMap<String, LocalSession>,
    /// The register's number of changes when its sessions were gone through last.
    changes: Option<u64>,
}

impl Reports {
    /// Whether the next report goes through all sessions, of which there may be thousands: their counters are due, or there were
    /// changes among them, of which the register counts so many.
    pub(super) fn wants_sessions(&mut self, changes: Option<u64>) -> bool {
        let before = std::mem::replace(&mut self.changes, changes);
        self.counters_are_due() || changes.is_none() || changes != before
    }

    fn counters_are_due(&self) -> bool {
        self.number.is_multiple_of(COUNTERS_EVERY)
    }

    /// What is to be said now, in messages of bounded size. Without sessions nothing is said of them.
    pub(super) fn next(&mut self, streams: Vec<StreamReport>, sessions: Option<Vec<LocalSession>>) -> Vec<FromNode> {
        let first = !std::mem::replace(&mut self.begun, true);
        let with_counters = self.counters_are_due();
        self.number += 1;

        let keyed = streams.into_iter().map(|stream| (stream.name.clone(), stream)).collect();
        let (put, removed) = difference(&mut self.streams, keyed, |told, now| told == now);
        let streams = messages(first, put, removed, |replace, put, removed| {
            FromNode::Streams(StreamsReport { replace, put, removed })
        });

        let Some(sessions) = sessions else { return streams };
        let keyed = sessions.into_iter().map(|session| (session.id.clone(), session)).collect();
        let same = |told: &LocalSession, now: &LocalSession| {
            let quiet = (told.bytes_received, told.bytes_sent) == (now.bytes_received, now.bytes_sent);
            (quiet || !with_counters) && (told.kind, &told.stream) == (now.kind, &now.stream)
        };
        let (put, removed) = difference(&mut self.sessions, keyed, same);
        let sessions = messages(first, put, removed, |replace, put, removed| {
            FromNode::Sessions(SessionsReport { replace, put, removed })
        });
        streams.into_iter().chain(sessions).collect()
    }
}

/// What is new or not the same as told, and what is gone; what was told becomes what is.
fn difference<K, T>(told: &mut HashMap<K, T>, now: HashMap<K, T>, same: impl Fn(&T, &T) -> bool) -> (Vec<T>, Vec<K>)
where
    K: std::hash::Hash + Eq + Clone,
    T: Clone,
{
    let removed: Vec<K> = told.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
    for key in &removed {
        told.remove(key);
    }
    let mut put = Vec::new();
    for (key, item) in now {
        if told.get(&key).is_none_or(|known| !same(known, &item)) {
            told.insert(key, item.clone());
            put.push(item);
        }
    }
    (put, removed)
}

/// Cuts a report into messages; the first report of a conversation replaces what was known, even when there is nothing.
fn messages<T, K>(
    replace: bool,
    mut put: Vec<T>,
    mut removed: Vec<K>,
    message: impl Fn(bool, Vec<T>, Vec<K>) -> FromNode,
) -> Vec<FromNode> {
    let mut messages = Vec::new();
    let mut replace = replace;
    while replace || !put.is_empty() || !removed.is_empty() {
        let rest = put.split_off(put.len().min(ITEMS_MAX));
        let still_there = removed.split_off(removed.len().min(ITEMS_MAX - put.len()));
        messages.push(message(
            replace,
            std::mem::replace(&mut put, rest),
            std::mem::replace(&mut removed, still_there),
        ));
        replace = false;
    }
    messages
}

/// Byte counters change all the time: they are told with every fifth report.
const COUNTERS_EVERY: u64 = 5;
/// What is put and what is removed, together: a message of 4 MiB holds so many of the longest names with room to spare.
const ITEMS_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::node::SessionKind;

    fn session(id: &str, bytes_sent: u64) -> LocalSession {
        LocalSession {
            id: id.to_owned(),
            kind: SessionKind::Play,
            protocol: "rtmp".into(),
            stream: StreamName::from_app("_default", "live", "foo").unwrap(),
            peer: "192.0.2.1:5000".into(),
            since: SystemTime::UNIX_EPOCH,
            bytes_received: 0,
            bytes_sent,
        }
    }

    /// The ids put and removed by the reports on sessions.
    fn told(messages: Vec<FromNode>) -> Vec<(bool, Vec<String>, Vec<String>)> {
        let sessions = messages.into_iter().filter_map(|message| match message {
            FromNode::Sessions(SessionsReport { replace, put, removed }) => {
                Some((replace, put.into_iter().map(|session| session.id).collect(), removed))
            }
            _ => None,
        });
        sessions.collect()
    }

    #[test]
    fn all_is_told_first_even_nothing_and_then_what_changed() {
        let mut reports = Reports::default();
        assert_eq!(told(reports.next(vec![], Some(vec![]))), [(true, vec![], vec![])]);
        assert_eq!(told(reports.next(vec![], Some(vec![session("a", 1)]))), [(false, vec!["a".into()], vec![])]);
        assert_eq!(told(reports.next(vec![], Some(vec![session("a", 1)]))), []);
        assert_eq!(told(reports.next(vec![], Some(vec![]))), [(false, vec![], vec!["a".into()])]);
    }

    #[test]
    fn counters_wait_for_the_fifth_report() {
        let mut reports = Reports::default();
        let told: Vec<_> = (0..7).map(|n| told(reports.next(vec![], Some(vec![session("a", n)]))).len()).collect();
        assert_eq!(told, [1, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn sessions_are_gone_through_when_they_changed_and_when_counters_are_due() {
        let mut reports = Reports::default();
        let mut wanted = |changes| {
            let wanted = reports.wants_sessions(changes);
            reports.next(vec![], wanted.then(Vec::new));
            wanted
        };
        let told = [0, 0, 0, 4, 4, 4, 5].map(|changes| wanted(Some(changes)));
        assert_eq!(told, [true, false, false, true, false, true, true]);
        assert_eq!(
            [None, None, Some(5), Some(5)].map(&mut wanted),
            [true, true, true, true],
            "the last for its counters"
        );
        assert!(!wanted(Some(5)));
    }

    #[test]
    fn what_came_and_what_went_share_a_message() {
        let mut reports = Reports::default();
        let sessions = |numbers: std::ops::Range<usize>| numbers.map(|n| session(&n.to_string(), 0)).collect();
        reports.next(vec![], Some(sessions(0..3000)));
        let told = told(reports.next(vec![], Some(sessions(3000..6000))));
        let counts: Vec<_> = told.iter().map(|(_, put, removed)| (put.len(), removed.len())).collect();
        assert_eq!(counts, [(2000, 0), (1000, 1000), (0, 2000)]);
    }

    #[test]
    fn a_large_report_is_cut_and_replaces_once() {
        let mut reports = Reports::default();
        let sessions = (0..4500).map(|n| session(&n.to_string(), 0)).collect();
        let told = told(reports.next(vec![], Some(sessions)));
        assert_eq!(
            told.iter().map(|(replace, put, _)| (*replace, put.len())).collect::<Vec<_>>(),
            [(true, 2000), (false, 2000), (false, 500)]
        );
    }
}
