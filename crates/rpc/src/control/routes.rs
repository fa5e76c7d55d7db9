//! Route entries as the control plane keeps them.

use std::{future::Future, time::SystemTime};

use cluster::{Address, Pattern, RouteEntry, RouteId, RouteMatch, Target};
use media::StreamName;

use super::Steps;
use crate::{auth::Caller, status::Failure};

/// Keeps the route entries of the cluster.
pub trait Routes: Send + Sync + 'static {
    /// Adds an entry; the id is made when none is asked for.
    fn create_route(
        &self,
        caller: Caller,
        request: CreateRoute,
    ) -> impl Future<Output = Result<RouteInfo, Failure>> + Send;

    /// Changes an entry.
    fn update_route(
        &self,
        caller: Caller,
        request: UpdateRoute,
    ) -> impl Future<Output = Result<RouteInfo, Failure>> + Send;

    /// Removes an entry; returns the revision at which it went.
    fn delete_route(&self, caller: Caller, request: DeleteRoute) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// One entry.
    fn route(&self, id: &RouteId) -> Option<RouteInfo>;

    /// All entries in any order, and their revision.
    fn routes(&self) -> (Vec<RouteInfo>, u64);

    /// The entries and their changes, from after a revision; from 0 with a snapshot.
    fn watch_routes(&self, from_revision: u64) -> Result<Steps<RouteInfo>, Failure>;

    /// Where a stream goes by these entries.
    fn resolve_route(&self, name: &StreamName) -> Resolution;
}

/// An entry with what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteInfo {
    /// The entry itself.
    pub entry: RouteEntry,
    /// Changes with every change of it.
    pub etag: String,
    /// Free text for people.
    pub description: String,
    /// When it was created.
    pub created: SystemTime,
    /// When it was last changed.
    pub updated: SystemTime,
    /// The kind of caller that made the last change, or `config`.
    pub author: String,
    /// The reason given with it.
    pub reason: String,
}

/// Asks to add an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateRoute {
    /// The id wanted.
    pub id: Option<RouteId>,
    /// What it applies to.
    pub matches: RouteMatch,
    /// Where that goes.
    pub target: Target,
    /// Free text for people.
    pub description: String,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
    /// The same request with the same text is made once; empty: no such text.
    pub request_id: String,
}

/// Asks to change an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateRoute {
    /// Which one.
    pub id: RouteId,
    /// The etag that must be in force; empty: any.
    pub etag: String,
    /// What to change.
    pub change: RouteChange,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}

/// What of an entry changes; none: stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteChange {
    /// Parts of the match.
    pub matches: RouteMatchChange,
    /// The target as a whole.
    pub target: Option<Target>,
    /// The description.
    pub description: Option<String>,
}

/// Which parts of a match change; none: stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteMatchChange {
    /// The virtual host.
    pub vhost: Option<Pattern>,
    /// The application.
    pub app: Option<Pattern>,
    /// The application's instance.
    pub instance: Option<Pattern>,
    /// The stream's own name.
    pub stream: Option<Pattern>,
}

impl RouteMatchChange {
    /// The change that leaves nothing of the match before.
    pub fn whole(matches: RouteMatch) -> Self {
        let RouteMatch { vhost, app, instance, stream } = matches;
        Self { vhost: Some(vhost), app: Some(app), instance: Some(instance), stream: Some(stream) }
    }

    /// Makes the change.
    pub fn apply(self, matches: &mut RouteMatch) {
        let parts = [
            (self.vhost, &mut matches.vhost),
            (self.app, &mut matches.app),
            (self.instance, &mut matches.instance),
            (self.stream, &mut matches.stream),
        ];
        for (new, part) in parts {
            if let Some(new) = new {
                *part = new;
            }
        }
    }
}

/// Asks to remove an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteRoute {
    /// Which one.
    pub id: RouteId,
    /// The etag that must be in force; empty: any.
    pub etag: String,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}

/// Where a stream goes, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolution {
    /// The entry that decides.
    pub route: Option<RouteInfo>,
    /// Requests for the stream are refused.
    pub refused: bool,
    /// The addresses to try in order.
    pub addresses: Vec<Address>,
    /// Why, a line for each entry looked at.
    pub trace: Vec<String>,
}
