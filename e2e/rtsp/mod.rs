//! RTSP servers of others, which play a real MPEG-TS file; what arrives is compared with the file.

mod endurance;
mod live555;
mod stun;

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::server::Server;
use crate::support::tool::{self, Tool};
use crate::support::{SOON, TempDir, ffmpeg, http, skip, ts, wait_for};

/// The interpreter that Debian's python3-gi belongs to.
const PYTHON: &str = "/usr/bin/python3";

/// GStreamer's RTSP server.
struct Peer {
    tool: Tool,
    port: u16,
}

impl Peer {
    /// Plays `file` over this transport; guarded by user and password, or by a certificate.
    fn start(file: &Path, transport: &str, guard: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/rtsp/server.py");
        let mut command = Command::new(PYTHON);
        command.arg(script).arg(file).arg(transport).args(guard);
        let tool = Tool::start(&mut command);
        let line = tool.stdout.wait("port ");
        let port = line.rsplit(' ').next().and_then(|port| port.parse().ok());
        Self {
            tool,
            port: port.expect("the line ends in a port"),
        }
    }

    fn path(&self) -> String {
        format!("/rtsp/127.0.0.1:{}/live", self.port)
    }
}

/// VLC's RTSP server, which knows UDP only and refuses transports with parameters it does not know.
fn start_vlc(file: &Path) -> Option<Peer> {
    if !ffmpeg::available() || !tool::have(&["cvlc", "setpriv"]) {
        return None;
    }
    let port = free_port();
    // It does not run as root.
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cvlc"]);
        command
    } else {
        Command::new("cvlc")
    };
    command
        .args(["-I", "dummy"])
        .arg(file)
        .arg("--sout")
        .arg(format!("#rtp{{sdp=rtsp://127.0.0.1:{port}/live,mux=ts}}"))
        .env("HOME", std::env::temp_dir());
    let tool = Tool::start(&mut command);
    wait_for(SOON, "VLC", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
    Some(Peer { tool, port })
}

/// A port that nobody uses; VLC cannot ask the system for one.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn available() -> bool {
    let imports = "import gi; gi.require_version('GstRtspServer', '1.0'); \
                   from gi.repository import Gst, GstRtspServer; Gst.init(None); \
                   assert Gst.ElementFactory.find('rtpmp2tpay') and Gst.ElementFactory.find('tsparse')";
    if !ffmpeg::available() {
        return false;
    }
    let found = Command::new(PYTHON).args(["-c", imports]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    skip("GStreamer's RTSP server is missing");
    false
}

/// A moving picture of so many seconds at a constant rate.
fn recording(directory: &TempDir, seconds: u32, megabits: u32) -> PathBuf {
    let file = directory.path().join("recording.ts");
    let picture = format!("testsrc2=size=320x180:rate=25:duration={seconds}");
    let said = tool::run_within(
        Duration::from_secs(120),
        Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &picture])
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-g",
                "25",
                "-b:v",
                "1M",
            ])
            .args(["-muxrate", &format!("{megabits}M"), "-f", "mpegts"])
            .arg(&file),
    );
    assert!(said.status.success(), "{}", said.stderr);
    file
}

/// Insists that `bytes` are the beginning of the file, and that a decoder agrees.
fn assert_beginning(bytes: &[u8], file: &Path) {
    let whole = std::fs::read(file).expect("the recording");
    let same = bytes.iter().zip(&whole).take_while(|(a, b)| a == b).count();
    assert!(
        same == bytes.len(),
        "{} bytes arrived, which differ from the file after {same}",
        bytes.len()
    );
    let received = file.with_extension("received.ts");
    let packets = bytes.len() / ts::PACKET * ts::PACKET;
    std::fs::write(&received, ts::without_unfinished_frame(&bytes[..packets])).expect("written");
    ffmpeg::assert_decodes(received.to_str().expect("UTF-8"));
    assert!(ffmpeg::frames(&received) > 25, "hardly any picture");
}

/// Reads the head, and so many bytes of the stream.
fn watch(server: &Server, path: &str, len: usize) -> (String, Vec<u8>) {
    let mut stream = server.ask(path);
    let head = read_head(&mut stream);
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("media in time");
    (head, bytes)
}

fn read_head(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head in time");
        bytes.push(byte[0]);
    }
    let head = http::parse(bytes);
    assert_eq!(head.status, 200, "{}", head.head);
    head.head
}

fn plays_and_ends(transport: &str, told: &str) {
    let directory = TempDir::new();
    let file = recording(&directory, 8, 4);
    let peer = Peer::start(&file, transport, &[]);
    let server = Server::start(&[]);
    let (head, bytes) = watch(&server, &peer.path(), 2_000_000);
    assert!(
        head.contains(&format!("R2H-Upstream-Transport: {told}\r\n")),
        "{head}"
    );
    assert!(
        head.contains("R2H-Upstream-Payload: mp2t-rtp\r\n"),
        "{head}"
    );
    peer.tool.stdout.wait("teardown");
    assert_beginning(&bytes, &file);
    server.stop_empty();
}

#[test]
fn gstreamer_plays_over_the_control_connection() {
    if available() {
        plays_and_ends("tcp", "tcp-interleaved");
    }
}

#[test]
fn gstreamer_plays_over_udp() {
    if available() {
        plays_and_ends("udp", "udp");
    }
}

/// GStreamer says goodbye over RTCP and leaves the connection open.
#[test]
fn recording_that_is_over_ends_at_once() {
    if !available() {
        return;
    }
    let directory = TempDir::new();
    let file = recording(&directory, 2, 2);
    let server = Server::start(&[]);
    for transport in ["tcp", "udp"] {
        let peer = Peer::start(&file, transport, &[]);
        let mut stream = server.ask(&peer.path());
        read_head(&mut stream);
        let began = Instant::now();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the end in time");
        assert!(began.elapsed() < SOON, "{transport}: {:?}", began.elapsed());
        peer.tool.stdout.wait("teardown");
        assert_beginning(&bytes, &file);
    }
    server.stop_empty();
}

/// GStreamer cannot play this file any faster, and says so; the client is told what it gets.
#[test]
fn gstreamer_is_asked_for_a_scale_and_says_what_it_plays() {
    if !available() {
        return;
    }
    let directory = TempDir::new();
    let file = recording(&directory, 8, 4);
    let peer = Peer::start(&file, "tcp", &[]);
    let server = Server::start(&[]);
    let path = format!("{}?r2h-scale=2", peer.path());
    let (head, bytes) = watch(&server, &path, 1_000_000);
    assert_eq!(peer.tool.stdout.wait("scale "), "scale 2");
    assert!(head.contains("R2H-Playback-Scale: 1\r\n"), "{head}");
    assert_beginning(&bytes, &file);
    let refused = server.get(&format!("{}?r2h-scale=2%0d%0aX:y", peer.path()));
    refused.assert_error(400, "Bad Request");
    server.stop_empty();
}

/// VLC makes a stream of its own of what it plays, so only what a decoder says of it can be checked.
#[test]
fn vlc_plays_over_udp_when_it_is_offered_alone() {
    let directory = TempDir::new();
    if !ffmpeg::available() {
        return;
    }
    let file = recording(&directory, 60, 4);
    let Some(peer) = start_vlc(&file) else { return };
    let server = Server::start(&[]);
    let received = directory.path().join("received.ts");
    let limit = Duration::from_secs(6);
    ffmpeg::record(&server.url(&peer.path()), &received, limit).wait(2 * limit);
    let frames = ffmpeg::frames(&received);
    assert!(frames > 50, "{frames} frames");
    drop(peer);
    server.stop_empty();
}

#[test]
fn ffprobe_finds_the_picture_behind_a_password() {
    if !available() {
        return;
    }
    let directory = TempDir::new();
    let file = recording(&directory, 20, 4);
    let peer = Peer::start(&file, "tcp", &["user", "p@ss"]);
    let server = Server::start(&[]);
    let refused = server.get(&peer.path());
    refused.assert_error(503, "Service Unavailable");
    let path = format!("/rtsp/user:p%40ss@127.0.0.1:{}/live", peer.port);
    let said = tool::run(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
            .args(["-show_entries", "stream=codec_name,width,height"])
            .arg(server.url(&path)),
    );
    let first = said.stdout.lines().next().unwrap_or("").trim_matches(',');
    assert_eq!(first, "h264,320,180", "{}", said.stderr);
    peer.tool.stdout.wait("teardown");
    let log = server.log().all().join("\n");
    assert!(!log.contains("p%40ss") && !log.contains("p@ss"), "{log}");
    server.stop_empty();
}

/// A certificate for localhost with its key, which is its own authority.
fn certificate(directory: &TempDir) -> (PathBuf, PathBuf) {
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    let said = tool::run(
        Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    );
    assert!(said.status.success(), "{}", said.stderr);
    let both = directory.path().join("both.pem");
    let parts = [&certificate, &key].map(|file| std::fs::read(file).expect("written"));
    std::fs::write(&both, parts.concat()).expect("written");
    (certificate, both)
}

#[test]
fn gstreamer_plays_over_tls_and_must_be_who_it_is_asked_for() {
    if !available() || !tool::have(&["openssl"]) {
        return;
    }
    let directory = TempDir::new();
    let file = recording(&directory, 8, 4);
    let (authority, both) = certificate(&directory);
    let peer = Peer::start(&file, "tcp", &[both.to_str().expect("UTF-8")]);
    let server = Server::start(&["--tls-ca", authority.to_str().expect("UTF-8")]);
    let path = |host: &str| format!("/rtsps/{host}:{}/live", peer.port);
    let (_, bytes) = watch(&server, &path("localhost"), 1_000_000);
    assert_beginning(&bytes, &file);
    let refused = server.get(&path("127.0.0.1"));
    refused.assert_error(503, "Service Unavailable");
    let told = refused.header("X-Flowgate-Error").unwrap_or_default();
    assert!(told.contains("certificate"), "{told}");
    server.stop_empty();
}

#[test]
fn head_starts_nothing_at_the_server() {
    if !available() {
        return;
    }
    let directory = TempDir::new();
    let file = recording(&directory, 2, 4);
    let peer = Peer::start(&file, "tcp", &[]);
    let server = Server::start(&[]);
    let request = format!("HEAD {} HTTP/1.1\r\nHost: localhost\r\n\r\n", peer.path());
    let answer = server.exchange(request.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(answer.header("R2H-Upstream-Protocol"), Some("rtsp"));
    assert_eq!(answer.header("R2H-Upstream-Payload"), Some("mp2t-rtp"));
    peer.tool.stdout.wait("closed");
    assert!(!peer.tool.stdout.all().contains(&"setup".to_owned()));
    server.stop_empty();
}

#[test]
fn sigterm_ends_the_session_at_the_server() {
    if !available() {
        return;
    }
    let directory = TempDir::new();
    let file = recording(&directory, 20, 4);
    let peer = Peer::start(&file, "tcp", &[]);
    let server = Server::start(&[]);
    let mut stream = server.ask(&peer.path());
    read_head(&mut stream);
    server.signal(libc::SIGTERM);
    peer.tool.stdout.wait("teardown");
    drop(stream);
    let mut server = server;
    assert!(server.wait(SOON).success());
}

/// A client that takes less than the stream brings, for a while, and then as much as it can.
#[test]
fn slow_client_gets_every_byte() {
    if !available() {
        return;
    }
    let (stalls, megabits) = (3, 16);
    let directory = TempDir::new();
    let seconds = 5 * stalls + 60;
    let file = recording(&directory, seconds, megabits);
    let peer = Peer::start(&file, "tcp", &[]);
    // A queue of well under a second, so that the server is held back again and again.
    let server = Server::start(&["-b", "256"]);
    let mut stream = server.ask(&peer.path());
    read_head(&mut stream);
    let began = Instant::now();
    let mut bytes = Vec::new();
    for stall in 1..=stalls {
        let until = began + Duration::from_secs(5) * stall;
        wait_for(2 * SOON, "the end of a stall", || {
            (Instant::now() >= until).then_some(())
        });
        // At most half of what has come meanwhile.
        let mut part = vec![0; 1_250_000];
        stream.read_exact(&mut part).expect("media in time");
        bytes.extend(part);
    }
    // More than all buffers on the way hold.
    let mut rest = vec![0; 20_000_000];
    stream.read_exact(&mut rest).expect("media in time");
    bytes.extend(rest);
    drop(stream);
    peer.tool.stdout.wait("teardown");
    assert_beginning(&bytes, &file);
    let closed = server.log().wait(" packets dropped");
    assert!(closed.contains(" 0 packets dropped"), "{closed}");
    let stopped = {
        server.signal(libc::SIGTERM);
        server.log().wait(" pauses")
    };
    assert!(!stopped.contains(" 0 pauses"), "{stopped}");
}
