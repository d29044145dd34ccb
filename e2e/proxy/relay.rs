//! Heads on their way through: what the origin is asked, and what the client is told.

use super::wire::{Origin, Wire, ok, request};
use crate::support::server::Server;

#[test]
fn request_head_reaches_the_origin_without_what_is_not_meant_for_it() {
    // Somebody is said to be behind this client, who is not on this host.
    let arguments = ["--upstream-allow", "loopback"];
    let (server, origin) = (Server::start(&arguments), Origin::start());
    let (head, response) = origin.serve(
        &server,
        "/a//b/../c%20d?x=1&R2H-Token=s&r2h-ifname=lo&y=%zz&r2h-ifname-fcc=lo",
        "User-Agent: Player/1\r\n\
         accept-encoding: gzip, br\r\n\
         X-Forwarded-For: 192.0.2.1\r\n\
         X-Forwarded-Host: elsewhere\r\n\
         X-Forwarded-Proto: https\r\n\
         Connection: keep-alive, X-Hop\r\n\
         X-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\n\
         Proxy-Authorization: Basic eA==\r\n\
         TE: trailers\r\n\
         Upgrade: h2c\r\n\
         Empty:\r\n\
         Range:   bytes=1-2  \r\n\
         X-real-IP: 192.0.2.2\r\n\
         Cookie: a=1; b=2\r\n\
         Authorization: Basic eDp5\r\n\
         X-Twice: 1\r\n\
         X-Twice: 2\r\n",
        &ok("", "hi"),
    );
    let expected = format!(
        "GET /a//b/../c%20d?x=1&y=%zz HTTP/1.1\r\n\
         Host: {}\r\n\
         User-Agent: Player/1\r\n\
         Range: bytes=1-2\r\n\
         X-real-IP: 192.0.2.2\r\n\
         Cookie: a=1; b=2\r\n\
         Authorization: Basic eDp5\r\n\
         X-Twice: 1\r\n\
         X-Twice: 2\r\n\r\n",
        origin.authority()
    );
    assert_eq!(head, expected);
    assert_eq!((response.status, &*response.body), (200, &b"hi"[..]));
    server.stop_empty();
}

#[test]
fn response_head_reaches_the_client_without_what_was_for_the_proxy() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let (_, response) = origin.serve(
        &server,
        "/",
        "",
        "HTTP/1.1 418 I'm a   teapot\r\n\
         Server: tea/1\r\n\
         connection: X-Hop,close\r\n\
         X-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\n\
         Trailer: X-T\r\n\
         ETag: \"1\"\r\n\
         Content-Encoding: br\r\n\
         Vary: *\r\n\
         Vary: Origin\r\n\
         R2H-Fake: upstream's own\r\n\
         Content-Length: 3\r\n\r\npot",
    );
    assert_eq!(
        response.head,
        "HTTP/1.1 418 I'm a   teapot\r\n\
         Server: tea/1\r\n\
         ETag: \"1\"\r\n\
         Content-Encoding: br\r\n\
         Vary: *\r\n\
         Vary: Origin\r\n\
         R2H-Fake: upstream's own\r\n\
         Content-Length: 3\r\n\r\n"
    );
    assert_eq!(response.body, b"pot");
    server.stop_empty();
}

#[test]
fn every_method_is_forwarded_as_it_is() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for method in [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "M-SEARCH",
    ] {
        let mut client = Wire::to(&server);
        client.send(request(method, &origin.path("/m"), ""));
        let mut peer = origin.accept();
        let head = peer.head();
        assert!(
            head.starts_with(&format!("{method} /m HTTP/1.1\r\n")),
            "{head}"
        );
        // What is not repeated must not meet a connection that has just ended.
        peer.send(ok("Connection: close\r\n", method));
        assert_eq!(client.response().body, method.as_bytes());
    }
    server.stop_empty();
}

#[test]
fn target_is_split_as_the_specification_says() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let authority = origin.authority();
    // As wget2 writes it.
    let escaped = authority.replace(':', "%3A");
    for (path, target) in [
        (format!("/http/{authority}"), "/"),
        (format!("/http/{escaped}/a%3Ab"), "/a%3Ab"),
        (format!("/http/me%3Apass%40{escaped}/a"), "/a"),
        (format!("/http/{authority}/"), "/"),
        // What the reference gets wrong: a query directly behind the authority, and the upstream's own `$`.
        (format!("/http/{authority}?x=1"), "/?x=1"),
        (format!("/http/{authority}/a?sig=p$q"), "/a?sig=p$q"),
        (format!("/http/{authority}/a$HD/b.ts"), "/a$HD/b.ts"),
        (format!("/http/{authority}/a?sig=p%24q"), "/a?sig=p%24q"),
        (format!("/http/{authority}/a?r2h-token=1"), "/a"),
        (
            format!("/http/{authority}/a?b=1&r2h-seek-mode=range&c=2&snapshot=1"),
            "/a?b=1&c=2&snapshot=1",
        ),
        (
            format!("/http/{authority}/a?xr2h-token=1&r2h-start=5"),
            "/a?xr2h-token=1&r2h-start=5",
        ),
        (format!("/http/{authority}//x/%2e%2e/y"), "//x/%2e%2e/y"),
    ] {
        let mut client = Wire::to(&server);
        client.send(request("GET", &path, ""));
        let mut peer = origin.accept();
        let head = peer.head();
        assert_eq!(head.split(' ').nth(1), Some(target), "{path}");
        peer.send(ok("", ""));
        assert_eq!(client.response().status, 200, "{path}");
    }
    server.stop_empty();
}

#[test]
fn target_that_names_no_upstream_is_refused() {
    let server = Server::start(&[]);
    for (path, status) in [
        ("/http/", 404),
        ("/http//x", 404),
        ("/HTTP/127.0.0.1/x", 404),
        ("/http/:80/x", 400),
        ("/http/h:0/x", 400),
        ("/http/h:65536/x", 400),
        ("/http/h:+80/x", 400),
        ("/http/h:8x/x", 400),
        ("/http/u%zz:p@127.0.0.1/x", 400),
        ("/http/u:p@/x", 404),
        ("/http/[::1/x", 400),
        ("/http/[::1]x/x", 400),
        ("/http/h%0d%0aX:y/x", 400),
    ] {
        println!("{path}");
        let response = server.get(path);
        assert_eq!(response.status, status, "{path}: {}", response.head);
    }
    let long = format!("/http/127.0.0.1/{}", "a".repeat(4096));
    assert_eq!(server.get(&long).status, 414);
    let off = Server::start(&["-U"]);
    assert_eq!(off.get("/http/127.0.0.1/").status, 404);
    server.stop_empty();
}

#[test]
fn redirect_leads_back_through_the_proxy() {
    let origin = Origin::start();
    let authority = origin.authority();
    for (arguments, location, expected) in [
        (
            &[][..],
            "http://cdn.lan:8080/v/2",
            "/http/cdn.lan:8080/v/2".into(),
        ),
        (&[], "HTTP://cdn.lan/v?a=1", "/http/cdn.lan/v?a=1".into()),
        (&[], "http://[::1]:81/z", "/http/[::1]:81/z".into()),
        (&[], "https://cdn.lan/v", "/https/cdn.lan/v".into()),
        (&[], "/v/2", format!("/http/{authority}/v/2")),
        (&[], "v/2", format!("/http/{authority}/dir/v/2")),
        (&[], "../../../v", format!("/http/{authority}/v")),
        (&[], "//cdn.lan/v", "/http/cdn.lan/v".into()),
        (&[], "rtsp://cdn.lan/v", "rtsp://cdn.lan/v".into()),
        (
            &["--app-path-prefix", "/tv"],
            "http://cdn.lan/v?a=1",
            "/tv/http/cdn.lan/v?a=1".into(),
        ),
        (
            &["-T", "k y"],
            "http://cdn.lan/v?a=1",
            "/http/cdn.lan/v?a=1&r2h-token=k%20y".into(),
        ),
        (
            &["-T", "k y"],
            "http://cdn.lan/v",
            "/http/cdn.lan/v?r2h-token=k%20y".into(),
        ),
    ] {
        let server = Server::start(arguments);
        let prefix = if arguments.contains(&"/tv") {
            "/tv"
        } else {
            ""
        };
        for status in [301, 302, 303, 307, 308] {
            let mut client = Wire::to(&server);
            let path = format!("{prefix}{}", origin.path("/dir/x"));
            client.send(request("GET", &path, "Cookie: r2h-token=k%20y\r\n"));
            let mut peer = origin.accept();
            peer.head();
            peer.send(format!(
                "HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            ));
            let response = client.response();
            assert_eq!(response.status, status);
            assert_eq!(response.header("Location"), Some(&*expected), "{location}");
        }
        server.stop_empty();
    }
}

#[test]
fn location_of_what_is_no_redirect_stays() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for status in [200, 201, 300] {
        let answer =
            format!("HTTP/1.1 {status} X\r\nLocation: http://h/x\r\nContent-Length: 0\r\n\r\n");
        let (_, response) = origin.serve(&server, "/", "", &answer);
        assert_eq!(response.header("Location"), Some("http://h/x"));
    }
}

#[test]
fn cookies_of_an_upstream_stay_in_its_folder() {
    let server = Server::start(&["--app-path-prefix", "/tv"]);
    let origin = Origin::start();
    let mut client = Wire::to(&server);
    client.send(request("GET", &format!("/tv{}", origin.path("/d/x")), ""));
    let mut peer = origin.accept();
    peer.head();
    peer.send(ok(
        "Set-Cookie: a=1; Domain=cdn.lan; Path=/live; HttpOnly\r\n\
         Set-Cookie: b=2\r\n\
         Set-Cookie: r2h-token=evil; Path=/\r\n",
        "",
    ));
    let head = client.response().head;
    let cookies: Vec<&str> = head
        .lines()
        .filter_map(|line| line.strip_prefix("Set-Cookie: "))
        .collect();
    let folder = format!("/tv/http/{}", origin.authority());
    assert_eq!(
        cookies,
        [
            format!("a=1; HttpOnly; Path={folder}/live"),
            format!("b=2; Path={folder}/d"),
        ]
    );
}

#[test]
fn configured_user_agent_replaces_that_of_the_client() {
    let server = Server::start(&["-g", "Router/7"]);
    let origin = Origin::start();
    for headers in [
        "",
        "User-Agent: a TZ/UTC+8\r\nuser-agent: b\r\nX-Last: 1\r\n",
    ] {
        let (head, _) = origin.serve(&server, "/", headers, &ok("", ""));
        assert_eq!(head.to_lowercase().matches("user-agent").count(), 1);
        assert!(head.ends_with("User-Agent: Router/7\r\n\r\n"), "{head}");
    }
}
