//! Who may depend on whom.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::{Finding, root};

/// One package of the workspace, as its manifest says.
#[derive(Debug, Default)]
pub struct Package {
    pub name: String,
    pub dir: PathBuf,
    /// The first file of each library, program, test and bench.
    pub roots: Vec<PathBuf>,
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependencies, of any kind.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None`, `dev` or `build`.
    pub kind: Option<String>,
    pub features: Vec<String>,
    pub uses_default_features: bool,
}

/// The layers of the house, from the top. A crate may depend on those of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["tests"],
    &["headwater", "origin", "edge", "control-plane"],
    &["rtmp-net", "rpc", "telemetry", "daemon", "archive"],
    &["rtmp", "hub", "splice", "cluster", "replica", "carry"],
    &["media", "proto"],
];
const CORE: usize = 3;

/// Arrows within a layer that the table allows.
const SIDEWAYS: &[(&str, &str)] = &[
    ("daemon", "telemetry"),
    ("rpc", "telemetry"),
    ("rtmp-net", "telemetry"),
    ("replica", "hub"),
    ("replica", "splice"),
    ("replica", "cluster"),
    ("carry", "hub"),
];

/// Arrows that point down and are forbidden all the same: generated types stop at `rpc`, which knows
/// a log's items and nothing of RTMP.
const WALLS: &[(&str, &[&str])] =
    &[("proto", &["rpc"]), ("hub", &["replica", "carry", "rpc", "rtmp-net", "origin", "edge", "archive", "tests"])];

/// Outside libraries by prefix, and the only crates that may use them.
const HOMES: &[(&str, &[&str])] = &[
    ("rml_", &["rtmp", "tests"]),
    ("tonic", &["proto", "rpc"]),
    ("prost", &["proto", "rpc"]),
    ("protox", &["proto"]),
    ("yaml_serde", &["daemon"]),
    ("serde_yaml", &["daemon"]),
    ("opentelemetry", &["telemetry"]),
    ("tracing-opentelemetry", &["telemetry"]),
    ("tracing-subscriber", &["telemetry"]),
    ("tracing-appender", &["telemetry"]),
    ("prometheus", &["telemetry"]),
    ("object_store", &["archive"]),
    ("redb", &["control-plane"]),
];

/// Libraries that bring sockets, clocks, tasks or files.
const IO_LIBRARIES: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-stream",
    "tokio-rustls",
    "axum",
    "hyper",
    "hyper-util",
    "tower",
    "nix",
    "redb",
    "tracing",
];

/// All packages of the workspace.
pub fn packages() -> Vec<Package> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Raw>,
    }
    #[derive(Deserialize)]
    struct Raw {
        name: String,
        manifest_path: PathBuf,
        targets: Vec<Target>,
        dependencies: Vec<Dependency>,
    }
    #[derive(Deserialize)]
    struct Target {
        src_path: PathBuf,
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = command.output().expect("cargo describes the workspace");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let package = |raw: Raw| Package {
        name: raw.name,
        dir: raw.manifest_path.parent().map(Path::to_owned).unwrap_or_default(),
        roots: raw.targets.into_iter().map(|target| target.src_path).collect(),
        dependencies: raw.dependencies,
    };
    metadata.packages.into_iter().map(package).collect()
}

/// Whether the crate has no socket, clock or task: core and what lies below.
pub fn is_core(name: &str) -> bool {
    layer(name).is_some_and(|layer| layer >= CORE)
}

/// Dependencies on our own crates that do not point down, or go through a wall.
pub fn arrows(package: &Package) -> Vec<Finding> {
    let Some(from) = layer(&package.name) else {
        return vec![Finding::new(&package.name, "has no place in the house: give it one in LAYERS")];
    };
    let mut findings = Vec::new();
    for to in package.dependencies.iter().map(|dependency| dependency.name.as_str()) {
        let Some(below) = layer(to) else { continue };
        let sideways = SIDEWAYS.contains(&(package.name.as_str(), to));
        if below <= from && !sideways {
            findings.push(Finding::new(&package.name, format!("depends on `{to}`, which is not below it")));
        }
        let wall = WALLS.iter().find(|(crate_, _)| *crate_ == to);
        if wall.is_some_and(|(_, users)| !users.contains(&package.name.as_str())) {
            findings.push(Finding::new(
                &package.name,
                format!("depends on `{to}`, which is for {:?} alone", wall.expect("found").1),
            ));
        }
    }
    findings
}

/// Outside libraries used away from home.
pub fn homes(package: &Package) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let home = HOMES.iter().find(|(prefix, _)| dependency.name.starts_with(prefix));
        let Some((_, crates)) = home else { continue };
        if !crates.contains(&package.name.as_str()) {
            findings.push(Finding::new(&package.name, format!("uses `{}`, whose home is {crates:?}", dependency.name)));
        }
    }
    findings
}

/// Libraries with sockets, clocks or tasks in a core crate. Tests may use them; `tokio` may lend its `sync`.
pub fn core_libraries(package: &Package) -> Vec<Finding> {
    if !is_core(&package.name) {
        return Vec::new();
    }
    let live = package.dependencies.iter().filter(|dependency| dependency.kind.is_none());
    let io = live.filter(|dependency| IO_LIBRARIES.contains(&dependency.name.as_str()) && !only_sync(dependency));
    io.map(|dependency| Finding::new(&package.name, format!("is core and uses `{}`", dependency.name))).collect()
}

fn only_sync(dependency: &Dependency) -> bool {
    dependency.name == "tokio" && !dependency.uses_default_features && dependency.features == ["sync"]
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependency = |name: &&str| Dependency {
            name: (*name).to_owned(),
            kind: None,
            features: vec![],
            uses_default_features: true,
        };
        Package {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
            ..Package::default()
        }
    }

    #[test]
    fn arrows_up_and_between_services_are_found() {
        for (from, to) in
            [("media", "rtmp"), ("hub", "rtmp"), ("rpc", "origin"), ("edge", "origin"), ("origin", "headwater")]
        {
            assert_eq!(arrows(&package(from, &[to])).len(), 1, "{from} -> {to}");
        }
        for (from, to) in
            [("edge", "rtmp-net"), ("rtmp-net", "hub"), ("daemon", "telemetry"), ("rpc", "proto"), ("edge", "serde")]
        {
            assert_eq!(arrows(&package(from, &[to])), [], "{from} -> {to}");
        }
    }

    #[test]
    fn arrows_through_walls_and_crates_without_a_place_are_found() {
        for (from, to) in [("edge", "proto"), ("control-plane", "hub"), ("novelty", "media")] {
            assert_eq!(arrows(&package(from, &[to])).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn libraries_away_from_home_are_found() {
        for (user, library) in
            [("edge", "tonic"), ("hub", "rml_rtmp"), ("origin", "yaml_serde"), ("rpc", "opentelemetry-otlp")]
        {
            assert_eq!(homes(&package(user, &[library])).len(), 1, "{user} uses {library}");
        }
        for (user, library) in [("rpc", "tonic-health"), ("rtmp", "rml_rtmp"), ("telemetry", "prometheus-client")] {
            assert_eq!(homes(&package(user, &[library])), [], "{user} uses {library}");
        }
    }

    #[test]
    fn core_crates_get_nothing_of_tokio_but_sync() {
        let mut hub = package("hub", &["tokio"]);
        assert_eq!(core_libraries(&hub).len(), 1);
        hub.dependencies[0].uses_default_features = false;
        hub.dependencies[0].features = vec!["sync".to_owned()];
        assert_eq!(core_libraries(&hub), []);
        hub.dependencies[0].features.push("time".to_owned());
        assert_eq!(core_libraries(&hub).len(), 1);
        hub.dependencies[0].kind = Some("dev".to_owned());
        assert_eq!(core_libraries(&hub), []);
        assert_eq!(core_libraries(&package("rtmp-net", &["tokio"])), []);
    }
}
