//! Who is in the cluster and where each listens.

use std::{net::SocketAddr, path::Path};

use serde::Serialize;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Ended first.
    Edge,
    /// Ended second.
    Origin,
    /// Ended last.
    ControlPlane,
}

impl Kind {
    /// The name of its binary.
    pub(super) fn binary(self) -> &'static str {
        match self {
            Self::ControlPlane => "headwater-control-plane",
            Self::Origin => "headwater-origin",
            Self::Edge => "headwater-edge",
        }
    }
}

/// One process: its name and addresses.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Node {
    /// Its name, which is its node id too.
    #[serde(skip)]
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Where encoders and viewers connect; an origin listens there only while it is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<SocketAddr>,
    /// Where HTTP-FLV is played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// Its gRPC port: the peer port of a node, the API of the control plane.
    pub grpc: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
}

/// The whole cluster.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// In the order in which they are shown.
    pub nodes: Vec<Node>,
}

/// How many ports a cluster takes.
pub(super) const PORTS: usize = 16;

/// The manual's ports, in the order in which [`Plan::new`] takes them.
pub(super) const FIXED: [u16; PORTS] =
    [9000, 9080, 1945, 9001, 9081, 1946, 9002, 9082, 1935, 8080, 9011, 9091, 1936, 8081, 9012, 9092];

impl Plan {
    /// The five processes on these ports of 127.0.0.1.
    pub(super) fn new(ports: [u16; PORTS]) -> Self {
        let mut ports = ports.into_iter();
        let mut next = || SocketAddr::from(([127, 0, 0, 1], ports.next().expect("16 ports for 16 places")));
        let control = Node {
            name: "control-plane",
            kind: Kind::ControlPlane,
            rtmp: None,
            http: None,
            grpc: next(),
            admin: next(),
        };
        let mut origin = |name| {
            let rtmp = Some(next());
            Node { name, kind: Kind::Origin, rtmp, http: None, grpc: next(), admin: next() }
        };
        let origins = [origin("origin-1"), origin("origin-2")];
        let mut edge = |name| {
            let (rtmp, http) = (Some(next()), Some(next()));
            Node { name, kind: Kind::Edge, rtmp, http, grpc: next(), admin: next() }
        };
        let edges = [edge("edge-1"), edge("edge-2")];
        Self { nodes: [control].into_iter().chain(origins).chain(edges).collect() }
    }

    /// The node of this name.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// All nodes of a kind.
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.kind == kind)
    }

    /// What to paste into an encoder and a player.
    pub(super) fn hints(&self, dir: &Path) -> String {
        let address = |name: &str, of: fn(&Node) -> Option<SocketAddr>| {
            self.node(name).and_then(of).map(|address| address.to_string()).unwrap_or_default()
        };
        let (ingest, play) = (address("edge-1", |node| node.rtmp), address("edge-2", |node| node.rtmp));
        let flv = address("edge-2", |node| node.http);
        let (grpc, admin) = (address("control-plane", |n| Some(n.grpc)), address("control-plane", |n| Some(n.admin)));
        let dir = dir.display();
        format!(
            "\
Publish    OBS: Settings, Stream, Custom; Server rtmp://{ingest}/live, Stream Key demo
           ffmpeg -re -stream_loop -1 -i FILE.mp4 -c copy -f flv rtmp://{ingest}/live/demo
           headwater publish FILE.flv rtmp://{ingest}/live/demo --loop
Play       ffplay rtmp://{play}/live/demo
           ffplay http://{flv}/live/demo.flv
           headwater play rtmp://{play}/live/demo
Look       http://{admin}/status
           headwater status --dir {dir}
           headwater pools list --dir {dir}; headwater pools promote origin-2 --dir {dir}
           headwater events -f --dir {dir}
           grpcurl -plaintext {grpc} list
Files      {dir}/cluster.json (all addresses), {dir}/NAME.yaml, NAME.log, NAME.pid, {dir}/tokens/
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_ports_are_those_of_the_manual() {
        let plan = Plan::new(FIXED);
        let ports = |name: &str| {
            let node = plan.node(name).expect("in the plan");
            (node.rtmp.map(|a| a.port()), node.http.map(|a| a.port()), node.grpc.port(), node.admin.port())
        };
        assert_eq!(ports("control-plane"), (None, None, 9000, 9080));
        assert_eq!(ports("origin-1"), (Some(1945), None, 9001, 9081));
        assert_eq!(ports("origin-2"), (Some(1946), None, 9002, 9082));
        assert_eq!(ports("edge-1"), (Some(1935), Some(8080), 9011, 9091));
        assert_eq!(ports("edge-2"), (Some(1936), Some(8081), 9012, 9092));
        assert!(plan.nodes.iter().all(|node| node.admin.ip().is_loopback() && node.grpc.ip().is_loopback()));
    }
}
