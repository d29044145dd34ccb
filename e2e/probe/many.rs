//! Many connections in one process, and as many as the system allows.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::ProbeServer;
use crate::support::server::PROGRAM;
use crate::support::tool::{self, Tool};
use crate::support::{proc, skip};

/// The most that one run may have (probe spec B.14).
const MANY: u64 = 10_000;
/// A build without optimisation on a machine with other work takes some of this.
const WAIT: Duration = Duration::from_secs(240);
/// Two kibibytes of state (probe spec B.14), and what an allocator and a table that doubles leave unused.
const BYTES_EACH_MAX: u64 = 4 << 10;
/// Exit status where a connection allows no verdict (probe spec B.10).
const INCONCLUSIVE: i32 = 4;

#[test]
fn ten_thousand_connections_are_held_in_one_process_and_take_little_memory() {
    if proc::descriptor_limit() < MANY + 100 {
        return skip("the hard limit of open descriptors is too low");
    }
    let server = ProbeServer::start(&["--max-connections", "10100"]);
    let url = format!("tcp://127.0.0.1:{}", server.port);
    let server_before = proc::resident_bytes(server.tool.pid());
    let mut command = Command::new(PROGRAM);
    command.args(["probe", "client", &url, "--quiet", "--json", "-c", "10000"]);
    // The hold ends by itself once everybody has stalled.
    command.args([
        "--warmup",
        "1s",
        "--hold",
        "60s",
        "--resume",
        "20s",
        "--timeout",
        "140s",
    ]);
    command.args([
        "--sample",
        "2s",
        "--payload",
        "8KiB",
        "--rcvbuf",
        "16KiB",
        "--sndbuf",
        "16KiB",
    ]);
    let mut client = Tool::start(&mut command);
    client.stdout.wait_within(WAIT, "\"phase\":\"hold\"");
    let each = |pid, before| proc::resident_bytes(pid).saturating_sub(before) / MANY;
    let memory = (
        each(client.pid(), 0),
        each(server.tool.pid(), server_before),
    );
    println!(
        "bytes per connection: client {}, server {}",
        memory.0, memory.1
    );
    let status = client.wait(WAIT);
    let last = client.stdout.all().pop().unwrap_or_default();
    let result: Value = serde_json::from_str(&last).expect("a result");
    assert!(result["error"].is_null(), "{}", result["error"]);
    let connections = result["conns"].as_array().expect("a list");
    assert_eq!(connections.len() as u64, MANY);
    let mut starved = 0;
    for connection in connections {
        assert!(connection["bad_at"].is_null(), "{connection}");
        // A busy machine lets some wait for longer than the whole run: the kernel drops segments of so many at a time,
        // and asks again in ever longer intervals. The probe claims nothing of those, not even that nothing was lost,
        // and what they take is the same.
        if connection["verdict"] == "inconclusive" {
            assert!(
                connection["lost"].is_null() || connection["lost"] == 0,
                "{connection}"
            );
            starved += 1;
        } else {
            assert_eq!(connection["verdict"], "yes", "{connection}");
            assert_eq!(connection["lost"], 0, "{connection}");
        }
    }
    println!("{starved} connections were starved");
    assert_eq!(
        status.code(),
        Some(if starved == 0 { 0 } else { INCONCLUSIVE })
    );
    assert!(
        memory.0 <= BYTES_EACH_MAX,
        "client: {} bytes each",
        memory.0
    );
    assert!(
        memory.1 <= BYTES_EACH_MAX,
        "server: {} bytes each",
        memory.1
    );
}

/// A run that cannot have all its connections does not begin, and says how many it could have.
#[test]
fn more_connections_than_descriptors_are_refused_at_once() {
    let few = |arguments: &str| {
        let script = format!("ulimit -n 64; exec \"$0\" probe {arguments}");
        tool::run(Command::new("sh").args(["-c", &script, PROGRAM]))
    };
    let said = few("client tcp://127.0.0.1:1 -c 33");
    assert_eq!(said.status.code(), Some(2), "{}", said.stderr);
    assert!(
        said.stderr.contains("allows 32 connections"),
        "{}",
        said.stderr
    );
    let said = few("client tcp://127.0.0.1:1 -c 32");
    assert_eq!(
        said.status.code(),
        Some(3),
        "nobody is there\n{}",
        said.stderr
    );
}
