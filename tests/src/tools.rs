//! The encoders, players and other programs of other people.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::root;

/// A program that tests use; `tests/tools/install.sh` brings them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The system's ffmpeg.
    Ffmpeg,
    /// ffmpeg 9: Enhanced RTMP.
    Ffmpeg9,
    /// librtmp's player.
    Rtmpdump,
    /// GStreamer with rtmp2src and souphttpsrc.
    Gstreamer,
    /// The load balancer.
    Haproxy,
    /// gRPC by hand.
    Grpcurl,
    /// Network namespaces and cables.
    Ip,
    /// The firewall.
    Nft,
    /// The web server with the RTMP module: another origin to compare with.
    Nginx,
}

impl Tool {
    fn program(self) -> &'static str {
        match self {
            Self::Ffmpeg => "ffmpeg",
            Self::Ffmpeg9 => "ffmpeg9",
            Self::Rtmpdump => "rtmpdump",
            Self::Gstreamer => "gst-launch-1.0",
            Self::Haproxy => "haproxy",
            Self::Grpcurl => "grpcurl",
            Self::Ip => "ip",
            Self::Nft => "nft",
            Self::Nginx => "nginx",
        }
    }

    /// Where it is, if it is here.
    pub fn path(self) -> Option<PathBuf> {
        let ours = root().join(".tools/bin");
        let path = env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(ours).chain(env::split_paths(&path)).chain(["/usr/sbin".into(), "/sbin".into()]);
        dirs.map(|dir: PathBuf| dir.join(self.program())).find(|file| file.is_file())
    }

    /// A command line that starts it.
    #[track_caller]
    pub fn command(self) -> Command {
        Command::new(self.path().unwrap_or_else(|| panic!("{self:?} is not here: ask `tools::has` first")))
    }
}

/// Whether all of these are here. If not, says on standard error which test is skipped and why; under `CI=true` that is a failure.
#[track_caller]
pub fn has(tools: &[Tool]) -> bool {
    let missing: Vec<&str> = tools.iter().filter(|tool| tool.path().is_none()).map(|tool| tool.program()).collect();
    missing.is_empty() || skip(&format!("{} not found; `make tools` says why", missing.join(", ")))
}

/// Whether this machine lets the test do something. If not, the test is skipped as by [`has`].
#[track_caller]
pub fn may(what: &str, can: impl FnOnce() -> bool) -> bool {
    can() || skip(&format!("this machine does not let us {what}"))
}

#[track_caller]
fn skip(why: &str) -> bool {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let told = format!("SKIPPED {test}: {why}\n");
    assert!(env::var("CI").as_deref() != Ok("true"), "{told}");
    // Straight to the stream: the test runner swallows what a passing test prints.
    let _lost = std::io::stderr().write_all(told.as_bytes());
    false
}

/// Runs a command to its end and gives its standard output; panics with its errors.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A path as a command-line argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
