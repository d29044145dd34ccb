//! Who is served: `Host`, path prefix, token, and what web pages of other origins may do.

use std::io::Write;

use crate::support::http::{Body, Response, read_response};
use crate::support::namespace::{WEST, with_links};
use crate::support::sender::{Framing, Sender, Source};
use crate::support::server::Server;
use crate::support::ts;

const GROUP: &str = "239.2.1.1:5000";
const PATH: &str = "/rtp/239.2.1.1:5000";

fn sender() -> Sender {
    Source::new("west", WEST, GROUP, Framing::Rtp).run(100)
}

fn request(method: &str, target: &str, headers: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

fn head(server: &Server, target: &str, headers: &str) -> Response {
    server.exchange(&request("HEAD", target, headers))
}

#[test]
fn request_for_another_host_is_answered_with_400() {
    let server = Server::start(&["-H", "http://TV.home:8080/x"]);
    let ask = |version: &str, host: &str| {
        let request = format!("HEAD {PATH} HTTP/{version}\r\n{host}\r\n");
        server.exchange(request.as_bytes()).status
    };
    assert_eq!(ask("1.1", "Host: tv.home\r\n"), 200);
    assert_eq!(ask("1.1", "Host: tv.HOME:5140\r\n"), 200);
    for host in [
        "tv.home.evil",
        "evil",
        "127.0.0.1",
        "[::1]:80",
        "",
        "tv.home:80@evil",
    ] {
        println!("{host}");
        let headers = format!("Host: {host}\r\nX-Forwarded-Host: tv.home\r\n");
        assert_eq!(ask("1.1", &headers), 400);
    }
    assert_eq!(ask("1.0", ""), 400);
    server.get(PATH).assert_error(400, "Bad Request");
    server.stop_empty();
}

#[test]
fn everything_is_below_the_prefix() {
    let server = Server::start(&["--app-path-prefix", "a/tv/"]);
    for target in [
        format!("/a/tv{PATH}"),
        format!("/a/tv{PATH}/$HD"),
        "/a/tv/udp/239.2.1.1:5000?x=1".to_owned(),
    ] {
        assert_eq!(head(&server, &target, "").status, 200, "{target}");
    }
    for target in [
        PATH,
        "/a/tv",
        "/a/tvx/rtp/239.2.1.1:5000",
        "/A/TV/rtp/239.2.1.1:5000",
        "/a/tv/../rtp/239.2.1.1:5000",
    ] {
        println!("{target}");
        server.get(target).assert_error(404, "Not Found");
    }
    server.stop_empty();
}

#[test]
fn request_without_the_token_is_answered_with_401() {
    let server = Server::start(&["-T", "s3cret&$x"]);
    let right = "s3cret%26$x";
    for (target, headers) in [
        (PATH.to_owned(), ""),
        (format!("{PATH}?r2h-token=guess"), ""),
        (
            format!("{PATH}?r2h-token="),
            "Cookie: r2h-token=s3cret%26%24x\r\n",
        ),
        (
            PATH.to_owned(),
            "Cookie: r2h-token=guess\r\nUser-Agent: R2HTOKEN/s3cret&$x\r\n",
        ),
        (PATH.to_owned(), "User-Agent: R2HTOKEN/guess\r\n"),
        ("/nothing".to_owned(), ""),
    ] {
        println!("{target} {headers}");
        let response = server.exchange(&request("GET", &target, headers));
        response.assert_error(401, "Unauthorized");
        assert_eq!(response.header("WWW-Authenticate"), Some("Bearer"));
        assert_eq!(response.header("Set-Cookie"), None);
        assert_eq!(
            server
                .exchange(&request("OPTIONS", &target, headers))
                .status,
            401
        );
        let headless = head(&server, &target, headers);
        assert_eq!((headless.status, headless.body.len()), (401, 0));
    }
    for (target, headers) in [
        (format!("{PATH}?R2H-Token={right}"), ""),
        (PATH.to_owned(), "Cookie: a=b; r2h-token=s3cret%26%24x\r\n"),
        (
            PATH.to_owned(),
            "User-Agent: Player/1 R2HTOKEN/s3cret&$x x\r\n",
        ),
    ] {
        assert_eq!(
            head(&server, &target, headers).status,
            200,
            "{target} {headers}"
        );
    }
    // The first one; what follows within a second is only counted.
    server.log().wait("): an access token is needed");
    for secret in ["s3cret", "guess"] {
        assert_eq!(server.log().count(|line| line.contains(secret)), 0);
    }
    server.stop_empty();
}

#[test]
fn token_in_the_url_is_answered_with_a_cookie() {
    with_links(|| {
        let server = Server::start(&["-T", "k y", "--app-path-prefix", "/tv", "-m", "2"]);
        let cookie = Some("r2h-token=k%20y; Path=/tv; HttpOnly; SameSite=Strict");
        let _sender = sender();
        let path = format!("/tv{PATH}");
        let with_token = format!("{path}?r2h-token=k%20y");
        // The first client waits for the head, the second one finds the channel running.
        let mut bodies = [(); 2].map(|()| server.open(&with_token));
        for body in &mut bodies {
            assert_eq!(body.head.header("Set-Cookie"), cookie);
            ts::assert_gapless(&body.take(100 * ts::PACKET));
        }
        // Refusals carry it too.
        let refused = server.get(&with_token);
        refused.assert_error(503, "Service Unavailable");
        assert_eq!(refused.header("Set-Cookie"), cookie);
        let missing = server.get("/tv/nothing?r2h-token=k%20y");
        missing.assert_error(404, "Not Found");
        assert_eq!(missing.header("Set-Cookie"), cookie);
        assert_eq!(head(&server, &with_token, "").header("Set-Cookie"), cookie);
        drop(bodies);

        // Whoever has the cookie is not given it again.
        let mut stream = server.connect();
        let request = request("GET", &path, "Cookie: r2h-token=k%20y\r\n");
        stream.write_all(&request).expect("request sent");
        let mut body = Body::begin(stream);
        assert_eq!(body.head.header("Set-Cookie"), None);
        ts::assert_gapless(&body.take(100 * ts::PACKET));
    });
}

#[test]
fn preflight_is_answered_without_a_token() {
    let server = Server::start(&[
        "-O",
        "https://web.home",
        "-T",
        "s",
        "--app-path-prefix",
        "/tv",
    ]);
    for method in ["OPTIONS", "options"] {
        let response = server.exchange(&request(method, "/tv/http/any.host/x", ""));
        assert_eq!(
            response.head,
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\
             Access-Control-Allow-Origin: https://web.home\r\n\
             Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n\
             Access-Control-Max-Age: 86400\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(response.body, b"");
    }
    let asked =
        "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: range, x-y\r\n";
    let response = server.exchange(&request("OPTIONS", "/tv/", asked));
    assert_eq!(response.header("Access-Control-Allow-Methods"), Some("PUT"));
    assert_eq!(
        response.header("Access-Control-Allow-Headers"),
        Some("range, x-y")
    );
    server
        .exchange(&request("OPTIONS", PATH, ""))
        .assert_error(404, "Not Found");
    server.stop_empty();
}

#[test]
fn answers_name_the_allowed_origin() {
    with_links(|| {
        let server = Server::start(&["-O", "*"]);
        let _sender = sender();
        let origin = "Access-Control-Allow-Origin";
        assert_eq!(server.get("/nothing").header(origin), Some("*"));
        assert_eq!(
            server.exchange(b"nonsense\r\n\r\n").header(origin),
            Some("*")
        );
        assert_eq!(head(&server, PATH, "").header(origin), Some("*"));
        let mut body = server.open(PATH);
        assert_eq!(body.head.header(origin), Some("*"));
        let exposed = body.head.header("Access-Control-Expose-Headers");
        assert!(exposed.is_some_and(|names| names.contains("R2H-Upstream-Payload")));
        ts::assert_gapless(&body.take(10 * ts::PACKET));
    });
    let silent = Server::start(&[]);
    assert_eq!(
        silent.get("/nothing").header("Access-Control-Allow-Origin"),
        None
    );
}

#[test]
fn forwarded_address_is_told_only_if_believed() {
    let header = "X-Forwarded-For: 198.51.100.9, 10.0.0.1\r\n";
    for (arguments, believed) in [
        (&["-X"][..], 1),
        (&[], 0),
        (&["-H", "https://localhost"], 1),
    ] {
        let server = Server::start(arguments);
        let mut stream = server.connect();
        stream
            .write_all(&request("GET", "/nothing", header))
            .expect("sent");
        read_response(&mut stream).assert_error(404, "Not Found");
        let is_told = |line: &str| line.contains("forwarded for 198.51.100.9");
        let log = server.log();
        log.wait("requested URL: /nothing");
        if believed == 1 {
            log.wait("forwarded for 198.51.100.9");
        }
        assert_eq!(log.count(is_told), believed, "{arguments:?}");
    }
}
