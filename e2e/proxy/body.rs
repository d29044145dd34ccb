//! Bodies both ways, in every framing, and the responses that have none.

use super::wire::{Origin, Wire, ok, request};
use crate::support::server::Server;

#[test]
fn request_body_reaches_the_origin_in_the_framing_of_the_client() {
    let (server, origin) = (Server::start(&[]), Origin::start());

    let mut client = Wire::to(&server);
    client.send(request("POST", &origin.path("/"), "Content-Length: 5\r\n") + "abc");
    let mut peer = origin.accept();
    assert!(peer.head().contains("\r\nContent-Length: 5\r\n"));
    // The body is passed on as it comes.
    assert_eq!(peer.exact(3), b"abc");
    client.send("de");
    assert_eq!(peer.exact(2), b"de");
    peer.send(ok("", "one"));
    assert_eq!(client.response().body, b"one");

    client.send(request(
        "PUT",
        &origin.path("/"),
        "transfer-encoding: Chunked\r\n",
    ));
    // What must not be repeated does not go over a connection that may be dead.
    let mut peer = origin.accept();
    let head = peer.head();
    assert!(
        head.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{head}"
    );
    assert!(!head.contains("Content-Length"), "{head}");
    client.send("5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n");
    assert_eq!(peer.chunks(), b"hello!");
    peer.send(ok("", "two"));
    assert_eq!(client.response().body, b"two");

    client.send(request("POST", &origin.path("/"), "Content-Length: 0\r\n"));
    let mut peer = origin.accept();
    let head = peer.head();
    assert!(head.contains("\r\nContent-Length: 0\r\n"), "{head}");
    peer.send(ok("", "three"));
    assert_eq!(client.response().body, b"three");
    server.stop_empty();
}

#[test]
fn client_that_expects_100_is_asked_to_continue_by_the_origin() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    let headers = "Expect: 100-continue\r\nContent-Length: 4\r\n";
    client.send(request("POST", &origin.path("/"), headers));
    let mut peer = origin.accept();
    assert!(peer.head().contains("\r\nExpect: 100-continue\r\n"));
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(peer.exact(4), b"body");
    peer.send(ok("", "done"));
    assert_eq!(client.response().body, b"done");
    server.stop_empty();
}

#[test]
fn refusal_before_the_body_is_complete_reaches_the_client() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    client.send(request("POST", &origin.path("/"), "Content-Length: 1000000\r\n") + "abc");
    let mut peer = origin.accept();
    peer.head();
    peer.send(
        "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
    );
    let response = client.response();
    assert_eq!((response.status, &*response.body), (413, &b"big"[..]));
    // Where the next request would begin cannot be known any more.
    assert_eq!(response.header("Connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    server.stop_empty();
}

#[test]
fn interim_responses_are_passed_on_before_the_final_one() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    for version in ["1.1", "1.0"] {
        let mut client = Wire::to(&server);
        client.send(format!(
            "GET {} HTTP/{version}\r\nHost: a\r\n\r\n",
            origin.path("/")
        ));
        let mut peer = origin.accept();
        peer.head();
        peer.send(format!(
            "HTTP/1.1 102 Processing\r\n\r\n{interim}{}",
            ok("", "end")
        ));
        if version == "1.1" {
            assert_eq!(client.head(), "HTTP/1.1 102 Processing\r\n\r\n");
            assert_eq!(client.head(), interim);
        }
        let response = client.response();
        assert_eq!((response.status, &*response.body), (200, &b"end"[..]));
    }
    server.stop_empty();
}

#[test]
fn response_body_ends_where_its_framing_says() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for (headers, body, expected) in [
        ("Content-Length: 5\r\n", "hello", "hello"),
        (
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "hello",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "1;a=b\r\nh\r\n4\r\nello\r\n000\r\nT: 1\r\n\r\n",
            "hello",
        ),
        ("", "hello", "hello"),
        ("Content-Length: 0\r\n", "", ""),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", ""),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}");
        let (_, response) = origin.serve(&server, "/", "", &answer);
        assert_eq!(response.body, expected.as_bytes(), "{answer}");
        // In single bytes, and complete without the origin closing wherever the end can be told.
        let mut client = Wire::to(&server);
        client.send(request("GET", &origin.path("/"), ""));
        let mut peer = origin.accept();
        peer.head();
        for byte in answer.bytes() {
            peer.send([byte]);
        }
        if headers.is_empty() {
            peer.finish();
        }
        assert_eq!(client.response().body, expected.as_bytes(), "{answer}");
    }
    server.stop_empty();
}

#[test]
fn response_without_a_body_is_complete_at_once() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    // One connection down and one up for all of them: every end was seen on both sides.
    let mut client = Wire::to(&server);
    let mut peer = None;
    for (method, status, headers) in [
        ("GET", 204, ""),
        ("GET", 304, "ETag: \"1\"\r\nContent-Length: 1000\r\n"),
        ("HEAD", 200, "Content-Length: 1000\r\n"),
        ("HEAD", 200, "Transfer-Encoding: chunked\r\n"),
        ("HEAD", 404, ""),
        ("GET", 200, "Content-Length: 0\r\n"),
    ] {
        client.send(request(method, &origin.path("/x.m3u8"), ""));
        let peer = peer.get_or_insert_with(|| origin.accept());
        let head = peer.head();
        assert!(head.starts_with(method), "{head}");
        peer.send(format!("HTTP/1.1 {status} X\r\n{headers}\r\n"));
        let head = client.head();
        assert_eq!(head, format!("HTTP/1.1 {status} X\r\n{headers}\r\n"));
    }
    client.send(request("GET", &origin.path("/"), ""));
    let mut peer = peer.expect("used");
    peer.head();
    peer.send(ok("", "last"));
    assert_eq!(client.response().body, b"last");
    server.stop_empty();
}

#[test]
fn old_client_gets_a_body_without_chunks() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    client.send(format!("GET {} HTTP/1.0\r\n\r\n", origin.path("/")));
    let mut peer = origin.accept();
    assert!(peer.head().starts_with("GET / HTTP/1.1\r\n"));
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n0\r\n\r\n");
    let response = client.response_head();
    assert_eq!(response.header("Transfer-Encoding"), None);
    assert_eq!(response.header("Connection"), Some("close"));
    assert_eq!(client.rest(), b"old");
    server.stop_empty();
}

#[test]
fn old_origin_is_relayed_as_what_it_is() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let (_, response) = origin.serve(&server, "/", "", "HTTP/1.0 200 Fine\r\nX: y\r\n\r\nold");
    assert!(response.head.starts_with("HTTP/1.0 200 Fine\r\n"));
    assert_eq!(response.body, b"old");
    // A radio server; the answer must be one of HTTP, since few clients know the other.
    let (_, response) = origin.serve(&server, "/", "", "ICY 200 OK\r\nicy-br:64\r\n\r\nmp3");
    assert!(response.head.starts_with("HTTP/1.0 200 OK\r\n"));
    assert_eq!(response.header("icy-br"), Some("64"));
    assert_eq!(response.body, b"mp3");
    server.stop_empty();
}
