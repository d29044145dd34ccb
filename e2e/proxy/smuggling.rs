//! Published request smuggling and response splitting tricks, sent raw from both sides.
//!
//! What may happen to a request is that it is refused and the connection closed; that of a smuggled second request
//! anything reaches the origin is what must not.

use super::wire::{Origin, Wire, ok, request};
use crate::support::server::Server;

/// What the tricks try to get to the origin.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `head`, in which `@` stands for the path of the origin, with `body` behind it; insists on a refusal with
/// one of `statuses` and on a closed connection, and that the origin never hears of the smuggled request.
fn assert_refused(server: &Server, origin: &Origin, head: &str, body: &str, statuses: &[u16]) {
    let request = head.replace('@', &origin.path("/front"));
    let shown = format!("{request:?} {body:?}");
    let mut client = Wire::to(server);
    client.send(request + body);
    let answer = client.rest_or_reset();
    let text = String::from_utf8_lossy(&answer);
    let status = text.get(9..12).and_then(|digits| digits.parse().ok());
    assert!(
        status.is_some_and(|status| statuses.contains(&status)),
        "{shown}: {text}"
    );
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{shown}: {text}");
    // A body is passed on as it comes, so a head may have been; it is cut off then.
    if let Some(mut peer) = origin.try_accept() {
        let seen = String::from_utf8_lossy(&peer.rest_or_reset()).into_owned();
        assert!(!seen.contains("smuggled"), "{shown}: {seen}");
        assert!(
            seen.matches(" HTTP/1.1\r\n").count() <= 1,
            "{shown}: {seen}"
        );
    }
}

#[test]
fn request_with_a_doubtful_end_is_refused_before_anybody_is_asked() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for (headers, status) in [
        // CL.TE, TE.CL, and lengths that contradict each other.
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400),
        ("Content-Length: 0\r\nContent-Length: 38\r\n", 400),
        ("Content-Length: 0, 38\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5 \x0b\r\n", 400),
        ("Content-Length: 1_0\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 413),
        ("Content-Length : 5\r\n", 400),
        // TE.TE: only one of two readers recognises the coding.
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            400,
        ),
        (
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
            501,
        ),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked;q=1\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Transfer-Encoding\t: chunked\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Transfer-Encoding: chunked\0\r\n", 400),
        ("Transfer-Encoding:\r\n chunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        (" Transfer-Encoding: chunked\r\n", 400),
        ("X: y\r\n\tTransfer-Encoding: chunked\r\n", 400),
        ("X: y\rTransfer-Encoding: chunked\r\n", 400),
        ("X: y\r\r\nTransfer-Encoding: chunked\r\n", 400),
        ("X: a\0b\r\n", 400),
        ("Bad Name: x\r\n", 400),
        (": x\r\n", 400),
        ("nocolon\r\n", 400),
        ("Host: b\r\n", 400),
    ] {
        let head = format!("POST @ HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        assert_refused(
            &server,
            &origin,
            &head,
            &format!("0\r\n\r\n{SMUGGLED}"),
            &[status],
        );
        origin.assert_untouched();
    }
    for head in [
        "POST @ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET @ HTTP/1.1\r\nHost: a\r\n: \r\n\r\n",
        "GET @ HTTP/1.1\rHost: a\r\n\r\n",
        "GET @\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "GET @ x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET @ HTTP/1.1x\r\nHost: a\r\n\r\n",
        "GET @\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a@ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_refused(&server, &origin, head, SMUGGLED, &[400]);
        origin.assert_untouched();
    }
    server.stop_empty();
}

#[test]
fn request_body_with_broken_chunks_is_cut_off() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let head = "POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\r\nX: y\nContent-Length: 5\r\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\nnocolon\r\n\r\n",
    ] {
        let body = format!("{body}{SMUGGLED}");
        assert_refused(&server, &origin, head, &body, &[400]);
    }
    server.stop_empty();
}

#[test]
fn what_looks_like_a_request_inside_a_body_is_body() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let len = SMUGGLED.len();
    for (headers, body) in [
        (format!("Content-Length: {len}\r\n"), SMUGGLED.to_owned()),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{len:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        ),
        // GET with a body is where some do not look for one.
        (
            format!("X: y\r\nContent-Length: {len}\r\n"),
            SMUGGLED.to_owned(),
        ),
    ] {
        let method = if headers.starts_with('X') {
            "GET"
        } else {
            "POST"
        };
        let mut client = Wire::to(&server);
        client.send(request(method, &origin.path("/front"), &headers) + &body);
        client.send(request("GET", &origin.path("/next"), ""));
        let Some(mut peer) = origin.accept_unless_answered(&client) else {
            panic!("refused: {}", client.response().head);
        };
        let head = peer.head();
        let received = match headers.contains("chunked") {
            true => peer.chunks(),
            false => peer.exact(len),
        };
        assert_eq!(received, SMUGGLED.as_bytes(), "{head}");
        peer.send(ok("", "front"));
        assert_eq!(client.response().body, b"front");
        assert!(peer.head().starts_with("GET /next "));
        // No later case may meet this connection, which ends here.
        peer.send(ok("Connection: close\r\n", "next"));
        assert_eq!(client.response().body, b"next");
    }
    server.stop_empty();
}

#[test]
fn header_named_in_connection_cannot_take_the_framing_away() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    let headers = "Connection: Content-Length, Host, Transfer-Encoding\r\nContent-Length: 3\r\n";
    client.send(request("POST", &origin.path("/"), headers) + "abc");
    let mut peer = origin.accept();
    let head = peer.head();
    assert!(head.contains("\r\nContent-Length: 3\r\n"), "{head}");
    assert!(
        head.contains(&format!("\r\nHost: {}\r\n", origin.authority())),
        "{head}"
    );
    assert_eq!(peer.exact(3), b"abc");
    peer.send(ok("Connection: Content-Length\r\n", "ok"));
    let response = client.response();
    assert_eq!(response.header("Content-Length"), Some("2"));
    server.stop_empty();
}

#[test]
fn response_with_a_doubtful_end_is_answered_with_502() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for headers in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: x\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding : gzip\r\n",
        " Content-Length: 2\r\n",
        "X: y\rSet-Cookie: r2h-token=evil\r\n",
        "X: a\0b\r\n",
        "Location: /x\rX: y\r\n",
        "nocolon\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\nhi{}", ok("", "poison"));
        let (_, response) = origin.serve(&server, "/", "", &answer);
        println!("{headers:?}");
        response.assert_error(502, "Bad Gateway");
        assert!(response.header("X-Flowgate-Error").is_some());
        origin.assert_untouched();
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let (_, response) = origin.serve(&server, "/", "", old);
    response.assert_error(502, "Bad Gateway");
    server.stop_empty();
}

#[test]
fn response_that_cannot_have_a_body_leaves_none_behind() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        let mut client = Wire::to(&server);
        client.send(request(method, &origin.path("/"), ""));
        let mut peer = origin.accept();
        peer.head();
        // Whoever took the 6 bytes for the next response would answer another request with it.
        peer.send(format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 38\r\n\r\n{}",
            ok("", "poison")
        ));
        assert_eq!(client.response_head().status, status);
        assert_eq!(peer.rest_or_reset(), b"", "another request came over it");
        client.send(request("GET", &origin.path("/"), ""));
        let mut peer = origin.accept();
        peer.head();
        peer.send(ok("", "good"));
        assert_eq!(client.response().body, b"good");
    }
    server.stop_empty();
}
