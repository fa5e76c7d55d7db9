//! The control plane's settings.

use std::{net::SocketAddr, path::PathBuf};

use cluster::{MembershipLimits, NodeId, PoolId, PoolRules, RouteConfig, RouteTable};
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
        /// When roles are given.
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
        /// The origin that becomes active when the pool is new; null: the first to come.
        pub first_active: Option<NodeId> = None,
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
    /// Waiting before roles are given.
    #[derive(PartialEq)]
    pub struct Roles {
        /// After its start the control plane changes no role for so long, unless the cluster is new.
        pub settle: Period = Period(PoolRules::default().settle),
        /// After this time it goes by what has reported, even if the active has not.
        pub settle_max: Period = Period(PoolRules::default().settle_max),
        /// In a new cluster: how long to wait for further origins after the first.
        pub gather: Period = Period(PoolRules::default().gather),
    }
}

impl Config {
    /// The rules of one pool.
    pub(crate) fn rules(&self, pool: &PoolId) -> PoolRules {
        let settings = self.pools.iter().find(|settings| settings.name == *pool);
        PoolRules {
            settle: *self.roles.settle,
            settle_max: *self.roles.settle_max,
            gather: *self.roles.gather,
            first_active: settings.and_then(|settings| settings.first_active.clone()),
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
}
