//! The access log: what its file holds, and when.

use std::fs;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::http::Body;
use crate::support::namespace::{WEST, with_links};
use crate::support::sender::{Framing, Source};
use crate::support::server::{PROGRAM, Server};
use crate::support::tool::run;
use crate::support::{SOON, TempDir, wait_for};

const GROUP: &str = "239.6.0.1:5000";

/// What the file holds once it has so many lines.
fn lines(path: &std::path::Path, count: usize) -> Vec<String> {
    wait_for(SOON, &format!("{count} lines"), || {
        let text = fs::read_to_string(path).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// A server with an access log in this directory.
fn start(directory: &TempDir, arguments: &[&str]) -> (Server, std::path::PathBuf) {
    let path = directory.path().join("access.log");
    let option = format!("--access-log={}", path.display());
    let arguments = [&[&*option], arguments].concat();
    let mut command = Command::new(PROGRAM);
    command.env("TZ", "XYZ-05:30");
    (Server::start_as(command, &arguments), path)
}

#[test]
fn default_line_appears_when_a_client_is_taken_on() {
    with_links(|| {
        let directory = TempDir::new();
        let (server, path) = start(&directory, &["-T", "s3cret", "-m", "1"]);
        let probe = b"HEAD /rtp/239.6.0.1:5000?r2h-token=s3cret HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(server.exchange(probe).status, 200);
        let page = server.get("/status?r2h-token=s3cret");
        assert_eq!(page.status, 200);
        assert!(!path.exists(), "nobody has asked for media");

        // No media is sent: the line is there all the same.
        let stream = server.ask("/rtp/239.6.0.1:5000?r2h-token=s3cret&x=\"y\"$HD");
        let line = lines(&path, 1).remove(0);
        let port = stream.local_addr().expect("an address").port();
        let (front, behind) = line.split_once(" [").expect(&line);
        assert_eq!(front, format!("127.0.0.1:{port}"));
        let (time, behind) = behind.split_once("] ").expect(&line);
        assert_eq!(time.len(), "2025-03-11T03:30:00+05:30".len(), "{line}");
        assert!(time.ends_with("+05:30"), "{line}");
        assert_eq!(
            behind,
            "\"/rtp/239.6.0.1:5000?x=\\\"y\\\"\" rtp \"rtp://239.6.0.1:5000?x=\\\"y\\\"\""
        );
        let full = server.get("/rtp/239.6.0.1:5000?r2h-token=s3cret&x=\"y\"");
        assert_eq!(full.status, 503);
        let mode = fs::metadata(&path).expect("the log").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        server.stop();
        // One for who was taken on, one for who was not.
        let all = lines(&path, 2);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[1].ends_with(behind), "{}", all[1]);
    });
}

#[test]
fn format_that_tells_the_end_has_a_line_for_every_request_when_it_is_over() {
    with_links(|| {
        let directory = TempDir::new();
        let format = "$status $outcome $bytes_sent $dropped_packets $request \"$reason\"";
        let (server, path) = start(&directory, &["-T", "t", "--log-format", format]);
        let _sender = Source::new("west", WEST, GROUP, Framing::Rtp).run(100);
        let mut body = Body::begin(server.ask("/rtp/239.6.0.1:5000?r2h-token=t"));
        let media = body.take(188 * 100);
        assert!(!path.exists(), "it goes on");
        body.stream.shutdown(Shutdown::Both).expect("connected");
        drop(body);
        let line = lines(&path, 1).remove(0);
        let rest = line.strip_prefix("200 client-closed ").expect(&line);
        let (bytes_sent, rest) = rest.split_once(' ').expect(&line);
        let bytes_sent: usize = bytes_sent.parse().expect(&line);
        assert!(bytes_sent > media.len(), "{line}");
        assert_eq!(rest, "0 GET /rtp/239.6.0.1:5000 \"-\"");

        for (path_asked, status, expected) in [
            (
                "/rtp/239.6.0.1:5000",
                401,
                "GET /rtp/239.6.0.1:5000 \"an access token is needed\"",
            ),
            (
                "/rtp/nonsense:1/2?r2h-token=t",
                404,
                "GET /rtp/nonsense:1/2",
            ),
            ("/gone?r2h-token=t", 404, "GET /gone \"Not Found\""),
        ] {
            let answer = server.get(path_asked);
            assert_eq!(answer.status, status, "{path_asked}");
            wait_for(SOON, expected, || {
                let text = fs::read_to_string(&path).ok()?;
                let wanted = format!("{status} refused ");
                text.lines()
                    .any(|line| line.starts_with(&wanted) && line.contains(expected))
                    .then_some(())
            });
        }
        let count = lines(&path, 4).len();
        for page in ["/status?r2h-token=t", "/assets/icon-192.png"] {
            assert_eq!(server.get(page).status, 200);
        }
        let options = b"OPTIONS /rtp/239.6.0.1:5000?r2h-token=t HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(server.exchange(options).status, 204);
        // A stream that is still running when the program ends has its line too.
        let _running = Body::begin(server.ask("/rtp/239.6.0.1:5000?r2h-token=t"));
        server.stop();
        let all = lines(&path, count + 1);
        assert_eq!(all.len(), count + 1, "{all:?}");
        let last = all.last().expect("lines");
        assert!(last.starts_with("200 failed "), "{last}");
        assert!(last.ends_with("\"the server is stopping\""), "{last}");
    });
}

#[test]
fn refused_requests_have_a_line_whatever_the_format() {
    let directory = TempDir::new();
    let format = "$request_method $service_url $service_type";
    let (server, path) = start(&directory, &["-T", "t", "--log-format", format]);
    for (asked, status, line) in [
        ("/rtp/239.6.0.1:5000", 401, "GET /rtp/239.6.0.1:5000 rtp"),
        ("/rtp/x:1/2?r2h-token=t", 404, "GET /rtp/x:1/2 rtp"),
        ("/gone?r2h-token=t", 404, "GET /gone -"),
    ] {
        let before = fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .count();
        assert_eq!(server.get(asked).status, status, "{asked}");
        assert_eq!(lines(&path, before + 1)[before..], [line]);
    }
    server.stop_empty();
    assert_eq!(lines(&path, 3).len(), 3);
}

#[test]
fn file_that_was_moved_away_is_opened_anew_after_sighup() {
    let directory = TempDir::new();
    let (server, path) = start(&directory, &["-w", "2", "--drain-timeout", "60"]);
    let moved = path.with_extension("1");
    for _ in 0..40 {
        server.get("/rtp/nonsense:x").assert_error(404, "Not Found");
    }
    let before = lines(&path, 40).len();
    fs::rename(&path, &moved).expect("ours");
    server.signal(libc::SIGHUP);
    server
        .log()
        .wait_count(SOON, 2, "the new configuration holds");
    for _ in 0..40 {
        server.get("/rtp/nonsense:x").assert_error(404, "Not Found");
    }
    // Both workers have had some of them.
    lines(&path, 40);
    assert_eq!(
        lines(&moved, before).len(),
        before,
        "somebody goes on writing"
    );
    server.stop_empty();
}

#[test]
fn worker_that_drains_lets_go_of_a_moved_file_too() {
    let directory = TempDir::new();
    let (server, path) = start(
        &directory,
        &[
            "--drain-timeout",
            "60",
            "--log-format=$status",
            "--upstream-allow",
            "loopback",
        ],
    );
    let origin = std::net::TcpListener::bind("127.0.0.1:0").expect("an origin");
    let address = origin.local_addr().expect("bound");
    let asked = [1, 2].map(|number| server.ask(&format!("/http/{address}/{number}")));
    let accepted = [1, 2].map(|_| origin.accept().expect("the router connects").0);
    server.signal(libc::SIGUSR1);
    server.log().wait("draining; ");
    let [first, second] = accepted;
    drop(first);
    assert_eq!(lines(&path, 1), ["502"]);
    let moved = path.with_extension("1");
    fs::rename(&path, &moved).expect("ours");
    server.signal(libc::SIGHUP);
    server.log().wait("the access log is opened anew");
    drop(second);
    assert_eq!(lines(&path, 1), ["502"]);
    assert_eq!(lines(&moved, 1).len(), 1);
    drop(asked);
    server.stop_empty();
}

#[test]
fn full_disk_is_complained_of_once_and_serves() {
    let mut server = Server::start(&["--access-log=/dev/full", "--log-format=$status"]);
    for _ in 0..20 {
        server.get("/rtp/nonsense:x").assert_error(404, "Not Found");
    }
    let complaint = "access log /dev/full cannot be written: ";
    server.log().wait(complaint);
    server.signal(libc::SIGTERM);
    // By then the last line has been tried.
    server.wait(SOON);
    assert_eq!(server.log().count(|line| line.contains(complaint)), 1);
}

#[test]
fn unknown_name_in_the_format_is_told_and_fails_a_check() {
    let check = |format: &str| {
        let mut command = Command::new(PROGRAM);
        let said = run(command.args(["-C", "--check-config", "--log-format", format]));
        (said.status.code(), said.stderr)
    };
    assert_eq!(check("$status $$x $5"), (Some(0), String::new()));
    let (status, told) = check("$statsu");
    assert_eq!(status, Some(1));
    assert!(
        told.contains("log-format: $statsu stands for nothing"),
        "{told}"
    );
    assert!(told.contains("$time_iso8601, "), "{told}");
    let server = Server::start(&["--log-format", "$statsu"]);
    server.log().wait("log-format: $statsu stands for nothing");
    server.stop_empty();
}

#[test]
fn path_that_cannot_be_opened_is_complained_of_once_and_serves() {
    let directory = TempDir::new();
    let missing = directory.path().join("missing/access.log");
    let server = Server::start(&[
        &format!("--access-log={}", missing.display()),
        "--log-format=$status",
    ]);
    for _ in 0..20 {
        server.get("/rtp/nonsense:x").assert_error(404, "Not Found");
    }
    server.log().wait("missing/access.log cannot be opened");
    fs::create_dir(missing.parent().expect("a directory")).expect("ours");
    server.get("/rtp/nonsense:x").assert_error(404, "Not Found");
    // That of the request before may come that late too: its answer has arrived before it has ended.
    let written = lines(&missing, 1);
    assert!(
        written == ["404"] || written == ["404", "404"],
        "{written:?}"
    );
    let complaints = server.log().count(|line| line.contains("cannot be opened"));
    assert_eq!(complaints, 1);
    server.stop_empty();
}

#[test]
fn access_log_that_nobody_takes_holds_up_nobody() {
    let directory = TempDir::new();
    let fifo = directory.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    let server = Server::start(&[
        &format!("--access-log={}", fifo.display()),
        "--log-format=$request$status",
    ]);
    // Nobody opens the other end, so the very first line waits; more come than may wait.
    for _ in 0..1100 {
        server.get("/rtp/nonsense:x").assert_error(404, "Not Found");
    }
    server.log().wait("losing lines: the disk is too slow");
    server.stop_empty();
}
