//! What the status says while a worker is replaced and has two processes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use crate::support::http::Body;
use crate::support::server::Server;
use crate::support::tool::kill;
use crate::support::{SOON, wait_for};

/// Everything that must never go down.
type Totals = BTreeMap<String, u64>;

fn state(server: &Server) -> Value {
    let answer = server.get("/status/api/status");
    assert_eq!(answer.status, 200, "{}", answer.head);
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The totals of the JSON and of the metrics, which must be no less than `before`.
fn totals(server: &Server, before: &Totals) -> Totals {
    let sent = state(server)["totalBytesSent"].as_u64().expect("a number");
    let mut totals = Totals::from([("totalBytesSent".to_owned(), sent)]);
    let metrics = server.get("/status/metrics").body;
    for line in String::from_utf8(metrics).expect("text").lines() {
        let (name, value) = line.rsplit_once(' ').expect("a sample or a comment");
        if !line.starts_with('#') && name.contains("_total") {
            let value = value.parse().expect("a number");
            assert_eq!(totals.insert(name.to_owned(), value), None, "{name} twice");
        }
    }
    for (name, value) in before {
        let now = totals.get(name).copied();
        assert!(now >= Some(*value), "{name} was {value} and is {now:?}");
    }
    totals
}

/// A body without an end, of which the client has taken half a megabyte; the origin's side is kept.
fn transfer(server: &Server, origin: &TcpListener) -> (TcpStream, Body) {
    let address = origin.local_addr().expect("bound");
    let asked = server.ask(&format!("/http/{address}/"));
    let (mut connection, _) = origin.accept().expect("the router connects");
    assert!(connection.read(&mut [0; 64]).expect("a request") > 0);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    connection.write_all(head).expect("sent");
    connection.write_all(&[b'a'; 500_000]).expect("sent");
    let mut body = Body::begin_relayed(asked);
    body.take(500_000);
    (connection, body)
}

#[test]
fn figures_are_right_while_a_worker_is_replaced_and_after_it_was_killed() {
    let server = Server::start(&["--drain-timeout", "60", "--upstream-allow", "loopback"]);
    let origin = TcpListener::bind("127.0.0.1:0").expect("an origin");
    let old = server.worker();
    let _first = transfer(&server, &origin);
    let before = totals(&server, &Totals::new());
    assert!(before["totalBytesSent"] >= 500_000);
    server.signal(libc::SIGUSR1);
    server.log().wait("draining; ");
    let new = server.workers().into_iter().find(|pid| *pid != old);
    let second = transfer(&server, &origin);
    let before = totals(&server, &before);
    assert!(before["totalBytesSent"] >= 1_000_000);
    let told = state(&server);
    let workers = told["workers"].as_array().expect("a list");
    let pids: Vec<_> = workers
        .iter()
        .map(|worker| worker["pid"].as_u64())
        .collect();
    assert_eq!(pids, [new.map(u64::from)], "one worker, the new process");
    assert_eq!(workers[0]["activeClients"], 2);
    assert_eq!(workers[0]["restarts"], 1);
    let clients = told["clients"].as_array().expect("a list");
    let served: Vec<_> = clients
        .iter()
        .map(|one| one["workerPid"].as_u64())
        .collect();
    let [one, two] = served[..] else {
        panic!("{clients:?}");
    };
    let both = [Some(u64::from(old)), new.map(u64::from)];
    assert!([one, two] == both || [two, one] == both, "{served:?}");
    assert_ne!(clients[0]["clientId"], clients[1]["clientId"]);
    // It is killed with its client; the other process of the same worker goes on.
    kill(old, libc::SIGKILL);
    server
        .log()
        .wait("Reclaimed 1 status client slot(s) from worker 0");
    let clients = wait_for(SOON, "one client to be left", || {
        let clients = state(&server)["clients"].clone();
        (clients.as_array()?.len() == 1).then_some(clients)
    });
    assert_eq!(clients[0]["workerPid"].as_u64(), new.map(u64::from));
    let before = totals(&server, &before);
    // And so it stays with the next process at the place of the first.
    server.signal(libc::SIGUSR1);
    server.log().wait_count(SOON, 2, "draining; ");
    let before = totals(&server, &before);
    drop(second);
    wait_for(SOON, "the second process to end", || {
        (server.workers().len() == 1).then_some(())
    });
    totals(&server, &before);
    let log = server.log().count(|line| line.contains("Reclaimed"));
    assert_eq!(log, 1, "who ended by itself held nothing");
    server.stop_empty();
}

#[test]
fn what_nobody_has_asked_for_is_counted_when_a_process_ends() {
    let server = Server::start(&["--drain-timeout", "0"]);
    let old = server.worker();
    for _ in 0..3 {
        server.get("/").assert_error(404, "Not Found");
    }
    server.signal(libc::SIGUSR1);
    wait_for(SOON, "the old process to end", || {
        let workers = server.workers();
        (workers.len() == 1 && workers != [old]).then_some(())
    });
    let totals = totals(&server, &Totals::new());
    let errors = "flowgate_client_errors_total{worker=\"0\"}";
    assert_eq!(totals.get(errors), Some(&3));
    server.stop_empty();
}
