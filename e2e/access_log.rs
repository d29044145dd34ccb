//! The access log: what its file holds, and when.

use std::fs;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::http::Body;
use crate::support::namespace::{WEST, with_links};
use crate::support::sender::{Framing, Source};
use crate::support::server::{PROGRAM, Server};
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
        let refused = server.get("/rtp/239.6.0.1:5000");
        assert_eq!(refused.status, 401);
        let probe = b"HEAD /rtp/239.6.0.1:5000?r2h-token=s3cret HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(server.exchange(probe).status, 200);
        assert_eq!(server.get("/nothing?r2h-token=s3cret").status, 404);
        assert!(!path.exists(), "nobody was taken on");

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
        let full = server.get("/rtp/239.6.0.1:5000?r2h-token=s3cret");
        assert_eq!(full.status, 503);
        let mode = fs::metadata(&path).expect("the log").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        server.stop();
        assert_eq!(lines(&path, 1).len(), 1, "refused requests leave no line");
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
    assert_eq!(lines(&missing, 1), ["404"]);
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
