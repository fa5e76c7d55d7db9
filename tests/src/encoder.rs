//! ffmpeg as an encoder: it publishes a source at its own speed.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::{
    Process,
    sources::Source,
    tools::{Tool, arg},
};

/// A publishing ffmpeg.
pub struct Encoder {
    /// The process.
    pub process: Process,
}

impl Encoder {
    /// Publishes the source once, then ends cleanly.
    pub fn once(source: &Source, url: &str, dir: &Path, name: &str) -> Self {
        Self::start(source.tool, &["-i", arg(&source.path)], url, dir, name)
    }

    /// Publishes the source again and again, timestamps going on.
    pub fn endless(source: &Source, url: &str, dir: &Path, name: &str) -> Self {
        Self::start(source.tool, &["-stream_loop", "-1", "-i", arg(&source.path)], url, dir, name)
    }

    /// Publishes with more options before the address, such as those of TLS.
    pub fn with(source: &Source, options: &[&str], url: &str, dir: &Path, name: &str) -> Self {
        let input = ["-stream_loop", "-1", "-i", arg(&source.path)];
        Self::run(source.tool, &input, options, url, dir, name)
    }

    fn start(tool: Tool, input: &[&str], url: &str, dir: &Path, name: &str) -> Self {
        Self::run(tool, input, &[], url, dir, name)
    }

    fn run(tool: Tool, input: &[&str], options: &[&str], url: &str, dir: &Path, name: &str) -> Self {
        let mut command = tool.command();
        command.args(["-nostdin", "-hide_banner", "-loglevel", "warning", "-re"]).args(input);
        command.args(["-map", "0", "-c", "copy", "-f", "flv"]).args(options).arg(url);
        Self { process: Process::spawn(name, dir, command) }
    }

    /// Asks it to unpublish and end, as Ctrl-C does.
    pub fn end(&mut self) {
        self.process.signal(Signal::SIGINT);
    }

    /// Kills it: its connection is lost without a word.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
