//! Nodes beside the five of `headwater dev`: more origins and edges, as processes of the test's own.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    Cluster, Process,
    cluster::{free_address, program},
    tools::arg,
    wait,
};

/// How long a node may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The nodes that the test added, by name; each is killed when it is dropped.
#[derive(Default)]
pub struct Added {
    running: Mutex<BTreeMap<String, Process>>,
}

impl Added {
    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the test has added this node.
    pub fn has(&self, node: &str) -> bool {
        self.running().contains_key(node)
    }
}

impl Cluster {
    /// The cluster with these origins and edges beside its own, each configured as the second of its kind, but for its name and ports.
    #[track_caller]
    pub fn with(mut self, nodes: &[&str]) -> Self {
        for node in nodes {
            let (kind, _) = node.split_once('-').expect("a kind and a number");
            let second = format!("{kind}-2");
            let yaml = fs::read_to_string(self.dir().join(format!("{second}.yaml"))).expect("the second's settings");
            let mut yaml = yaml.replace(&second, node);
            let mut about = self.info["nodes"][&second].clone();
            for address in about.as_object_mut().expect("its addresses").values_mut() {
                // What it is stands there too, and is no address.
                let Some(old) = address.as_str().filter(|text| text.contains(':')) else { continue };
                let new = free_address().to_string();
                yaml = yaml.replace(old, &new);
                *address = new.into();
            }
            fs::write(self.dir().join(format!("{node}.yaml")), yaml).expect("the cluster's directory takes files");
            self.info["nodes"][node] = about;
            self.start_added(node);
        }
        nodes.iter().for_each(|node| self.wait_ready(node));
        self
    }

    /// Starts a node that the test has added again; one that runs is told to end first.
    #[track_caller]
    pub(crate) fn restart_added(&self, node: &str) {
        if let Some(mut process) = self.added.running().remove(node) {
            process.signal(Signal::SIGTERM);
            if wait::maybe(PATIENCE, || process.ended()).is_none() {
                eprintln!("{node} did not end within {PATIENCE:?} of SIGTERM");
            }
        }
        self.start_added(node);
    }

    #[track_caller]
    fn start_added(&self, node: &str) {
        let service = if node.starts_with("origin") { "headwater-origin" } else { "headwater-edge" };
        let mut command = program(service);
        command.args(["--config", arg(&self.dir().join(format!("{node}.yaml"))), "--dev"]);
        command.args(["--die-with-parent", &std::process::id().to_string()]);
        let process = Process::spawn(node, &self.dir(), command);
        fs::write(self.dir().join(format!("{node}.pid")), process.pid().to_string())
            .expect("the directory takes files");
        self.added.running().insert(node.to_owned(), process);
    }
}
