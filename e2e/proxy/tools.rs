//! Clients and servers of others: curl, nginx, Python's `http.server`, and h11, which is strict about every byte.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::nginx::Nginx;
use super::wire::Wire;
use crate::support::server::Server;
use crate::support::tool::{self, Tool};
use crate::support::{TempDir, skip};

/// Debian's Python, for which Debian's python3-h11 is.
const PYTHON: &str = "/usr/bin/python3";
const H11_PEERS: &str = include_str!("h11_peers.py");

/// What curl prints for these arguments; insists that it is content.
fn curl(arguments: &[&str]) -> String {
    let said = tool::run(
        Command::new("curl")
            .args(["-sS", "--max-time", "20"])
            .args(arguments),
    );
    assert!(said.status.success(), "{arguments:?}: {}", said.stderr);
    said.stdout
}

#[test]
fn curl_and_nginx_each_keep_one_connection() {
    if !Nginx::available() || !tool::have(&["curl"]) {
        return;
    }
    let directory = TempDir::new();
    std::fs::write(directory.path().join("a.txt"), "0123456789").expect("written");
    let nginx = Nginx::start(
        directory,
        "",
        "location = /n { return 200 \"$connection_requests \"; }",
    );
    let server = Server::start(&[]);
    let url = server.url(&nginx.path("/n"));
    let said = curl(&[
        "-w",
        "%{num_connects} %{http_code}\n",
        &url,
        &url,
        &url,
        &url,
    ]);
    assert_eq!(said, "1 1 200\n2 0 200\n3 0 200\n4 0 200\n");
    // Another client finds the connection to nginx that the first has left.
    assert_eq!(curl(&[&url]), "5 ");

    let file = server.url(&nginx.path("/a.txt"));
    assert_eq!(
        curl(&[
            "-r",
            "2-4",
            "-w",
            " %{http_code} %header{content-range}",
            &file
        ]),
        "234 206 bytes 2-4/10"
    );
    assert_eq!(
        curl(&["-r", "20-", "-o", "/dev/null", "-w", "%{http_code}", &file]),
        "416"
    );
    let etag = curl(&["-o", "/dev/null", "-w", "%header{etag}", &file]);
    let condition = format!("If-None-Match: {etag}");
    assert_eq!(
        curl(&["-H", &condition, "-w", "%{http_code}", &file]),
        "304"
    );
    assert_eq!(
        curl(&["-H", "If-Range: \"old\"", "-r", "2-4", &file]),
        "0123456789"
    );
    assert_eq!(
        curl(&[
            "-I",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %header{content-length}",
            &file
        ]),
        "200 10"
    );
    assert_eq!(
        curl(&["-0", "-w", " %{http_version}", &file]),
        "0123456789 1.1"
    );
    assert_eq!(nginx.complaints(), [""; 0]);
    server.stop_empty();
}

#[test]
fn curl_follows_redirects_through_the_proxy_and_keeps_its_cookies() {
    if !Nginx::available() || !tool::have(&["curl"]) {
        return;
    }
    let nginx = Nginx::start(
        TempDir::new(),
        "",
        "absolute_redirect on;\nport_in_redirect on;\n\
         location = /start { add_header Set-Cookie 'seen=$http_user_agent; Path=/next'; return 302 /next/a; }\n\
         location = /next/a { return 307 b; }\n\
         location = /next/b { return 200 '$cookie_seen $http_user_agent'; }",
    );
    let server = Server::start(&["-T", "s t"]);
    let url = server.url(&nginx.path("/start?r2h-token=s%20t"));
    let said = curl(&[
        "-L",
        "-c",
        "-",
        "-o",
        "-",
        "-A",
        "agent",
        "-w",
        "|%{num_redirects} %{url_effective}|",
        &url,
    ]);
    let end = server.url(&nginx.path("/next/b?r2h-token=s%20t"));
    assert!(said.starts_with(&format!("agent agent|2 {end}|")), "{said}");
    server.stop_empty();
}

#[test]
fn curl_uploads_to_nginx() {
    if !Nginx::available() || !tool::have(&["curl"]) {
        return;
    }
    let nginx = Nginx::start(
        TempDir::new(),
        "",
        "client_max_body_size 0;\ndav_methods PUT DELETE;",
    );
    let server = Server::start(&[]);
    let body: Vec<u8> = (0..3_000_000_u32)
        .map(|at| (at ^ (at >> 11)) as u8)
        .collect();
    let source = nginx.directory.path().join("source");
    std::fs::write(&source, &body).expect("written");
    let source = source.to_str().expect("UTF-8");
    for (name, header) in [("length", "X: y"), ("chunks", "Transfer-Encoding: chunked")] {
        let url = server.url(&nginx.path(&format!("/{name}")));
        let said = curl(&["-T", source, "-H", header, "-w", "%{http_code}", &url]);
        assert_eq!(said, "201");
        let copy = std::fs::read(nginx.directory.path().join(name)).expect("uploaded");
        assert!(copy == body, "{name}: the body was changed");
        assert_eq!(curl(&["-X", "DELETE", "-w", "%{http_code}", &url]), "204");
    }
    server.stop_empty();
}

#[test]
fn files_of_a_python_server_are_served() {
    if !tool::have(&["curl"]) {
        return;
    }
    if !Path::new(PYTHON).is_file() {
        return skip("Debian's python3 is not installed");
    }
    let directory = TempDir::new();
    let body: Vec<u8> = (0..2_000_000_u32)
        .map(|at| (at ^ (at >> 7)) as u8)
        .collect();
    std::fs::write(directory.path().join("a b.bin"), &body).expect("written");
    let mut command = Command::new(PYTHON);
    command
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(directory.path());
    let python = Tool::start(&mut command);
    let line = python.stdout.wait("Serving HTTP on ");
    let port = line.split(' ').nth(5).expect("a port");
    let server = Server::start(&[]);
    let copy = directory.path().join("copy");
    let path = copy.to_str().expect("UTF-8");
    curl(&[
        "-f",
        "-o",
        path,
        &server.url(&format!("/http/127.0.0.1:{port}/a%20b.bin")),
    ]);
    assert!(
        std::fs::read(&copy).expect("written") == body,
        "the body was changed"
    );
    let missing = Wire::to(&server).get(&format!("/http/127.0.0.1:{port}/nothing"));
    assert_eq!(missing.status, 404);
    server.stop_empty();
}

#[test]
fn h11_on_both_sides_has_nothing_to_object_to() {
    let has_h11 = || {
        let said = tool::run(Command::new(PYTHON).args(["-c", "import h11"]));
        said.status.success()
    };
    if !Path::new(PYTHON).is_file() || !has_h11() {
        return skip("python3-h11 is not installed");
    }
    let server = Server::start(&["-m", "8"]);
    let port = server.port.to_string();
    let said = tool::run_within(
        Duration::from_secs(30),
        Command::new(PYTHON).args(["-c", H11_PEERS, &port]),
    );
    assert_eq!(said.stdout.trim(), "good", "{}", said.stderr);
    server.stop_empty();
}
