//! Real proxies between the ends: what each absorbs, and whether back pressure travels through it.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{ProbeServer, Run, probe};
use crate::proxy::nginx::Nginx;
use crate::support::server::Server;
use crate::support::tool::{self, Tool};
use crate::support::{SOON, TempDir, wait_for};

const MIB: f64 = 1024.0 * 1024.0;

/// What a table of chains says about a run.
fn note(chain: &str, run: &Run) {
    let hold = &run.conn(0)["hold"];
    println!(
        "{chain}: {} absorbed {} in chain {} after {} s, accepted {}",
        run.result["verdict"],
        hold["absorbed"],
        hold["in_chain"],
        hold["stall_after_s"],
        hold["accepted"]
    );
}

/// The end-to-end proof: what is between the ends lies in flowgate's queue, in the pipe that large bodies pass
/// through, and in the kernel's buffers of flowgate's own sockets, and nowhere else.
#[test]
fn flowgate_passes_back_pressure_on_and_holds_no_more_than_its_queue() {
    let server = ProbeServer::start(&[]);
    // 4096 buffers of 1536 bytes, of which one client gets a quarter at most.
    let router = Server::start(&["--upstream-allow", "loopback", "-b", "4096"]);
    let queue = 4096.0 * 1536.0 / 4.0;
    let url = format!(
        "http://127.0.0.1:{}/http/127.0.0.1:{}",
        router.port, server.port
    );
    let control = format!("http://127.0.0.1:{}", server.port);
    for direction in ["down", "up"] {
        let kernel = KernelBuffers::watch(router.port, server.port);
        let run = probe(
            &url,
            &[
                "--control",
                &control,
                "--direction",
                direction,
                "--resume",
                "5s",
            ],
        );
        note(&format!("flowgate {direction}"), &run);
        run.expect_yes();
        let (held, in_kernel) = (run.hold("in_chain"), kernel.most() as f64);
        assert!(
            held <= queue + PIPE + in_kernel + SLACK,
            "{held} bytes, of which the kernel accounts for {in_kernel}\n{}",
            run.said
        );
    }
}

/// A pipe is a mebibyte.
const PIPE: f64 = MIB;
/// What moves while it is looked at, and framing.
const SLACK: f64 = 0.25 * MIB;

/// What the kernel holds for the sockets of a router, looked at again and again by a thread of its own.
struct KernelBuffers {
    stop: Arc<AtomicBool>,
    most: JoinHandle<u64>,
}

impl KernelBuffers {
    /// For a router on `router` that connects to `server`.
    fn watch(router: u16, server: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let most = std::thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(queued(router, server));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        Self { stop, most }
    }

    /// The most that was seen at one time.
    fn most(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.most.join().expect("it only reads")
    }
}

/// Bytes received and unread, and written and not acknowledged, on sockets whose own port is `router` or whose peer's
/// is `server`, but not those of the ends: `/proc/net/tcp` names a socket by its own address first.
fn queued(router: u16, server: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let of_socket = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (own, peer) = (words.next()?, words.next()?);
        let (sent, received) = words.nth(1)?.split_once(':')?;
        let port = |address: &str| u16::from_str_radix(address.split(':').nth(1)?, 16).ok();
        let is_ours = port(own)? == router || port(peer)? == server;
        let bytes = |text| u64::from_str_radix(text, 16).ok();
        is_ours.then_some(bytes(sent)? + bytes(received)?)
    };
    table.lines().skip(1).filter_map(of_socket).sum()
}

#[test]
fn flowgate_keeps_slow_clients_from_the_others() {
    let server = ProbeServer::start(&[]);
    let router = Server::start(&["--upstream-allow", "loopback", "-m", "16"]);
    let url = format!(
        "http://127.0.0.1:{}/http/127.0.0.1:{}",
        router.port, server.port
    );
    let control = format!("http://127.0.0.1:{}", server.port);
    let four = [
        "--direction",
        "down",
        "-c",
        "4",
        "--slow",
        "1",
        "--control",
        &control,
    ];
    let run = probe(&url, &four);
    run.expect_yes();
    assert_eq!(run.result["isolation"]["ok"], true, "{}", run.said);
}

fn nginx(server: &ProbeServer, settings: &str) -> Nginx {
    let location = format!(
        "location / {{ proxy_pass http://127.0.0.1:{}; proxy_http_version 1.1; client_max_body_size 0;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;\n{settings} }}",
        server.port
    );
    Nginx::start(TempDir::new(), "", &location)
}

#[test]
fn nginx_without_buffering_passes_back_pressure_on() {
    if !Nginx::available() {
        return;
    }
    let server = ProbeServer::start(&[]);
    let proxy = nginx(&server, "proxy_buffering off; proxy_request_buffering off;");
    let control = format!("http://127.0.0.1:{}", server.port);
    for (scheme, direction) in [
        ("http", "down"),
        ("http", "up"),
        ("ws", "up"),
        ("ws", "down"),
    ] {
        let url = format!("{scheme}://127.0.0.1:{}", proxy.port);
        let run = probe(
            &url,
            &[
                "--direction",
                direction,
                "--resume",
                "5s",
                "--control",
                &control,
            ],
        );
        note(&format!("nginx, buffering off, {scheme} {direction}"), &run);
        run.expect_yes();
    }
}

#[test]
fn nginx_with_request_buffering_swallows_uploads() {
    if !Nginx::available() {
        return;
    }
    let server = ProbeServer::start(&[]);
    let proxy = nginx(&server, "proxy_request_buffering on;");
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let control = format!("http://127.0.0.1:{}", server.port);
    let arguments = [
        "--control",
        &control,
        "--max-absorb",
        "16MiB",
        "--hold",
        "4s",
        "--count",
        "1000",
    ];
    let run = probe(&url, &arguments);
    note("nginx, request buffering on, http up", &run);
    assert_eq!(
        (run.exit, &run.result["verdict"]),
        (1, &"no".into()),
        "{}",
        run.said
    );
}

#[test]
fn nginx_with_response_buffering_absorbs_into_its_temporary_files() {
    if !Nginx::available() {
        return;
    }
    let server = ProbeServer::start(&[]);
    let proxy = nginx(
        &server,
        "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; proxy_max_temp_file_size 1024m;",
    );
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let control = format!("http://127.0.0.1:{}", server.port);
    let arguments = [
        "--direction",
        "down",
        "--control",
        &control,
        "--max-absorb",
        "64MiB",
    ];
    let run = probe(&url, &arguments);
    note("nginx, buffering on, http down", &run);
    run.expect("no", "max_absorb", 1);
}

#[test]
fn haproxy_passes_back_pressure_on() {
    if !tool::have(&["haproxy"]) {
        return;
    }
    let server = ProbeServer::start(&[]);
    let directory = TempDir::new();
    for (mode, schemes) in [("tcp", &["tcp", "ws"][..]), ("http", &["http"][..])] {
        let (_proxy, port) = haproxy(&directory, mode, server.port);
        for scheme in schemes {
            for direction in ["up", "down"] {
                let url = format!("{scheme}://127.0.0.1:{port}");
                let run = probe(&url, &["--direction", direction, "--resume", "5s"]);
                note(&format!("haproxy, mode {mode}, {scheme} {direction}"), &run);
                run.expect_yes();
            }
        }
    }
}

#[test]
fn a_proxy_is_gone_through_by_connect() {
    let server = ProbeServer::start(&[]);
    let proxy = connect_proxy();
    let via = format!("http://127.0.0.1:{proxy}");
    for scheme in ["tcp", "ws", "http"] {
        for direction in ["up", "down"] {
            let url = format!("{scheme}://127.0.0.1:{}", server.port);
            let run = probe(&url, &["--via", &via, "--direction", direction]);
            run.expect_yes();
        }
    }
}

fn haproxy(directory: &TempDir, mode: &str, server: u16) -> (Tool, u16) {
    wait_for(SOON, "haproxy to start", || {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let config = directory.path().join(format!("{mode}.cfg"));
        let text = format!(
            "defaults\n mode {mode}\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             frontend f\n bind 127.0.0.1:{port}\n default_backend b\n\
             backend b\n server s 127.0.0.1:{server}\n"
        );
        std::fs::write(&config, text).expect("written");
        let mut command = Command::new("haproxy");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut with_sbin = path;
        with_sbin.push(":/usr/sbin:/sbin");
        command
            .env("PATH", with_sbin)
            .arg("-db")
            .arg("-f")
            .arg(&config);
        let mut tool = Tool::start(&mut command);
        let up = wait_for(
            SOON,
            "haproxy to listen or to end",
            || match std::net::TcpStream::connect(("127.0.0.1", port)) {
                Ok(_) => Some(true),
                Err(_) => (!tool.is_running()).then_some(false),
            },
        );
        up.then_some((tool, port))
    })
}

/// A proxy that knows CONNECT and nothing else; it holds what one copy in either direction holds.
fn connect_proxy() -> u16 {
    use std::io::{BufRead, BufReader, Write};
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("accepted");
            std::thread::spawn(move || {
                let mut lines =
                    BufReader::with_capacity(1, client.try_clone().expect("a descriptor"));
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if lines.read_line(&mut head).unwrap_or(0) == 0 {
                        return;
                    }
                }
                let target = head.split(' ').nth(1).expect("an authority");
                assert!(head.starts_with("CONNECT "), "{head}");
                let server = std::net::TcpStream::connect(target).expect("connected");
                let mut answering = &client;
                let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
                answering.write_all(answer).expect("sent");
                super::relay::both_ways(client, server);
            });
        }
    });
    port
}
