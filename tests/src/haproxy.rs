//! HAProxy as the origins' virtual IP.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use crate::{
    Process,
    tools::{Tool, arg},
    wait::{SOON, until},
};

/// A running HAProxy with one TCP port that leads to whichever origin is active.
pub struct Haproxy {
    /// The process.
    pub process: Process,
    /// The virtual address.
    pub vip: SocketAddr,
}

/// What `docs/topologies.md` recommends, without its servers.
static DOCUMENTED: LazyLock<String> = LazyLock::new(|| {
    let page = include_str!("../../docs/topologies.md");
    let (_, block) = page.split_once("```\n# haproxy.cfg\n").expect("the page has it");
    let (block, _) = block.split_once("```").expect("it ends");
    block.split_inclusive('\n').filter(|line| !line.trim_start().starts_with("server ")).collect()
});

/// An origin: its public port, and the admin port that tells whether it is active.
pub type Origin = (SocketAddr, SocketAddr);

impl Haproxy {
    /// Starts it in front of these origins, with the checks that the documentation recommends.
    pub fn start(origins: &[Origin], dir: &Path) -> Self {
        Self::start_at(crate::cluster::free_address(), origins, dir)
    }

    /// The same at an address of the test's choice.
    pub fn start_at(vip: SocketAddr, origins: &[Origin], dir: &Path) -> Self {
        let mut config = DOCUMENTED.replace("bind :1935", &format!("bind {vip}"));
        for (number, (public, admin)) in origins.iter().enumerate() {
            config += &format!("  server o{number} {public} check addr {} port {}\n", admin.ip(), admin.port());
        }
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, config).expect("the test's directory takes files");
        let mut command: Command = Tool::Haproxy.command();
        command.args(["-db", "-f", arg(&file)]);
        Self { process: Process::spawn("haproxy", dir, command), vip }
    }

    /// Waits until it leads to an active origin: a connection through it stays open.
    #[track_caller]
    pub fn wait_serving(&mut self) {
        until("HAProxy to find the active origin", SOON, || {
            self.process.assert_running();
            let mut socket = TcpStream::connect(self.vip).ok()?;
            socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            // The start of an RTMP handshake: only an origin answers it.
            socket.write_all(&[3; 1537]).ok()?;
            socket.read_exact(&mut [0; 1537]).ok()
        });
    }
}
