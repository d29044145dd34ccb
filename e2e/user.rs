//! `--user`: privileges are used for what takes them, and gone before anybody is served.

use std::fs;
use std::process::Command;

use crate::support::namespace::{WEST, with_links, with_loopback_only};
use crate::support::sender::{Framing, Source};
use crate::support::server::{PROGRAM, Server};
use crate::support::tool::{self, run};
use crate::support::{SOON, TempDir, proc, ts, wait_for};

/// A line of the status of the process that serves: the one that was started, or a child of it.
fn status(server: &Server, name: &str) -> Vec<String> {
    let status = proc::status(proc::child(server.pid()).unwrap_or(server.pid()));
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.expect("a line of that name").split_whitespace();
    words.map(str::to_owned).collect()
}

#[test]
fn low_port_is_served_by_somebody_without_privileges() {
    if !tool::may_become_others() {
        return;
    }
    with_loopback_only(|| {
        let directory = TempDir::new();
        let pid_file = directory.path().join("pid");
        let pid_path = pid_file.to_str().expect("a path in ASCII");
        let arguments = ["-l", "127.0.0.1:81", "--user", "65534:65533", "--pid-file"];
        let server = Server::start(&[&arguments[..], &[pid_path]].concat());
        server.get("/").assert_error(404, "Not Found");
        let curl = run(Command::new("curl").args(["-sS", "http://127.0.0.1:81/"]));
        assert!(curl.stdout.contains("Not Found"), "{}", curl.stderr);
        assert_eq!(status(&server, "Uid:"), ["65534"; 4]);
        assert_eq!(status(&server, "Gid:"), ["65533"; 4]);
        assert_eq!(status(&server, "Groups:"), ["65533"]);
        for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(status(&server, set), ["0000000000000000"], "{set}");
        }
        assert!(fs::read_to_string(&pid_file).is_ok());
        server.stop_empty();
    });
}

#[test]
fn status_pages_restart_workers_that_have_no_privileges() {
    if !tool::may_become_others() {
        return;
    }
    let server = Server::start(&["--user", "nobody"]);
    let worker = proc::child(server.pid()).expect("a worker");
    let url = server.url("/status/api/restart-workers");
    let answer = run(Command::new("curl").args(["-sS", "-X", "POST", &url])).stdout;
    let expected = r#"{"success":true,"message":"Worker restart triggered"}"#;
    assert_eq!(answer, expected);
    wait_for(SOON, "another worker", || {
        proc::child(server.pid()).filter(|child| *child != worker)
    });
    server.stop_empty();
}

#[test]
fn name_brings_its_own_group_and_all_others() {
    if !tool::may_become_others() {
        return;
    }
    let id = |option: &str| run(Command::new("id").args([option, "nobody"])).stdout;
    let server = Server::start(&["--user", "nobody"]);
    assert_eq!(status(&server, "Uid:")[0], id("-u").trim());
    assert_eq!(status(&server, "Gid:")[0], id("-g").trim());
    let mut groups: Vec<String> = id("-G").split_whitespace().map(str::to_owned).collect();
    groups.sort();
    let mut found = status(&server, "Groups:");
    found.sort();
    assert_eq!(found, groups);
    server.stop_empty();
}

#[test]
fn groups_are_received_and_refreshed_without_privileges() {
    if !tool::may_become_others() {
        return;
    }
    with_links(|| {
        let arguments = ["--user", "65534:65534", "-R", "1", "-r", "west"];
        let server = Server::start(&arguments);
        let _sender = Source::new("west", WEST, "239.8.1.1:5000", Framing::Rtp).run(300);
        let mut body = server.open("/rtp/239.8.1.1:5000");
        ts::assert_gapless(&body.take(6000 * ts::PACKET));
        drop(body);
        let errors = ["cannot", "failed", "not permitted"];
        let complaints = server
            .log()
            .count(|line| errors.iter().any(|error| line.contains(error)));
        assert_eq!(complaints, 0, "{:?}", server.log().all());
        server.stop_empty();
    });
}

#[test]
fn who_is_not_known_or_cannot_be_become_ends_the_program() {
    for (user, expected) in [
        ("no-such-user", "there is no user \"no-such-user\""),
        ("root:no-such-group", "there is no group \"no-such-group\""),
        ("3999999999", "give a group, as in 3999999999:3999999999"),
        ("a:b:c", "name or name:group"),
    ] {
        let said = run(Command::new(PROGRAM).args(["-C", "-l", "127.0.0.1:0", "--user", user]));
        assert_eq!(said.status.code(), Some(1), "{user}");
        assert!(said.stderr.contains(expected), "{}", said.stderr);
    }
    if !tool::have(&["setpriv"]) {
        return;
    }
    // Without the privilege to change, nobody is served.
    let mut unprivileged = Command::new("setpriv");
    unprivileged
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
        .args([PROGRAM, "-C", "-l", "127.0.0.1:0", "--user", "65534:65534"]);
    let said = run(&mut unprivileged);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stderr.contains("not permitted"), "{}", said.stderr);
}
