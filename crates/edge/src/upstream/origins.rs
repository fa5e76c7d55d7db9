//! What an edge knows of the origins behind one target.

use cluster::{Epoch, NodeId, PoolId, PoolView, RecordsTold, Role};
use tokio::sync::watch;

/// Who is in a pool, who is heard, and who is active in which epoch: put together from the control plane's view of it, from
/// the Links, and from what origins answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    /// The highest that anybody has told.
    epoch: Epoch,
    /// The address of who serves in that epoch.
    active: Option<String>,
    /// Who an address has said is active, last.
    named: Option<String>,
    /// In the order of the target.
    members: Vec<Origin>,
    /// How often a Link to any of them was lost.
    losses: u64,
    /// Which pool it is, where the control plane has told.
    pool: Option<PoolId>,
    /// The records of which the control plane's views were that were taken in.
    records: RecordsTold,
}

/// One address of a target.
#[derive(Debug, Clone)]
struct Origin {
    address: String,
    /// Which node that is, where the control plane has told.
    node: Option<NodeId>,
    /// The target has it. One that has left it stays as long as it is heard.
    is_listed: bool,
    link: LinkState,
    /// Which loss of the pool's was that of its Link, last; 0: none.
    last_loss: u64,
}

impl Origin {
    /// Whether it still counts.
    fn is_there(&self) -> bool {
        self.is_listed || self.link == LinkState::Heard
    }
}

/// Whether an origin's beats come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum LinkState {
    /// It has not been heard yet; nobody may be listening.
    #[default]
    Unknown,
    /// They come.
    Heard,
    /// They came once.
    Lost,
}

/// A way to ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    /// Whom.
    pub(crate) address: String,
    /// It is to pass the call on, since the active origin cannot be reached.
    pub(crate) via: bool,
}

/// How a call, or an attempt at one, stood when it began.
#[derive(Debug, Clone)]
pub(crate) struct Stance {
    pub(crate) attempt: Attempt,
    pub(crate) epoch: Epoch,
    /// The losses of the pool's Links until then.
    losses: u64,
    /// Who was known to serve then.
    active: Option<String>,
}

/// Why a call should be left although its connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Leave {
    /// Another origin has become active, or the same one anew.
    #[error("a later epoch was heard")]
    LaterEpoch,
    /// The beats of whoever was called have ceased to come.
    #[error("the origin is not heard any more")]
    Unheard,
    /// The active origin can be reached again without a detour.
    #[error("the active origin is heard again")]
    NoDetour,
}

impl Origins {
    /// The highest epoch heard.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Which pool it is by the control plane's view, also when the control plane no longer knows it.
    pub(crate) fn pool(&self) -> Option<&PoolId> {
        self.pool.as_ref()
    }

    /// The nodes whose beats come.
    pub(crate) fn heard(&self) -> impl Iterator<Item = &NodeId> {
        self.members.iter().filter(|origin| origin.link == LinkState::Heard).filter_map(|origin| origin.node.as_ref())
    }

    /// How many addresses there are, and how many of them are heard.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let there = self.members.iter().filter(|origin| origin.is_there()).count();
        (there, self.members.iter().filter(|origin| origin.link == LinkState::Heard).count())
    }

    /// The addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|origin| origin.address.as_str())
    }

    /// The addresses to hold Links to: a VIP's own only as long as nobody is heard of those behind it, so that nobody
    /// counts us twice.
    pub(crate) fn to_link(&self) -> Vec<String> {
        let is_known = |origin: &Origin| origin.node.is_some();
        let heard = self.members.iter().any(|origin| is_known(origin) && origin.link == LinkState::Heard);
        let linked = self.members.iter().filter(|origin| origin.is_there() && (!heard || is_known(origin)));
        linked.map(|origin| origin.address.clone()).collect()
    }

    /// Whether somebody is known to serve.
    pub(crate) fn has_active(&self) -> bool {
        self.active.is_some()
    }

    /// Of which records control planes have told.
    pub(crate) fn records(&self) -> &RecordsTold {
        &self.records
    }

    /// Who was said to be active last: a VIP tells by it whose it is.
    pub(crate) fn named(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// None of them is there, as far as their Links tell: nobody is left who could be promoted.
    pub(crate) fn are_gone(&self) -> bool {
        self.members.iter().all(|origin| origin.link == LinkState::Lost)
    }

    /// Whether the beats of this address come.
    pub(crate) fn hears(&self, address: &str) -> bool {
        self.link_of(address) == LinkState::Heard
    }

    /// The target's addresses are these now. True when that is news.
    ///
    /// A node that has left it and is heard stays until its Link is lost: a control plane that has lost its store knows no
    /// member of a pool that serves.
    pub(crate) fn set_members(&mut self, members: Vec<(String, Option<NodeId>)>) -> bool {
        let listed = self.members.iter().filter(|origin| origin.is_listed);
        if members.iter().map(|(address, node)| (address, node)).eq(listed.map(|held| (&held.address, &held.node))) {
            return false;
        }
        let mut known = std::mem::take(&mut self.members);
        let member = |(address, node): (String, Option<NodeId>)| {
            let at = known.iter().position(|known| known.address == address);
            let (link, last_loss) = at.map_or_else(Default::default, |at| (known[at].link, known[at].last_loss));
            at.map(|at| known.swap_remove(at));
            Origin { address, node, is_listed: true, link, last_loss }
        };
        self.members = members.into_iter().map(member).collect();
        let heard = known.into_iter().filter(|origin| origin.node.is_some() && origin.link == LinkState::Heard);
        self.members.extend(heard.map(|origin| Origin { is_listed: false, ..origin }));
        true
    }

    /// The control plane says who was granted the role. The origins' own word counts more. True when it is news.
    pub(crate) fn note_view(&mut self, view: &PoolView) -> bool {
        if self.pool.as_ref() != Some(&view.id) {
            self.pool = Some(view.id.clone());
        }
        if !self.records.note(view.version, &view.written_by) {
            return false;
        }
        let active = view.active_member().map(|member| member.peer.to_string());
        let news = self.note_epoch(view.epoch) == Age::Newer;
        if self.epoch == view.epoch && self.active.is_none() && active.is_some() {
            self.active = active;
            return true;
        }
        news
    }

    /// A beat came on the Link to this address. True when it is news.
    pub(crate) fn note_beat(&mut self, address: &str, epoch: Epoch, role: Role, active: Option<&str>) -> bool {
        let Some(origin) = self.members.iter_mut().find(|origin| origin.address == address) else { return false };
        let mut news = origin.link != LinkState::Heard;
        origin.link = LinkState::Heard;
        if let Some(active) = active.filter(|active| self.named.as_deref() != Some(active)) {
            self.named = Some(active.to_owned());
            news = true;
        }
        news |= self.note_epoch(epoch) == Age::Newer;
        let serves = role == Role::Active && epoch == self.epoch;
        let believed = self.active.as_deref() == Some(address);
        if serves && !believed {
            self.active = Some(address.to_owned());
            return true;
        }
        if believed && !serves {
            self.active = None;
            news = true;
        }
        match active {
            Some(active) if epoch == self.epoch && self.active.is_none() && active != address => {
                self.active = Some(active.to_owned());
                true
            }
            _ => news,
        }
    }

    /// The Link to this address is lost. True when it is news.
    pub(crate) fn note_silence(&mut self, address: &str) -> bool {
        let Some(origin) = self.members.iter_mut().find(|origin| origin.address == address) else { return false };
        let before = std::mem::replace(&mut origin.link, LinkState::Lost);
        if before == LinkState::Heard {
            self.losses += 1;
            origin.last_loss = self.losses;
        }
        before != LinkState::Lost
    }

    /// No Link to this address is held any more: nothing is known of it. True when that is news.
    pub(crate) fn note_unlinked(&mut self, address: &str) -> bool {
        let Some(origin) = self.members.iter_mut().find(|origin| origin.address == address) else { return false };
        std::mem::take(&mut origin.link) != LinkState::Unknown
    }

    /// This address serves a call of ours in this epoch. False: it is one that another origin has ended.
    pub(crate) fn note_serving(&mut self, attempt: &Attempt, epoch: Epoch) -> bool {
        let age = self.note_epoch(epoch);
        if age != Age::Older && !attempt.via {
            self.active = Some(attempt.address.clone());
        }
        age != Age::Older
    }

    /// This address has answered that it does not serve, and who does. True when the epoch is news.
    pub(crate) fn note_not_active(&mut self, address: &str, epoch: Epoch, active: Option<&str>) -> bool {
        let age = self.note_epoch(epoch);
        if self.active.as_deref() == Some(address) {
            self.active = None;
        }
        if age != Age::Older && self.active.is_none() {
            self.active = active.filter(|active| *active != address).map(str::to_owned);
        }
        age == Age::Newer
    }

    /// Where to ask, best first.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        let direct = |address: &str| Attempt { address: address.to_owned(), via: false };
        let by = |link: LinkState| {
            let others = self.members.iter().filter(move |origin| Some(&origin.address) != self.active.as_ref());
            others.filter(move |origin| origin.link == link && origin.is_there()).map(|origin| origin.address.as_str())
        };
        let mut attempts = Vec::new();
        if let Some(active) = &self.active {
            // While it is not heard, those who are may reach it.
            if self.link_of(active) == LinkState::Lost {
                attempts.extend(by(LinkState::Heard).map(|address| Attempt { address: address.to_owned(), via: true }));
            }
            attempts.push(direct(active));
        }
        for link in [LinkState::Heard, LinkState::Unknown, LinkState::Lost] {
            attempts.extend(by(link).map(direct));
        }
        attempts
    }

    /// How a call by this attempt stands now.
    pub(crate) fn stance(&self, attempt: Attempt) -> Stance {
        Stance { attempt, epoch: self.epoch, losses: self.losses, active: self.active.clone() }
    }

    /// Whether a call is to be left.
    pub(crate) fn judge(&self, call: &Stance) -> Option<Leave> {
        if self.epoch > call.epoch {
            return Some(Leave::LaterEpoch);
        }
        if self.last_loss_of(self.heard_for(&call.attempt.address)) > call.losses {
            return Some(Leave::Unheard);
        }
        let detour = call.attempt.via && self.active.as_deref().is_some_and(|active| self.hears(active));
        detour.then_some(Leave::NoDetour)
    }

    /// Whether one that has not answered yet is to be asked no longer: somebody else has told meanwhile that it serves. Without
    /// that, who asks an origin that is cut off waits for it although the next one is there.
    fn knows_better(&self, asked: &Stance) -> bool {
        let news = self.active.as_ref().filter(|active| Some(*active) != asked.active.as_ref());
        news.is_some_and(|active| *active != asked.attempt.address && self.hears(active))
    }

    fn note_epoch(&mut self, epoch: Epoch) -> Age {
        match epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Less => Age::Older,
            std::cmp::Ordering::Equal => Age::Same,
            std::cmp::Ordering::Greater => {
                self.epoch = epoch;
                self.active = None;
                Age::Newer
            }
        }
    }

    fn link_of(&self, address: &str) -> LinkState {
        self.members.iter().find(|origin| origin.address == address).map_or(LinkState::Unknown, |origin| origin.link)
    }

    /// Whose beats tell of whoever answers at this address. A VIP has no Link while those behind it have: as long as the epoch is
    /// the same, the active is behind it.
    fn heard_for<'a>(&'a self, address: &'a str) -> &'a str {
        match self.link_of(address) {
            LinkState::Unknown => self.active.as_deref().unwrap_or(address),
            LinkState::Heard | LinkState::Lost => address,
        }
    }

    fn last_loss_of(&self, address: &str) -> u64 {
        self.members.iter().find(|origin| origin.address == address).map_or(0, |origin| origin.last_loss)
    }
}

/// Completes when a call is to be left. Safe to drop at the await.
pub(super) async fn left(origins: &mut watch::Receiver<Origins>, call: &Stance) -> Leave {
    loop {
        if let Some(leave) = origins.borrow_and_update().judge(call) {
            return leave;
        }
        if origins.changed().await.is_err() {
            // The pool is gone, and nobody else tells.
            std::future::pending::<()>().await;
        }
    }
}

/// Completes when an attempt is to be given up for a better one. Safe to drop at the await.
pub(super) async fn better(origins: &mut watch::Receiver<Origins>, asked: &Stance) {
    let is_better = |known: &Origins| known.judge(asked).is_some() || known.knows_better(asked);
    if origins.wait_for(is_better).await.is_err() {
        // The pool is gone, and nobody else tells.
        std::future::pending::<()>().await;
    }
}

/// An epoch, beside the highest heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Older,
    Same,
    Newer,
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a:1";
    const B: &str = "b:1";

    fn pool() -> Origins {
        let mut origins = Origins::default();
        let node = |id| Some(NodeId::new(id).unwrap());
        assert!(origins.set_members(vec![(A.into(), node("a")), (B.into(), node("b"))]));
        assert!(!origins.set_members(vec![(A.into(), node("a")), (B.into(), node("b"))]));
        origins
    }

    /// A serves in epoch 5, and both are heard.
    fn settled() -> Origins {
        let mut origins = pool();
        origins.note_beat(A, Epoch(5), Role::Active, None);
        origins.note_beat(B, Epoch(5), Role::Standby, Some(A));
        origins
    }

    fn asked(origins: &Origins) -> Vec<(String, bool)> {
        origins.attempts().into_iter().map(|attempt| (attempt.address, attempt.via)).collect()
    }

    fn direct(address: &str) -> Attempt {
        Attempt { address: address.into(), via: false }
    }

    #[test]
    fn the_active_is_asked_first_and_named_by_whoever_is_heard() {
        assert_eq!(asked(&pool()), [(A.into(), false), (B.into(), false)]);
        let mut origins = pool();
        assert!(origins.note_beat(A, Epoch(5), Role::Standby, Some(B)));
        assert_eq!(asked(&origins), [(B.into(), false), (A.into(), false)]);
        assert!(!origins.note_beat(A, Epoch(5), Role::Standby, Some(B)), "the same again is no news");
    }

    #[test]
    fn a_higher_epoch_ends_every_call_and_a_lower_one_is_not_believed() {
        let mut origins = settled();
        let call = origins.stance(direct(A));
        assert_eq!(origins.judge(&call), None);
        assert!(origins.note_beat(B, Epoch(6), Role::Active, None));
        assert_eq!(origins.judge(&call), Some(Leave::LaterEpoch));
        assert!(!origins.note_beat(A, Epoch(5), Role::Active, None));
        assert!(!origins.note_serving(&direct(A), Epoch(5)));
        assert_eq!(asked(&origins)[0], (B.into(), false));
    }

    #[test]
    fn the_same_origin_in_a_later_epoch_is_asked_anew() {
        let mut origins = settled();
        let call = origins.stance(direct(A));
        origins.note_beat(A, Epoch(6), Role::Active, None);
        assert_eq!(origins.judge(&call), Some(Leave::LaterEpoch));
        assert_eq!(asked(&origins)[0], (A.into(), false));
    }

    #[test]
    fn an_active_that_is_not_heard_is_reached_by_way_of_another() {
        let mut origins = settled();
        let call = origins.stance(direct(A));
        assert!(origins.note_silence(A));
        assert_eq!(origins.judge(&call), Some(Leave::Unheard));
        assert_eq!(asked(&origins), [(B.into(), true), (A.into(), false), (B.into(), false)]);
        let detour = origins.stance(Attempt { address: B.into(), via: true });
        assert!(origins.note_serving(&detour.attempt, Epoch(5)));
        assert_eq!(origins.judge(&detour), None);
        origins.note_beat(A, Epoch(5), Role::Active, None);
        assert_eq!(origins.judge(&detour), Some(Leave::NoDetour));
    }

    #[test]
    fn a_link_that_was_never_there_ends_no_call() {
        let mut origins = pool();
        let call = origins.stance(direct(A));
        assert!(origins.note_serving(&call.attempt, Epoch(0)));
        origins.note_silence(A);
        assert_eq!(origins.judge(&call), None, "an origin may serve whose Link does not stand");
    }

    #[test]
    fn one_that_steps_down_is_not_active_any_more() {
        let mut origins = settled();
        origins.note_beat(A, Epoch(5), Role::Standby, None);
        assert!(!origins.has_active());
        origins.note_not_active(B, Epoch(5), Some(A));
        assert_eq!(asked(&origins)[0], (A.into(), false));
        origins.note_not_active(A, Epoch(5), Some(A));
        assert!(!origins.has_active(), "who says it is not, is not");
    }

    #[test]
    fn a_vip_is_linked_to_only_while_nobody_behind_it_is_heard() {
        let mut origins = pool();
        origins.set_members(vec![(A.into(), NodeId::new("a").ok()), ("vip:1".into(), None)]);
        assert_eq!(origins.to_link(), [A, "vip:1"]);
        origins.note_beat("vip:1", Epoch(5), Role::Active, Some(A));
        assert_eq!((origins.to_link().len(), origins.named()), (2, Some(A)));
        origins.note_beat(A, Epoch(5), Role::Active, None);
        assert_eq!(origins.to_link(), [A]);
        let call = origins.stance(direct("vip:1"));
        assert!(origins.note_unlinked("vip:1"));
        assert_eq!(origins.judge(&call), None, "we hung up, not the origin");
        origins.note_silence(A);
        assert_eq!(origins.to_link(), [A, "vip:1"]);
    }

    #[test]
    fn a_call_by_a_vip_is_left_when_the_origin_behind_it_is_not_heard_any_more() {
        let mut origins = Origins::default();
        origins.set_members(vec![("vip:1".into(), None)]);
        let call = origins.stance(direct("vip:1"));
        assert!(origins.note_serving(&call.attempt, Epoch(5)));
        let call = Stance { epoch: Epoch(5), ..call };
        origins.note_beat("vip:1", Epoch(5), Role::Active, Some(A));
        // Who is behind it becomes known.
        let node = |id| NodeId::new(id).ok();
        origins.set_members(vec![(A.into(), node("a")), (B.into(), node("b")), ("vip:1".into(), None)]);
        origins.note_beat(B, Epoch(5), Role::Standby, Some(A));
        origins.note_beat(A, Epoch(5), Role::Active, None);
        origins.note_unlinked("vip:1");
        origins.note_silence(B);
        assert_eq!(origins.judge(&call), None, "the other one is not behind it");
        origins.note_beat(B, Epoch(5), Role::Standby, Some(A));
        origins.note_silence(A);
        assert_eq!(origins.judge(&call), Some(Leave::Unheard));
        assert_eq!(asked(&origins)[0], (B.into(), true));
        let (again, detour) = (direct("vip:1"), Attempt { address: B.into(), via: true });
        assert_eq!(origins.judge(&origins.stance(again)), None, "which may be the only way");
        assert_eq!(origins.judge(&origins.stance(detour)), None);
    }

    #[test]
    fn one_that_is_heard_outlives_a_view_without_it() {
        let mut origins = settled();
        let call = origins.stance(direct(A));
        assert!(origins.set_members(Vec::new()));
        assert!(!origins.set_members(Vec::new()));
        assert_eq!((origins.to_link(), origins.heard().count()), (vec![A.to_owned(), B.to_owned()], 2));
        assert_eq!((origins.judge(&call), &asked(&origins)[0]), (None, &(A.to_owned(), false)));
        assert!(origins.set_members(vec![(B.into(), NodeId::new("b").ok())]));
        assert!(origins.note_silence(A));
        assert_eq!(origins.judge(&call), Some(Leave::Unheard));
        assert_eq!(origins.to_link(), [B], "it has left, and is not heard any more");
        assert_eq!(origins.counts(), (1, 1));
        origins.note_beat(B, Epoch(9), Role::Active, None);
        assert_eq!(asked(&origins), [(B.to_owned(), false)], "nor is it asked");
        origins.note_silence(B);
        assert_eq!(origins.to_link(), [B], "it may be heard again");
    }

    #[test]
    fn gone_means_that_nobody_is_left() {
        let mut origins = settled();
        origins.note_silence(A);
        assert!(!origins.are_gone());
        origins.note_silence(B);
        assert!(origins.are_gone());
        assert_eq!(origins.heard().count(), 0);
        origins.note_beat(B, Epoch(5), Role::Standby, None);
        assert_eq!(origins.heard().map(NodeId::as_str).collect::<Vec<_>>(), ["b"]);
    }
}
