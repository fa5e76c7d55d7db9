//! The configurations of `docs/topologies.md`, as they stand there, on addresses of one machine.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tests::{
    Process, http, programs,
    rtmp::{Publisher, Recorder},
    synthetic::{self, Feed},
    until,
    wait::SOON,
};
use tokio::task::JoinHandle;

/// How long a process may take to be ready on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// The time between two frames.
const FRAME: Duration = Duration::from_millis(40);
/// How long an encoder waits before it opens an output again.
const FRAMES_TO_RETRY: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn viewers_go_on_in_the_other_master_when_theirs_dies() {
    let mut topology = Topology::masters();
    let encoder = publish_to_both(&topology);
    let viewers = topology.viewers();

    topology.kill("west");
    viewers.iter().for_each(|viewer| viewer.wait_frames(100, SOON));
    viewers.iter().for_each(assert_goes_on);
    // What the edges know of the pools outlives the control plane, and an edge's restart.
    topology.kill("control-plane");
    topology.start_one("edge-2");
    let late = Recorder::start(&topology.rtmp("10.0.0.12"));
    late.wait_frames(60, SOON);
    viewers[0].wait_frames(30, SOON);
    assert_goes_on(&viewers[0]);
    encoder.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn children_keep_viewers_and_encoders_while_their_master_restarts() {
    let mut topology = Topology::start("One master with children");
    topology.wait_active("master");
    let feed = Feed::paced(&topology.rtmp("10.0.0.11"), FRAME).await;
    let viewers = topology.viewers();

    topology.kill("master");
    topology.start_one("master");
    topology.wait_active("master");
    viewers.iter().for_each(|viewer| viewer.wait_frames(100, SOON));
    viewers.iter().for_each(assert_unbroken);
    feed.assert_running();
}

/// Positions are as high as the epoch that a master is in: those of the one that is left lie below what its viewers came with, and
/// go up when it restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn viewers_who_came_from_the_other_master_stay_when_this_one_restarts() {
    let mut topology = Topology::masters();
    for _ in 0..2 {
        // Its epoch is the higher one now, and so are its positions.
        topology.kill("west");
        topology.start_one("west");
        topology.wait_active("west");
    }
    let encoder = publish_to_both(&topology);
    let viewers = topology.viewers();

    topology.kill("west");
    viewers.iter().for_each(|viewer| viewer.wait_frames(60, SOON));
    topology.kill("east");
    topology.start_one("east");
    topology.wait_active("east");
    viewers.iter().for_each(|viewer| viewer.wait_frames(100, SOON));
    viewers.iter().for_each(assert_in_order);
    encoder.abort();
}

/// An encoder with two outputs, one for each master, until it is aborted.
fn publish_to_both(topology: &Topology) -> JoinHandle<()> {
    tokio::spawn(publish([topology.rtmp("10.0.0.2"), topology.rtmp("10.0.0.1")]))
}

/// The same frames to all; an output whose connection breaks is opened again.
async fn publish(urls: [String; 2]) {
    let mut outputs = [None, None];
    let mut ticks = tokio::time::interval(FRAME);
    for number in 0.. {
        ticks.tick().await;
        let frame = synthetic::frame(number, FRAME);
        for (output, url) in outputs.iter_mut().zip(&urls) {
            if output.is_none() && number % FRAMES_TO_RETRY == 0 {
                *output = opened(url).await;
            }
            if let Some(open) = output
                && open.send(&frame).await.is_err()
            {
                *output = None;
            }
        }
    }
}

async fn opened(url: &str) -> Option<Publisher> {
    let mut output = Publisher::open(url).await.ok()?;
    output.send(&synthetic::config()).await.ok()?;
    Some(output)
}

/// Nothing lost, nothing twice, and the clock goes on.
#[track_caller]
fn assert_unbroken(viewer: &Recorder) {
    for (before, after) in steps(viewer) {
        assert_eq!(after, before + 1, "frame {after} came after {before}");
    }
}

/// Nothing twice, and the clock goes on; nothing lost but the end of a GOP of which the other master had begun the next.
#[track_caller]
fn assert_goes_on(viewer: &Recorder) {
    for (before, after) in steps(viewer) {
        let skipped = after > before + 1;
        let to_a_keyframe = after.is_multiple_of(synthetic::GOP) && after - before < synthetic::GOP;
        assert!(after > before && (!skipped || to_a_keyframe), "frame {after} came after {before}");
    }
}

/// Nothing twice, and the clock does not go back.
#[track_caller]
fn assert_in_order(viewer: &Recorder) {
    for [(before, at), (after, then)] in pairs(viewer) {
        assert!(after > before && then >= at, "frame {after} at {then} ms came after {before} at {at} ms");
    }
}

/// Each frame's number and the next one's, whose times must be as far apart as the encoder made them.
#[track_caller]
fn steps(viewer: &Recorder) -> Vec<(u32, u32)> {
    let step = |[(before, at), (after, then)]: [(u32, u32); 2]| {
        let apart = after.wrapping_sub(before).wrapping_mul(FRAME.as_millis() as u32);
        assert_eq!(then.wrapping_sub(at), apart, "the clock between the frames {before} and {after}");
        (before, after)
    };
    pairs(viewer).into_iter().map(step).collect()
}

/// Numbers and times of each frame and the next one.
#[track_caller]
fn pairs(viewer: &Recorder) -> Vec<[(u32, u32); 2]> {
    assert_eq!(viewer.ended(), None, "{:?}", viewer.codes());
    let tags: Vec<_> = viewer.tags().into_iter().filter(|tag| tag.is_coded()).collect();
    let frames: Vec<_> = tags.iter().map(|tag| (synthetic::number(tag).expect("ours"), tag.timestamp)).collect();
    frames.windows(2).map(|pair| [pair[0], pair[1]]).collect()
}

/// The processes of one chapter of the page.
struct Topology {
    dir: tempfile::TempDir,
    /// What stands in for `10.0.0.`: addresses of this machine that no other test has.
    network: String,
    /// By the name of the configuration: the program, and the process when it runs.
    processes: BTreeMap<String, (String, Option<Process>)>,
    admin: BTreeMap<String, SocketAddr>,
}

impl Topology {
    /// Starts all that the chapter says, in its order, and waits until each is ready.
    #[track_caller]
    fn start(chapter: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("headwater-topology-").tempdir().expect("a temporary directory");
        let page = fs::read_to_string(tests::root().join("docs/topologies.md")).expect("the page is there");
        let text = page.split("\n## ").find(|text| text.starts_with(chapter)).expect("the page has the chapter");
        let mut topology = Self { dir, network: network(), processes: BTreeMap::new(), admin: BTreeMap::new() };
        topology.write_tokens();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            topology.write_config(block);
        }
        let commands = text.lines().filter_map(|line| line.split_once(" --config "));
        let started: Vec<_> = commands.map(|(program, file)| (program.to_owned(), file.to_owned())).collect();
        assert_eq!(started.len(), topology.admin.len(), "each file is started once");
        for (program, file) in started {
            let name = file.strip_suffix(".yaml").expect("a configuration").to_owned();
            topology.processes.insert(name.clone(), (program, None));
            topology.start_one(&name);
        }
        topology
    }

    /// Independent masters, each at work in its pool.
    #[track_caller]
    fn masters() -> Self {
        let mut topology = Self::start("Independent masters");
        ["west", "east"].iter().for_each(|master| topology.wait_active(master));
        topology
    }

    /// A viewer at each edge, who is well into the stream.
    #[track_caller]
    fn viewers(&self) -> [Recorder; 2] {
        let viewers = ["10.0.0.11", "10.0.0.12"].map(|edge| Recorder::start(&self.rtmp(edge)));
        viewers.iter().for_each(|viewer| viewer.wait_frames(60, SOON));
        viewers
    }

    fn write_tokens(&self) {
        let tokens = self.dir.path().join("tokens");
        fs::create_dir(&tokens).expect("the directory is ours");
        for kind in ["operator", "viewer-ops", "control", "origin", "edge", "publisher-tool"] {
            let secret = format!("the-token-of-{kind}-in-this-test\n");
            fs::write(tokens.join(kind), secret).expect("the directory is ours");
        }
    }

    fn write_config(&mut self, block: &str) {
        let (title, _) = block.split_once('\n').expect("a title and its text");
        let name = title.strip_prefix("# ").and_then(|title| title.strip_suffix(".yaml")).expect("a title");
        let dir = self.dir.path().display();
        let yaml = block
            .replace("10.0.0.", &self.network)
            .replace("/etc/headwater", &dir.to_string())
            .replace("/var/lib/headwater", &format!("{dir}/data"));
        let admin = yaml.split("admin: \"").nth(1).and_then(|rest| rest.split('"').next()).expect("an admin port");
        self.admin.insert(name.to_owned(), admin.parse().expect("an address"));
        fs::write(self.dir.path().join(format!("{name}.yaml")), yaml).expect("the directory is ours");
    }

    /// Starts a process, again if it runs or ran, and waits until it is ready.
    #[track_caller]
    fn start_one(&mut self, name: &str) {
        let dir = self.dir.path().to_owned();
        let (program, process) = self.processes.get_mut(name).expect("the page starts it");
        drop(process.take());
        let mut command = Command::new(programs().join(&*program));
        command.arg("--config").arg(dir.join(format!("{name}.yaml")));
        *process = Some(Process::spawn(name, Path::new(&dir), command));
        self.wait_page(name, "/readyz");
    }

    #[track_caller]
    fn wait_active(&mut self, name: &str) {
        self.wait_page(name, "/active");
    }

    #[track_caller]
    fn wait_page(&mut self, name: &str, page: &str) {
        let admin = self.admin[name];
        let (_, process) = self.processes.get_mut(name).expect("the page starts it");
        let process = process.as_mut().expect("it was started");
        until(&format!("{page} of {name}"), READY, || {
            process.assert_running();
            http::get(admin, page).ok().filter(|answer| answer.status == 200)
        });
    }

    #[track_caller]
    fn kill(&mut self, name: &str) {
        let (_, process) = self.processes.get_mut(name).expect("the page starts it");
        process.take().expect("it runs").kill();
    }

    /// The stream at one of the page's addresses.
    fn rtmp(&self, address: &str) -> String {
        format!("rtmp://{}:1935/live/demo", address.replace("10.0.0.", &self.network))
    }
}

/// Three numbers and a dot, different for each topology that runs.
fn network() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id() * 4 + STARTED.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.", 1 + own / 250 % 250, 1 + own % 250)
}
