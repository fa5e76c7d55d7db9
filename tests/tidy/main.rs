//! Tidy: what no compiler checks and every reader counts on.
//!
//! Manifests follow the arrows of the house and its one-home rule; core crates have no clock, socket, task or file; every source file
//! is reached by a `mod`; nothing is left half done; nothing names the machine it was written on.
//! Each rule takes text and returns [`Finding`]s, so that each has a test which shows that it can fail.

mod code;
mod manifests;
mod reach;
mod rules;

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// A broken rule and where.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: String,
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

#[test]
fn arrows_between_our_crates_point_down() {
    clean(manifests::packages().iter().flat_map(manifests::arrows));
}

#[test]
fn outside_libraries_stay_in_their_homes() {
    clean(manifests::packages().iter().flat_map(manifests::homes));
}

#[test]
fn core_crates_depend_on_no_sockets_clocks_or_tasks() {
    clean(manifests::packages().iter().flat_map(manifests::core_libraries));
}

#[test]
fn core_crates_use_no_sockets_clocks_tasks_or_files() {
    let packages = manifests::packages();
    let core = packages.iter().filter(|package| manifests::is_core(&package.name));
    clean(core.flat_map(|package| {
        let files = reach::reached(&package.roots);
        let live = files.into_iter().filter(|file| !file.test_only);
        live.flat_map(|file| rules::core(&shown(&file.path), &read(&file.path))).collect::<Vec<_>>()
    }));
}

#[test]
fn every_source_file_is_reached_by_a_mod() {
    clean(manifests::packages().iter().flat_map(|package| {
        let reached: Vec<PathBuf> = reach::reached(&package.roots).into_iter().map(|file| file.path).collect();
        reach::unreached(&rust_files(&package.dir), &reached)
    }));
}

#[test]
fn nothing_is_half_done_and_no_file_is_too_long() {
    clean(rust_files(&root()).iter().flat_map(|path| {
        let (place, source) = (shown(path), read(path));
        rules::half_done(&place, &source).into_iter().chain(rules::length(&place, &source))
    }));
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    clean(
        tracked_files()
            .iter()
            .filter_map(|path| {
                let text = std::fs::read_to_string(root().join(path)).ok()?;
                Some(rules::words(path, &text))
            })
            .flatten(),
    );
}

/// Fails with all findings at once.
#[track_caller]
fn clean(findings: impl IntoIterator<Item = Finding>) {
    let lines: Vec<String> = findings.into_iter().map(|finding| finding.to_string()).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests package lies in the workspace").to_owned()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All `.rs` files below a directory, without build output and nested workspaces.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of the workspace").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if !matches!(name.to_str(), Some("target" | ".git" | ".tools" | "fuzz")) {
                    todo.push(path);
                }
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The files under version control, except the lock file: it is made by cargo.
fn tracked_files() -> Vec<String> {
    let listed =
        Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git lists the files");
    let listed = String::from_utf8(listed.stdout).expect("file names are UTF-8");
    listed.split('\0').filter(|path| !path.is_empty() && !path.ends_with("Cargo.lock")).map(str::to_owned).collect()
}
