//! Without a chain: every transport in both directions, and ends that die.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{ProbeServer, SHORT, probe};
use crate::support::server::PROGRAM;
use crate::support::tool::{self, Tool};
use crate::support::{SOON, TempDir};

const KIB: f64 = 1024.0;

/// On loopback nothing is between the ends.
fn expect_nothing_between(url: &str, arguments: &[&str]) {
    for direction in ["up", "down"] {
        let direction = [arguments, &["--direction", direction]].concat();
        let mut run = probe(url, &direction);
        // Where the ends themselves have to wait for a processor, the window was not what they waited for.
        for _ in 0..2 {
            if run.conn(0)["hold"]["class"] == "mixed" {
                run = probe(url, &direction);
            }
        }
        run.expect_yes();
        assert_eq!(run.conn(0)["hold"]["class"], "zero_window", "{}", run.said);
        let bound = (0.05 * run.hold("absorbed")).max(64.0 * KIB);
        assert!(run.hold("in_chain") <= bound, "{}", run.said);
        assert!(run.conn(0)["resume_s"].as_f64().expect("a time") < 1.0);
    }
}

#[test]
fn nothing_absorbs_on_loopback_over_tcp() {
    let server = ProbeServer::start(&[]);
    expect_nothing_between(&format!("tcp://127.0.0.1:{}", server.port), &[]);
}

#[test]
fn nothing_absorbs_on_loopback_over_websocket() {
    let server = ProbeServer::start(&[]);
    expect_nothing_between(&format!("ws://127.0.0.1:{}", server.port), &[]);
}

#[test]
fn nothing_absorbs_on_loopback_over_http() {
    let server = ProbeServer::start(&[]);
    expect_nothing_between(&format!("http://127.0.0.1:{}", server.port), &[]);
}

#[test]
fn nothing_absorbs_on_loopback_over_tls() {
    let directory = TempDir::new();
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).expect("written");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
    let server = ProbeServer::start(&["--cert", &certificate, "--key", &key]);
    for scheme in ["tls", "wss", "https"] {
        let url = format!("{scheme}://127.0.0.1:{}", server.port);
        // The figures of the kernel include what TLS adds, which is scaled away only on average.
        let run = probe(&url, &["--insecure"]);
        run.expect_yes();
        let bound = (0.1 * run.hold("absorbed")).max(128.0 * KIB);
        assert!(run.hold("in_chain") <= bound, "{}", run.said);
        let run = probe(&url, &["--direction", "down", "--insecure"]);
        run.expect_yes();
    }
    let url = format!("tls://127.0.0.1:{}", server.port);
    let run = probe(&url, &["--control", "none"]);
    assert_eq!(run.exit, 3, "nobody trusts that certificate\n{}", run.said);
}

#[test]
fn nobody_there_is_no_connection() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let run = probe(&format!("tcp://127.0.0.1:{port}"), &[]);
    assert_eq!(run.exit, 3, "{}", run.said);
    assert_eq!(run.result["verdict"], "inconclusive");
}

#[test]
fn a_server_without_tls_is_not_taken_for_a_sink_inside_it() {
    let server = ProbeServer::start(&[]);
    let run = probe(&format!("tls://127.0.0.1:{}", server.port), &[]);
    assert_eq!(run.exit, 3, "{}", run.said);
    let error = run.result["error"].as_str().expect("a complaint");
    assert!(error.contains("TLS"), "{error}");
}

#[test]
fn a_peer_that_dies_in_any_phase_ends_the_run() {
    for direction in ["up", "down"] {
        for phase in ["warmup", "hold", "resume"] {
            let server = ProbeServer::start(&[]);
            let url = format!("tcp://127.0.0.1:{}", server.port);
            let mut command = Command::new(PROGRAM);
            command.args(["probe", "client", &url, "--json", "--quiet"]);
            let mut client = Tool::start(command.args(SHORT).args(["--direction", direction]));
            client.stdout.wait(&format!("\"phase\":\"{phase}\""));
            drop(server);
            let status = client.wait(SOON);
            client.stdout.wait("\"ev\":\"result\"");
            let code = status.code().expect("it ends by itself");
            let said = client.stdout.all();
            assert!(
                matches!(code, 3 | 4),
                "{phase} {direction}: {code}\n{}",
                said.join("\n")
            );
            let result: Value =
                serde_json::from_str(said.last().expect("a line")).expect("valid JSON");
            assert_eq!(result["ev"], "result");
        }
    }
}

/// Every event that the probe spec names (B.11), on a run that has them all.
#[test]
fn events_tell_the_whole_of_a_run() {
    let server = ProbeServer::start(&[]);
    let url = format!("tcp://127.0.0.1:{}", server.port);
    let mut command = Command::new(PROGRAM);
    command.args(["probe", "client", &url, "--json", "--quiet"]);
    let said = tool::run(command.args(SHORT));
    let events: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("valid JSON"))
        .collect();
    assert!(events.iter().all(|event| event["t"].is_number()));
    for name in [
        "start",
        "open",
        "phase",
        "sample",
        "report",
        "blocked",
        "stall_begin",
        "stall_end",
        "close",
    ] {
        let there = events.iter().any(|event| event["ev"] == name);
        assert!(there, "{name} is missing");
    }
    let last = events.last().expect("an event");
    assert_eq!(last["ev"], "result");
    let mut reports = events.iter().filter(|event| event["ev"] == "report");
    let is_held = |event: &Value| event["report"]["state"] == "hold";
    assert!(reports.any(is_held), "the receiver has told of the hold");
}

#[test]
fn a_saved_result_is_shown_with_its_exit_status() {
    let directory = TempDir::new();
    let file = directory.path().join("run.json").display().to_string();
    let server = ProbeServer::start(&["--once"]);
    let url = format!("tcp://127.0.0.1:{}", server.port);
    let mut command = Command::new(PROGRAM);
    command.args(["probe", "client", &url, "--quiet", "--expect", "no"]);
    command.args(SHORT).arg(format!("--json={file}"));
    let said = tool::run(&mut command);
    assert_eq!(said.status.code(), Some(1), "{}", said.stderr);
    assert!(
        said.stdout
            .starts_with("back pressure: YES   (up, 1 connection")
    );
    let mut server = server;
    let status = server.tool.wait(Duration::from_secs(5));
    assert_eq!(status.code(), Some(1), "the client has told its status");
    let shown = tool::run(Command::new(PROGRAM).args(["probe", "report", &file]));
    assert_eq!(shown.status.code(), Some(1));
    assert_eq!(shown.stdout, said.stdout);
}

#[test]
fn a_signal_ends_a_run_after_it_has_said_what_is_known() {
    for (signal, status) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let server = ProbeServer::start(&[]);
        let url = format!("tcp://127.0.0.1:{}", server.port);
        let mut command = Command::new(PROGRAM);
        command.args(["probe", "client", &url, "--json", "--quiet"]);
        let mut client = Tool::start(command.args(SHORT));
        client.stdout.wait("\"phase\":\"hold\"");
        client.signal(signal);
        assert_eq!(client.wait(SOON).code(), Some(status));
        let line = client.stdout.wait("\"ev\":\"result\"");
        assert!(line.contains("\"interrupted\":true"), "{line}");
    }
}

#[test]
fn wrong_arguments_are_told_with_status_2() {
    let said = tool::run(Command::new(PROGRAM).args(["probe", "client", "gopher://x"]));
    assert_eq!(said.status.code(), Some(2));
    assert!(said.stderr.contains("gopher"), "{}", said.stderr);
}

#[test]
fn a_result_lists_when_the_sender_was_blocked_and_what_the_kernel_told() {
    let server = ProbeServer::start(&[]);
    for direction in ["up", "down"] {
        let url = format!("tcp://127.0.0.1:{}", server.port);
        let run = probe(&url, &["--direction", direction]);
        run.expect_yes();
        let connection = run.conn(0);
        assert_eq!(connection["truncated"], false, "{}", run.said);
        let blocked = connection["blocked"].as_array().expect("a list");
        let longest = blocked.iter().filter_map(|entry| entry[1].as_f64());
        let longest = longest.fold(0.0, f64::max);
        assert!(longest >= run.hold("stall_s"), "{}", run.said);
        let length = connection["tcp_info_len"].as_u64().expect("a length");
        assert!(length >= 104, "{}", run.said);
        assert_eq!(connection["kernel"].is_string(), direction == "up");
    }
}
