//! Who may use the proxy, what for, and what must not leave the house.

use super::wire::{Origin, Wire, ok, request};
use crate::support::namespace::with_links;
use crate::support::server::Server;

/// The answer to `GET path` with these header lines, from a router that then closes.
fn refused(server: &Server, path: &str, headers: &str) -> crate::support::http::Response {
    server.exchange(request("GET", path, headers).as_bytes())
}

#[test]
fn token_is_asked_for_and_never_forwarded() {
    let (server, origin) = (Server::start(&["-T", "k;y"]), Origin::start());
    for (query, headers) in [
        ("", ""),
        ("?r2h-token=wrong", "Cookie: r2h-token=k;y\r\n"),
        (
            "",
            "Cookie: r2h-token=wrong\r\nUser-Agent: R2HTOKEN/k;y\r\n",
        ),
        ("", "Authorization: Bearer k;y\r\n"),
    ] {
        let response = refused(&server, &origin.path(&format!("/{query}")), headers);
        response.assert_error(401, "Unauthorized");
    }
    origin.assert_untouched();
    let secret = ["k;y", "k%3By", "k%3by", "r2h-token", "R2HTOKEN"];
    for (query, headers, kept) in [
        ("?a=1&r2h-token=k%3By&b=2", "", "GET /?a=1&b=2 "),
        (
            "?r2h-token=k%3By",
            "Cookie: x=1; r2h-token=k%3By;y=2\r\n",
            "Cookie: x=1; y=2\r\n",
        ),
        ("", "Cookie: r2h-token=k%3By\r\n", "GET / "),
        (
            "",
            "User-Agent: P/1 R2HTOKEN/k;y X\r\n",
            "User-Agent: P/1 X\r\n",
        ),
        // The reference forwards this one, and the secret with it.
        ("", "User-Agent: R2HTOKEN/k;y\r\n", "GET / "),
    ] {
        let (head, response) = origin.serve(
            &server,
            &format!("/{query}"),
            headers,
            &ok("X-Own: 1\r\n", ""),
        );
        assert_eq!(response.status, 200, "{query} {headers}");
        assert!(head.contains(kept), "{head}");
        assert!(!secret.iter().any(|secret| head.contains(secret)), "{head}");
        let cookie = "r2h-token=k%3By; Path=/; HttpOnly; SameSite=Strict";
        let expected = query.contains("r2h-token").then_some(cookie);
        assert_eq!(response.header("Set-Cookie"), expected);
    }
    let logged = server
        .log()
        .count(|line| line.contains("k;y") || line.contains("k%3By"));
    assert_eq!(logged, 0, "the token is in the log");
    server.stop_empty();
}

#[test]
fn without_a_token_cookies_and_agents_pass_untouched() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let headers = "Cookie: r2h-token=s\r\nUser-Agent: R2HTOKEN/s\r\n";
    let (head, _) = origin.serve(&server, "/", headers, &ok("", ""));
    assert!(head.ends_with(&format!("{headers}\r\n")), "{head}");
}

#[test]
fn host_is_checked_and_prefix_is_removed() {
    let arguments = ["-H", "TV.home", "--app-path-prefix", "/tv"];
    let (server, origin) = (Server::start(&arguments), Origin::start());
    let path = origin.path("/x");
    for (host, path) in [
        ("evil.example", format!("/tv{path}")),
        ("tv.home.evil.example", format!("/tv{path}")),
        ("127.0.0.1", format!("/tv{path}")),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: tv.home\r\n\r\n");
        server
            .exchange(request.as_bytes())
            .assert_error(400, "Bad Request");
    }
    refused(&server, &path, "").assert_error(404, "Not Found");
    refused(&server, &format!("/tvx{path}"), "").assert_error(404, "Not Found");
    origin.assert_untouched();
    let mut client = Wire::to(&server);
    client.send(request("GET", &format!("/tv{path}"), ""));
    let mut peer = origin.accept();
    assert!(peer.head().starts_with("GET /x HTTP/1.1\r\n"));
    peer.send(ok("", "x"));
    assert_eq!(client.response().body, b"x");
}

#[test]
fn scripts_of_other_pages_may_read_proxied_answers() {
    let arguments = ["-O", "https://page.example", "-T", "t"];
    let (server, origin) = (Server::start(&arguments), Origin::start());
    let preflight = format!(
        "OPTIONS {} HTTP/1.1\r\nHost: a\r\nOrigin: https://page.example\r\n\
         Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: X-A\r\n\r\n",
        origin.path("/")
    );
    let response = server.exchange(preflight.as_bytes());
    assert_eq!(response.status, 204);
    for (name, value) in [
        ("Access-Control-Allow-Origin", "https://page.example"),
        ("Access-Control-Allow-Methods", "PUT"),
        ("Access-Control-Allow-Headers", "X-A"),
        ("Access-Control-Max-Age", "86400"),
    ] {
        assert_eq!(response.header(name), Some(value));
    }
    origin.assert_untouched();
    // One such header, also where the upstream has one of its own, and on errors.
    let answer = ok("Access-Control-Allow-Origin: *\r\nX: y\r\n", "");
    let (_, response) = origin.serve(&server, "/?r2h-token=t", "", &answer);
    let allowed = response.header("Access-Control-Allow-Origin");
    assert_eq!(allowed, Some("https://page.example"));
    let response = refused(&server, "/http/127.0.0.1:1/?r2h-token=t", "");
    assert_eq!(response.status, 502);
    let allowed = response.header("Access-Control-Allow-Origin");
    assert_eq!(allowed, Some("https://page.example"));

    let plain = Server::start(&[]);
    let mut client = Wire::to(&plain);
    client.send(request(
        "OPTIONS",
        &origin.path("/"),
        "Origin: https://page.example\r\n",
    ));
    let mut peer = origin.accept();
    assert!(peer.head().starts_with("OPTIONS / "));
    peer.send(ok("Access-Control-Allow-Origin: *\r\n", ""));
    let allowed = client.response();
    assert_eq!(allowed.header("Access-Control-Allow-Origin"), Some("*"));
}

#[test]
fn router_itself_is_never_its_own_upstream() {
    for listen in ["127.0.0.1:0", "*:0"] {
        let arguments = ["--upstream-allow", "all", "-l", listen];
        let server = Server::start(&arguments);
        let port = server.port;
        for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
            let response = server.get(&format!("/http/{host}:{port}/http/{host}:{port}/"));
            assert_eq!(
                response.status, 403,
                "{host} at {listen}: {}",
                response.head
            );
            assert!(response.header("X-Flowgate-Error").is_some());
        }
        server.stop_empty();
    }
}

#[test]
fn link_local_addresses_are_denied_in_every_spelling() {
    let server = Server::start(&[]);
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1%25lo]",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let response = server.get(&format!("/http/{host}/latest/meta-data/"));
        response.assert_error(403, "Forbidden");
        let why = response.header("X-Flowgate-Error").unwrap_or_default();
        assert!(why.contains("--upstream-"), "{host}: {why}");
    }
    server.stop_empty();
}

#[test]
fn scope_of_a_link_local_address_leads_to_its_link_and_no_further() {
    with_links(|| {
        let origin = Origin::at("[::]:0");
        let server = Server::start(&["--upstream-allow", "link-local,fe80::1"]);
        let port = origin.port;
        let mut client = Wire::to(&server);
        let path = format!("/http/[fe80::1%25west]:{port}/x");
        client.send(request("GET", &path, ""));
        let mut peer = origin.accept_for(&mut client);
        let head = peer.head();
        assert!(
            head.contains(&format!("\r\nHost: [fe80::1]:{port}\r\n")),
            "{head}"
        );
        peer.send(ok("", "next door"));
        assert_eq!(client.response().body, b"next door");

        let mut client = Wire::to(&server);
        let path = format!("/rtsp/[fe80::1%25west]:{port}/x");
        client.send(request("GET", &path, ""));
        let mut peer = origin.accept_for(&mut client);
        let line = format!("OPTIONS rtsp://[fe80::1]:{port}/x RTSP/1.0\r\n");
        let head = peer.head();
        assert!(head.starts_with(&line), "{head}");

        let response = server.get(&format!("/http/[fe80::1%25nowhere]:{port}/"));
        response.assert_error(502, "Bad Gateway");
        let why = response.header("X-Flowgate-Error").unwrap_or_default();
        assert!(why.contains("nowhere"), "{why}");
    });
}

#[test]
fn this_host_is_denied_to_clients_from_elsewhere() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for headers in [
        "Via: 1.1 x\r\n",
        "X-Forwarded-For: 192.0.2.1\r\n",
        "Forwarded: for=_x\r\n",
    ] {
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let path = format!("/http/{host}:{}/", origin.port);
            refused(&server, &path, headers).assert_error(403, "Forbidden");
        }
    }
    origin.assert_untouched();
    let (_, response) = origin.serve(&server, "/", "", &ok("", "neighbour"));
    assert_eq!(response.body, b"neighbour");
}

#[test]
fn last_pattern_that_matches_decides() {
    let origin = Origin::start();
    let path = origin.path("/");
    let by_name = format!("/http/localhost:{}/", origin.port);
    for (arguments, path, allowed) in [
        (&["--upstream-deny", "all"][..], &path, false),
        (&["--upstream-deny", "127.0.0.0/8"], &path, false),
        (&["--upstream-deny", "127.0.0.1"], &by_name, false),
        (&["--upstream-deny", "localhost"], &by_name, false),
        (&["--upstream-deny", "localhost"], &path, true),
        (
            &["--upstream-deny", "all", "--upstream-allow", "loopback"],
            &path,
            true,
        ),
        (
            &["--upstream-allow", "127.0.0.1", "--upstream-deny", "all"],
            &path,
            false,
        ),
        (
            &["--upstream-deny", "all", "--upstream-allow", "10.0.0.0/8"],
            &path,
            false,
        ),
        (
            &["--upstream-deny", "all", "--upstream-allow", "localhost"],
            &by_name,
            true,
        ),
    ] {
        let server = Server::start(arguments);
        let mut client = Wire::to(&server);
        client.send(request("GET", path, ""));
        if allowed {
            let mut peer = origin.accept();
            peer.head();
            peer.send(ok("", ""));
        }
        let status = client.response().status;
        assert_eq!(
            status,
            if allowed { 200 } else { 403 },
            "{arguments:?} {path}"
        );
        origin.assert_untouched();
    }
}

#[test]
fn tunnels_are_not_made() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let path = origin.path("/");
    let request = format!("CONNECT {path} HTTP/1.1\r\nHost: a\r\n\r\nSSH-2.0-x\r\n");
    server
        .exchange(request.as_bytes())
        .assert_error(501, "Not Implemented");
    let authority = origin.authority();
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    server
        .exchange(request.as_bytes())
        .assert_error(501, "Not Implemented");
    origin.assert_untouched();
    // Nor does an upstream get to speak another protocol.
    let mut client = Wire::to(&server);
    client.send(self::request(
        "GET",
        &path,
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ));
    let mut peer = origin.accept();
    assert!(!peer.head().contains("websocket"));
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfree",
    );
    client.response().assert_error(502, "Bad Gateway");
    assert_eq!(client.rest(), b"");
    server.stop_empty();
}

#[test]
fn client_limit_holds_for_proxied_requests() {
    let (server, origin) = (Server::start(&["-m", "1"]), Origin::start());
    let mut first = Wire::to(&server);
    first.send(request("GET", &origin.path("/"), ""));
    let mut peer = origin.accept();
    peer.head();
    refused(&server, &origin.path("/"), "").assert_error(503, "Service Unavailable");
    origin.assert_untouched();
    peer.send(ok("", "first"));
    assert_eq!(first.response().body, b"first");
    server.stop_empty();
}
