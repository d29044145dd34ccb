//! Systems that refuse what others grant: system calls that a sandbox forbids or for which the kernel has no memory,
//! `/proc` that is not there, files that may not grow.

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::proxy::wire::{Origin, Wire};
use crate::support::namespace::with_loopback_only;
use crate::support::server::{PROGRAM, Server, connect};
use crate::support::tool::{self, Tool, run};
use crate::support::{SOON, TempDir, http, wait_for};

/// Runs the program so that `call` fails as `fault` says (`inject` of strace(1)).
fn refusing(call: &str, fault: &str) -> Command {
    let mut command = Command::new("strace");
    // With -D it is strace that is the grandchild, and the program keeps the number of what was started.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e"]);
    command.arg(format!("trace={call}"));
    command.args(["-e", &format!("inject={call}:{fault}"), PROGRAM]);
    command
}

/// A body of 8 MiB must arrive as it is; within [`SOON`], or its reader gives up.
fn assert_body_arrives(server: &Server) {
    let body: Vec<u8> = (0..2_u32 << 20).flat_map(u32::to_le_bytes).collect();
    let origin = Origin::start();
    let mut client = Wire::to(server);
    client.send(http::get(&origin.path("/film")));
    let (len, expected) = (body.len(), body.clone());
    let sending = std::thread::spawn(move || {
        let mut wire = origin.accept();
        wire.head();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"));
        // The router may break off, which its client will notice.
        let _ = wire.stream.write_all(&body);
    });
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(client.exact(len) == expected, "the body has been changed");
    sending.join().expect("no panic");
}

#[test]
fn bodies_are_copied_where_splicing_is_refused() {
    if !tool::have(&["strace"]) {
        return;
    }
    for error in ["ENOSYS", "EPERM"] {
        let fault = format!("error={error}");
        let server = Server::start_as(
            refusing("splice", &fault),
            &["--upstream-allow", "loopback"],
        );
        assert_body_arrives(&server);
        server.stop_empty();
    }
}

#[test]
fn connection_for_which_the_kernel_lacked_memory_goes_on() {
    if !tool::have(&["strace"]) {
        return;
    }
    // Whatever is tried again at once finds no memory again.
    for call in ["splice", "recvfrom"] {
        let fault = "error=ENOBUFS:when=4+3";
        let server = Server::start_as(refusing(call, fault), &["--upstream-allow", "loopback"]);
        assert_body_arrives(&server);
        server.stop_empty();
    }
}

#[test]
fn refused_accepting_is_told_and_tried_again_in_a_while() {
    if !tool::have(&["strace"]) {
        return;
    }
    let began = Instant::now();
    let server = Server::start_as(
        refusing("accept4", "error=EPERM:when=1..5"),
        &["--log-style", "syslog"],
    );
    server.get("/").assert_error(404, "Not Found");
    assert!(began.elapsed() > Duration::from_millis(400), "at once");
    let text = "<3>[Worker 0] accepting a connection failed: Operation not permitted";
    let told = server.log().count(|line| line.starts_with(text));
    assert_eq!(told, 1, "{:?}", server.log().all());
    server.stop_empty();
}

#[test]
fn probe_says_once_that_accepting_is_refused() {
    if !tool::have(&["strace"]) {
        return;
    }
    let mut command = refusing("accept4", "error=EMFILE:when=1..5");
    let tool = Tool::start(command.args(["probe", "server", "--listen", "127.0.0.1:0"]));
    let line = tool.stderr.wait("listening on 127.0.0.1:");
    let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
    let mut stream = connect(port.expect("a port"));
    stream.write_all(&http::get("/healthz")).expect("sent");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer in time");
    assert_eq!(&start, b"HTTP/1.1 200");
    let told = tool.stderr.count(|line| line.contains("accepting fails"));
    assert_eq!(told, 1, "{:?}", tool.stderr.all());
}

#[test]
fn program_serves_where_proc_is_not_mounted() {
    let inside = "mount -t tmpfs none /proc && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", inside, "sh"]);
    if !run(command.arg("true")).status.success() {
        return crate::support::skip("there are no user namespaces");
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", inside, "sh"]);
    command.arg(PROGRAM);
    let server = Server::start_as(command, &["-w", "2"]);
    assert_eq!(server.get("/status").status, 200);
    server.stop_empty();
}

#[test]
fn log_that_may_not_grow_does_not_end_the_program() {
    let directory = TempDir::new();
    let path = directory.path().join("access.log");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 1; exec \"$@\"", "sh", PROGRAM]);
    let path = path.to_str().expect("a path in ASCII");
    let server = Server::start_as(command, &["--access-log", path]);
    let worker = server.worker();
    wait_for(SOON, "the limit to be reached", || {
        server
            .get("/rtp/nonsense:1/2")
            .assert_error(404, "Not Found");
        let told = |line: &str| line.contains("losing lines") || line.contains("lines are lost");
        (server.log().count(told) > 0).then_some(())
    });
    assert_eq!(server.worker(), worker);
    server.stop_empty();
}

#[test]
fn names_that_no_server_knows_hold_no_other_up() {
    with_loopback_only(|| {
        // Takes every question and answers none.
        let _server = std::net::UdpSocket::bind("127.0.0.1:53").expect("a port of our own");
        let directory = TempDir::new();
        let settings = directory.path().join("resolv.conf");
        std::fs::write(&settings, "nameserver 127.0.0.1\n").expect("written");
        let inside = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", inside]);
        command.arg(&settings).arg(PROGRAM);
        let server = Server::start_as(command, &["--upstream-allow", "loopback", "-m", "20"]);
        let asked = Instant::now();
        // More than there are names that are looked up at a time, of which some are the same.
        let lost: Vec<_> = (0..12)
            .map(|number| server.ask(&format!("/http/host{}.example/", number % 4)))
            .collect();
        let origin = Origin::start();
        let mut client = Wire::to(&server);
        client.send(http::get(&format!("/http/localhost:{}/", origin.port)));
        let mut wire = origin.accept();
        wire.head();
        assert!(asked.elapsed() < Duration::from_secs(4), "it has waited");
        wire.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 204 "));
        for mut stream in lost {
            let answer = http::read_response(&mut stream);
            answer.assert_error(504, "Gateway Timeout");
        }
        // Nor does a look-up that goes on hold up the end.
        let stopping = Instant::now();
        server.stop_empty();
        assert!(stopping.elapsed() < Duration::from_secs(3), "it has waited");
    });
}
