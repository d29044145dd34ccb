//! Unix sockets: what is done about whatever is at their path, who may connect, and streams through them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::http::{self, Response};
use crate::support::namespace::{WEST, with_links};
use crate::support::sender::{Framing, Source};
use crate::support::server::{PROGRAM, Server, connect_unix, read_to_end};
use crate::support::tool::{self, Said, Tool, run};
use crate::support::{SOON, TempDir, ts, wait_for};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in ASCII")
}

/// A directory, and the path of a socket in it.
fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new();
    let path = directory.path().join("http.sock");
    (directory, path)
}

fn get(path: &Path, target: &str) -> Response {
    let mut stream = connect_unix(path);
    stream.write_all(&http::get(target)).expect("sent");
    http::parse(read_to_end(&mut stream))
}

/// A start that must fail because of a Unix socket.
fn refused(path: &Path) -> Said {
    let said = run(Command::new(PROGRAM).args(["-C", "-l", text(path)]));
    assert_eq!(said.status.code(), Some(255), "{}", said.stderr);
    assert!(said.stderr.contains(text(path)), "{}", said.stderr);
    assert!(said.stdout.contains("[Supervisor] "), "{}", said.stdout);
    said
}

#[test]
fn socket_is_served_beside_a_port_and_removed_at_the_end() {
    let (_directory, path) = place();
    let mut server = Server::start(&["-l", text(&path)]);
    let expected = format!("Listening on Unix socket {}", path.display());
    server.log().wait(&expected);
    let words = "Zero-copy send disabled because Unix socket listener is configured";
    server.log().wait(words);
    get(&path, "/nothing").assert_error(404, "Not Found");
    server.get("/nothing").assert_error(404, "Not Found");
    server
        .log()
        .wait("New client localhost requested URL: /nothing (method: GET)");
    server.signal(libc::SIGTERM);
    assert!(server.wait(SOON).success());
    assert!(!path.exists());
}

#[test]
fn socket_that_a_dead_program_left_behind_is_replaced() {
    let (_directory, path) = place();
    let mut dead = Server::start(&["-l", text(&path)]);
    dead.signal(libc::SIGKILL);
    dead.wait(SOON);
    wait_for(SOON, "everything of it to be gone", || {
        UnixStream::connect(&path).is_err().then_some(())
    });
    assert!(
        fs::metadata(&path)
            .expect("left behind")
            .file_type()
            .is_socket()
    );
    let server = Server::start(&["-l", text(&path)]);
    get(&path, "/").assert_error(404, "Not Found");
    server.stop_empty();
    assert!(!path.exists());
}

#[test]
fn socket_in_use_is_a_clear_error_and_goes_on_being_served() {
    let (_directory, path) = place();
    let server = Server::start(&["-l", text(&path)]);
    let said = refused(&path);
    assert!(said.stderr.contains("already in use"), "{}", said.stderr);
    assert!(said.stdout.contains("already in use"), "{}", said.stdout);
    get(&path, "/").assert_error(404, "Not Found");
    server.stop_empty();
}

#[test]
fn whatever_else_is_at_the_path_is_left_alone() {
    let (directory, path) = place();
    let target = directory.path().join("target");
    let _listener = UnixListener::bind(&target).expect("a socket");
    symlink(&target, &path).expect("a link");
    let not_a_socket = "Unix socket path exists and is not a socket";
    let said = refused(&path);
    assert!(said.stderr.contains(not_a_socket), "{}", said.stderr);
    assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
    fs::remove_file(&path).expect("removed");

    fs::write(&path, "precious").expect("a file");
    let said = refused(&path);
    assert!(said.stderr.contains(not_a_socket), "{}", said.stderr);
    assert_eq!(fs::read(&path).expect("there"), b"precious");
    fs::remove_file(&path).expect("removed");

    fs::create_dir(&path).expect("a directory");
    let said = refused(&path);
    assert!(said.stderr.contains(not_a_socket), "{}", said.stderr);
    assert!(path.is_dir());

    let said = refused(&directory.path().join("nowhere/http.sock"));
    assert!(
        said.stderr.contains("No such file or directory"),
        "{}",
        said.stderr
    );
    let said = refused(&directory.path().join("x".repeat(108)));
    assert!(said.stderr.contains("at most 107"), "{}", said.stderr);
}

#[test]
fn path_with_white_space_or_without_root_is_a_wrong_argument() {
    for path in ["run/http.sock", "/run/http sock", "./x"] {
        let said = run(Command::new(PROGRAM).args(["-C", "-l", path]));
        assert_eq!(said.status.code(), Some(1), "{path}");
        assert!(said.stderr.contains("the absolute path"), "{}", said.stderr);
    }
}

#[test]
fn nothing_is_left_behind_when_a_port_is_busy() {
    let (_directory, path) = place();
    let occupied = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = occupied.local_addr().expect("bound").port();
    let busy = format!("127.0.0.1:{port}");
    let said = run(Command::new(PROGRAM).args(["-C", "-l", text(&path), "-l", &busy]));
    assert_eq!(said.status.code(), Some(1));
    let expected = format!("cannot listen on {busy}: Address already in use");
    assert!(said.stderr.contains(&expected), "{}", said.stderr);
    assert!(!path.exists());
}

#[test]
fn socket_that_was_replaced_is_not_removed() {
    let (_directory, path) = place();
    let server = Server::start(&["-l", text(&path)]);
    fs::remove_file(&path).expect("removed");
    let other = UnixListener::bind(&path).expect("another program's");
    server.stop_empty();
    drop(UnixStream::connect(&path).expect("still there"));
    drop(other);
}

#[test]
fn permissions_are_those_asked_for_whatever_the_mask() {
    let (_directory, path) = place();
    for (arguments, mode) in [
        (&[][..], 0o666),
        (&["--unix-mode", "0660"], 0o660),
        (&["--unix-mode=600"], 0o600),
    ] {
        let mut masked = Command::new("sh");
        masked.args(["-c", "umask 077; exec \"$0\" \"$@\"", PROGRAM]);
        let server = Server::start_as(masked, &[&["-l", text(&path)], arguments].concat());
        let metadata = fs::metadata(&path).expect("a socket");
        assert_eq!(metadata.permissions().mode() & 0o7777, mode);
        server.stop_empty();
    }
    let said = run(Command::new(PROGRAM).args(["-C", "--unix-mode", "1666"]));
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stderr.contains("0 to 0777"), "{}", said.stderr);
}

#[test]
fn only_who_may_write_to_the_socket_can_connect() {
    if !tool::may_become_others() {
        return;
    }
    let (_directory, path) = place();
    let ask = |user: &str| {
        let mut curl = Command::new("setpriv");
        curl.args(["--reuid", user, "--regid", user, "--clear-groups", "curl"])
            .args(["-sS", "--unix-socket", text(&path), "http://tv/"]);
        run(&mut curl).status.code()
    };
    // curl's own status for a connection that cannot be made.
    for (arguments, user, expected) in [
        (
            &["--unix-mode", "0600", "--user", "65534:65534"][..],
            "65534",
            0,
        ),
        (
            &["--unix-mode", "0600", "--user", "65534:65534"],
            "65533",
            7,
        ),
        (&["--unix-mode", "0600"], "65534", 7),
        (&[], "65533", 0),
    ] {
        let server = Server::start(&[&["-l", text(&path)], arguments].concat());
        assert_eq!(ask(user), Some(expected), "{arguments:?} {user}");
        let owner = if arguments.contains(&"--user") {
            65_534
        } else {
            0
        };
        let metadata = fs::metadata(&path).expect("a socket");
        assert_eq!((metadata.uid(), metadata.gid()), (owner, owner));
        drop(server);
        // Whoever was killed has left it behind.
        fs::remove_file(&path).expect("removed");
    }
}

#[test]
fn curl_follows_a_stream_through_a_socket() {
    if !tool::have(&["curl"]) {
        return;
    }
    with_links(|| {
        let (directory, path) = place();
        let server = Server::start(&["-l", text(&path)]);
        let _sender = Source::new("west", WEST, "239.8.0.1:5000", Framing::Rtp).run(300);
        let file = directory.path().join("tv.ts");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-N", "--unix-socket", text(&path)])
            .args(["http://tv/rtp/239.8.0.1:5000", "-o", text(&file)]);
        let mut curl = Tool::start(&mut curl);
        wait_for(SOON, "a second of television", || {
            let len = fs::metadata(&file).map_or(0, |metadata| metadata.len());
            (len > 2000 * ts::PACKET as u64).then_some(())
        });
        curl.signal(libc::SIGTERM);
        curl.wait(SOON);
        let bytes = fs::read(&file).expect("a file");
        ts::assert_gapless(&bytes[..bytes.len() / ts::PACKET * ts::PACKET]);
        server.stop_empty();
    });
}

#[test]
fn crowd_on_a_socket_gets_every_packet() {
    with_links(|| {
        let (_directory, path) = place();
        // Enough subscribers and enough at a time for pages to be passed on instead of bytes.
        let arguments = ["-m", "32", "--flush-interval", "20", "-l", text(&path)];
        let server = Server::start(&arguments);
        let _sender = Source::new("west", WEST, "239.8.0.2:5000", Framing::Rtp)
            .packets_per_datagram(100)
            .run(150);
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = connect_unix(&path);
                stream
                    .write_all(&http::get("/rtp/239.8.0.2:5000"))
                    .expect("sent");
                std::thread::spawn(move || {
                    let mut bytes = vec![0; 2 << 20];
                    stream.read_exact(&mut bytes).expect("media in time");
                    bytes
                })
            })
            .collect();
        for client in clients {
            let response = http::parse(client.join().expect("it has read"));
            assert_eq!(response.status, 200);
            let whole = response.body.len() / ts::PACKET * ts::PACKET;
            ts::assert_gapless(&response.body[..whole]);
        }
        server.stop_empty();
    });
}

#[test]
fn client_of_a_socket_does_not_reach_what_only_this_host_can() {
    let (_directory, path) = place();
    let origin = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = format!("/http/{}/", origin.local_addr().expect("bound"));
    let server = Server::start(&["-l", text(&path)]);
    let response = get(&path, &target);
    response.assert_error(403, "Forbidden");
    let why = response.header("X-Flowgate-Error").unwrap_or("");
    assert!(why.contains("--upstream-allow"), "{why}");
    origin.set_nonblocking(true).expect("it does not block");
    origin.accept().expect_err("nobody came");
    server.stop_empty();
}

#[test]
fn no_new_client_of_a_socket_is_taken_on_while_stopping() {
    let (_directory, path) = place();
    let mut server = Server::start(&["-l", text(&path)]);
    // One that takes its time keeps the program alive.
    let mut held = connect_unix(&path);
    held.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("sent");
    let mut start = [0; 12];
    held.read_exact(&mut start).expect("an answer");
    server.signal(libc::SIGTERM);
    server.log().wait("stopping; ");
    wait_for(SOON, "the socket to be closed", || {
        UnixStream::connect(&path).is_err().then_some(())
    });
    drop(held);
    assert!(server.wait(SOON).success());
}

#[test]
fn one_worker_is_woken_for_a_client_and_all_have_their_turn() {
    const CLIENTS: usize = 40;
    if !tool::have(&["strace"]) {
        return;
    }
    let (_directory, path) = place();
    let server = Server::start(&["-w", "4", "-l", text(&path)]);
    server
        .log()
        .wait_count(SOON, 4, "ready to accept connections");
    let workers = server.workers();
    let mut strace = Command::new("strace");
    strace.args(["-e", "trace=accept4,accept"]);
    strace.args(workers.iter().map(|pid| format!("--attach={pid}")));
    let mut strace = Tool::start(&mut strace);
    strace.stderr.wait_count(SOON, 4, "attached");
    for _ in 0..CLIENTS {
        get(&path, "/nothing").assert_error(404, "Not Found");
    }
    // After each client the worker that was woken finds nobody else; one that is woken in vain finds nobody at all.
    strace.stderr.wait_count(SOON, CLIENTS, "EAGAIN");
    strace.signal(libc::SIGINT);
    strace.wait(SOON);
    let in_vain = strace.stderr.count(|line| line.contains("EAGAIN")) - CLIENTS;
    // One that has not gone back to sleep yet may be told as well.
    assert!(in_vain < CLIENTS / 2, "{in_vain} times in vain");
    for worker in 0..4 {
        let from = format!("[Worker {worker}] New client localhost");
        let served = server.log().count(|line| line.starts_with(&from));
        assert!(served >= CLIENTS / 8, "worker {worker} served {served}");
    }
    server.stop_empty();
}
