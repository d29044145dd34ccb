//! Playlists on their way through: every link leads back to the router (http-proxy spec §14).

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use super::nginx::Nginx;
use super::wire::{Origin, Wire, ok, request};
use crate::support::TempDir;
use crate::support::http::Response;
use crate::support::server::Server;

/// The example of §14.9, and what it becomes; `@` stands for the upstream's host and port.
const UPSTREAM: &str = "#EXTM3U\n\
    #EXT-X-KEY:METHOD=AES-128,URI=\"k/1.key\",IV=0x7\n\
    #EXT-X-MAP:URI=\"/init.mp4\"\n\
    #EXTINF:6.0,\n\
    s1.ts\n\
    sub/s2.ts?x=1\n\
    /s3.ts\n\
    http://other.lan/s4.ts\n\
    skd://drm/key\n";
const REWRITTEN: &str = "#EXTM3U\n\
    #EXT-X-KEY:METHOD=AES-128,URI=\"http://tv.home:5140/http/@/ch1/live/k/1.key\",IV=0x7\n\
    #EXT-X-MAP:URI=\"http://tv.home:5140/http/@/init.mp4\"\n\
    #EXTINF:6.0,\n\
    http://tv.home:5140/http/@/ch1/live/s1.ts\n\
    http://tv.home:5140/http/@/ch1/live/sub/s2.ts?x=1\n\
    http://tv.home:5140/http/@/s3.ts\n\
    http://tv.home:5140/http/other.lan/s4.ts\n\
    skd://drm/key\n";
const TARGET: &str = "/ch1/live/index.m3u8?id=7";

/// What a client gets when the origin answers with `response`, sent in pieces of so many bytes.
fn fetch(server: &Server, origin: &Origin, path: &str, response: &[u8], piece: usize) -> Response {
    let mut client = Wire::to(server);
    client.send(request("GET", path, ""));
    let mut peer = origin.accept();
    peer.head();
    for piece in response.chunks(piece) {
        peer.send(piece);
    }
    peer.finish();
    client.response()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(size) {
        out.extend(format!("{:X}\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\nX-Trailer: 1\r\n\r\n");
    out
}

fn assert_rewritten(response: &Response, authority: &str) {
    assert_eq!(response.status, 200, "{}", response.head);
    let expected = REWRITTEN.replace('@', authority);
    assert_eq!(String::from_utf8_lossy(&response.body), expected);
    let len = expected.len().to_string();
    assert_eq!(response.header("Content-Length"), Some(&*len));
    assert_eq!(response.header("Transfer-Encoding"), None);
}

#[test]
fn worked_example_of_the_specification_comes_out_in_every_framing() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let path = origin.path(TARGET);
    let body = UPSTREAM.as_bytes();
    let until_close = format!("HTTP/1.1 200 OK\r\n\r\n{UPSTREAM}");
    for (answer, piece) in [
        (ok("", UPSTREAM).into_bytes(), usize::MAX),
        (ok("Content-Type: video/mp2t\r\n", UPSTREAM).into_bytes(), 1),
        (until_close.into_bytes(), 100),
        (chunked(body, 50), usize::MAX),
        (chunked(body, 1), 1),
    ] {
        let response = fetch(&server, &origin, &path, &answer, piece);
        assert_rewritten(&response, &origin.authority());
    }
    server.stop_empty();
}

#[test]
fn what_makes_a_playlist_is_its_name_or_its_type() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for (target, content_type, is_one) in [
        ("/a.m3u", "text/plain", true),
        ("/a.M3U8?x=1", "video/mp2t", true),
        ("/a", "application/vnd.apple.mpegurl", true),
        ("/a", "Audio/X-MpegURL; charset=utf-8", true),
        ("/a", "text/plain", false),
        ("/a.m3u8/b", "text/plain", false),
        ("/a?b=.m3u8", "text/plain", false),
    ] {
        let answer = ok(&format!("Content-Type: {content_type}\r\n"), "s.ts");
        let response = fetch(
            &server,
            &origin,
            &origin.path(target),
            answer.as_bytes(),
            usize::MAX,
        );
        let rewritten = format!("http://tv.home:5140/http/{}/s.ts", origin.authority());
        let expected = if is_one { &*rewritten } else { "s.ts" };
        assert_eq!(
            String::from_utf8_lossy(&response.body),
            expected,
            "{target} {content_type}"
        );
        assert_eq!(response.header("Content-Type"), Some(content_type));
    }
    // An error page is not one, whatever its name.
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ns.ts";
    let response = fetch(
        &server,
        &origin,
        &origin.path("/a.m3u8"),
        missing.as_bytes(),
        9,
    );
    assert_eq!((response.status, &*response.body), (404, &b"s.ts"[..]));
    server.stop_empty();
}

#[test]
fn options_and_headers_decide_how_links_begin() {
    let origin = Origin::start();
    let authority = origin.authority();
    let forwarded = "X-Forwarded-Host: tv.example:8443, inner\r\nX-Forwarded-Proto: https\r\n";
    for (arguments, headers, expected) in [
        (
            &[][..],
            forwarded,
            "http://tv.home:5140/http/@/s?a=1".to_owned(),
        ),
        (
            &["-X"],
            forwarded,
            "https://tv.example:8443/http/@/s?a=1".to_owned(),
        ),
        (&["-X"], "", "http://tv.home:5140/http/@/s?a=1".to_owned()),
        (
            &["--use-relative-path-in-m3u"],
            "",
            "/http/@/s?a=1".to_owned(),
        ),
        (
            &["--use-relative-path-in-m3u", "--app-path-prefix", "/tv"],
            "",
            "/tv/http/@/s?a=1".to_owned(),
        ),
        (
            &["--app-path-prefix", "/tv"],
            "",
            "http://tv.home:5140/tv/http/@/s?a=1".to_owned(),
        ),
        (
            &["-H", "https://tv.home"],
            "",
            "https://tv.home:5140/http/@/s?a=1".to_owned(),
        ),
        (
            &["-T", "p;q&r$"],
            "Cookie: r2h-token=p%3Bq%26r%24\r\n",
            "http://tv.home:5140/http/@/s?a=1&r2h-token=p%3Bq%26r%24".to_owned(),
        ),
    ] {
        let server = Server::start(arguments);
        let prefix = if arguments.contains(&"/tv") {
            "/tv"
        } else {
            ""
        };
        let mut client = Wire::to(&server);
        let path = format!("{prefix}{}", origin.path("/x.m3u8"));
        client.send(request("GET", &path, headers));
        let mut peer = origin.accept();
        peer.head();
        peer.send(ok("", "/s?a=1\n"));
        let body = client.response().body;
        let expected = expected.replace('@', &authority) + "\n";
        assert_eq!(String::from_utf8_lossy(&body), expected, "{arguments:?}");
    }
}

#[test]
fn interface_of_the_request_is_kept_in_the_links() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let path = origin.path("/x.m3u8?r2h-ifname=lo");
    let response = fetch(
        &server,
        &origin,
        &path,
        ok("", "s.ts").as_bytes(),
        usize::MAX,
    );
    let expected = format!(
        "http://tv.home:5140/http/{}/s.ts?r2h-ifname=lo",
        origin.authority()
    );
    assert_eq!(String::from_utf8_lossy(&response.body), expected);
}

#[test]
fn old_client_without_a_host_gets_links_to_the_address_it_reached() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    client.send(format!("GET {} HTTP/1.0\r\n\r\n", origin.path("/x.m3u8")));
    let mut peer = origin.accept();
    peer.head();
    peer.send(ok("", "s.ts"));
    let expected = format!(
        "http://127.0.0.1:{}/http/{}/s.ts",
        server.port,
        origin.authority()
    );
    assert_eq!(String::from_utf8_lossy(&client.response().body), expected);
}

#[test]
fn what_no_longer_fits_the_rewritten_body_is_taken_out() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut client = Wire::to(&server);
    let conditions = "Range: bytes=0-9\r\nIf-None-Match: \"1\"\r\nX-Kept: 1\r\n";
    client.send(request("GET", &origin.path("/x.m3u8"), conditions));
    let mut peer = origin.accept();
    let head = peer.head();
    assert!(head.ends_with("\r\nX-Kept: 1\r\n\r\n"), "{head}");
    assert!(
        !head.contains("Range") && !head.contains("If-None-Match"),
        "{head}"
    );
    peer.send(ok(
        "ETag: \"1\"\r\nAccept-Ranges: bytes\r\nLast-Modified: x\r\nCache-Control: no-cache\r\n",
        "s.ts",
    ));
    let response = client.response();
    let names: Vec<&str> = response
        .head
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .collect();
    assert_eq!(names, ["Cache-Control", "Content-Length"]);
}

#[test]
fn compressed_playlist_from_nginx_is_rewritten() {
    if !Nginx::available() {
        return;
    }
    let directory = TempDir::new();
    let folder = directory.path().join("ch1/live");
    std::fs::create_dir_all(&folder).expect("made");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(UPSTREAM.as_bytes()).expect("memory");
    std::fs::write(folder.join("index.m3u8.gz"), gzip.finish().expect("memory")).expect("written");
    // It compresses although nobody has asked for it.
    let nginx = Nginx::start(directory, "", "gzip_static always;");
    let server = Server::start(&[]);
    let mut direct = Wire {
        stream: crate::support::server::connect(nginx.port),
    };
    assert_eq!(direct.get(TARGET).header("Content-Encoding"), Some("gzip"));
    let response = Wire::to(&server).get(&nginx.path(TARGET));
    assert_rewritten(&response, &format!("127.0.0.1:{}", nginx.port));
    assert_eq!(response.header("Content-Encoding"), None);
    server.stop_empty();
}

#[test]
fn playlist_of_up_to_two_mebibytes_is_rewritten_and_a_longer_one_is_not() {
    let server = Server::start(&[]);
    let origin = Origin::start();
    let path = origin.path("/x.m3u8");
    let line = "#EXTINF:6.0,a title to fill the line with some text\n";
    let mut body = line.repeat((2 << 20) / line.len() - 1);
    body.push_str("s.ts\n");
    let response = fetch(
        &server,
        &origin,
        &path,
        ok("", &body).as_bytes(),
        usize::MAX,
    );
    let rewritten = body.replace(
        "\ns.ts\n",
        &format!("\nhttp://tv.home:5140/http/{}/s.ts\n", origin.authority()),
    );
    assert!(
        response.body == rewritten.as_bytes(),
        "not rewritten or damaged"
    );
    // Its length is known beforehand, so it is passed on as it is.
    body.push_str(&line.repeat(100));
    assert!(body.len() > 2 << 20);
    let response = fetch(
        &server,
        &origin,
        &path,
        ok("", &body).as_bytes(),
        usize::MAX,
    );
    assert!(response.body == body.as_bytes(), "damaged");
    // Its length is not known before it is too late.
    let mut client = Wire::to(&server);
    client.send(request("GET", &path, ""));
    let mut peer = origin.accept();
    peer.head();
    let _ = peer.stream.write_all(&chunked(body.as_bytes(), 60_000));
    client.response().assert_error(502, "Bad Gateway");
    server.stop_empty();
}

#[test]
fn playlist_that_is_not_whole_is_answered_with_502() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ns.ts".to_owned(),
        format!("{chunks}4\r\ns.ts\r\n"),
        format!("{chunks}4\r\ns.ts\r\n0\r\n"),
        format!("{chunks}4 \r\ns.ts\r\n0\r\n\r\n"),
        format!("{chunks}4\r\ns.tsXX0\r\n\r\n"),
        format!("{chunks}zz\r\n"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
    ] {
        println!("{answer:?}");
        let path = origin.path("/x.m3u8");
        let response = fetch(&server, &origin, &path, answer.as_bytes(), usize::MAX);
        response.assert_error(502, "Bad Gateway");
    }
    let empty = format!("{chunks}0\r\n\r\n");
    for answer in [ok("", ""), empty] {
        let response = fetch(
            &server,
            &origin,
            &origin.path("/x.m3u8"),
            answer.as_bytes(),
            9,
        );
        assert_eq!((response.status, response.body.len()), (200, 0));
        assert_eq!(response.header("Content-Length"), Some("0"));
    }
    server.stop_empty();
}
