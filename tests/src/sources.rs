//! What encoders publish: short FLV files, made once and kept beside the build.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use crate::{
    flv, packets, programs,
    tools::{self, Tool, arg},
};

/// An FLV file to publish, and what is in it.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The encoder that made it and understands it.
    pub tool: Tool,
}

/// The pictures' rate.
pub const FRAMES_A_SECOND: u32 = 25;
/// A keyframe begins each second.
const GOP: &str = "25";

/// H.264 with B-frames and AAC; the system's ffmpeg makes and understands it.
pub fn h264_aac(seconds: u32) -> Source {
    let codecs = [
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-bf",
        "2",
        "-sc_threshold",
        "0",
        "-b:v",
        "300k",
        "-c:a",
        "aac",
        "-b:a",
        "64k",
    ];
    make("h264-aac", Tool::Ffmpeg, seconds, 1, &codecs)
}

/// HEVC and AAC.
pub fn hevc_aac(seconds: u32) -> Source {
    let x265 = "keyint=25:min-keyint=25:scenecut=0:log-level=error";
    let codecs = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", x265, "-b:v", "300k", "-c:a", "aac"];
    make("hevc-aac", Tool::Ffmpeg9, seconds, 1, &codecs)
}

/// AV1 and Opus.
pub fn av1_opus(seconds: u32) -> Source {
    make(
        "av1-opus",
        Tool::Ffmpeg9,
        seconds,
        1,
        &["-c:v", "libsvtav1", "-preset", "11", "-b:v", "300k", "-c:a", "libopus", "-b:a", "64k"],
    )
}

/// VP9 and FLAC.
pub fn vp9_flac(seconds: u32) -> Source {
    let codecs = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k", "-c:a", "flac"];
    make("vp9-flac", Tool::Ffmpeg9, seconds, 1, &codecs)
}

/// H.264 and AC-3.
pub fn h264_ac3(seconds: u32) -> Source {
    make(
        "h264-ac3",
        Tool::Ffmpeg9,
        seconds,
        1,
        &["-c:v", "libx264", "-preset", "veryfast", "-b:v", "300k", "-c:a", "ac3"],
    )
}

/// Two H.264 and two AAC tracks.
pub fn two_by_two(seconds: u32) -> Source {
    make(
        "two-by-two",
        Tool::Ffmpeg9,
        seconds,
        2,
        &["-c:v", "libx264", "-preset", "veryfast", "-b:v", "200k", "-c:a", "aac"],
    )
}

impl Source {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        std::fs::metadata(&self.path).expect("a source is a file").len()
    }

    /// The packets that its own ffmpeg sends when it publishes the file, stream by stream.
    pub fn packets(&self) -> packets::Played {
        let mut command = self.tool.command();
        command.args(["-nostdin", "-loglevel", "error", "-i", arg(&self.sent())]);
        command.args(packets::AUDIO_AND_VIDEO).args(["-c", "copy", "-f", "framemd5", "-"]);
        packets::parse(&tools::output(&mut command))
    }

    /// The tags that its own ffmpeg sends when it publishes the file.
    pub fn tags(&self) -> Vec<flv::Tag> {
        flv::read(&self.sent())
    }

    /// What is sent, as a file. A muxer may write a decoder's set-up in other words than it read.
    fn sent(&self) -> PathBuf {
        let sent = self.path.with_extension("sent.flv");
        once(&sent, |part| {
            let mut command = self.tool.command();
            command.args(["-nostdin", "-loglevel", "error", "-y", "-i", arg(&self.path), "-map", "0", "-c", "copy"]);
            command.args(["-f", "flv", arg(part)]);
            command
        });
        sent
    }
}

fn make(name: &str, tool: Tool, seconds: u32, tracks: usize, codecs: &[&str]) -> Source {
    let dir = programs().join("sources");
    std::fs::create_dir_all(&dir).expect("the build directory takes files");
    let path = dir.join(format!("{name}-{seconds}s.flv"));
    once(&path, |part| {
        let mut command = tool.command();
        command.args(["-nostdin", "-loglevel", "error", "-y"]);
        for track in 0..tracks {
            let size = if track == 0 { "320x180" } else { "160x90" };
            let pictures = format!("testsrc2=size={size}:rate={FRAMES_A_SECOND}:duration={seconds}");
            // A tone that climbs: no two packets are alike, so that a run of them has one place in the source.
            let sound = format!("aevalsrc=sin({}*t*t):s=48000:d={seconds}", 440 * (track + 1));
            command.args(["-f", "lavfi", "-i", &pictures, "-f", "lavfi", "-i", &sound]);
        }
        (0..tracks * 2).for_each(|input| _ = command.args(["-map", &input.to_string()]));
        command.args(codecs).args(["-g", GOP, "-keyint_min", GOP, "-f", "flv", arg(part)]);
        command
    });
    Source { path, tool }
}

/// Runs the command unless its file is there; a file is there whole or not at all.
fn once(path: &Path, command: impl FnOnce(&Path) -> Command) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !path.exists() {
        let part = path.with_extension("part");
        tools::output(&mut command(&part));
        std::fs::rename(&part, path).expect("a finished file gets its name");
    }
}
