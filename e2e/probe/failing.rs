//! Relays that do one thing wrong, or one thing right.

use std::time::Duration;

use super::relay::{Fault, Relay};
use super::{ProbeServer, probe};

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn a_relay_that_swallows_everything_does_not_propagate() {
    let server = ProbeServer::start(&[]);
    let relay = Relay::start(server.port, Fault::Bounded(usize::MAX));
    let url = format!("tcp://127.0.0.1:{}", relay.port);
    let limit = ["--max-absorb", "16MiB"];
    let run = probe(&url, &limit);
    run.expect("no", "max_absorb", 1);
    assert!(run.hold("accepted") > 16.0 * MIB, "{}", run.said);
    let expected = [&limit[..], &["--expect", "no"]].concat();
    probe(&url, &expected).expect("no", "max_absorb", 0);
}

#[test]
fn a_relay_that_holds_a_mebibyte_is_found_to_hold_it() {
    let server = ProbeServer::start(&[]);
    let relay = Relay::start(server.port, Fault::Bounded(1 << 20));
    let run = probe(&format!("tcp://127.0.0.1:{}", relay.port), &[]);
    run.expect_yes();
    // The relay's own sockets hold something too: twice what was asked for, as the kernel counts.
    let held = run.hold("in_chain") / MIB;
    assert!((1.0..1.5).contains(&held), "{held} MiB\n{}", run.said);
}

#[test]
fn a_relay_that_kills_slow_connections_does_not_propagate() {
    let server = ProbeServer::start(&[]);
    let relay = Relay::start(server.port, Fault::Kills(Duration::from_millis(300)));
    // It gives up long before the run would call it a stall.
    let url = format!("tcp://127.0.0.1:{}", relay.port);
    let run = probe(&url, &["--stall-min", "5s"]);
    run.expect("no", "chain_closed", 1);
}

#[test]
fn a_changed_byte_is_found_at_its_place() {
    let server = ProbeServer::start(&[]);
    let relay = Relay::start(server.port, Fault::Flips(1_234_567));
    let run = probe(&format!("tcp://127.0.0.1:{}", relay.port), &[]);
    run.expect("corrupt", "altered", 5);
    assert_eq!(run.conn(0)["bad_at"], 1_234_567, "{}", run.said);
}

#[test]
fn one_slow_connection_in_a_multiplexer_holds_up_the_others() {
    let server = ProbeServer::start(&[]);
    let relay = Relay::start(server.port, Fault::Multiplexes);
    let url = format!("tcp://127.0.0.1:{}", relay.port);
    let run = probe(&url, &["-c", "4", "--slow", "1", "--hold", "3s"]);
    assert_eq!(run.exit, 1, "{}", run.said);
    let isolation = &run.result["isolation"];
    assert_eq!(isolation["ok"], false, "{}", run.said);
    assert_eq!(isolation["head_of_line"], true, "{}", run.said);
    let silence = run.result["control_gap_s"].as_f64().expect("a time");
    assert!(
        silence < 3.5,
        "the views come back past the queue: {silence}"
    );
}

#[test]
fn slow_connections_of_their_own_hold_nobody_up() {
    let server = ProbeServer::start(&[]);
    let url = format!("tcp://127.0.0.1:{}", server.port);
    let run = probe(&url, &["-c", "4", "--slow", "1"]);
    run.expect_yes();
    assert_eq!(run.result["isolation"]["ok"], true, "{}", run.said);
    assert_eq!(run.conn(3)["held"], false);
}
