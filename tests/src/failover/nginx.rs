//! nginx with its RTMP module under the same drill: an origin, and an edge that pulls from it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::signal::Signal;

use super::{Crowd, Form, Round, Source, cases::crash::Frozen};
use crate::{
    Process,
    cluster::free_address,
    standstill,
    tools::{Tool, arg},
    wait::{SOON, until},
};

/// The module, as Debian installs it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
/// How long it stays frozen.
const FROZEN: Duration = Duration::from_secs(5);

/// Two processes: the encoder publishes to the origin, viewers play from the edge.
struct Nginx {
    origin: Server,
    edge: Server,
}

struct Server {
    process: Process,
    name: &'static str,
    dir: PathBuf,
    address: SocketAddr,
}

/// Whether it is here; says so if it is not.
fn is_here() -> bool {
    let here = Tool::Nginx.path().is_some() && Path::new(MODULE).exists();
    if !here {
        println!("nginx with its RTMP module is not here: `tests/tools/install.sh drill` brings it from Debian");
    }
    here
}

/// SIGKILL of its origin, which is started again at once.
pub fn kill(form: Form) -> Vec<Round> {
    drill(form, form.window, |nginx| {
        nginx.origin.process.kill();
        nginx.origin.start();
    })
}

/// SIGSTOP of its origin, and SIGCONT after 5 s.
pub fn freeze(form: Form) -> Vec<Round> {
    drill(form, FROZEN + form.window, |nginx| {
        let pid = nginx.origin.process.pid();
        let _wakes = Frozen(pid);
        nginx.origin.process.signal(Signal::SIGSTOP);
        thread::sleep(FROZEN);
    })
}

fn drill(form: Form, window: Duration, mut fault: impl FnMut(&mut Nginx)) -> Vec<Round> {
    if !is_here() {
        return Vec::new();
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut nginx = Nginx::start(dir.path());
    let source = Source::start(&[format!("rtmp://{}/live/stamped", nginx.origin.address)]);
    source.wait_accepted();
    let url = format!("rtmp://{}/live/stamped", nginx.edge.address);
    let mut crowd = Crowd::join((0..form.viewers).map(|_| url.clone()));
    let mut rounds = Vec::new();
    for _ in 0..form.rounds {
        crowd.stuck(&source, SOON);
        crowd.look(&source, Instant::now());
        let (start, began) = (Instant::now(), SystemTime::now());
        fault(&mut nginx);
        // What is measured here is what happens in this time.
        thread::sleep((start + window).saturating_duration_since(Instant::now()));
        let encoder_cuts = source.cuts_since(start);
        let sight = crowd.look(&source, start);
        let stood_still = standstill::longest(began, SystemTime::now());
        rounds.push(Round { sight, encoder_cuts, stood_still, ..Round::default() });
    }
    rounds
}

impl Nginx {
    fn start(dir: &Path) -> Self {
        let origin = Server::new("nginx-origin", dir, "");
        let edge = Server::new("nginx-edge", dir, &format!("pull rtmp://{}/live;", origin.address));
        Self { origin, edge }
    }
}

impl Server {
    fn new(name: &'static str, dir: &Path, more: &str) -> Self {
        let address = free_address();
        let shown = dir.display();
        let config = format!(
            "daemon off; master_process off; pid {shown}/{name}.pid; error_log {shown}/{name}.log; load_module {MODULE};\n\
             events {{ worker_connections 1024; }}\n\
             rtmp {{ server {{ listen {address}; application live {{ live on; wait_key on; {more} }} }} }}\n"
        );
        std::fs::write(dir.join(format!("{name}.conf")), config).expect("the directory takes files");
        let mut this = Self { process: Self::spawn(name, dir), name, dir: dir.to_owned(), address };
        this.wait_open();
        this
    }

    fn start(&mut self) {
        self.process = Self::spawn(self.name, &self.dir);
        self.wait_open();
    }

    fn spawn(name: &str, dir: &Path) -> Process {
        let mut command = Tool::Nginx.command();
        command.args(["-c", arg(&dir.join(format!("{name}.conf"))), "-p", arg(dir), "-e", "stderr"]);
        Process::spawn(name, dir, command)
    }

    fn wait_open(&mut self) {
        until("nginx to listen", SOON, || {
            self.process.assert_running();
            std::net::TcpStream::connect(self.address).ok()
        });
    }
}
