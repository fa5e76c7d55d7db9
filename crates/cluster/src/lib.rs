//! The rules of the cluster: routes, membership, pool roles, who may publish.
//!
//! Rules and state only: time comes in as an argument, nothing here opens a socket or spawns. How the types meet:
//!
//! - [`RouteTable`] answers where a stream goes, from [`RouteEntry`]s of the control plane and of a node's own YAML.
//! - [`Membership`] keeps who is in the cluster and who is heard.
//! - [`Pool`] keeps a [`PoolRecord`] and says how it must change: who is active, in which [`Epoch`]. What it proposes
//!   is in force once a store has written it by compare-and-set on the version.
//! - [`PublishPolicy`] answers who may publish.
//! - A [`SessionRegister`] says who is connected.

mod address;
mod bans;
mod commit;
mod grant;
mod id;
mod lineage;
mod membership;
mod notice;
mod pool;
mod publish;
mod route;
mod session;

pub use address::{Address, AddressError};
pub use bans::Bans;
pub use commit::{AckRefused, Alone, CommitRules, Commits, FollowerId, Surroundings, WhenAlone};
pub use grant::{Grant, SyncChange, SyncRequest};
pub use id::{Epoch, IdError, Incarnation, Member, NodeId, NodeKind, ParseIncarnationError, PoolId, Role, RouteId};
pub use lineage::{Lineage, NotALineage};
pub use membership::{
    Beat, Change, DeregisterError, FirstFrame, FormerStart, KnownRecord, Liveness, Load, Membership, MembershipLimits,
    Node, NodeAddresses, RegisterError, Registration, SessionError, SessionNumber, Starts,
};
pub use notice::{Mishap, Notice};
pub use pool::{
    By, Cause, EdgeReport, Granted, Hold, LastChange, Mode, MoveLimits, Moved, PlanFailed, PlanState, Pool, PoolAlarm,
    PoolChange, PoolEvent, PoolMember, PoolRecord, PoolReport, PoolRules, PoolView, PoolViewMember, PromoteError,
    Promotion, RecordVersion, RecordsTold, SyncRefused, Unclean,
};
pub use publish::{KeysError, PublishConfig, PublishPolicy, hashed as hashed_publish_key};
pub use route::{
    Addresses, FmsError, Loop, LoopCheck, Match, Pattern, PatternError, Pools, Protocol, ROUTES_MAX, RouteConfig,
    RouteEntry, RouteMatch, RouteSource, RouteTable, TableError, Target, TargetError, TraceLine, parse_fms,
};
pub use session::{LocalSession, SessionKind, SessionRegister};
