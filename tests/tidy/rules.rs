//! Rules about the text of single files.

use crate::{Finding, code};

/// What a core crate may not touch: time, sockets and tasks come in as arguments.
const CORE_FORBIDDEN: &[(&str, &str)] = &[
    ("Instant::now", "a clock"),
    ("SystemTime::now", "a clock"),
    (".elapsed()", "a clock"),
    ("tokio::time", "a clock"),
    ("sleep(", "a sleep"),
    ("sleep_until(", "a sleep"),
    ("spawn(", "a task"),
    ("spawn_blocking(", "a task"),
    ("TcpStream", "a socket"),
    ("TcpListener", "a socket"),
    ("UdpSocket", "a socket"),
    ("UnixStream", "a socket"),
    ("std::fs", "a file"),
    ("tokio::fs", "a file"),
    ("File::open", "a file"),
    ("std::env", "the environment"),
    ("std::process", "a process"),
];

/// Signs of work that was left for later.
const HALF_DONE: &[&str] = &["todo!", "unimplemented!", "#[ignore"];

/// The longest file.
const LINES_MAX: usize = 600;

/// Words that tie the project to a machine or a registry. Spelt in two parts: this file is looked at too.
const WORDS: &[(&str, &str)] = &[
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Us", "ers/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("C:", "\\\\"), "a path of one machine"),
    (concat!("crates", ".io"), "the host of a registry"),
    (concat!("py", "pi.org"), "the host of a registry"),
    (concat!("pythonhos", "ted.org"), "the host of a registry"),
    (concat!("proxy.gol", "ang.org"), "the host of a registry"),
    (concat!("deb.deb", "ian.org"), "the host of a registry"),
    (concat!("npm", "js.org"), "the host of a registry"),
];

/// Clocks, sleeps, spawns, sockets and files outside of tests.
pub fn core(place: &str, source: &str) -> Vec<Finding> {
    let live = code::without_tests(&code::bare(source));
    let hits = CORE_FORBIDDEN
        .iter()
        .flat_map(|(word, what)| code::lines_with(&live, word).into_iter().map(move |line| (word, what, line)));
    hits.map(|(word, what, line)| Finding::new(format!("{place}:{line}"), format!("`{word}` is {what}"))).collect()
}

/// Stubs, and tests that do not run.
pub fn half_done(place: &str, source: &str) -> Vec<Finding> {
    let bare = code::bare(source);
    let found =
        HALF_DONE.iter().flat_map(|word| code::lines_with(&bare, word).into_iter().map(move |line| (word, line)));
    found.map(|(word, line)| Finding::new(format!("{place}:{line}"), format!("`{word}` is half done"))).collect()
}

/// Files that hold more than one idea.
pub fn length(place: &str, source: &str) -> Option<Finding> {
    let lines = source.lines().count();
    (lines > LINES_MAX)
        .then(|| Finding::new(place, format!("{lines} lines, more than {LINES_MAX}: look for the second idea in it")))
}

/// Names of machines and registries, in any text.
pub fn words(place: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let hits = WORDS.iter().filter(|(word, _)| line.contains(word));
        findings.extend(
            hits.map(|(word, what)| Finding::new(format!("{place}:{}", number + 1), format!("`{word}` is {what}"))),
        );
    }
    findings
}

mod tests {
    use super::*;

    #[test]
    fn clocks_sleeps_and_spawns_in_core_are_found() {
        for line in [
            "let now = std::time::Instant::now();",
            "use tokio::time;",
            "std::thread::sleep(pause);",
            "tokio::spawn(async {});",
            "handle.spawn(task)",
            "let age = since.elapsed();",
            "use std::net::{TcpStream};",
            "std::fs::read(path)",
        ] {
            assert!(!core("x.rs", line).is_empty(), "{line}");
        }
    }

    #[test]
    fn core_may_take_time_as_an_argument_and_tests_may_do_anything() {
        let source = "use std::time::{Duration, Instant};\nuse std::net::SocketAddr;\n// Instant::now is for callers\n\
                      fn due(now: Instant) {}\n#[cfg(test)]\nmod tests { fn now() { Instant::now(); } }";
        assert_eq!(core("x.rs", source), []);
    }

    #[test]
    fn half_done_work_is_found() {
        let findings =
            half_done("x.rs", "fn a() { todo!() }\n#[ignore = \"slow\"]\nfn b() { unimplemented!(); }\n// todo!\n");
        let places: Vec<&str> = findings.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, ["x.rs:1", "x.rs:3", "x.rs:2"]);
    }

    #[test]
    fn long_files_are_found() {
        assert!(length("x.rs", &"\n".repeat(601)).is_some());
        assert!(length("x.rs", &"\n".repeat(600)).is_none());
    }

    #[test]
    fn every_forbidden_word_is_found_and_plain_text_is_not() {
        for (word, _) in WORDS {
            assert_eq!(words("x.md", &format!("see {word}tmp")).len(), 1, "{word}");
        }
        assert_eq!(words("x.md", "at /tmp/headwater and network/rooted"), []);
    }
}
