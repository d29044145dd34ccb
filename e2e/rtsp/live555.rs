//! live555's media server, over both transports.
//!
//! Debian has it in unstable alone; `scripts/live555` fetches it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::{assert_beginning, recording, watch};
use crate::support::namespace::with_loopback_only;
use crate::support::server::Server;
use crate::support::tool::{self, Tool};
use crate::support::{SOON, TempDir, ffmpeg, skip, wait_for};

/// The first port that it tries. In a network of our own it is free.
const PORT: u16 = 554;

fn program() -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/live555/live555MediaServer");
    let installed = PathBuf::from("/usr/bin/live555MediaServer");
    let found = [fetched, installed].into_iter().find(|path| path.is_file());
    if found.is_none() {
        skip("live555MediaServer is missing: scripts/live555 fetches it");
    }
    found
}

/// Plays what lies in `folder`.
fn start(program: &Path, folder: &Path) -> Tool {
    let tool = Tool::start(Command::new(program).current_dir(folder));
    wait_for(SOON, "live555", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).ok()
    });
    tool
}

/// Stands before the server and makes the offer of TCP unintelligible, for one connection; returns its port.
fn without_tcp() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a connection");
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let mut server = TcpStream::connect(server).expect("the server");
        let (mut answers, mut back) = (
            server.try_clone().expect("a handle"),
            client.try_clone().expect("a handle"),
        );
        thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut bytes = [0; 16 << 10];
        // Each request is written at once.
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..count]);
            let text = text
                .replace("RTP/AVP/TCP", "RTP/AVP/XXX")
                .replace("interleaved=", "x=");
            if server.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    });
    port
}

#[test]
fn live555_plays_over_the_control_connection_and_over_udp() {
    let Some(program) = program() else { return };
    if !ffmpeg::available() {
        return;
    }
    with_loopback_only(move || {
        let directory = TempDir::new();
        let file = recording(&directory, 20, 4);
        let mut tool = start(&program, directory.path());
        let server = Server::start(&["--upstream-allow", "loopback"]);
        for (port, told) in [(PORT, "tcp-interleaved"), (without_tcp(), "udp")] {
            let path = format!("/rtsp/127.0.0.1:{port}/recording.ts");
            let (head, bytes) = watch(&server, &path, 2_000_000);
            let transport = format!("R2H-Upstream-Transport: {told}\r\n");
            assert!(head.contains(&transport), "{head}");
            assert_beginning(&bytes, &file);
        }
        let path = format!("/rtsp/127.0.0.1:{PORT}/recording.ts");
        let said = tool::run(
            Command::new("ffprobe")
                .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
                .args(["-show_entries", "stream=codec_name,width,height"])
                .arg(server.url(&path)),
        );
        let first = said.stdout.lines().next().unwrap_or("").trim_matches(',');
        assert_eq!(first, "h264,320,180", "{}", said.stderr);
        let missing = server.get(&format!("/rtsp/127.0.0.1:{PORT}/nothing.ts"));
        missing.assert_error(503, "Service Unavailable");
        assert!(tool.is_running(), "{:?}", tool.stderr.all());
        server.stop_empty();
    });
}
