//! Supervisor and workers: crashes, signals, and what clients notice of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::configured::Configured;
use crate::support::http::{self, Body};
use crate::support::namespace::{WEST, with_links};
use crate::support::sender::{Framing, Source};
use crate::support::server::{PROGRAM, Server, read_to_end};
use crate::support::tool::{Tool, kill};
use crate::support::{SOON, proc, ts, wait_for};

/// Asks for a body of six bytes, of which the origin has sent `abc`; returns the origin's side and the client's.
fn relay_half_a_body(server: &Server) -> (TcpStream, Body) {
    let origin = TcpListener::bind("127.0.0.1:0").expect("an origin");
    let port = origin.local_addr().expect("bound").port();
    let asked = server.ask(&format!("/http/127.0.0.1:{port}/"));
    let (mut connection, _) = origin.accept().expect("the router connects");
    assert!(connection.read(&mut [0; 64]).expect("a request") > 0);
    connection
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        .expect("sent");
    (connection, Body::begin_relayed(asked))
}

/// Opens the stream until every one of `workers` serves it; returns a stream of each.
fn stream_of_each(server: &Server, path: &str, workers: usize) -> Vec<Body> {
    let mut found: Vec<Option<Body>> = (0..workers).map(|_| None).collect();
    wait_for(SOON, "a connection to each worker", || {
        let body = server.open(path);
        let worker = server.worker_of(&body.stream);
        found[worker].get_or_insert(body);
        found.iter().all(Option::is_some).then_some(())
    });
    found.into_iter().flatten().collect()
}

/// Where the process of this worker stands in the list of processes.
fn pid_of(server: &Server, worker: usize) -> u32 {
    // They were made in the order of their numbers.
    server.workers()[worker]
}

/// A port that was free a moment ago, for a file that names one.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

#[test]
fn a_killed_worker_is_replaced_and_streams_of_the_other_go_on() {
    with_links(|| {
        let server = Server::start(&["-w", "2", "-m", "40"]);
        let _sender = Source::new("west", WEST, "239.8.0.1:5000", Framing::Rtp).run(200);
        let mut streams = stream_of_each(&server, "/rtp/239.8.0.1:5000", 2);
        let (mut kept, mut lost) = (streams.remove(0), streams.remove(0));
        let mut bytes = kept.take(70 * ts::PACKET);
        let pid = pid_of(&server, 1);
        kill(pid, libc::SIGKILL);
        let killed = format!("[Supervisor] Worker 1 (pid {pid}) killed by signal 9");
        server.log().wait(&killed);
        server.log().wait("[Supervisor] Restarting worker 1");
        let mut rest = Vec::new();
        let _ = lost.stream.read_to_end(&mut rest);
        bytes.extend(kept.take(350 * ts::PACKET));
        ts::assert_gapless(&bytes);
        // The new one serves, and the one that was not killed still does.
        for mut body in stream_of_each(&server, "/rtp/239.8.0.1:5000", 2) {
            ts::assert_gapless(&body.take(70 * ts::PACKET));
        }
    });
}

#[test]
fn a_worker_that_keeps_crashing_is_restarted_three_times_and_then_waits() {
    let mut server = Server::start(&[]);
    let began = Instant::now();
    for crash in 1..=4 {
        let worker = server.worker();
        kill(worker, libc::SIGKILL);
        let exits = format!("Worker 0 (pid {worker})");
        server.log().wait(&exits);
        if crash <= 3 {
            let ready = "ready to accept connections";
            server.log().wait_count(SOON, crash + 1, ready);
        }
    }
    server.log().wait("restart rate limited");
    assert!(server.workers().is_empty());
    // Whoever comes meanwhile waits and is served.
    server.get("/").assert_error(404, "Not Found");
    let took = began.elapsed();
    assert!((4500..8000).contains(&took.as_millis()), "{took:?}");
    assert!(server.is_running());
    server.stop_empty();
}

#[test]
fn restarting_workers_interrupts_no_transfer_and_refuses_nobody() {
    with_links(|| {
        let server = Server::start(&["-w", "2", "-m", "40", "--upstream-allow", "loopback"]);
        let before = server.workers();
        // A body that takes longer than the restart of the first worker, from an origin that counts bytes out.
        let origin = TcpListener::bind("127.0.0.1:0").expect("an origin");
        let port = origin.local_addr().expect("bound").port();
        let _sender = Source::new("west", WEST, "239.8.0.2:5000", Framing::Rtp).run(200);
        let mut live = server.open("/rtp/239.8.0.2:5000");
        let mut bodies = Vec::new();
        let mut origins = Vec::new();
        for number in 0..4 {
            let asked = server.ask(&format!("/http/127.0.0.1:{port}/{number}"));
            let (mut connection, _) = origin.accept().expect("the router connects");
            let mut head = [0; 64];
            assert!(connection.read(&mut head).expect("a request") > 0);
            connection
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n")
                .expect("sent");
            connection.write_all(&[b'a'; 10_000]).expect("sent");
            bodies.push(Body::begin_relayed(asked));
            origins.push(connection);
        }
        server.signal(libc::SIGUSR1);
        server.log().wait("draining; ");
        for connection in &mut origins {
            connection.write_all(&[b'b'; 20_000]).expect("sent");
        }
        for body in &mut bodies {
            let bytes = body.take(30_000);
            assert!(bytes[..10_000].iter().all(|byte| *byte == b'a'));
            assert!(bytes[10_000..].iter().all(|byte| *byte == b'b'));
        }
        let live = std::thread::spawn(move || read_to_end(&mut live.stream));
        // Nobody who comes while workers are replaced is refused.
        let mut asked = 0;
        wait_for(Duration::from_secs(30), "new workers", || {
            server.get("/").assert_error(404, "Not Found");
            asked += 1;
            let now = server.workers();
            (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
        });
        assert!(asked > 50, "only {asked} requests during the restart");
        // The live stream was ended at a packet's end, after its time.
        let bytes = live.join().expect("an orderly end");
        ts::assert_gapless(&bytes);
        assert!(bytes.len() > 400 * ts::PACKET, "{}", bytes.len());
        let log = server.log();
        assert_eq!(log.count(|line| line.contains("Restarting worker")), 0);
        server.stop_empty();
    });
}

#[test]
fn five_restarts_in_a_row_leave_the_service_up() {
    let server = Server::start(&["--drain-timeout", "0"]);
    for round in 1..=5 {
        let before = server.workers();
        server.signal(libc::SIGUSR1);
        let ready = "ready to accept connections";
        server.log().wait_count(SOON, round + 1, ready);
        wait_for(SOON, "the old worker to go", || {
            let now = server.workers();
            (now.len() == 1 && now != before).then_some(())
        });
        server.get("/").assert_error(404, "Not Found");
    }
    server.stop_empty();
}

#[test]
fn an_idle_program_ends_and_is_replaced_at_once() {
    let mut server = Server::start(&["-w", "2"]);
    server
        .log()
        .wait_count(SOON, 2, "ready to accept connections");
    let before = server.workers();
    let began = Instant::now();
    server.signal(libc::SIGUSR1);
    wait_for(SOON, "new workers", || {
        let now = server.workers();
        (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
    });
    let replaced = began.elapsed();
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(SOON).code(), Some(0));
    let ended = began.elapsed() - replaced;
    // Each takes milliseconds. Clients would be given a second and more.
    assert!(replaced < Duration::from_millis(900), "{replaced:?}");
    assert!(ended < Duration::from_millis(900), "{ended:?}");
}

#[test]
fn a_short_body_is_completed_when_the_program_is_told_to_stop() {
    let mut server = Server::start(&["--upstream-allow", "loopback"]);
    let (mut connection, mut body) = relay_half_a_body(&server);
    assert_eq!(body.take(3), b"abc");
    server.signal(libc::SIGTERM);
    server.log().wait("stopping; ");
    connection.write_all(b"def").expect("sent");
    assert_eq!(body.take(3), b"def");
    drop(body);
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_body_that_does_not_end_holds_up_the_end_for_a_bounded_time() {
    let mut server = Server::start(&["-w", "2", "--upstream-allow", "loopback"]);
    let (_connection, mut body) = relay_half_a_body(&server);
    let began = Instant::now();
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(SOON).code(), Some(0));
    let took = began.elapsed();
    assert!((2500..5000).contains(&took.as_millis()), "{took:?}");
    let mut rest = Vec::new();
    let _ = body.stream.read_to_end(&mut rest);
    assert_eq!(rest, b"abc");
}

#[test]
fn workers_end_with_a_supervisor_that_is_killed() {
    let mut server = Server::start(&["-w", "3"]);
    // The first of them may serve before the last is there.
    let workers = wait_for(SOON, "all workers", || {
        Some(server.workers()).filter(|workers| workers.len() == 3)
    });
    server.signal(libc::SIGKILL);
    server.wait(SOON);
    wait_for(SOON, "the workers to end", || {
        (!workers.iter().any(|pid| proc::lives(*pid))).then_some(())
    });
    // The port is free again.
    TcpListener::bind(("127.0.0.1", server.port)).expect("a free port");
}

#[test]
fn signals_meant_for_the_supervisor_do_not_harm_workers() {
    let server = Server::start(&[]);
    let worker = server.worker();
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGINT] {
        kill(worker, signal);
    }
    server.get("/").assert_error(404, "Not Found");
    assert_eq!(server.worker(), worker);
    // One that is told to end by somebody else is replaced.
    kill(worker, libc::SIGTERM);
    let line = server.log().wait(&format!("Worker 0 (pid {worker})"));
    assert!(line.ends_with("exited with status 0"), "{line}");
    server.log().wait("Restarting worker 0");
    server.get("/").assert_error(404, "Not Found");
    server.stop_empty();
}

#[test]
fn several_workers_do_not_let_another_instance_share_their_port() {
    let server = Server::start(&["-w", "3"]);
    let listen = format!("127.0.0.1:{}", server.port);
    for workers in ["1", "2"] {
        let mut second = Command::new(PROGRAM);
        second.args(["-C", "-w", workers, "-l", &listen]);
        let mut second = Tool::start(&mut second);
        assert_eq!(second.wait(SOON).code(), Some(1));
        second.stderr.wait("Address already in use");
    }
    server.get("/").assert_error(404, "Not Found");
}

#[test]
fn connections_are_spread_over_the_workers() {
    let server = Server::start(&["-w", "2"]);
    let mut seen = [0; 2];
    for _ in 0..60 {
        let mut stream = server.connect();
        stream.write_all(&http::get("/")).expect("sent");
        http::read_response(&mut stream).assert_error(404, "Not Found");
        seen[server.worker_of(&stream)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn a_quiet_supervisor_is_small() {
    let server = Server::start(&[]);
    proc::wait_for_rest(server.pid(), Duration::from_secs(1));
    let bytes = proc::resident_bytes(server.pid());
    // Measured: 110 KiB in a build for tests.
    assert!(bytes < 512 << 10, "{bytes} bytes");
}

const RELOADED: &str = "[Supervisor] Configuration reloaded successfully from ";
const REFUSED: &str =
    "[Supervisor] Configuration reload failed, keeping existing workers and listeners";

#[test]
fn a_reload_changes_what_holds_and_interrupts_no_stream() {
    with_links(|| {
        let global = "[global]\nverbosity = 4\n";
        let configured = Configured::start(global, &["-l", "127.0.0.1:0"]);
        let server = &configured.server;
        let worker = server.worker();
        let _sender = Source::new("west", WEST, "239.8.0.5:5000", Framing::Rtp).run(200);
        let mut live = server.open("/rtp/239.8.0.5:5000");
        let mut bytes = live.take(70 * ts::PACKET);
        // The limit, the pool and who is served.
        let text = "[global]\nverbosity = 4\nmaxclients = 1\nbuffer-pool-max-size = 1024\n\
                    r2h-token = secret\n";
        configured.reload(text, RELOADED);
        wait_for(SOON, "the token to be asked for", || {
            (server.get("/").status == 401).then_some(())
        });
        let limited = server.get("/rtp/239.8.0.5:5000?r2h-token=secret");
        limited.assert_error(503, "Service Unavailable");
        bytes.extend(live.take(350 * ts::PACKET));
        // And back, with less to be told.
        configured.reload("[global]\nverbosity = 3\n", RELOADED);
        wait_for(SOON, "the token not to be asked for", || {
            (server.get("/").status == 404).then_some(())
        });
        let mut second = server.open("/rtp/239.8.0.5:5000");
        ts::assert_gapless(&second.take(70 * ts::PACKET));
        bytes.extend(live.take(350 * ts::PACKET));
        ts::assert_gapless(&bytes);
        assert_eq!(server.worker(), worker);
    });
}

#[test]
fn a_reload_moves_listeners_and_changes_the_number_of_workers_under_load() {
    with_links(|| {
        let ports = [free_port(), free_port()];
        let text = |port: u16, workers: usize| {
            format!(
                "[global]\nverbosity = 4\nmaxclients = 40\nworkers = {workers}\ndrain-timeout = 60\n\
                 [bind]\n127.0.0.1 {port}\n"
            )
        };
        let configured = Configured::start(&text(ports[0], 2), &[]);
        let server = &configured.server;
        let _sender = Source::new("west", WEST, "239.8.0.6:5000", Framing::Rtp).run(200);
        let mut streams = stream_of_each(server, "/rtp/239.8.0.6:5000", 2);
        let mut received: Vec<Vec<u8>> = streams
            .iter_mut()
            .map(|body| body.take(70 * ts::PACKET))
            .collect();
        // One worker fewer, which goes on with the stream it has.
        configured.reload(&text(ports[0], 1), RELOADED);
        server.log().wait("Reducing worker count from 2 to 1");
        server.log().wait("[Worker 1] draining; ");
        // Another port.
        configured.reload(&text(ports[1], 1), RELOADED);
        wait_for(SOON, "the old port to be closed", || {
            std::net::TcpStream::connect(("127.0.0.1", ports[0]))
                .is_err()
                .then_some(())
        });
        let moved = http::exchange(ports[1], &http::get("/"));
        moved.assert_error(404, "Not Found");
        // Three workers, on both ports.
        let both = format!("{}127.0.0.1 {}\n", text(ports[1], 3), ports[0]);
        configured.reload(&both, RELOADED);
        server.log().wait("Increasing worker count from 1 to 3");
        wait_for(SOON, "all workers to serve on both ports", || {
            for port in ports {
                let answer = http::exchange(port, &http::get("/"));
                answer.assert_error(404, "Not Found");
            }
            let serving = |worker: usize| {
                let from = format!("[Worker {worker}] New client ");
                server.log().count(|line| line.starts_with(&from)) > 5
            };
            (0..3).all(serving).then_some(())
        });
        for (body, bytes) in streams.iter_mut().zip(&mut received) {
            bytes.extend(body.take(350 * ts::PACKET));
            ts::assert_gapless(bytes);
        }
        drop(streams);
        // The one that had been dismissed is gone with its last client.
        wait_for(SOON, "three workers", || {
            (server.workers().len() == 3).then_some(())
        });
    });
}

#[test]
fn a_refused_reload_keeps_everything_and_tells_every_problem() {
    let good = "[global]\nverbosity = 3\nmaxclients = 7\n";
    let configured = Configured::start(good, &["-l", "127.0.0.1:0"]);
    let server = &configured.server;
    let worker = server.worker();
    let bad = "[global]\nverbosity = 3\nmaxclients = 0\nr2h-token = secret\nworkers = many\n";
    configured.reload(bad, REFUSED);
    for line in [3, 5] {
        let place = format!("flowgate.conf:{line}: ");
        server.log().wait(&place);
    }
    server.get("/").assert_error(404, "Not Found");
    // Not even a part of it: the authorities, the PID file and the rest are one.
    for (setting, why) in [
        ("tls-ca = /nowhere/ca.pem", "/nowhere/ca.pem"),
        ("pid-file = /nowhere/pid", "Failed to prepare PID file"),
    ] {
        let bad = format!("[global]\nverbosity = 3\nr2h-token = secret\n{setting}\n");
        configured.reload(&bad, REFUSED);
        server.log().wait(why);
        server.get("/").assert_error(404, "Not Found");
    }
    std::fs::remove_file(&configured.file).expect("removed");
    server.signal(libc::SIGHUP);
    server.log().wait_count(SOON, 4, REFUSED);
    server.get("/").assert_error(404, "Not Found");
    assert_eq!(server.worker(), worker);
}

#[test]
fn a_reload_that_wants_a_busy_port_changes_nothing() {
    let occupied = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let busy = occupied.local_addr().expect("bound").port();
    let (port, spare) = (free_port(), free_port());
    let text = |rest: &str| format!("[global]\nverbosity = 3\n[bind]\n127.0.0.1 {port}\n{rest}");
    let configured = Configured::start(&text(""), &[]);
    let bad = text(&format!("127.0.0.1 {spare}\n127.0.0.1 {busy}\n"));
    configured.reload(&bad, REFUSED);
    let line = configured.server.log().wait("Address already in use");
    assert!(line.contains(&format!("127.0.0.1:{busy}")), "{line}");
    http::exchange(port, &http::get("/")).assert_error(404, "Not Found");
    assert!(std::net::TcpStream::connect(("127.0.0.1", spare)).is_err());
}

#[test]
fn authorities_are_renewed_by_a_reload() {
    let text = "[global]\nverbosity = 4\n";
    let configured = Configured::start(text, &["-l", "127.0.0.1:0"]);
    let name = configured.file.with_file_name("ca.pem");
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::default();
    let pem = params.self_signed(&key).expect("a certificate").pem();
    std::fs::write(&name, pem).expect("written");
    let with = format!("{text}tls-ca = {}\n", name.display());
    configured.reload(&with, RELOADED);
    configured
        .server
        .log()
        .wait("[Worker 0] the new configuration holds");
    configured.server.get("/").assert_error(404, "Not Found");
}
