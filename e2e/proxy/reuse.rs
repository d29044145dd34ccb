//! Connections that carry more than one request, down and up.

use std::net::Shutdown;

use super::wire::{Origin, Wire, ok, request};
use crate::support::server::Server;
use crate::support::{SOON, TempDir, wait_for};

#[test]
fn both_connections_carry_one_request_after_the_other() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    let mut kept = None;
    for number in 0..20 {
        client.send(request("GET", &origin.path(&format!("/{number}")), ""));
        let peer = kept.get_or_insert_with(|| origin.accept());
        assert!(peer.head().starts_with(&format!("GET /{number} ")));
        peer.send(ok("", &number.to_string()));
        assert_eq!(client.response().body, number.to_string().as_bytes());
    }
    origin.assert_untouched();
    server.stop_empty();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    let mut requests = String::new();
    for number in 0..5 {
        requests += &request(
            "POST",
            &origin.path(&format!("/{number}")),
            "Content-Length: 1\r\n",
        );
        requests += &number.to_string();
    }
    client.send(requests + &request("GET", "/nowhere", ""));
    for number in 0..5 {
        let mut peer = origin.accept();
        assert!(peer.head().starts_with(&format!("POST /{number} ")));
        assert_eq!(peer.exact(1), number.to_string().as_bytes());
        peer.send(ok("", &number.to_string()));
    }
    for number in 0..5 {
        assert_eq!(client.response().body, number.to_string().as_bytes());
    }
    assert_eq!(client.response().status, 404);
    assert_eq!(client.rest(), b"");
    server.stop_empty();
}

#[test]
fn client_that_asks_for_the_end_gets_it() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for request in [
        format!(
            "GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            origin.path("/")
        ),
        format!("GET {} HTTP/1.0\r\n\r\n", origin.path("/")),
    ] {
        let mut client = Wire::to(&server);
        client.send(request);
        let mut peer = origin.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().header("Connection"), Some("close"));
        assert_eq!(client.rest(), b"");
    }
    server.stop_empty();
}

#[test]
fn request_over_a_kept_connection_that_died_is_made_again() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    client.send(request("GET", &origin.path("/1"), ""));
    let mut peer = origin.accept();
    peer.head();
    peer.send(ok("", "one"));
    assert_eq!(client.response().body, b"one");
    // The next request is on its way when the origin gives up the connection.
    client.send(request("GET", &origin.path("/2"), ""));
    peer.head();
    drop(peer);
    let mut peer = origin.accept();
    assert!(peer.head().starts_with("GET /2 "));
    peer.send(ok("", "two"));
    assert_eq!(client.response().body, b"two");
    // What may have an effect is not repeated, and gets a connection of its own.
    client.send(request("POST", &origin.path("/3"), "Content-Length: 0\r\n"));
    let mut peer = origin.accept();
    peer.head();
    drop(peer);
    assert_eq!(client.response().status, 502);
    origin.assert_untouched();
    server.stop_empty();
}

#[test]
fn response_nobody_asked_for_is_given_to_nobody() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let poison = ok("", "poison");
    let mut client = Wire::to(&server);
    // Behind the response that was asked for, in the same breath.
    client.send(request("GET", &origin.path("/1"), ""));
    let mut peer = origin.accept();
    peer.head();
    peer.send(ok("", "one") + &poison);
    assert_eq!(client.response().body, b"one");
    assert_eq!(peer.rest_or_reset(), b"", "another request came over it");
    // While the connection is kept.
    client.send(request("GET", &origin.path("/2"), ""));
    let mut peer = origin.accept();
    peer.head();
    peer.send(ok("", "two"));
    assert_eq!(client.response().body, b"two");
    peer.send(&poison);
    assert_eq!(peer.rest_or_reset(), b"", "another request came over it");
    client.send(request("GET", &origin.path("/3"), ""));
    let mut peer = origin.accept();
    peer.head();
    peer.send(ok("", "three"));
    assert_eq!(client.response().body, b"three");
    server.stop_empty();
}

#[test]
fn connections_of_different_origins_are_not_mixed_up() {
    let server = Server::start(&[]);
    let origins = [Origin::start(), Origin::start()];
    let mut peers = [None, None];
    let mut client = Wire::to(&server);
    for round in 0..6 {
        let which = round % 2;
        client.send(request("GET", &origins[which].path("/"), ""));
        let peer = peers[which].get_or_insert_with(|| origins[which].accept());
        let head = peer.head();
        assert!(head.contains(&format!("Host: {}\r\n", origins[which].authority())));
        peer.send(ok("", &which.to_string()));
        assert_eq!(client.response().body, which.to_string().as_bytes());
    }
    server.stop_empty();
}

#[test]
fn client_that_leaves_takes_its_upstream_with_it() {
    let (server, origin) = (Server::start(&["-m", "1"]), Origin::start());
    for _ in 0..3 {
        let mut client = Wire::to(&server);
        client.send(request("GET", &origin.path("/"), ""));
        let mut peer = origin.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbeginning");
        assert_eq!(client.response_head().status, 200);
        client.reset();
        assert_eq!(peer.rest_or_reset(), b"");
    }
    server.stop_empty();
}

#[test]
fn client_that_closes_is_waited_for_before_its_answer_and_given_up_inside_it() {
    let (server, origin) = (Server::start(&["--http-head-timeout=60"]), Origin::start());
    let mut patient = Wire::to(&server);
    patient.send(request("GET", &origin.path("/"), ""));
    patient.stream.shutdown(Shutdown::Write).expect("open");
    let mut slow = origin.accept();
    slow.head();

    let mut client = Wire::to(&server);
    client.send(request("GET", &origin.path("/"), ""));
    let mut peer = origin.accept();
    peer.head();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome");
    assert_eq!(client.response_head().status, 200);
    assert_eq!(client.exact(4), b"some");
    // In order: nothing tells the router whether the client still reads.
    drop(client);
    assert_eq!(peer.rest_or_reset(), b"");

    // This one has waited for even longer.
    slow.send(ok("", "whole"));
    assert_eq!(patient.response().body, b"whole");
    server.stop_empty();
}

#[test]
fn client_that_has_closed_its_side_and_waits_gives_way_at_the_limit() {
    let options = ["-m", "1", "--http-head-timeout=60"];
    let (server, origin) = (Server::start(&options), Origin::start());
    let mut patient = Wire::to(&server);
    patient.send(request("GET", &origin.path("/"), ""));
    let mut unwanted = origin.accept();
    unwanted.head();
    let mut refused = Wire::to(&server);
    refused.send(request("GET", &origin.path("/"), ""));
    let response = refused.response();
    response.assert_error(503, "Service Unavailable");
    patient.stream.shutdown(Shutdown::Write).expect("open");

    let (mut client, mut peer) = wait_for(SOON, "a free place", || {
        let mut client = Wire::to(&server);
        client.send(request("GET", &origin.path("/"), ""));
        let peer = origin.accept_unless_answered(&client)?;
        Some((client, peer))
    });
    peer.head();
    peer.send(ok("", "whole"));
    assert_eq!(client.response().body, b"whole");
    let response = patient.response();
    response.assert_error(503, "Service Unavailable");
    assert_eq!(unwanted.rest_or_reset(), b"");
    server.stop_empty();
}

#[test]
fn each_request_over_a_kept_connection_has_its_line_in_the_access_log() {
    let directory = TempDir::new();
    let path = directory.path().join("access.log");
    let server = Server::start(&[
        &format!("--access-log={}", path.display()),
        "--log-format=$status $outcome $bytes_sent $service_type $request $upstream_url",
    ]);
    let origin = Origin::start();
    let mut client = Wire::to(&server);
    let mut expected = Vec::new();
    let mut peer = None;
    for (method, name, body) in [
        ("GET", "a", "some"),
        ("HEAD", "b", ""),
        ("GET", "c", "more"),
    ] {
        let target = origin.path(&format!("/{name}"));
        client.send(request(method, &target, ""));
        let peer = peer.get_or_insert_with(|| origin.accept());
        peer.head();
        peer.send(ok("", body));
        let bytes = client.head().len() + client.exact(body.len()).len();
        let upstream = target.replacen("/http/", "http://", 1);
        expected.push(format!(
            "200 complete {bytes} http {method} {target} {upstream}"
        ));
    }
    let lines = wait_for(SOON, "three lines", || {
        let text = std::fs::read_to_string(&path).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() == 3).then_some(lines)
    });
    assert_eq!(lines, expected);
    server.stop_empty();
}
