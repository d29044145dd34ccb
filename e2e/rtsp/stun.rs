//! The public address of the media port, asked of coturn.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use super::{Peer, assert_beginning, available, free_port, recording, watch};
use crate::support::server::Server;
use crate::support::tool::{self, Tool};
use crate::support::{SOON, TempDir, wait_for};

/// A STUN server on `port`.
fn start(port: u16, directory: &TempDir) -> Tool {
    let place = |name: &str| directory.path().join(name);
    let tool = Tool::start(
        Command::new("turnserver")
            .args(["-n", "-S", "-L", "127.0.0.1", "-p", &port.to_string()])
            .args(["--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout"])
            .arg("--pidfile")
            .arg(place("turnserver.pid"))
            .arg("--userdb")
            .arg(place("turnserver.db")),
    );
    // What it prints comes late, so it is asked.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let limit = Some(Duration::from_millis(100));
    socket.set_read_timeout(limit).expect("a limit");
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    wait_for(SOON, "coturn", || {
        socket.send_to(&request, ("127.0.0.1", port)).ok()?;
        socket.recv(&mut [0; 1500]).ok()
    });
    tool
}

#[test]
fn stun_server_tells_the_port_that_media_is_sent_to() {
    if !available() || !tool::have(&["turnserver"]) {
        return;
    }
    let directory = TempDir::new();
    let file = recording(&directory, 8, 4);
    let port = free_port();
    let _stun = start(port, &directory);
    let peer = Peer::start(&file, "udp", &[]);
    let server = Server::start(&["-N", &format!("127.0.0.1:{port}")]);
    let (head, bytes) = watch(&server, &peer.path(), 1_000_000);
    assert!(head.contains("R2H-Upstream-Transport: udp\r\n"), "{head}");
    assert_beginning(&bytes, &file);
    // There is no translation on the way, so the mapped port is the one that was bound.
    server
        .log()
        .wait("STUN: the media port is seen as 127.0.0.1:1");
    peer.tool.stdout.wait("teardown");
    server.stop_empty();
}

#[test]
fn silent_stun_server_is_given_up_and_the_session_goes_on() {
    if !available() {
        return;
    }
    let directory = TempDir::new();
    let file = recording(&directory, 8, 4);
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let peer = Peer::start(&file, "udp", &[]);
    let server = Server::start(&["-N", &format!("127.0.0.1:{port}")]);
    let (_, bytes) = watch(&server, &peer.path(), 1_000_000);
    assert_beginning(&bytes, &file);
    server.log().wait("STUN: Timeout after 3 attempts");
    server.stop_empty();
}
