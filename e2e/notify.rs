//! What a service manager is told, over a real datagram socket (`sd_notify(3)`).

use std::io::{ErrorKind, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::server::{PROGRAM, Server, read_to_end};
use crate::support::tool::{Tool, run};
use crate::support::{SOON, TempDir};

/// A service manager.
struct Manager {
    socket: UnixDatagram,
    name: String,
    _directory: TempDir,
}

impl Manager {
    fn at_a_path() -> Self {
        let directory = TempDir::new();
        let name = directory.path().join("notify");
        Self {
            socket: UnixDatagram::bind(&name).expect("a socket"),
            name: name.to_str().expect("UTF-8").to_owned(),
            _directory: directory,
        }
    }

    /// In the abstract namespace.
    fn abstractly() -> Self {
        let directory = TempDir::new();
        let name = format!("flowgate-e2e{}", directory.path().display());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        Self {
            socket: UnixDatagram::bind_addr(&address).expect("a socket"),
            name: format!("@{name}"),
            _directory: directory,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env("NOTIFY_SOCKET", &self.name);
        command
    }

    /// The next message within `limit`, its assignments apart.
    fn told_within(&self, limit: Duration) -> Option<Vec<String>> {
        self.socket.set_read_timeout(Some(limit)).expect("a limit");
        let mut bytes = [0; 4096];
        match self.socket.recv(&mut bytes) {
            Ok(len) => {
                let text = std::str::from_utf8(&bytes[..len]).expect("text");
                Some(text.lines().map(str::to_owned).collect())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn told(&self) -> Vec<String> {
        self.told_within(SOON).expect("a message in time")
    }
}

/// Microseconds of the clock that the manager goes by, from the kernel's own file.
fn uptime_micros() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("an uptime");
    let (seconds, _) = text.split_once(' ').expect("two numbers");
    (seconds.parse::<f64>().expect("seconds") * 1e6) as u64
}

#[test]
fn manager_hears_of_start_reload_and_stop() {
    for manager in [Manager::at_a_path(), Manager::abstractly()] {
        let mut server = Server::start_as(manager.command(), &["-w", "2"]);
        let told = manager.told();
        assert_eq!(told, ["READY=1", "STATUS=2 worker(s) serving"]);
        server.get("/").assert_error(404, "Not Found");
        server.signal(libc::SIGHUP);
        let told = manager.told();
        let [reloading, micros] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(reloading, "RELOADING=1");
        let micros = micros.strip_prefix("MONOTONIC_USEC=").expect("a time");
        let micros: u64 = micros.parse().expect("a number");
        // Both count from the start of the machine, where nothing has been suspended.
        let apart = uptime_micros().abs_diff(micros);
        assert!(apart < 60_000_000, "{apart} µs apart");
        assert_eq!(manager.told()[0], "READY=1");
        // Workers are replaced without a word: the service is there all the time.
        server.signal(libc::SIGUSR1);
        let ready = "ready to accept connections";
        server.log().wait_count(SOON, 4, ready);
        server.signal(libc::SIGTERM);
        assert_eq!(manager.told(), ["STOPPING=1", "STATUS=stopping"]);
        assert_eq!(server.wait(SOON).code(), Some(0));
        assert_eq!(manager.told_within(Duration::from_millis(1)), None);
    }
}

#[test]
fn manager_hears_nothing_before_clients_can_connect() {
    let manager = Manager::at_a_path();
    let path = format!("{}.http", manager.name);
    for _ in 0..5 {
        let mut command = manager.command();
        let mut program = Tool::start(command.args(["-C", "-w", "4", "-l", &path]));
        assert_eq!(manager.told()[0], "READY=1");
        // Whoever is told may connect at once; there is no second attempt.
        let mut stream = UnixStream::connect(&path).expect("connected");
        stream.write_all(&http::get("/")).expect("asked");
        let answer = http::parse(read_to_end(&mut stream));
        answer.assert_error(404, "Not Found");
        program.signal(libc::SIGTERM);
        assert_eq!(manager.told()[0], "STOPPING=1");
        assert_eq!(program.wait(SOON).code(), Some(0));
    }
}

#[test]
fn program_that_cannot_start_is_never_ready() {
    let manager = Manager::at_a_path();
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = occupied.local_addr().expect("bound").to_string();
    let said = run(manager.command().args(["-C", "-l", &address]));
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(manager.told_within(Duration::from_millis(1)), None);
}

#[test]
fn manager_that_is_gone_or_does_not_read_holds_nothing_up() {
    let manager = Manager::at_a_path();
    // Its queue is full before the start.
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.set_nonblocking(true).expect("it does not block");
    while sender.send_to(b"full", &manager.name).is_ok() {}
    let mut server = Server::start_as(manager.command(), &[]);
    server.log().wait("the service manager cannot be told: ");
    std::fs::remove_file(&manager.name).expect("ours");
    server.signal(libc::SIGHUP);
    server
        .log()
        .wait("There is no configuration file; the settings are the same");
    let began = Instant::now();
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(SOON).code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn socket_of_an_unknown_kind_is_refused() {
    let mut command = Command::new(PROGRAM);
    command.env("NOTIFY_SOCKET", "vsock:2:1").arg("-C");
    let said = run(&mut command);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        said.stderr.contains("NOTIFY_SOCKET is \"vsock:2:1\""),
        "{}",
        said.stderr
    );
}
