//! Ends that are not ours: classic clients and servers, over WebSocket by an independent implementation.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{ProbeServer, probe};
use crate::support::server::PROGRAM;
use crate::support::tool::{self, Tool};
use crate::support::{SOON, TempDir, skip};

const PYTHON: &str = "/usr/bin/python3";

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("e2e/probe/peers.py")
}

/// Whether Debian's Python has the library.
fn have_websockets() -> bool {
    let imports = ["-c", "import websockets"];
    let there = std::path::Path::new(PYTHON).is_file()
        && tool::run(Command::new(PYTHON).args(imports))
            .status
            .success();
    if !there {
        skip("python3-websockets is not installed");
    }
    there
}

fn classic_server(delay: &str) -> (Tool, String) {
    let mut command = Command::new(PYTHON);
    let tool = Tool::start(command.arg(script()).args(["server", delay]));
    let line = tool.stdout.wait("port ");
    let port = line.trim_start_matches("port ").to_owned();
    (tool, port)
}

#[test]
fn a_slow_classic_websocket_server_is_a_sink_that_stalls_the_sender() {
    if !have_websockets() {
        return;
    }
    let (server, port) = classic_server("1.5");
    let run = probe(&format!("ws://127.0.0.1:{port}/ws"), &["--resume", "8s"]);
    run.expect("yes", "propagates", 0);
    assert!(run.conn(0)["consumed"].is_null(), "{}", run.said);
    server.stdout.wait("parameters 65536 0");
    server.stdout.wait("read 65536 65536");
}

#[test]
fn a_classic_websocket_client_is_served_as_ever() {
    if !have_websockets() {
        return;
    }
    let server = ProbeServer::start(&["--read-delay", "20", "--log-messages"]);
    let mut command = Command::new(PYTHON);
    command
        .arg(script())
        .args(["client", &server.port.to_string()]);
    let said = tool::run(&mut command);
    assert!(said.status.success(), "{}", said.stderr);
    assert_eq!(said.stdout.trim(), "closed 1000");
    server
        .tool
        .stdout
        .wait("read 1000 bytes (5000 bytes total)");
    server.tool.stdout.wait("closed after 5000 bytes");
}

#[test]
fn a_classic_file_delivers_every_message_over_websocket() {
    if !have_websockets() {
        return;
    }
    let (server, port) = classic_server("0");
    let said = run_classic(&format!(
        "protocol: websocket\nserver_addr: localhost\nserver_port: {port}\npayload_size: 1000\n\
         requests_per_second: 50\nrequests_total: 5\n"
    ));
    assert!(said.contains("Expected: 5 requests in 0.10 s"), "{said}");
    server.stdout.wait("read 1000 5000");
    server.stdout.wait("closed 1000");
}

#[test]
fn a_classic_file_delivers_every_byte_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let received = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepted");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("read");
        bytes.len()
    });
    let said = run_classic(&format!(
        "---\nprotocol: tcp\nserver_addr: 127.0.0.1\nserver_port: {port}\npayload_size: 1000\n\
         requests_per_second: 100\nrequests_total: 5\n"
    ));
    assert!(said.contains("Fired 5 requests in "), "{said}");
    assert_eq!(received.join().expect("no panic"), 5000);
}

fn run_classic(file: &str) -> String {
    let directory = TempDir::new();
    let path = directory.path().join("client.yaml");
    std::fs::write(&path, file).expect("written");
    let mut command = Command::new(PROGRAM);
    let said = tool::run(command.args(["probe", "-client"]).arg(&path));
    assert!(said.status.success(), "{}{}", said.stdout, said.stderr);
    said.stdout
}

#[test]
fn a_classic_tcp_client_is_read_slowly() {
    let server = ProbeServer::start(&[
        "--read-size",
        "1000",
        "--read-delay",
        "50",
        "--log-messages",
    ]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    let begun = std::time::Instant::now();
    stream.write_all(&[0; 4000]).expect("sent");
    drop(stream);
    server.tool.stdout.wait("closed after 4000 bytes");
    let reads = server
        .tool
        .stdout
        .count(|line| line.contains(" bytes total)"));
    assert!(reads >= 4, "a read takes at most 1000 bytes");
    assert!(
        begun.elapsed() >= Duration::from_millis(150),
        "it pauses in between"
    );
}

/// Browsers open connections ahead of need, and say something on them seconds later.
#[test]
fn a_connection_that_is_silent_at_first_may_still_ask() {
    let server = ProbeServer::start(&[]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    // Longer than the server looks at bytes that may become several things.
    std::thread::sleep(Duration::from_millis(600));
    stream
        .write_all(&crate::support::http::get("/healthz"))
        .expect("sent");
    stream.set_read_timeout(Some(SOON)).expect("a time");
    let mut bytes = [0; 256];
    let count = stream.read(&mut bytes).expect("an answer in time");
    assert!(bytes[..count].starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_discard_server_is_a_sink_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accepted");
            std::thread::spawn(move || {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(1..) = stream.read(&mut bytes) {}
            });
        }
    });
    // A fast machine would come beyond the usual --max-absorb in that time.
    let run = probe(
        &format!("tcp://127.0.0.1:{port}"),
        &["--hold", "1s", "--max-absorb", "100GiB"],
    );
    run.expect("inconclusive", "no_stall", 4);
}

#[test]
fn the_page_is_whole_and_its_views_are_events() {
    let server = ProbeServer::start(&[]);
    let page = crate::support::http::get("/client?payload=5");
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    stream.set_read_timeout(Some(SOON)).expect("a time");
    stream.write_all(&page).expect("sent");
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains("</html>") {
        let count = stream.read(&mut bytes).expect("the page in time");
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    let nonce = text
        .split("nonce=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let allowed = format!("script-src 'nonce-{}'", nonce.expect("a nonce"));
    assert!(
        text.contains(&allowed),
        "the policy lets its own script through"
    );

    let mut watcher = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    watcher.set_read_timeout(Some(SOON)).expect("a time");
    watcher
        .write_all(&crate::support::http::get("/events"))
        .expect("sent");
    let url = format!("tcp://127.0.0.1:{}", server.port);
    let client = std::thread::spawn(move || probe(&url, &[]));
    let mut seen = String::new();
    while !seen.contains("\"state\":\"hold\"") {
        let count = watcher.read(&mut bytes).expect("events in time");
        assert!(count > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    client.join().expect("no panic").expect_yes();
}
