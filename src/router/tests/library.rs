//! External lists and guides over real sockets: slow, long, wrong and missing ones, and what stays meanwhile.

use std::io::Write as _;
use std::net::TcpStream;

use super::{Bench, write};
use crate::config::Config;
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::playlist::DocumentAddress;

pub(super) const LIST: &str = "#EXTM3U\n#EXTINF:-1,A\nrtp://239.0.0.1\n";

/// A router whose external list is on the origin, and a client that stays, since a bench is over with the last one.
fn bench() -> (Bench, TcpStream) {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    let mut config = Config {
        services: "#EXTM3U\n#EXTINF:-1,Own\nrtp://239.0.0.9\n".into(),
        ..Config::default()
    };
    let origin = bench.origin.local_addr().expect("an address");
    let address = DocumentAddress::parse(&format!("http://{origin}/list"));
    config.external_m3u = Some(address.expect("a URL"));
    bench.router.reconfigure(config.into());
    (bench, client)
}

/// The connection on which something is asked for, once the request has come.
pub(super) fn asked(bench: &mut Bench, target: &str) -> TcpStream {
    let origin = bench.accept();
    let request = bench.read(&origin, "\r\n\r\n");
    assert!(
        request.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
        "{request}"
    );
    origin
}

pub(super) fn answer(origin: &TcpStream, head: &str, body: &str) {
    let length = body.len();
    write(
        origin,
        &format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}"),
    );
}

/// Lets the router work until a service is there or not.
pub(super) fn settle(bench: &mut Bench, target: &str, is_there: bool) {
    for _ in 0..super::TICKS_MAX {
        if bench
            .router
            .named(target)
            .is_ok_and(|named| named.is_some())
            == is_there
        {
            return;
        }
        bench.tick();
    }
    panic!("{target}: not {is_there}");
}

/// Lets the router work until nothing is being loaded.
fn rest(bench: &mut Bench) {
    for _ in 0..super::TICKS_MAX {
        if bench.router.upstreams.is_empty() && !bench.router.library.is_reading() {
            return;
        }
        bench.tick();
    }
    panic!("something is still being loaded");
}

#[test]
fn list_joins_the_own_services_and_stays_when_later_ones_fail() {
    let (mut bench, _client) = bench();
    settle(&mut bench, "/Own", true);
    let origin = asked(&mut bench, "/list");
    answer(&origin, "200 OK", LIST);
    settle(&mut bench, "/A", true);
    settle(&mut bench, "/Own", true);
    rest(&mut bench);
    for (head, body) in [
        ("404 Not Found", LIST),
        ("200 OK", ""),
        ("200 OK", "<!doctype html>"),
        ("302 Found\r\nLocation: file:///etc/passwd", ""),
        ("304 Not Modified", ""),
    ] {
        bench.router.errands.hurry(bench.router.shared.now);
        let origin = asked(&mut bench, "/list");
        answer(&origin, head, body);
        rest(&mut bench);
        settle(&mut bench, "/A", true);
    }
    bench.router.errands.hurry(bench.router.shared.now);
    let origin = asked(&mut bench, "/list");
    answer(&origin, "200 OK", &LIST.replace(",A", ",B"));
    settle(&mut bench, "/B", true);
    settle(&mut bench, "/A", false);
}

#[test]
fn list_may_be_in_the_encoding_of_western_windows() {
    let (mut bench, _client) = bench();
    let mut origin = asked(&mut bench, "/list");
    let list = b"#EXTM3U\n#EXTINF:-1,T\xe9l\xe9\nrtp://239.0.0.1\n";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
    origin
        .write_all(&[head.as_bytes(), list].concat())
        .expect("sent");
    settle(&mut bench, "/T%C3%A9l%C3%A9", true);
}

#[test]
fn whoever_says_who_asks_counts_before_the_list() {
    let mut bench = Bench::new(Config::default());
    let host = bench.origin.local_addr().expect("an address");
    let config = Config {
        services: format!("#EXTM3U\n#EXTINF:-1,Own\nhttp://tele:one@{host}/live/i.m3u8\n").into(),
        ..Config::default()
    };
    bench.router.reconfigure(config.into());
    let _witness = bench.client();
    settle(&mut bench, "/Own", true);
    // By RFC 7617: tele:one, me:two and tele:wrong.
    let (listed, own, said) = ("dGVsZTpvbmU=", "bWU6dHdv", "dGVsZTp3cm9uZw==");
    let header = format!("Authorization: Basic {said}\r\n");
    for (target, headers, expected) in [
        ("/Own".to_owned(), "", vec![listed]),
        (format!("/http/{host}/live/a.ts"), "", vec![listed]),
        (format!("/http/{host}/a.ts"), "", vec![]),
        (format!("/http/me:two@{host}/live/a.ts"), "", vec![own]),
        ("/Own".to_owned(), &*header, vec![said]),
        (format!("/http/{host}/live/a.ts"), &*header, vec![said]),
        (format!("/http/me:two@{host}/a.ts"), &*header, vec![said]),
    ] {
        let client = bench.client();
        let request = format!("GET {target} HTTP/1.0\r\nHost: tv\r\n{headers}\r\n");
        write(&client, &request);
        let origin = bench.accept();
        let request = bench.read(&origin, "\r\n\r\n");
        let sent: Vec<&str> = request
            .lines()
            .filter_map(|line| line.strip_prefix("Authorization: Basic "))
            .collect();
        assert_eq!(sent, expected, "{target}: {request}");
        answer(&origin, "200 OK\r\nConnection: close", "");
        bench.read_to_end(&client);
    }
}

#[test]
fn origin_that_is_silent_or_breaks_off_is_given_up() {
    let (mut bench, _client) = bench();
    let origin = asked(&mut bench, "/list");
    write(
        &origin,
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n#EXTM3U",
    );
    // Until the head is there.
    bench.tick();
    assert_eq!(bench.router.upstreams.len(), 1);
    bench.router.errands.hurry(bench.router.shared.now);
    rest(&mut bench);
    bench.router.errands.hurry(bench.router.shared.now);
    let origin = asked(&mut bench, "/list");
    write(
        &origin,
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n#EXTM3U",
    );
    drop(origin);
    rest(&mut bench);
    settle(&mut bench, "/Own", true);
    assert_eq!(bench.router.shared.pool.held_bytes(), 0);
}

#[test]
fn list_that_is_too_long_is_not_taken() {
    let (mut bench, _client) = bench();
    let origin = asked(&mut bench, "/list");
    let length = DOCUMENT_BYTES_MAX + 1;
    write(
        &origin,
        &format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{LIST}"),
    );
    rest(&mut bench);
    settle(&mut bench, "/A", false);
}

#[test]
fn long_list_is_read_bit_by_bit_and_holds_as_a_whole() {
    let (mut bench, _client) = bench();
    let origin = asked(&mut bench, "/list");
    let mut list = "#EXTM3U\n".to_owned();
    for number in 0..2000 {
        list += &format!("#EXTINF:-1,C{number}\nrtp://239.0.0.1\n");
    }
    answer(&origin, "200 OK", &list);
    let mut ticks = 0;
    while bench
        .router
        .named("/C1999")
        .is_ok_and(|named| named.is_none())
    {
        assert!(bench.router.named("/C0").is_ok_and(|named| named.is_none()));
        bench.tick();
        ticks += 1;
        assert!(ticks < 1000, "it is never read");
    }
    assert!(
        ticks > 4000 / crate::limits::LIST_LINES_PER_TURN,
        "{ticks} ticks"
    );
    assert!(bench.router.named("/C0").is_ok_and(|named| named.is_some()));
}

#[test]
fn guide_follows_its_list_and_is_forgotten_with_it() {
    let (mut bench, _client) = bench();
    let origin = asked(&mut bench, "/list");
    let list = LIST.replace("#EXTM3U", "#EXTM3U x-tvg-url=\"/guide\"");
    // A relative address is none.
    answer(&origin, "200 OK", &list);
    settle(&mut bench, "/A", true);
    rest(&mut bench);
    let host = bench.origin.local_addr().expect("an address");
    let list = LIST.replace(
        "#EXTM3U",
        &format!("#EXTM3U x-tvg-url=\"http://{host}/guide\""),
    );
    bench.router.errands.hurry(bench.router.shared.now);
    let origin = asked(&mut bench, "/list");
    answer(&origin, "200 OK\r\nETag: \"1\"", &list);
    let origin = asked(&mut bench, "/guide");
    answer(&origin, "302 Found\r\nLocation: guide/2", "");
    let origin = asked(&mut bench, "/guide/2");
    answer(&origin, "200 OK", "<tv/>");
    rest(&mut bench);
    let get = |bench: &mut Bench, path: &str| {
        let client = bench.client();
        write(&client, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        bench.read_to_end(&client)
    };
    assert!(get(&mut bench, "/epg.xml").ends_with("\r\n\r\n<tv/>"));
    assert!(get(&mut bench, "/playlist.m3u").contains("#EXTM3U x-tvg-url=\"http://h/epg.xml\"\n"));
    // The same list, another guide.
    bench.router.errands.hurry(bench.router.shared.now);
    let mut origins = [bench.accept(), bench.accept()];
    let requests = [0, 1].map(|at| bench.read(&origins[at], "\r\n\r\n"));
    if !requests[0].starts_with("GET /list") {
        origins.reverse();
    }
    assert!(
        requests
            .iter()
            .any(|request| request.contains("\r\nIf-None-Match: \"1\"\r\n"))
    );
    answer(&origins[0], "304 Not Modified", "");
    let origin = asked(&mut bench, "/guide");
    answer(&origin, "200 OK", "\u{1f}\u{8b}");
    rest(&mut bench);
    bench.router.errands.hurry(bench.router.shared.now);
    // A list without one.
    let origin = loop {
        let origin = bench.accept();
        if bench.read(&origin, "\r\n\r\n").starts_with("GET /list") {
            break origin;
        }
    };
    answer(&origin, "200 OK", LIST);
    while bench.router.library.guide_address().is_some() {
        bench.tick();
    }
    assert!(get(&mut bench, "/epg.xml").starts_with("HTTP/1.1 404 "));
    assert!(get(&mut bench, "/playlist.m3u").contains("\r\n\r\n#EXTM3U\n\n"));
}

#[test]
fn reload_keeps_the_list_until_there_is_a_new_one() {
    let (mut bench, _client) = bench();
    let origin = asked(&mut bench, "/list");
    answer(&origin, "200 OK\r\nETag: \"1\"", LIST);
    settle(&mut bench, "/A", true);
    rest(&mut bench);
    let config = Config {
        services: "#EXTM3U\n#EXTINF:-1,A\nrtp://239.0.0.8\n".into(),
        ..(*bench.router.shared.config).clone()
    };
    bench.router.reconfigure(config.into());
    settle(&mut bench, "/A/2", true);
    settle(&mut bench, "/Own", false);
    let origin = bench.accept();
    let request = bench.read(&origin, "\r\n\r\n");
    assert!(
        request.contains("\r\nIf-None-Match: \"1\"\r\n"),
        "{request}"
    );
    // Without an external list its services go.
    let config = Config {
        external_m3u: None,
        ..(*bench.router.shared.config).clone()
    };
    bench.router.reconfigure(config.into());
    settle(&mut bench, "/A/2", false);
    rest(&mut bench);
}

#[test]
fn router_that_leaves_waits_for_no_list() {
    let (mut bench, _client) = bench();
    let _origin = asked(&mut bench, "/list");
    bench.router.stop();
    while !bench.router.clients.is_empty() {
        bench.tick();
    }
    assert!(bench.router.upstreams.is_empty() && bench.router.is_stopped());
}
