//! Where an edge's time goes under a thousand viewers: kernel or program, and which functions.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::{Process, cluster::program, tools::arg};

use crate::{
    Setting,
    bare::Media,
    load::Load,
    page::table,
    pin,
    server::{Kind, Server},
};

const VIEWERS: usize = 1000;
/// valgrind makes a program some fifty times slower.
const VIEWERS_UNDER_VALGRIND: usize = 100;
const VALGRIND_START: Duration = Duration::from_secs(60);
/// All have joined then.
const JOINED: Duration = Duration::from_secs(5);
const PERF_SECONDS: u64 = 8;
/// What joining costs is over then.
const SETTLED: Duration = Duration::from_secs(1);
/// How many functions are shown.
const ROWS: usize = 15;
/// How our own functions' names begin.
const OURS: [&str; 10] =
    ["hub::", "media::", "rtmp::", "rtmp_net::", "edge::", "rpc::", "telemetry::", "daemon::", "carry::", "cluster::"];

/// The split, then what perf and callgrind say, where they are.
pub fn run(setting: Setting) -> Result<String> {
    let mut text = String::new();
    for latency in ["balanced", "lowest"] {
        let server = Server::start(Kind::Edge(latency), Media::Video, setting.cores)?;
        text += &format!("Edge, `{latency}`, {VIEWERS} viewers: {}\n\n", sampled(&server)?);
    }
    if is_here("valgrind") {
        let server = Server::start(Kind::Edge("balanced"), Media::Video, setting.cores)?;
        text += &format!(
            "callgrind, `balanced`, {VIEWERS_UNDER_VALGRIND} viewers who have joined, share of the program's own instructions:\n\n{}",
            counted(&server, setting)?
        );
    } else {
        text += "valgrind is not here: no callgrind.\n";
    }
    Ok(text)
}

/// One function's share.
type Share = (f64, String);

/// Under load; perf takes samples meanwhile.
fn sampled(server: &Server) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let load = Load { awake: true, ..Load::of(VIEWERS, Media::Video, PERF_SECONDS + JOINED.as_secs()) };
    let running = load.start(server, dir.path());
    // All have joined, and the measurement has begun.
    thread::sleep(JOINED);
    let data = dir.path().join("perf.data");
    let shares = if is_here("perf") { perf(server.pids[0], &data) } else { None };
    let found = load.found(running)?;
    let (user, system) = (found.server.user_s, found.server.system_s);
    let split = format!(
        "{:.0} % of a core; {:.0} % of it in the kernel, {:.0} % in the program.",
        found.server.cores * 100.0,
        system / (user + system) * 100.0,
        user / (user + system) * 100.0
    );
    Ok(match shares {
        Some(shares) => format!("{split} perf, share of all samples:\n\n{}", shown(&shares)),
        None => format!("{split} perf takes no samples here."),
    })
}

/// `None` when perf does not work here.
fn perf(pid: u32, data: &Path) -> Option<Vec<Share>> {
    let seconds = PERF_SECONDS.to_string();
    let mut record = Command::new("perf");
    record.args(["record", "-q", "-e", "cpu-clock", "-F", "997", "-p", &pid.to_string(), "-o", arg(data)]);
    let recorded = record.args(["--", "sleep", &seconds]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !recorded.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut report = Command::new("perf");
    report.args([
        "report",
        "-i",
        arg(data),
        "--stdio",
        "--no-children",
        "-g",
        "none",
        "--sort",
        "symbol",
        "--percent-limit",
        "0.2",
    ]);
    let text = report.output().ok()?.stdout;
    let shares = String::from_utf8_lossy(&text).lines().filter_map(perf_line).collect::<Vec<_>>();
    (!shares.is_empty()).then_some(shares)
}

/// `    12.34%  [k] name`
fn perf_line(line: &str) -> Option<Share> {
    let (share, rest) = line.trim().split_once('%')?;
    let share = share.trim().parse().ok()?;
    // Columns that this machine has nothing for are dashes.
    let rest = rest.trim_matches([' ', '-']);
    let name = match rest.split_once("] ") {
        Some(("[k", name)) => format!("kernel: {}", name.trim()),
        Some((_, name)) => name.trim().to_owned(),
        None => rest.to_owned(),
    };
    Some((share, name))
}

/// The edge started again under callgrind, on its own core and with fewer viewers. Counted is while they watch, not while they
/// join.
fn counted(server: &Server, setting: Setting) -> Result<String> {
    let cluster = server.cluster()?;
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("callgrind.out");
    cluster.kill("edge-2");
    let edge = program("headwater-edge");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--instr-atstart=no", &format!("--callgrind-out-file={}", out.display())]);
    valgrind.arg(edge.get_program()).args(["--dev", "--config", arg(&cluster.dir().join("edge-2.yaml"))]);
    pin::children_on(setting.cores.server);
    let mut process = Process::spawn("valgrind", dir.path(), valgrind);
    pin::children_on(setting.cores.load);
    tests::until("an edge under valgrind to be ready", VALGRIND_START, || {
        process.assert_running();
        let admin = server.admin?;
        tests::http::get(admin, "/readyz").ok().filter(|answer| answer.status == 200)
    });
    let watched = Server {
        publish: server.publish.clone(),
        play: server.play.clone(),
        pids: vec![process.pid()],
        admin: server.admin,
        rtmp: server.rtmp,
        keeps: crate::server::Keeps::Nothing,
    };
    let load = Load { ramp: 20, ..Load::of(VIEWERS_UNDER_VALGRIND, Media::Video, PERF_SECONDS + JOINED.as_secs()) };
    let running = load.start(&watched, dir.path());
    tests::until("viewers under valgrind to watch", VALGRIND_START, || {
        let playing = cluster.metric("edge-2", "headwater_sessions", &["kind=\"play\""]);
        playing.filter(|playing| *playing >= VIEWERS_UNDER_VALGRIND as f64)
    });
    thread::sleep(SETTLED);
    count(process.pid(), "on")?;
    thread::sleep(Duration::from_secs(PERF_SECONDS));
    count(process.pid(), "off")?;
    load.found(running)?;
    process.signal(Signal::SIGTERM);
    process.wait(VALGRIND_START);
    let mut annotate = Command::new("callgrind_annotate");
    let output = annotate.args(["--auto=no", "--threshold=95", arg(&out)]).output().context("callgrind_annotate")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "callgrind_annotate: {}", String::from_utf8_lossy(&output.stderr));
    Ok(shown(&text.lines().filter_map(callgrind_line).collect::<Vec<_>>()))
}

/// Has callgrind count from now on, or no longer.
fn count(pid: u32, on: &str) -> Result<()> {
    let output = Command::new("callgrind_control").args(["-i", on, &pid.to_string()]).output()?;
    // Its exit code is 0 in any case.
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("OK"), "callgrind_control: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// `1,234,567 (12.34%)  file:function [object]`
fn callgrind_line(line: &str) -> Option<Share> {
    let (count, rest) = line.trim().split_once(" (")?;
    if !count.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') {
        return None;
    }
    let (share, rest) = rest.split_once("%)")?;
    let name = rest.trim().split(" [").next()?;
    // The file stands in front, and has no spaces.
    let name = name.split_once(".rs:").or_else(|| name.split_once(".c:")).map_or(name, |(_, name)| name);
    let name = name.trim_start_matches("???:");
    (name != "PROGRAM TOTALS").then(|| share.trim().parse().ok().map(|share| (share, name.to_owned())))?
}

/// The largest shares, then the largest of ours. A function that stands in several lines, one for each file it was put together from,
/// is one.
fn shown(lines: &[Share]) -> String {
    let mut shares: Vec<Share> = Vec::new();
    for (share, name) in lines {
        match shares.iter_mut().find(|(_, known)| known == name) {
            Some((sum, _)) => *sum += share,
            None => shares.push((*share, name.clone())),
        }
    }
    shares.sort_by(|one, other| other.0.total_cmp(&one.0));
    let rows = |shares: &[&Share]| -> Vec<Vec<String>> {
        shares.iter().map(|(share, name)| vec![format!("`{}`", short(name)), format!("{share:.1} %")]).collect()
    };
    let all: Vec<&Share> = shares.iter().take(ROWS).collect();
    let ours: Vec<&Share> = shares.iter().filter(|(_, name)| is_ours(name)).take(ROWS / 2).collect();
    let most = ours.iter().map(|(share, _)| *share).fold(0.0, f64::max);
    format!(
        "{}\nOf ours alone; none is to be above 10 %: {}.\n\n{}",
        table(&["function", "share"], &rows(&all)),
        if most <= 10.0 { "met" } else { "NOT met" },
        table(&["function", "share"], &rows(&ours)),
    )
}

/// Functions and methods of ours, and those of others that were made for our types alone are not ours.
fn is_ours(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&']);
    OURS.iter().any(|ours| name.starts_with(ours))
}

/// Without the hash, and not longer than a table bears.
fn short(name: &str) -> String {
    const LONGEST: usize = 100;
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    };
    let name = name.replace(['`', '|'], "");
    match name.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name,
    }
}

fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| fs::metadata(dir.join(program)).is_ok())
}
