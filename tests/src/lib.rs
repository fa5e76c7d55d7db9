//! The cluster harness: what the end-to-end tests and the bench stand on.
//!
//! [`Cluster`] is `headwater dev` with the built programs in a directory of its own. [`Process`] is any program that a test starts: its
//! output goes to files, every wait is bounded, and it ends with its owner. [`tools`] finds encoders and players, [`sources`]
//! makes what they publish, [`packets`] and [`flv`] compare what they played with it. [`rtmp`] is a peer of our own that
//! writes RTMP byte by byte, and shares no code with what it tests. [`failover`] counts what a fault costs, and [`standstill`] says
//! when the machine itself stood still.
//!
//! Nothing here sleeps for a while and hopes: [`wait`] asks for a condition until it holds or its time is up.

pub mod added;
pub mod cluster;
pub mod edge;
pub mod encoder;
pub mod failover;
pub mod flv;
pub mod grpc;
pub mod haproxy;
pub mod hosts;
pub mod http;
pub mod limits;
pub mod network;
pub mod packets;
pub mod player;
pub mod process;
pub mod rtmp;
pub mod sources;
pub mod standstill;
pub mod synthetic;
pub mod tools;
pub mod wait;

pub use cluster::Cluster;
pub use process::Process;
pub use wait::until;

use std::path::{Path, PathBuf};

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests package lies in the workspace").to_owned()
}

/// Where cargo put the programs that belong to this test: `HEADWATER_BIN_DIR`, or the directory above the test's own.
pub fn programs() -> PathBuf {
    if let Some(dir) = std::env::var_os("HEADWATER_BIN_DIR") {
        return dir.into();
    }
    let test = std::env::current_exe().expect("a running test is a file");
    test.ancestors().nth(2).expect("cargo puts tests into PROFILE/deps").to_owned()
}

/// `short`, or `long` when `make drill` runs.
pub fn drill<T>(short: T, long: T) -> T {
    if std::env::var_os("HEADWATER_DRILL").is_some() { long } else { short }
}
