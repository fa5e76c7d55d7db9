//! One target of the route entries, shared by all calls that go there.

use std::{sync::Arc, time::Duration};

use cluster::{Epoch, NodeId, PoolView, Role};
use telemetry::Throttle;
use tokio::sync::{Notify, watch};

use super::origins::{Attempt, Origins, Stance};

/// The origins behind one target, and whoever waits for news of them.
#[derive(Debug)]
pub(crate) struct Pool {
    name: String,
    origins: watch::Sender<Origins>,
    /// Told when somebody is heard who was not, or the other way round.
    hearing: Arc<Notify>,
    /// Viewers choose what is asked for: that an origin refuses us is told so often of each, and not of each call.
    pub(super) complaints: Throttle,
}

const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

impl Pool {
    pub(super) fn new(name: String, hearing: Arc<Notify>) -> Self {
        Self { name, origins: watch::Sender::default(), hearing, complaints: Throttle::new(COMPLAIN_EVERY) }
    }

    /// `originPools/{id}`, or the addresses.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is known now.
    pub(crate) fn origins(&self) -> watch::Ref<'_, Origins> {
        self.origins.borrow()
    }

    /// What is known, to be watched. What a call of ours has found out is no news, but for a higher epoch.
    pub(crate) fn watch(&self) -> watch::Receiver<Origins> {
        self.origins.subscribe()
    }

    /// The highest epoch heard.
    pub(crate) fn epoch(&self) -> Epoch {
        self.origins.borrow().epoch()
    }

    /// Brings the addresses up to date, and what the control plane says of them.
    pub(super) fn direct(&self, members: Vec<(String, Option<NodeId>)>, view: Option<&PoolView>) {
        self.origins.send_if_modified(|origins| {
            let moved = origins.set_members(members);
            view.is_some_and(|view| origins.note_view(view)) | moved
        });
    }

    /// A beat came on the Link to this address.
    pub(super) fn note_beat(&self, address: &str, epoch: Epoch, role: Role, active: Option<&str>) {
        self.change_hearing(|origins| origins.note_beat(address, epoch, role, active));
    }

    /// The Link to this address is lost.
    pub(super) fn note_silence(&self, address: &str) {
        self.change_hearing(|origins| origins.note_silence(address));
    }

    /// No Link to this address is held any more.
    pub(super) fn note_unlinked(&self, address: &str) {
        self.change_hearing(|origins| origins.note_unlinked(address));
    }

    fn change_hearing(&self, change: impl FnOnce(&mut Origins) -> bool) {
        let mut heard_before = 0;
        let mut heard = 0;
        self.origins.send_if_modified(|origins| {
            heard_before = origins.counts().1;
            let news = change(origins);
            heard = origins.counts().1;
            news
        });
        if heard != heard_before {
            self.hearing.notify_one();
        }
    }

    /// Whoever answers serves in this epoch. False: it is one that another origin has ended.
    pub(super) fn note_serving(&self, attempt: &Attempt, epoch: Epoch) -> bool {
        let mut serves = true;
        self.origins.send_if_modified(|origins| {
            let before = origins.epoch();
            serves = origins.note_serving(attempt, epoch);
            origins.epoch() > before
        });
        serves
    }

    /// This address does not serve.
    pub(super) fn note_not_active(&self, address: &str, epoch: Epoch, active: Option<&str>) {
        self.origins.send_if_modified(|origins| origins.note_not_active(address, epoch, active));
    }

    /// How a call by this attempt stands now.
    pub(super) fn stance(&self, attempt: Attempt) -> Stance {
        self.origins.borrow().stance(attempt)
    }
}
