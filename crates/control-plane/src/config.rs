//! The control plane's settings.

use std::{net::SocketAddr, path::PathBuf};

use cluster::{MembershipLimits, MoveLimits, NodeId, PoolId, PoolRules, RouteConfig, RouteTable, Unclean};
use daemon::{
    Settings,
    config::{Period, Problems},
    section,
};

section! {
    /// Headwater control plane: keeps the route entries and the membership, and decides which origin is active.
    #[derive(PartialEq)]
    pub struct Config {
        /// The name of this node, unique in the cluster.
        pub node: NodeId = NodeId::new("control-plane").expect("letters and a dash are an id"),
        /// How the process lives.
        pub process: Settings = Settings::with_admin_port(9080),
        /// Where nodes and operators reach it by gRPC.
        pub listen: SocketAddr = ([127, 0, 0, 1], 9000).into(),
        /// The directory of bearer tokens, one file for each kind of caller; null: no token is known, so that only
        /// loopback callers under --dev are admitted. Its files are read again at SIGHUP.
        pub tokens: Option<PathBuf> = None,
        /// Where the store is: the file control-plane.redb. One control plane may have it open.
        pub data_dir: PathBuf = "/var/lib/headwater".into(),
        /// Route entries to begin with, like "*:*;10.0.0.6:1935" or { name: live, match: { app: live }, to: { pool: main } }.
        /// They are defaults: what operators change or delete stays so, whatever stands here. Reloadable.
        pub routes: Vec<RouteConfig> = Vec::new(),
        /// Settings of single pools; a pool that is not listed has the defaults.
        pub pools: Vec<PoolSettings> = Vec::new(),
        /// When nodes count as silent.
        pub nodes: Nodes = Nodes::default(),
        /// When roles move, in pools that have no `roles` of their own.
        pub roles: Roles = Roles::default(),
        /// How many events are kept; the oldest go first.
        pub events_max: usize = 10_000,
        /// How long a node may take to carry out a kick or a drain before the caller is told that it did not.
        pub command_wait: Period = Period::from_secs(2),
    }
}

section! {
    /// One pool.
    #[derive(PartialEq)]
    pub struct PoolSettings {
        /// Its name.
        pub name: PoolId = PoolId::main(),
        /// The origin that becomes active when the pool is new, and where FailBack goes; null: the first to come, and the
        /// one that was active before.
        pub first_active: Option<NodeId> = None,
        /// When its roles move, like `roles`: what is not listed here is as by default; null: as `roles` says.
        pub roles: Option<Roles> = None,
    }
}

section! {
    /// Beats.
    #[derive(PartialEq)]
    pub struct Nodes {
        /// How often nodes beat.
        pub beat: Period = Period(MembershipLimits::default().beat_interval),
        /// A node that has not been heard for so long is silent.
        pub silence: Period = Period(MembershipLimits::default().silence_max),
        /// An edge that has been gone for so long is forgotten.
        pub forget: Period = Period(MembershipLimits::default().forget_after),
        /// How many nodes there may be.
        pub max: usize = MembershipLimits::default().nodes_max,
    }
}

section! {
    /// When roles move.
    #[derive(PartialEq)]
    pub struct Roles {
        /// After its start the control plane changes no role for so long, unless the cluster is new.
        pub settle: Period = Period(PoolRules::default().settle),
        /// After this time it goes by what has reported, even if the active has not.
        pub settle_max: Period = Period(PoolRules::default().settle_max),
        /// In a new cluster: how long to wait for further origins after the first.
        pub gather: Period = Period(PoolRules::default().gather),
        /// Only an origin that was heard within this time may become active.
        pub candidate_heard: Period = Period(PoolRules::default().candidate_heard),
        /// An edge that is not heard counts as one that hears the active origin, for so long.
        pub edge_trust: Period = Period(PoolRules::default().edge_trust),
        /// When half of the edges hear the standby and not the active origin, which is heard here: wait so long.
        pub edges_wait: Period = Period(PoolRules::default().edges_wait),
        /// A node that has just come says nothing about an origin that it has not heard yet, for so long.
        pub witness_after: Period = Period(PoolRules::default().witness_after),
        /// allow: with no origin in sync left, the one with most becomes active, and what is lost is named. never: an
        /// operator decides.
        pub unclean: Unclean = Unclean::Allow,
        /// With `unclean: allow`: how long origins in sync are waited for.
        pub unclean_after: Period = Period(PoolRules::default().unclean_after),
        /// How long an origin may take to open after it was granted the role; then the next one is.
        pub open_within: Period = Period(PoolRules::default().open_within),
        /// How long the active origin may take to commit what it took before a planned move is given up.
        pub yield_within: Period = Period(PoolRules::default().yield_within),
        /// A role change is told when the origin has opened, at the latest after this time.
        pub tell_within: Period = Period(PoolRules::default().tell_within),
        /// A fault about which nothing can be done becomes an alarm after so long.
        pub alarm_after: Period = Period(PoolRules::default().alarm_after),
        /// How often roles may move by themselves.
        pub moves: Moves = Moves::default(),
    }
}

section! {
    /// Limits of automatic moves.
    #[derive(PartialEq)]
    pub struct Moves {
        /// So many because of silence in `silence_window`; when one more is due, the pool is held until it is released.
        pub silence_max: usize = MoveLimits::default().silence_max,
        /// The time in which they are counted.
        pub silence_window: Period = Period(MoveLimits::default().silence_window),
        /// Between two moves because of silence.
        pub silence_apart: Period = Period(MoveLimits::default().silence_apart),
        /// After any move, before one because a process died.
        pub death_apart: Period = Period(MoveLimits::default().death_apart),
    }
}

impl Config {
    /// The rules of one pool.
    pub(crate) fn rules(&self, pool: &PoolId) -> PoolRules {
        let settings = self.pools.iter().find(|settings| settings.name == *pool);
        let roles = settings.and_then(|settings| settings.roles.as_ref()).unwrap_or(&self.roles);
        let moves = &roles.moves;
        PoolRules {
            settle: *roles.settle,
            settle_max: *roles.settle_max,
            gather: *roles.gather,
            first_active: settings.and_then(|settings| settings.first_active.clone()),
            silence: *self.nodes.silence,
            candidate_heard: *roles.candidate_heard,
            edge_trust: *roles.edge_trust,
            edges_wait: *roles.edges_wait,
            witness_after: *roles.witness_after,
            unclean: roles.unclean,
            unclean_after: *roles.unclean_after,
            open_within: *roles.open_within,
            yield_within: *roles.yield_within,
            tell_within: *roles.tell_within,
            alarm_after: *roles.alarm_after,
            moves: MoveLimits {
                silence_max: moves.silence_max,
                silence_window: *moves.silence_window,
                silence_apart: *moves.silence_apart,
                death_apart: *moves.death_apart,
            },
        }
    }

    /// What holds for nodes.
    pub(crate) fn limits(&self) -> MembershipLimits {
        MembershipLimits {
            beat_interval: *self.nodes.beat,
            silence_max: *self.nodes.silence,
            forget_after: *self.nodes.forget,
            nodes_max: self.nodes.max,
        }
    }
}

impl daemon::config::Config for Config {
    const RELOADABLE: &'static [&'static str] = &["routes", "process.log"];

    fn process(&self) -> &Settings {
        &self.process
    }

    fn node(&self) -> &str {
        self.node.as_str()
    }

    fn validate(&self, problems: &mut Problems) {
        if let Err(error) = RouteTable::new(RouteConfig::into_entries(self.routes.clone()), Vec::new()) {
            problems.add("routes", error.to_string());
        }
        for (place, pool) in self.pools.iter().enumerate() {
            if self.pools[..place].iter().any(|before| before.name == pool.name) {
                problems.add(&format!("pools[{place}].name"), format!("the pool {} is listed twice", pool.name));
            }
        }
        let own = self.pools.iter().enumerate().filter_map(|(place, pool)| Some((place, pool.roles.as_ref()?)));
        let own = own.map(|(place, roles)| (format!("pools[{place}].roles"), roles));
        for (path, roles) in own.chain([("roles".to_owned(), &self.roles)]) {
            if *roles.candidate_heard < 2 * *self.nodes.beat {
                problems.add(&format!("{path}.candidate_heard"), "must be at least two of nodes.beat: one may be late");
            }
            if roles.open_within.is_zero() || roles.yield_within.is_zero() {
                problems.add(&path, "open_within and yield_within must be longer than 0");
            }
        }
        if self.nodes.beat.is_zero() {
            problems.add("nodes.beat", "must be longer than 0");
        }
        if *self.nodes.silence < 2 * *self.nodes.beat {
            problems.add("nodes.silence", "must be at least two beats: one may be late");
        }
        if self.events_max == 0 {
            problems.add("events_max", "must be at least 1");
        }
    }
}

#[cfg(test)]
mod tests {
    use daemon::config::{default_document, parse};

    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        parse(text, []).map_err(|problems| problems.iter().map(|p| format!("{}: {}\n", p.path, p.message)).collect())
    }

    #[test]
    fn the_printed_defaults_are_the_defaults() {
        assert_eq!(read(&default_document::<Config>()), Ok(Config::default()));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = "routes: [\"*:*;a:1\", \"*:*;b:1\"]\npools: [{name: main}, {name: main}]\n\
                    nodes: {beat: 500ms}\nevents_max: 0\n";
        let told = read(text).unwrap_err();
        for path in ["routes: two route entries", "pools[1].name", "nodes.silence", "events_max"] {
            assert!(told.contains(path), "{path} is missing: {told}");
        }
        assert!(read("routes: [\"*:1935;a:1\"]").unwrap_err().contains("must be *"));
    }

    #[test]
    fn a_pool_has_its_first_active_and_others_have_none() {
        let config = read("pools: [{name: main, first_active: origin-1}]").unwrap();
        assert_eq!(config.rules(&PoolId::main()).first_active, NodeId::new("origin-1").ok());
        assert_eq!(config.rules(&PoolId::new("b").unwrap()).first_active, None);
    }

    #[test]
    fn the_defaults_are_those_of_the_rules() {
        assert_eq!(Config::default().rules(&PoolId::main()), PoolRules::default());
    }

    #[test]
    fn a_pool_may_have_its_own_rules() {
        let text = "roles: {settle: 5s}\npools: [{name: b, roles: {unclean: never, moves: {silence_max: 1000}}}]\n";
        let config = read(text).unwrap();
        let (main, b) = (config.rules(&PoolId::main()), config.rules(&PoolId::new("b").unwrap()));
        assert_eq!((main.settle.as_secs(), main.unclean, main.moves.silence_max), (5, Unclean::Allow, 3));
        assert_eq!((b.settle.as_secs(), b.unclean, b.moves.silence_max), (3, Unclean::Never, 1000));
        let told = read("pools: [{name: b, roles: {candidate_heard: 10ms}}]").unwrap_err();
        assert!(told.contains("pools[0].roles.candidate_heard"), "{told}");
    }
}
