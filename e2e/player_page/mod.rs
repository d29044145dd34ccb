//! The player page as a viewer sees it: in Chromium, with pictures that ffmpeg makes.
//!
//! Whether the picture moves is read from the element that shows it. Pictures for those who look at the run are kept
//! below `target/tmp/pictures`.

mod failing;
mod live;
mod logic;
mod origin;
mod recordings;
mod serving;

use std::process::Command;
use std::time::Duration;

use crate::support::browser::{self, Browser};
use crate::support::configured::Configured;
use crate::support::tool::{self, Tool};
use crate::support::{SOON, ffmpeg, wait_for};

/// What a picture may take on a machine that does other things too.
const PICTURE_WAIT: Duration = Duration::from_secs(30);

/// What is seen: its size, and whether it moves. Fails while nothing is.
const SHOWN: &str = "document.querySelector('video.shown')";

fn available() -> bool {
    browser::available() && ffmpeg::available()
}

/// A server with these lines below `[services]`, and with others in front of that section.
fn serve(global: &str, services: &str) -> Configured {
    let text = format!("[global]\n{global}\n[services]\n#EXTM3U\n{services}");
    Configured::start(&text, &["-v", "4", "-l", "127.0.0.1:0"])
}

/// Sends a moving picture of this size with a tone as RTP to a group, until dropped.
fn send(group: &str, size: &str) -> Tool {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error"]);
    for source in [
        &*format!("testsrc2=size={size}:rate=25"),
        "sine=frequency=440",
    ] {
        command.args(["-re", "-f", "lavfi", "-i", source]);
    }
    command
        .args(["-c:v", "libx264", "-threads", "1", "-preset", "ultrafast"])
        .args(["-tune", "zerolatency", "-g", "25", "-b:v", "800k"])
        .args([
            "-c:a",
            "aac",
            "-b:a",
            "64k",
            "-t",
            "200",
            "-f",
            "rtp_mpegts",
        ])
        .arg(format!("rtp://{group}?pkt_size=1316"));
    Tool::start(&mut command)
}

/// A transport stream of so many seconds.
fn recording(seconds: u32, size: &str, coding: &[&str]) -> Vec<u8> {
    let directory = crate::support::TempDir::new();
    let file = directory.path().join("recording.ts");
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"]);
    command.arg(format!("testsrc2=size={size}:rate=25:duration={seconds}"));
    command.args(["-f", "lavfi", "-i"]);
    command.arg(format!("sine=660:duration={seconds}"));
    command
        .args(["-g", "25", "-preset", "ultrafast"])
        .args(coding);
    let said = tool::run_within(
        Duration::from_secs(60),
        command.arg("-f").arg("mpegts").arg(&file),
    );
    assert!(said.status.success(), "{}", said.stderr);
    std::fs::read(file).expect("written")
}

/// Waits until a picture of this width is seen and moves.
fn wait_for_picture(browser: &Browser, width: u32) {
    let script =
        format!("const video = {SHOWN}; return video?.videoWidth === {width} && !video.paused");
    browser.wait_within(PICTURE_WAIT, &script);
    assert_moves(browser);
}

/// The picture that is seen goes on by half a second.
fn assert_moves(browser: &Browser) {
    let time = || {
        browser
            .run(&format!("return {SHOWN}?.currentTime ?? -1"))
            .as_f64()
    };
    let begin = time().expect("a time");
    wait_for(PICTURE_WAIT, "the picture to move", || {
        (time().expect("a time") > begin + 0.5).then_some(())
    });
}

/// Waits until an element has a text in it.
fn wait_for_text(browser: &Browser, selector: &str, text: &str) {
    wait_for(PICTURE_WAIT, &format!("{text} in {selector}"), || {
        let found = browser.text(selector);
        found.contains(text).then_some(())
    });
}

/// Presses a key, by its name or as the character it makes.
fn press(browser: &Browser, key: &str) {
    browser.run(&format!(
        "(document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, cancelable: true }}))"
    ));
}

fn row(number: u32) -> String {
    format!(".channel[data-number='{number}']")
}

/// Nothing was complained about, and nobody else was asked for anything.
fn assert_quiet_and_at_home(browser: &Browser, configured: &Configured) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let home = configured.server.url("/");
    let requests = browser.requests();
    let abroad: Vec<&String> = requests
        .iter()
        .filter(|url| url.starts_with("http") && !url.starts_with(&home))
        .collect();
    assert!(!requests.is_empty() && abroad.is_empty(), "{abroad:?}");
}

/// Waits for a line in what the server logs.
fn wait_for_log(configured: &Configured, fragment: &str) {
    configured.server.log().wait_within(SOON, fragment);
}
