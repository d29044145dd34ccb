//! The diagnostic log, as whoever reads it sees it; and the router, when nobody reads it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use crate::support::http::{get, read_response};
use crate::support::server::{PROGRAM, connect};
use crate::support::tool::Lines;
use crate::support::{SOON, wait_for};

/// A server whose log is read only when the test says so; killed when dropped.
struct Unread {
    child: Child,
    port: u16,
}

impl Unread {
    /// Starts it with its log on `stdout`, from whose other end `log` reads as far as it must.
    fn start<R: Read>(stdout: Stdio, log: impl FnOnce(&mut Child) -> R) -> (Self, BufReader<R>) {
        let mut child = Command::new(PROGRAM)
            .args(["-C", "-v", "3", "-l", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        let mut log = BufReader::with_capacity(1, log(&mut child));
        let line = line_with(&mut log, "Listening on 127.0.0.1 port ");
        let port = line.trim_end().rsplit(' ').next();
        let port = port.and_then(|port| port.parse().ok());
        line_with(&mut log, "ready to accept connections");
        let port = port.expect("the line ends in a port");
        (Self { child, port }, log)
    }

    /// Makes a request whose line in the log is as long as lines get.
    fn ask(&self) {
        let mut stream = connect(self.port);
        let request = get(&format!("/{}", "x".repeat(2000)));
        stream.write_all(&request).expect("sent");
        read_response(&mut stream).assert_error(404, "Not Found");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads up to the line that contains `fragment`.
fn line_with(log: &mut impl BufRead, fragment: &str) -> String {
    loop {
        let mut line = String::new();
        let len = log.read_line(&mut line).expect("text");
        assert!(len > 0, "the log ended before {fragment:?}");
        if line.contains(fragment) {
            return line;
        }
    }
}

/// More lines than fit where they wait are written; then somebody reads on.
fn go_on_unread(mut server: Unread, log: impl Read + Send + 'static) {
    for _ in 0..1500 {
        server.ask();
    }
    assert!(server.child.try_wait().expect("a child of ours").is_none());
    let lines = Lines::default();
    lines.follow(log);
    // What has been read makes room, for the notice too.
    lines.wait_count(SOON, 20, "New client 127.0.0.1:");
    server.ask();
    let notice = lines.wait("lines lost");
    let lost = notice.strip_prefix("[Worker 0] ");
    let lost = lost.and_then(|text| text.strip_suffix(" lines lost: nobody read this log"));
    let lost: usize = lost.and_then(|count| count.parse().ok()).expect(&notice);
    // Every request was logged or counted.
    let logged = lines.wait_count(SOON, 1501 - lost, "New client 127.0.0.1:");
    assert_eq!(logged.len() + lost, 1501);
    assert!(lost > 0);
}

#[test]
fn pipe_that_nobody_reads_holds_up_nobody() {
    let (server, log) = Unread::start(Stdio::piped(), |child| child.stdout.take().expect("piped"));
    go_on_unread(server, log);
}

#[test]
fn socket_that_nobody_reads_holds_up_nobody() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let (server, log) = Unread::start(std::os::fd::OwnedFd::from(theirs).into(), |_| ours);
    go_on_unread(server, log);
}

#[test]
fn output_stays_as_it_is_for_those_who_share_it() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let ours = writer.try_clone().expect("the same pipe");
    let (server, _) = Unread::start(writer.into(), |_| reader.try_clone().expect("the same"));
    let flags = std::fs::read_to_string(format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsRawFd::as_raw_fd(&ours)
    ));
    let flags = flags.expect("ours");
    let flags = flags.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = i32::from_str_radix(flags.expect("flags").trim(), 8).expect("octal");
    assert_eq!(flags & libc::O_NONBLOCK, 0);
    drop((server, ours));
    wait_for(SOON, "the end of the log", || {
        let len = reader.read(&mut [0; 4096]).expect("readable");
        (len == 0).then_some(())
    });
}
