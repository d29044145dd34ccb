//! ffmpeg as the equipment of others: encoder and sender, receiver and decoder.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sched::sched_getcpu;

use super::tool::{self, Tool};

/// Whether it is installed.
pub(crate) fn available() -> bool {
    tool::have(&["ffmpeg", "ffprobe", "curl"])
}

/// Sends `seconds` of a moving picture as H.264, 25 frames per second with a key frame each second, in real
/// time to `url`: `rtp://…` makes RTP, `udp://…` bare TS.
pub(crate) fn send(url: &str, seconds: u32) -> Tool {
    let format = if url.starts_with("rtp") {
        "rtp_mpegts"
    } else {
        "mpegts"
    };
    let mut command = encoder(&format!("testsrc2=size=320x180:rate=25:duration={seconds}"));
    command.args(["-g", "25", "-b:v", "1M", "-f", format, url]);
    Tool::start(&mut command)
}

/// An ffmpeg that encodes a test picture in real time, without delay, and stays on one processor as
/// [`Source::run`](super::sender::Source::run) does.
pub(crate) fn encoder(picture: &str) -> Command {
    let processor = sched_getcpu().expect("a processor").to_string();
    let mut command = Command::new("taskset");
    command
        .args(["-c", &processor, "ffmpeg"])
        .args(["-nostdin", "-v", "error", "-re", "-f", "lavfi"])
        .args(["-i", picture, "-c:v", "libx264", "-threads", "1"])
        .args(["-preset", "ultrafast", "-tune", "zerolatency"]);
    command
}

/// Fetches `url` into a file, until the server ends it or `limit` is over.
pub(crate) fn record(url: &str, file: &Path, limit: Duration) -> Tool {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", &limit.as_secs().to_string(), "-o"])
        .arg(file)
        .arg(url);
    Tool::start(&mut command)
}

/// Decodes all of a file or URL; insists that the decoder has nothing to complain about.
pub(crate) fn assert_decodes(input: &str) {
    let said = tool::run_within(
        Duration::from_secs(120),
        Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-i", input, "-f", "null", "-"]),
    );
    assert!(
        said.status.success() && said.stderr.is_empty(),
        "{input}: {}",
        said.stderr
    );
}

/// Frames of the picture that can be decoded from a file.
pub(crate) fn frames(file: &Path) -> u32 {
    let said = tool::run_within(
        Duration::from_secs(120),
        Command::new("ffprobe")
            .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
            .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
            .arg(file),
    );
    let count = said
        .stdout
        .lines()
        .find_map(|line| line.trim().trim_matches(',').parse().ok());
    count.unwrap_or_else(|| panic!("no frame count in {:?}: {}", said.stdout, said.stderr))
}
