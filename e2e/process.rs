//! The process: arguments, signals, log, descriptors, and doing nothing when there is nothing to do.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::http::Body;
use crate::support::namespace::{WEST, is_inside_user_namespace, with_links, with_loopback_only};
use crate::support::sender::{Framing, Source};
use crate::support::server::{self, PROGRAM, Server, read_to_end};
use crate::support::tool::{Tool, run};
use crate::support::{SOON, TempDir, ffmpeg, proc, tool, ts, wait_for};

#[test]
fn wrong_argument_is_explained_and_ends_with_status_1() {
    for (arguments, names) in [
        (
            &["--maxclients", "0"][..],
            ["--maxclients", "\"0\"", "1 to 65536"],
        ),
        (&["-m", "many"], ["-m", "\"many\"", "1 to 65536"]),
        (&["-m5x"], ["--maxclients", "\"5x\"", "1 to 65536"]),
        (
            &["-b", "1"],
            ["--buffer-pool-max-size", "\"1\"", "64 to 4194304"],
        ),
        (
            &["-B", "10"],
            ["--udp-rcvbuf-size", "\"10\"", "65536 to 1073741824"],
        ),
        (
            &["--no-data-timeout=-1"],
            ["--no-data-timeout", "\"-1\"", "0.1 to 3600"],
        ),
        (
            &["--fast-start", "12"],
            ["--fast-start", "\"12\"", "64 to 65536"],
        ),
        (&["-v", "loud"], ["--verbose", "\"loud\"", "TRACE"]),
        (
            &["-l", "127.0.0.1:65536"],
            ["--listen", "127.0.0.1:65536", "65535"],
        ),
        (&["-l"], ["-l", "--listen", "[addr:]port"]),
        (&["--quiet=yes"], ["-q", "--quiet", "value"]),
        (&["--nonsense"], ["--nonsense", "not an option", "--help"]),
        (&["--mcast"], ["--mcast-rejoin-interval", "", ""]),
        (
            &["--channel"],
            ["--channel-linger", "--channel-linger-max", "--channel"],
        ),
    ] {
        let said = run(Command::new(PROGRAM).args(arguments));
        println!("{arguments:?}: {}", said.stderr);
        assert_eq!(said.status.code(), Some(1));
        assert_eq!(said.stdout, "");
        assert!(said.stderr.starts_with("flowgate: "));
        assert!(
            names.iter().all(|name| said.stderr.contains(name)),
            "{names:?}"
        );
    }
}

#[test]
fn help_and_version_end_well() {
    for (argument, expected) in [
        ("--help", "Usage:"),
        ("-h", "Usage:"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("-V", env!("CARGO_PKG_VERSION")),
    ] {
        let said = run(Command::new(PROGRAM).arg(argument));
        assert!(said.status.success() && said.stderr.is_empty());
        assert!(said.stdout.contains(expected), "{}", said.stdout);
    }
    let mut child = Command::new(PROGRAM)
        .arg("--help")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let status = wait_for(SOON, "the end", || {
        child.try_wait().expect("a child of ours")
    });
    assert!(status.success(), "a closed pipe: {status}");
}

#[test]
fn busy_port_is_a_clear_error_and_status_1() {
    let occupied = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = occupied.local_addr().expect("bound").port();
    let said = run(Command::new(PROGRAM).args(["-l", &format!("127.0.0.1:{port}")]));
    assert_eq!(said.status.code(), Some(1));
    let expected = format!("cannot listen on 127.0.0.1:{port}: Address already in use");
    assert!(said.stderr.contains(&expected), "{}", said.stderr);
    // A person at a terminal reads it once.
    let script = format!("exec {PROGRAM} -l 127.0.0.1:{port} 2>&1");
    let said = run(Command::new("sh").args(["-c", &script]));
    assert_eq!(said.stdout.matches(&expected).count(), 1, "{}", said.stdout);
}

#[test]
fn second_instance_does_not_share_the_port() {
    let server = Server::start(&[]);
    let said = run(Command::new(PROGRAM).args(["-l", &format!("127.0.0.1:{}", server.port)]));
    assert_eq!(said.status.code(), Some(1));
    assert!(
        said.stderr.contains("Address already in use"),
        "{}",
        said.stderr
    );
    server.get("/").assert_error(404, "Not Found");
}

#[test]
fn unresolvable_address_to_listen_on_is_a_clear_error_and_status_1() {
    // Without a network, so that nobody is asked.
    with_loopback_only(|| {
        let said = run(Command::new(PROGRAM).args(["-l", "nowhere.invalid:5140"]));
        assert_eq!(said.status.code(), Some(1));
        assert!(said.stderr.contains("nowhere.invalid"), "{}", said.stderr);
        let said = run(Command::new(PROGRAM).args(["-l", "192.0.2.1:5140"]));
        assert_eq!(said.status.code(), Some(1));
        assert!(said.stderr.contains("192.0.2.1:5140"), "{}", said.stderr);
    });
}

#[test]
fn listener_can_be_ipv6_a_name_or_everything() {
    with_loopback_only(|| {
        for (listen, expected) in [
            ("[::1]:0", "Listening on ::1 port "),
            ("localhost:0", "Listening on 127.0.0.1 port "),
            ("*:0", "Listening on :: port "),
            ("0", "Listening on 0.0.0.0 port "),
        ] {
            let tool = Tool::start(Command::new(PROGRAM).args(["-v", "3", "-l", listen]));
            let line = tool.stdout.wait(expected);
            assert!(!line.ends_with(" 0"), "{line}");
            tool.stdout.wait("ready to accept connections");
        }
    });
}

#[test]
fn either_signal_lets_clients_finish_and_ends_well() {
    with_links(|| {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let mut server = Server::start(&[]);
            let sender = Source::new("west", WEST, "239.5.0.1:5000", Framing::Rtp).run(200);
            let mut body = server.open("/rtp/239.5.0.1:5000");
            let mut silent = server.connect();
            let mut bytes = body.take(350 * ts::PACKET);
            let began = Instant::now();
            server.signal(signal);
            // What was queued still comes, then an orderly end inside no packet.
            bytes.extend(read_to_end(&mut body.stream));
            ts::assert_gapless(&bytes);
            assert_eq!(read_to_end(&mut silent), b"");
            drop((body, silent, sender));
            let status = server.wait(Duration::from_secs(5));
            assert_eq!(status.code(), Some(0));
            assert!(began.elapsed() < Duration::from_secs(5));
            server.log().wait("; 0 bytes of buffers in use");
        }
    });
}

#[test]
fn client_that_takes_nothing_holds_up_the_end_for_a_bounded_time() {
    with_links(|| {
        for hurry in [false, true] {
            let mut server = Server::start(&["-b", "8192"]);
            let _sender = Source::new("west", WEST, "239.5.0.2:5000", Framing::Rtp)
                .packets_per_datagram(170)
                .run(400);
            let body = server.open("/rtp/239.5.0.2:5000");
            // Sockets are full once the kernel's queues have not changed for a while; the log says nothing
            // about it, but the memory does: 12 MB/s fill what the kernel gives within a second or two.
            let until = Instant::now() + Duration::from_secs(2);
            wait_for(SOON, "full buffers", || {
                (Instant::now() >= until).then_some(())
            });
            let began = Instant::now();
            server.signal(libc::SIGTERM);
            server.log().wait("stopping; ");
            if hurry {
                server.signal(libc::SIGTERM);
            }
            assert_eq!(server.wait(Duration::from_secs(8)).code(), Some(0));
            let took = began.elapsed();
            let expected = if hurry { 0..1000 } else { 2500..5000 };
            assert!(
                expected.contains(&took.as_millis()),
                "hurry {hurry}: {took:?}"
            );
            drop(body);
        }
    });
}

#[test]
fn no_new_client_is_taken_on_while_stopping() {
    with_links(|| {
        let mut server = Server::start(&[]);
        let port = server.port;
        let mut held = server.connect();
        std::io::Write::write_all(&mut held, b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let mut start = [0; 12];
        held.read_exact(&mut start).expect("an answer");
        server.signal(libc::SIGTERM);
        server.log().wait("stopping; ");
        wait_for(Duration::from_secs(1), "the listener to be closed", || {
            std::net::TcpStream::connect(("127.0.0.1", port))
                .is_err()
                .then_some(())
        });
        drop(held);
        assert_eq!(server.wait(SOON).code(), Some(0));
    });
}

#[test]
fn closed_output_does_not_end_the_program() {
    // The log is where the port is told, so this one is given a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let mut child = Command::new(PROGRAM)
        .args(["-C", "-v", "5", "-l", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop((child.stdout.take(), child.stderr.take()));
    for _ in 0..20 {
        let mut stream = server::connect(port);
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let response = crate::support::http::read_response(&mut stream);
        response.assert_error(404, "Not Found");
    }
    let alive = child.try_wait().expect("a child of ours").is_none();
    let _ = child.kill();
    let status = child.wait().expect("a child of ours");
    assert!(alive, "ended: {status}, signal {:?}", status.signal());
}

#[test]
fn broken_pipes_are_ignored_from_the_start() {
    let mut server = Server::start(&[]);
    let sigpipe = 1 << (libc::SIGPIPE - 1);
    for pid in [server.pid(), server.worker()] {
        assert_ne!(proc::ignored_signals(pid) & sigpipe, 0);
    }
    server.signal(libc::SIGPIPE);
    server.get("/").assert_error(404, "Not Found");
    assert!(server.is_running());
    server.stop_empty();
}

#[test]
fn descriptors_are_closed_on_exec() {
    with_links(|| {
        let directory = TempDir::new();
        let [socket, pid_file] = ["http.sock", "pid"].map(|name| directory.path().join(name));
        let [socket, pid_file] = [&socket, &pid_file].map(|path| path.to_str().expect("in ASCII"));
        let server = Server::start(&["-m", "8", "-l", socket, "--pid-file", pid_file]);
        let _client = server::connect_unix(socket.as_ref());
        let _sender = Source::new("west", WEST, "239.5.0.3:5000", Framing::Rtp).run(200);
        let _bodies = [
            server.open("/rtp/239.5.0.3:5000"),
            server.open("/rtp/239.5.0.3:5000"),
        ];
        // Also with the resolver running.
        server
            .get("/rtp/nowhere.invalid:5000")
            .assert_error(404, "Not Found");
        // What we were given ourselves, the server was given too.
        let ours = proc::inheritable_descriptors(std::process::id());
        for pid in [server.pid(), server.worker()] {
            let mut inheritable = proc::inheritable_descriptors(pid);
            inheritable
                .retain(|descriptor| !ours.contains(descriptor) || descriptor.starts_with("0 "));
            let numbers: Vec<&str> = inheritable
                .iter()
                .filter_map(|text| text.split(' ').next())
                .collect();
            assert_eq!(numbers, ["0", "1", "2"], "{inheritable:?}");
        }
    });
}

#[test]
fn clients_beyond_the_last_descriptor_are_served_when_others_leave() {
    let directory = TempDir::new();
    let path = directory.path().join("http.sock");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", PROGRAM]);
    let socket = path.to_str().expect("a path in ASCII");
    let server = Server::start_as(limited, &["-l", socket]);
    let idle: Vec<_> = (0..60).map(|_| server.connect()).collect();
    server.log().wait("accepting a connection failed: ");
    let request = crate::support::http::get("/");
    let mut tcp = server.connect();
    let mut unix = server::connect_unix(&path);
    std::io::Write::write_all(&mut tcp, &request).expect("sent");
    std::io::Write::write_all(&mut unix, &request).expect("sent");
    drop(idle);
    // Nobody else connects meanwhile, whose coming would be noticed.
    for bytes in [read_to_end(&mut tcp), read_to_end(&mut unix)] {
        crate::support::http::parse(bytes).assert_error(404, "Not Found");
    }
    server.stop_empty();
}

#[test]
fn log_lines_have_the_promised_form() {
    for (arguments, stamped) in [(&[][..], false), (&["--log-timestamps"], true)] {
        let server = Server::start(arguments);
        server
            .get("/watch?r2h-token=secret")
            .assert_error(404, "Not Found");
        let line = server.log().wait("New client 127.0.0.1:");
        assert!(!line.contains("secret"), "{line}");
        assert!(line.ends_with(" (method: GET)"), "{line}");
        for line in server.log().all() {
            let text = match stamped {
                false => line.as_str(),
                true => {
                    let (stamp, text) = line.split_at(25);
                    let shape: String = stamp
                        .chars()
                        .map(|c| if c.is_ascii_digit() { '9' } else { c })
                        .collect();
                    assert_eq!(shape, "9999-99-99T99:99:99.999Z ");
                    text.split_once(' ').expect("a level").1
                }
            };
            assert!(
                text.starts_with("[Supervisor] ") || text.starts_with("[Worker 0] "),
                "{line}"
            );
        }
    }
    let quiet = Tool::start(Command::new(PROGRAM).args(["-q", "-l", "127.0.0.1:0"]));
    let sigterm_handled = 1 << (libc::SIGTERM - 1);
    wait_for(SOON, "the handler", || {
        let path = format!("/proc/{}/status", quiet.pid());
        let status = std::fs::read_to_string(path).expect("a process of ours");
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        (mask & sigterm_handled != 0).then_some(())
    });
    quiet.signal(libc::SIGTERM);
    let mut quiet = quiet;
    assert!(quiet.wait(SOON).success());
    assert!(quiet.stdout.all().is_empty() && quiet.stderr.all().is_empty());
}

#[test]
fn log_cannot_be_forged_by_a_request() {
    let server = Server::start(&[]);
    // Control characters are refused; what is percent-encoded stays so.
    server
        .exchange(b"GET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n")
        .assert_error(400, "Bad Request");
    server
        .get("/%0a[Worker%200]%20forged")
        .assert_error(404, "Not Found");
    server.log().wait("%0a[Worker%200]%20forged");
    assert_eq!(
        server
            .log()
            .count(|line| line.starts_with("[Worker 0] forged")),
        0
    );
}

#[test]
fn name_is_looked_up_while_another_client_streams_on() {
    with_links(|| {
        let server = Server::start(&["-m", "8"]);
        let _sender = Source::new("west", WEST, "239.5.0.4:5000", Framing::Rtp).run(500);
        let mut body = server.open("/rtp/239.5.0.4:5000");
        let mut bytes = body.take(70 * ts::PACKET);
        // Known to every machine, but no group.
        server
            .get("/rtp/localhost:5000")
            .assert_error(503, "Service Unavailable");
        let unknown = server.get("/rtp/nowhere.invalid:5000");
        unknown.assert_error(404, "Not Found");
        let why = unknown.header("X-Flowgate-Error").unwrap_or("");
        assert!(why.contains("nowhere.invalid"), "{why}");
        // As a source too, beside a good one.
        let source = server.get("/rtp/nowhere.invalid@239.5.0.4:5000");
        source.assert_error(404, "Not Found");
        bytes.extend(body.take(350 * ts::PACKET));
        ts::assert_gapless(&bytes);
        drop(body);
        server.stop_empty();
    });
}

#[test]
fn unanswered_look_up_is_given_up_and_holds_up_nobody() {
    if !tool::have(&["unshare", "mount"]) {
        return;
    }
    with_links(|| {
        // A name server that never answers, for this process alone.
        let silent = std::net::UdpSocket::bind("127.0.0.1:53").expect("port 53 is ours here");
        let directory = TempDir::new();
        let file = directory.path().join("resolv.conf");
        std::fs::write(
            &file,
            "nameserver 127.0.0.1\noptions timeout:8 attempts:1\n",
        )
        .expect("written");
        let mut command = Command::new("unshare");
        let script = format!(
            "mount --bind {} /etc/resolv.conf && exec \"$@\"",
            file.display()
        );
        command.args(["-m", "sh", "-c", &script, "sh", PROGRAM]);
        let server = Server::start_as(command, &["-m", "8"]);
        let _sender = Source::new("west", WEST, "239.5.0.5:5000", Framing::Rtp).run(500);
        let mut body = server.open("/rtp/239.5.0.5:5000");
        let began = Instant::now();
        let mut waiting = server.ask("/rtp/tv.example.org:5000");
        let mut query = [0; 512];
        silent.set_read_timeout(Some(SOON)).expect("valid");
        silent.recv(&mut query).expect("the name is asked for");
        let mut bytes = Vec::new();
        let mut longest = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(4) {
            let asked = Instant::now();
            bytes.extend(body.take(35 * ts::PACKET));
            longest = longest.max(asked.elapsed());
        }
        ts::assert_gapless(&bytes);
        assert!(
            longest < Duration::from_secs(1),
            "the stream stood still for {longest:?}"
        );
        let refused = crate::support::http::read_response(&mut waiting);
        refused.assert_error(503, "Service Unavailable");
        let took = began.elapsed();
        assert!((4500..7500).contains(&took.as_millis()), "{took:?}");
    });
}

#[test]
#[allow(
    clippy::redundant_closure,
    reason = "the closure tells which test to run again in a user namespace"
)]
fn demo_works_for_an_unprivileged_user_without_a_network() {
    if !ffmpeg::available() {
        return;
    }
    // With nothing but loopback, as on a machine that is in no network; and no demo of others is in the way.
    with_loopback_only(|| watch_demo());
}

#[test]
fn demo_works_for_an_unprivileged_user_on_this_machine() {
    if !ffmpeg::available() {
        return;
    }
    watch_demo();
}

#[test]
fn demos_side_by_side_have_ports_and_streams_of_their_own() {
    with_loopback_only(|| {
        let demos = [(); 2].map(|()| {
            let mut command = Command::new(PROGRAM);
            command.args(["demo", "-v", "3", "--app-path-prefix", "/tv"]);
            let server = Server::start_bare(command);
            let url = demo_url(&server);
            let (begin, group) = url.split_once("/tv/rtp/").expect("below the prefix");
            assert_eq!(begin, format!("http://127.0.0.1:{}", server.port));
            (server, format!("/tv/rtp/{group}"))
        });
        let [(first, first_path), (second, second_path)] = &demos;
        assert_eq!(
            (first.port, first_path.as_str()),
            (5140, "/tv/rtp/239.255.70.71:5004")
        );
        assert_ne!(second_path, first_path);
        let told = second.log().all();
        assert!(
            told.iter().any(|line| line.contains("Port 5140 is in use")),
            "{told:?}"
        );
        for (server, path) in &demos {
            let bytes = server.open(path).take_for(Duration::from_secs(2));
            ts::assert_continuous(&bytes);
        }
        // A reload looks at the same command line again, and finds the port taken that is its own.
        second.signal(libc::SIGHUP);
        second
            .log()
            .wait("There is no configuration file; the settings are the same");
        server::connect(second.port);
        for (server, _) in demos {
            server.stop_empty();
        }
    });
}

#[test]
fn demo_does_not_choose_another_port_than_it_was_told() {
    with_loopback_only(|| {
        let _taken = TcpListener::bind("127.0.0.1:5140").expect("free");
        let refused = run(Command::new(PROGRAM).args(["demo", "-l", "127.0.0.1:5140"]));
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            refused.stderr.contains("cannot listen on 127.0.0.1:5140"),
            "{}",
            refused.stderr
        );
    });
}

/// The URL that a demo tells its user.
fn demo_url(server: &Server) -> String {
    let line = wait_for(SOON, "a URL", || {
        let lines = server.log().all();
        lines
            .into_iter()
            .find(|line| line.starts_with("  http://127.0.0.1:"))
    });
    line.trim().to_owned()
}

fn watch_demo() {
    let directory = TempDir::new();
    // Where an unprivileged user can read it, wherever the project lies.
    let program = directory.path().join("flowgate");
    // By a program of its own: what a test beside this one starts would inherit the file that is written for a moment,
    // and a file that is written cannot be started.
    let copied = run(Command::new("cp").arg(PROGRAM).arg(&program));
    assert!(copied.status.success(), "{}", copied.stderr);
    let mut command = Command::new(&program);
    if nix::unistd::geteuid().is_root() && !is_inside_user_namespace() {
        command.uid(65534).gid(65534);
    }
    command.arg("demo");
    let server = Server::start_as(command, &[]);
    let url = demo_url(&server);
    server.log().wait(&format!("  {}", server.url("/player")));
    let path = url.strip_prefix(&server.url("")).expect("this router's");
    let list = String::from_utf8(server.get("/playlist.m3u").body).expect("text");
    assert!(list.contains("Test picture\nhttp://"), "{list}");
    let file = directory.path().join("demo.ts");
    // The first client joins in the middle; the next ones start at a key frame.
    let first = server.open(path).take_for(Duration::from_secs(3));
    assert!(first.len() > 100 * ts::PACKET);
    let mut curl = ffmpeg::record(&url, &file, Duration::from_secs(4));
    // Told to stop by time, which curl calls an error.
    assert_eq!(curl.wait(SOON).code(), Some(28), "{:?}", curl.stderr.all());
    let bytes = std::fs::read(&file).expect("recorded");
    ts::assert_starts_a_decoder(&bytes);
    std::fs::write(&file, ts::without_unfinished_frame(&bytes)).expect("written");
    ffmpeg::assert_decodes(file.to_str().expect("UTF-8"));
    assert!(
        ffmpeg::frames(&file) >= 60,
        "{} frames",
        ffmpeg::frames(&file)
    );
    server.stop_empty();
}

#[test]
fn stream_goes_on_while_the_log_is_full_of_debug() {
    with_links(|| {
        let server = Server::start(&["-v", "5", "-m", "8"]);
        let _sender = Source::new("west", WEST, "239.5.0.6:5000", Framing::Rtp).run(500);
        let stream = server.ask("/rtp/239.5.0.6:5000");
        ts::assert_gapless(&Body::begin(stream).take(1400 * ts::PACKET));
        server.stop_empty();
    });
}
