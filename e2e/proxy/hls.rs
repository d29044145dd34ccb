//! ffmpeg plays HLS that ffmpeg has made and nginx serves, through the proxy.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::nginx::Nginx;
use super::wire::{Origin, Wire, ok, request};
use crate::support::server::Server;
use crate::support::{TempDir, ffmpeg, tool};

const SECONDS: u32 = 12;

#[test]
fn every_frame_of_an_hls_stream_arrives_over_kept_connections() {
    if !ffmpeg::available() || !Nginx::available() {
        return;
    }
    let directory = TempDir::new();
    make_stream(directory.path());
    let nginx = Nginx::start(directory, "", "");
    let server = Server::start(&["-m", "8"]);
    let url = server.url(&nginx.path("/tv/master.m3u8"));
    assert_eq!(ffmpeg::frames(Path::new(&url)), SECONDS * 25);
    ffmpeg::assert_decodes(&url);
    let served = nginx.served();
    let segments = served
        .iter()
        .filter(|(.., uri)| uri.ends_with(".ts"))
        .count();
    assert!(segments >= 2 * SECONDS as usize, "{served:?}");
    // ffmpeg asks for the range from 0 on.
    assert!(
        served
            .iter()
            .all(|(_, _, status, _)| matches!(status, 200 | 206)),
        "{served:?}"
    );
    let connections: HashSet<u64> = served.iter().map(|(connection, ..)| *connection).collect();
    assert!(
        connections.len() <= segments / 4,
        "{} connections for {segments} segments: {served:?}",
        connections.len()
    );
    assert_eq!(nginx.complaints(), [""; 0]);
    server.stop_empty();
}

#[test]
fn playlist_that_is_held_back_for_its_next_segment_is_waited_for() {
    let server = Server::start(&["--http-head-timeout", "0.2"]);
    let origin = Origin::start();
    let mut patient = Wire::to(&server);
    let path = origin.path("/live.m3u8?_HLS_msn=7&_HLS_part=0");
    patient.send(request("GET", &path, ""));
    let mut held_back = origin.accept();
    held_back.head();
    // When this one has been given up, the other would have been as well.
    let mut hasty = Wire::to(&server);
    hasty.send(request("GET", &origin.path("/live.m3u8?x=_HLS_msn=7"), ""));
    let mut silent = origin.accept();
    silent.head();
    hasty.response().assert_error(504, "Gateway Timeout");
    held_back.send(ok("", "#EXTM3U\nnext.ts\n"));
    let response = patient.response();
    assert_eq!(response.status, 200);
    assert!(response.body.ends_with(b"/next.ts\n"));
    server.stop_empty();
}

/// A master playlist with one variant in segments of one second.
fn make_stream(directory: &Path) {
    let folder = directory.join("tv/low");
    std::fs::create_dir_all(&folder).expect("made");
    let picture = format!("testsrc2=size=320x180:rate=25:duration={SECONDS}");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &picture])
        .args([
            "-c:v",
            "libx264",
            "-threads",
            "1",
            "-preset",
            "ultrafast",
            "-g",
            "25",
        ])
        .args(["-f", "hls", "-hls_time", "1", "-hls_list_size", "0"])
        .arg(folder.join("index.m3u8"));
    let said = tool::run_within(Duration::from_secs(60), &mut command);
    assert!(said.status.success(), "{}", said.stderr);
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=500000\nlow/index.m3u8\n";
    std::fs::write(directory.join("tv/master.m3u8"), master).expect("written");
}
