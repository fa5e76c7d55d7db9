//! Several hosts on one machine: a network namespace for each, on one bridge, and cables that can be cut.

use std::{
    fs::File,
    net::Ipv4Addr,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::sched::{CloneFlags, setns};

use crate::tools::{self, Tool};

/// A network of hosts. The bridge, and with it whoever calls [`Network::enter`], has an address too.
pub struct Network {
    prefix: String,
    hosts: Vec<&'static str>,
}

/// Where the bridge's namespace is.
const BRIDGE: &str = "rest";
/// The table of the firewall that cuts.
const TABLE: &str = "inet cut";

static MADE: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// Whether this machine lets us make one; otherwise says why not, as [`tools::has`] does.
    #[track_caller]
    pub fn possible() -> bool {
        tools::has(&[Tool::Ip, Tool::Nft])
            && tools::may("make network namespaces", || {
                // Several may ask at the same time.
                let name = format!("hw{}-probe{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
                let made = Tool::Ip.command().args(["netns", "add", &name]).output().is_ok_and(|o| o.status.success());
                made && Tool::Ip.command().args(["netns", "del", &name]).status().is_ok_and(|status| status.success())
            })
    }

    /// Makes a namespace for each of these hosts and one for the rest, and joins them.
    #[track_caller]
    pub fn make(hosts: &[&'static str]) -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let this = Self { prefix: format!("hw{}-{number}", std::process::id()), hosts: hosts.to_vec() };
        let rest = this.namespace(BRIDGE);
        ip(&format!("netns add {rest}"));
        ip(&format!("-n {rest} link set lo up"));
        ip(&format!("-n {rest} link add bridge type bridge"));
        ip(&format!("-n {rest} addr add {}/24 dev bridge", this.rest()));
        ip(&format!("-n {rest} link set bridge up"));
        for (number, host) in hosts.iter().enumerate() {
            let (name, address) = (this.namespace(host), this.address(host));
            ip(&format!("netns add {name}"));
            ip(&format!("link add port{number} netns {rest} type veth peer name cable netns {name}"));
            ip(&format!("-n {rest} link set port{number} master bridge up"));
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} addr add {address}/24 dev cable"));
            ip(&format!("-n {name} link set cable up"));
            this.nft(host, &format!("add table {TABLE}"));
            for way in ["input", "output"] {
                this.nft(host, &format!("add chain {TABLE} {way} {{ type filter hook {way} priority 0; }}"));
            }
        }
        this
    }

    /// The names of its hosts.
    pub fn hosts(&self) -> &[&'static str] {
        &self.hosts
    }

    /// Puts the calling thread, and all that it starts, into the rest of the network: beside the hosts.
    pub fn enter(&self) {
        enter(&self.namespace(BRIDGE));
    }

    /// What every thread of a runtime has to do to be in the rest of the network.
    pub fn entrance(&self) -> impl Fn() + Send + Sync + 'static {
        let namespace = self.namespace(BRIDGE);
        move || enter(&namespace)
    }

    /// The address of a host.
    #[track_caller]
    pub fn address(&self, host: &str) -> Ipv4Addr {
        let number = self.hosts.iter().position(|name| *name == host);
        let number = number.unwrap_or_else(|| panic!("{host} is not in the network"));
        Ipv4Addr::new(10, 77, 0, 10 + number as u8)
    }

    /// The address of the rest.
    pub fn rest(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 1)
    }

    /// The command, run on a host. The process that results is the command's own.
    pub fn on(&self, host: &str, command: &Command) -> Command {
        let mut on = Tool::Ip.command();
        on.args(["netns", "exec", &self.namespace(host)]).arg(command.get_program()).args(command.get_args());
        on
    }

    /// Cuts a host off from everyone: what it sends and what is sent to it vanishes.
    pub fn cut_off(&self, host: &str) {
        self.nft(host, &format!("add rule {TABLE} input iifname != lo drop"));
        self.nft(host, &format!("add rule {TABLE} output oifname != lo drop"));
    }

    /// Cuts what is between two hosts, both ways.
    pub fn cut_between(&self, host: &str, other: &str) {
        let other = self.address(other);
        self.nft(host, &format!("add rule {TABLE} input ip saddr {other} drop"));
        self.nft(host, &format!("add rule {TABLE} output ip daddr {other} drop"));
    }

    /// Mends everything that was cut at a host.
    pub fn mend(&self, host: &str) {
        self.nft(host, &format!("flush table {TABLE}"));
    }

    #[track_caller]
    fn nft(&self, host: &str, rule: &str) {
        let mut nft = Tool::Nft.command();
        nft.arg(rule);
        tools::output(&mut self.on(host, &nft));
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in self.hosts.iter().chain([&BRIDGE]) {
            let name = self.namespace(host);
            if !Tool::Ip.command().args(["netns", "del", &name]).status().is_ok_and(|status| status.success()) {
                eprintln!("the network namespace {name} could not be removed");
            }
        }
    }
}

#[track_caller]
fn ip(arguments: &str) {
    tools::output(Tool::Ip.command().args(arguments.split(' ')));
}

fn enter(namespace: &str) {
    let path = format!("/var/run/netns/{namespace}");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    setns(file, CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| panic!("entering {path}: {error}"));
}
