//! Other people's players, each saving what it gets.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Process, flv, packets,
    packets::AUDIO_AND_VIDEO,
    tools::{Tool, arg},
};

/// A player and the file that it writes.
pub struct Player {
    /// The process.
    pub process: Process,
    file: PathBuf,
}

impl Player {
    /// ffmpeg, listing each packet with its hash. It plays RTMP and HTTP-FLV.
    pub fn packets(tool: Tool, url: &str, dir: &Path, name: &str) -> Self {
        Self::packets_with(tool, &[], url, dir, name)
    }

    /// The same with options before the address, such as those of TLS.
    pub fn packets_with(tool: Tool, options: &[&str], url: &str, dir: &Path, name: &str) -> Self {
        let file = dir.join(format!("{name}.packets"));
        let mut command = tool.command();
        command.args(["-nostdin", "-hide_banner", "-loglevel", "warning", "-y"]).args(options).args(["-i", url]);
        command.args(AUDIO_AND_VIDEO).args(["-c", "copy", "-flush_packets", "1", "-f", "framemd5", arg(&file)]);
        Self { process: Process::spawn(name, dir, command), file }
    }

    /// rtmpdump, saving each message as an FLV tag.
    pub fn rtmpdump(url: &str, dir: &Path, name: &str) -> Self {
        let file = dir.join(format!("{name}.flv"));
        let mut command = Tool::Rtmpdump.command();
        command.args(["--quiet", "--live", "--rtmp", url, "--flv", arg(&file)]);
        Self { process: Process::spawn(name, dir, command), file }
    }

    /// GStreamer's RTMP source, saving each message as an FLV tag.
    pub fn gstreamer(url: &str, dir: &Path, name: &str) -> Self {
        Self::gstreamer_with(&["rtmp2src", &format!("location={url}")], dir, name)
    }

    /// GStreamer's HTTP source, saving the body.
    pub fn gstreamer_http(url: &str, dir: &Path, name: &str) -> Self {
        Self::gstreamer_with(&["souphttpsrc", "is-live=true", &format!("location={url}")], dir, name)
    }

    fn gstreamer_with(source: &[&str], dir: &Path, name: &str) -> Self {
        let file = dir.join(format!("{name}.flv"));
        let mut command = Tool::Gstreamer.command();
        command.arg("--quiet").args(source).args([
            "!",
            "filesink",
            "buffer-mode=unbuffered",
            &format!("location={}", file.display()),
        ]);
        Self { process: Process::spawn(name, dir, command), file }
    }

    /// Waits until it ends by itself, because its stream has ended.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) {
        self.process.wait(limit);
    }

    /// The size of its file: it grows while it plays.
    pub fn saved(&self) -> u64 {
        std::fs::metadata(&self.file).map(|file| file.len()).unwrap_or_default()
    }

    /// The packets of a player that lists packets.
    pub fn played(&self) -> packets::Played {
        packets::parse(&std::fs::read_to_string(&self.file).unwrap_or_default())
    }

    /// The tags of a player that saves FLV.
    #[track_caller]
    pub fn tags(&self) -> Vec<flv::Tag> {
        flv::tags(&std::fs::read(&self.file).unwrap_or_default().into())
    }
}

/// The tags that rtmpdump saves of those sent: it leaves out the shortest, such as the end-of-sequence mark.
pub fn as_rtmpdump_saves(tags: &[flv::Tag]) -> Vec<flv::Tag> {
    let long_enough = |tag: &&flv::Tag| tag.payload.len() > if tag.type_id == 9 { 5 } else { 1 };
    tags.iter().filter(long_enough).cloned().collect()
}

/// The tags that GStreamer's RTMP source saves of those sent, given what it saved: it throws away the last few that it has not yet
/// handed on when it is told that the stream has ended.
pub fn as_gstreamer_saves(sent: &[flv::Tag], saved: &[flv::Tag]) -> Vec<flv::Tag> {
    let last = saved.iter().rev().find(|tag| tag.is_coded()).expect("a coded frame was saved");
    let end = sent.iter().rposition(|tag| tag.payload == last.payload).expect("it was sent") + 1;
    assert!(sent.len() - end <= GSTREAMER_LOSES_MAX, "GStreamer saved {end} of {} tags", sent.len());
    sent[..end].to_vec()
}

/// How many tags may wait inside of GStreamer.
const GSTREAMER_LOSES_MAX: usize = 4;
