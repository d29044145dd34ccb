//! The status as a viewer sees it: events, calls, metrics. The viewer is a program of its own, `peer.py`, which knows
//! JSON and HTTP from Python's standard library.

mod replacement;

use std::process::Command;

use crate::support::server::Server;
use crate::support::tool::run_within;
use crate::support::{SOON, skip};

/// Debian's Python, for which Debian's python3-prometheus-client is.
const PYTHON: &str = "/usr/bin/python3";
const PEER: &str = include_str!("peer.py");

/// Runs one case of `peer.py` against a server with these arguments.
fn check(case: &str, arguments: &[&str]) {
    if !std::path::Path::new(PYTHON).exists() {
        return skip("Debian's python3 is not installed");
    }
    let server = Server::start(arguments);
    let port = server.port.to_string();
    let said = run_within(
        12 * SOON,
        Command::new(PYTHON).args(["-c", PEER, case, &port]),
    );
    assert!(said.status.success(), "{}", said.stderr);
    server.stop_empty();
}

#[test]
fn calls_of_the_api_do_what_they_say_or_say_why_not() {
    check("api", &[]);
}

#[test]
fn clients_are_shown_counted_and_disconnected() {
    check("clients", &[]);
}

#[test]
fn name_and_password_guard_all_of_the_status() {
    check("guarded", &["--status-auth", "a:b"]);
}

#[test]
fn no_line_of_a_burst_is_lost() {
    // One line per request.
    check("burst", &["-v", "3"]);
}

#[test]
fn a_slow_viewer_never_gets_half_an_event() {
    check("slow", &["-v", "3"]);
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let has_parser = Command::new(PYTHON)
        .args(["-c", "import prometheus_client.parser"])
        .status();
    if !has_parser.is_ok_and(|status| status.success()) {
        return skip("python3-prometheus-client is not installed");
    }
    check("metrics", &[]);
}
