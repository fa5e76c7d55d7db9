//! Mistakes that operators make: what they are told before anything is started.

use std::fs;

use tests::{
    Cluster, Process,
    cluster::{free_address, program},
    tools::arg,
    wait::SOON,
};

#[test]
fn every_mistake_in_a_configuration_is_told_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    for service in ["headwater-control-plane", "headwater-origin", "headwater-edge"] {
        let file = dir.path().join(format!("{service}.yaml"));
        fs::write(&file, "nodes: a\nprocess:\n  admin: nowhere\n  dran: 1s\n").expect("a file");
        let mut command = program(service);
        command.args(["--config", arg(&file), "--check-config"]);
        let mut check = Process::spawn(service, dir.path(), command);
        assert!(!check.wait(SOON).success(), "{service} takes a wrong configuration");
        let told = check.stdout() + &check.stderr();
        for (line, word) in [(1, "nodes"), (3, "process.admin"), (4, "dran")] {
            let place = format!("{}:{line}", file.display());
            let found = told.lines().any(|text| text.contains(&place) && text.contains(word));
            assert!(found, "{service} does not tell of {word} at line {line}:\n{told}");
        }
    }
}

#[test]
fn the_printed_default_configuration_is_right() {
    let dir = tempfile::tempdir().expect("a directory");
    for service in ["headwater-control-plane", "headwater-origin", "headwater-edge"] {
        let mut command = program(service);
        command.arg("--print-default-config");
        let mut print = Process::spawn("print", dir.path(), command);
        print.wait_success(SOON);
        let undocumented = print.stdout().lines().filter(|line| !line.trim().is_empty()).count();
        assert!(undocumented > 20, "{service}:\n{}", print.stdout());
        assert!(print.stdout().contains('#'), "{service} documents its settings");
    }
}

#[test]
fn a_taken_port_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("edge.yaml");
    let yaml = format!(
        "process: {{ admin: \"{}\" }}\nrtmp: {{ listen: [\"{address}\"] }}\nhttp: {{ listen: [\"{}\"] }}\n\
         peer: {{ listen: \"{}\" }}\ndata_dir: {}\nroutes: [\"*:*;127.0.0.1:1\"]\n",
        free_address(),
        free_address(),
        free_address(),
        dir.path().display(),
    );
    fs::write(&file, yaml).expect("a file");
    let mut command = program("headwater-edge");
    command.args(["--config", arg(&file), "--dev"]);
    let mut edge = Process::spawn("edge", dir.path(), command);
    assert!(!edge.wait(SOON).success());
    let told = edge.stdout() + &edge.stderr();
    assert!(told.contains(&address.to_string()), "{told}");
}

#[test]
fn a_store_in_use_or_damaged_is_refused_with_advice() {
    let cluster = Cluster::start();
    let yaml = cluster.dir().join("control-plane.yaml");
    let text = fs::read_to_string(&yaml).expect("its configuration");
    // The same store, other ports.
    let mut second = String::new();
    for line in text.lines() {
        let changed = ["grpc", "admin"].iter().fold(line.to_owned(), |line, port| {
            line.replace(&cluster.address("control-plane", port).to_string(), &free_address().to_string())
        });
        second += &(changed + "\n");
    }
    assert_ne!(second, text, "its ports stand in its configuration");
    let file = cluster.scratch().join("second.yaml");
    fs::write(&file, second).expect("a file");
    let start = |name: &str| {
        let mut command = program("headwater-control-plane");
        command.args(["--config", arg(&file), "--dev"]);
        let mut process = Process::spawn(name, cluster.scratch(), command);
        assert!(!process.wait(SOON).success(), "{name} ends with an error");
        process.stdout() + &process.stderr()
    };
    let told = start("locked").to_lowercase();
    assert!(told.contains("lock") || told.contains("in use"), "{told}");

    cluster.kill("control-plane");
    let store = store_file(&cluster);
    // No page of content survives. A longer rest may hold all of it: the file grows by far more than it needs.
    fs::File::options().write(true).open(&store).and_then(|file| file.set_len(8 << 10)).expect("cut");
    let told = start("damaged");
    assert!(told.contains(arg(&store)), "the file is named: {told}");
}

/// The one store below the cluster's directory.
fn store_file(cluster: &Cluster) -> std::path::PathBuf {
    let mut todo = vec![cluster.dir()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|ext| ext == "redb") {
                return path;
            }
        }
    }
    panic!("there is no .redb file below {}", cluster.dir().display());
}
