//! Requests as they come from the wire, good and bad, and what is answered.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::http::{self, Body, get, read_response};
use crate::support::namespace::{WEST, with_links};
use crate::support::sender::{Framing, Sender, Source};
use crate::support::server::{Server, read_to_end};
use crate::support::{SOON, TempDir, proc, tool, ts, wait_for};

const GROUP: &str = "239.2.0.1:5000";
const PATH: &str = "/rtp/239.2.0.1:5000";

fn sender() -> Sender {
    Source::new("west", WEST, GROUP, Framing::Rtp).run(100)
}

#[test]
fn request_that_breaks_the_grammar_is_answered_with_400() {
    let server = Server::start(&[]);
    let requests: [&[u8]; 14] = [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / FTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ];
    for request in requests {
        let response = server.exchange(request);
        println!("{:?}", String::from_utf8_lossy(request));
        response.assert_error(400, "Bad Request");
        assert!(
            response
                .header("X-Flowgate-Error")
                .is_some_and(|why| !why.is_empty())
        );
    }
    server.stop_empty();
}

#[test]
fn target_that_is_no_path_is_answered_with_400() {
    let server = Server::start(&[]);
    for target in [
        "rtp/239.2.0.1:5000",
        "*",
        "http://localhost/rtp/239.2.0.1:5000",
        "localhost:80",
        "?",
    ] {
        for method in ["GET", "OPTIONS"] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            server
                .exchange(request.as_bytes())
                .assert_error(400, "Bad Request");
        }
    }
}

#[test]
fn path_that_names_nothing_is_answered_with_404() {
    let server = Server::start(&[]);
    for path in [
        "/",
        "/favicon.ico",
        "/rtp",
        "/rtp/",
        "/RTP/239.2.0.1:5000",
        "/rtp/239.2.0.1:65536",
        "/rtp/239.2.0.1:-1",
        "/rtp/@239.2.0.1:5000",
        "/rtp/10.0.0.1@",
        "/rtp/[ff15::1",
        "/rtp/239.2.0.1:5000?fcc=",
        "/rtp/239.2.0.1%zz:5000",
        "/rtp/239.2.0.1%:5000",
        "//rtp/239.2.0.1:5000",
        "/../rtp/239.2.0.1:5000",
    ] {
        println!("{path}");
        server.get(path).assert_error(404, "Not Found");
    }
    server.stop_empty();
}

#[test]
fn switched_off_urls_are_answered_with_404() {
    let server = Server::start(&["-U"]);
    server.get(PATH).assert_error(404, "Not Found");
    server
        .get("/udp/239.2.0.1:5000")
        .assert_error(404, "Not Found");
}

#[test]
fn other_methods_are_answered_with_405_and_what_is_allowed() {
    let server = Server::start(&[]);
    for method in ["POST", "PUT", "DELETE", "TRACE", "get", "CONNECT"] {
        let request = format!("{method} {PATH} HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = server.exchange(request.as_bytes());
        response.assert_error(405, "Method Not Allowed");
        assert_eq!(response.header("Allow"), Some("GET, HEAD, OPTIONS"));
    }
}

#[test]
fn over_long_target_is_answered_with_414() {
    let server = Server::start(&[]);
    let longest = format!("/{}", "a".repeat(7999));
    server.get(&longest).assert_error(404, "Not Found");
    server
        .get(&format!("{longest}a"))
        .assert_error(414, "URI Too Long");
    // No need to wait for the end of the line.
    let endless = format!("GET /{}", "a".repeat(9000));
    server
        .exchange(endless.as_bytes())
        .assert_error(414, "URI Too Long");
}

#[test]
fn over_long_head_is_answered_with_431() {
    let server = Server::start(&[]);
    let request = |headers: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let reason = "Request Header Fields Too Large";
    let long = |len: usize| request(&format!("X-Long: {}\r\n", "a".repeat(len)));
    server
        .exchange(long(31_000).as_bytes())
        .assert_error(404, "Not Found");
    server
        .exchange(long(34_000).as_bytes())
        .assert_error(431, reason);
    server
        .exchange(long(1_000_000).as_bytes())
        .assert_error(431, reason);
    let many = |count: usize| request(&"X: y\r\n".repeat(count));
    server
        .exchange(many(127).as_bytes())
        .assert_error(404, "Not Found");
    server
        .exchange(many(128).as_bytes())
        .assert_error(431, reason);
}

#[test]
fn foreign_version_is_answered_with_505() {
    let server = Server::start(&[]);
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/3.1"] {
        let request = format!("GET / {version}\r\nHost: a\r\n\r\n");
        let response = server.exchange(request.as_bytes());
        response.assert_error(505, "HTTP Version Not Supported");
    }
    // The preface of HTTP/2 (RFC 9113 §3.4).
    let response = server.exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    response.assert_error(505, "HTTP Version Not Supported");
}

#[test]
fn slow_head_is_answered_with_408_and_silence_is_just_closed() {
    let server = Server::start(&[]);
    let began = Instant::now();
    let mut slow = server.connect();
    let mut silent = server.connect();
    slow.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("valid");
    silent
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("valid");
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").expect("sent");
    read_response(&mut slow).assert_error(408, "Request Timeout");
    assert_eq!(read_to_end(&mut silent), b"");
    let took = began.elapsed();
    assert!((9..15).contains(&took.as_secs()), "{took:?}");
    server.stop_empty();
}

#[test]
fn head_in_single_bytes_is_understood() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    stream.set_nodelay(true).expect("a TCP socket");
    for byte in b"\r\nHEAD /rtp/239.2.0.1:5000 HTTP/1.1\nHost: a\r\nX-Y: z\n\r\n" {
        stream.write_all(&[*byte]).expect("sent");
    }
    assert_eq!(read_response(&mut stream).status, 200);
}

#[test]
fn head_of_a_stream_is_told_without_joining() {
    let server = Server::start(&["-m", "1"]);
    let request = format!("HEAD {PATH} HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..3 {
        let response = server.exchange(request.as_bytes());
        assert_eq!(response.status, 200);
        assert_eq!(response.body, b"");
        assert_eq!(response.header("Content-Type"), Some("video/mp2t"));
        assert_eq!(response.header("R2H-Upstream-Protocol"), Some("multicast"));
    }
    let missing = server.exchange(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((missing.status, missing.body.len()), (404, 0));
    assert!(
        missing
            .header("Content-Length")
            .is_some_and(|len| len != "0")
    );
    assert_eq!(server.log().count(|line| line.contains("joined")), 0);
    server.stop_empty();
}

#[test]
fn options_are_told() {
    let server = Server::start(&[]);
    let response = server.exchange(b"OPTIONS /rtp/239.2.0.1:5000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.body.len()), (204, 0));
    assert_eq!(response.header("Allow"), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn old_client_needs_no_host() {
    let server = Server::start(&[]);
    for version in ["1.0", "1.9"] {
        let host = if version == "1.0" { "" } else { "Host: a\r\n" };
        let request = format!("HEAD {PATH} HTTP/{version}\r\n{host}\r\n");
        assert_eq!(server.exchange(request.as_bytes()).status, 200);
    }
}

#[test]
fn what_follows_the_request_is_ignored() {
    let server = Server::start(&[]);
    for rest in [
        &b"GET /rtp/239.2.0.1:5000 HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\x00\xff nonsense without an end",
        &[b'x'; 20_000],
    ] {
        let mut request = get("/nothing");
        request.extend(rest);
        // One answer, and not another one behind it: the body is exactly that of the page.
        server.exchange(&request).assert_error(404, "Not Found");
    }
}

#[test]
fn client_that_goes_on_sending_still_gets_the_whole_answer() {
    let server = Server::start(&[]);
    for _ in 0..30 {
        let mut stream = server.connect();
        let mut writer = stream.try_clone().expect("a second handle");
        let sending = std::thread::spawn(move || {
            let mut request = b"POST /nothing HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
            request.resize(512 << 10, b'x');
            // The server discards this for a while; that it hangs up later is its right.
            let _ = writer.write_all(&request);
        });
        // Reading late must not matter either: a reset would throw the answer away.
        sending.join().expect("no panic");
        read_response(&mut stream).assert_error(404, "Not Found");
    }
}

#[test]
fn half_closing_client_is_answered() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    stream.write_all(&get("/nothing")).expect("sent");
    stream.shutdown(Shutdown::Write).expect("open");
    read_response(&mut stream).assert_error(404, "Not Found");

    let mut stream = server.connect();
    stream.write_all(b"GET /noth").expect("sent");
    stream.shutdown(Shutdown::Write).expect("open");
    read_response(&mut stream).assert_error(400, "Bad Request");

    let mut stream = server.connect();
    stream.shutdown(Shutdown::Write).expect("open");
    assert_eq!(read_to_end(&mut stream), b"");
    server.stop_empty();
}

#[test]
fn half_closing_client_is_streamed_to() {
    with_links(|| {
        let server = Server::start(&[]);
        let _sender = sender();
        let stream = server.ask(PATH);
        stream.shutdown(Shutdown::Write).expect("open");
        let mut body = Body::begin(stream);
        ts::assert_gapless(&body.take(500 * ts::PACKET));
    });
}

#[test]
fn client_limit_is_answered_with_503_and_the_reason() {
    with_links(|| {
        let server = Server::start(&["-m", "2"]);
        let _sender = sender();
        let mut first = server.open(PATH);
        let second = server.open(PATH);
        let refused = server.get(PATH);
        refused.assert_error(503, "Service Unavailable");
        assert_eq!(
            refused.header("X-Flowgate-Error"),
            Some("client limit of 2 reached")
        );
        assert!(refused.header("Retry-After").is_some());
        server.log().wait("Maximum client limit reached");
        // What is not a stream is not counted.
        server.get("/nothing").assert_error(404, "Not Found");
        // A place becomes free when a client leaves, and only then.
        drop(second);
        wait_for(SOON, "a free place", || {
            let mut stream = server.ask(PATH);
            let mut start = [0; 12];
            stream.read_exact(&mut start).expect("an answer");
            (&start == b"HTTP/1.1 200").then_some(())
        });
        ts::assert_gapless(&first.take(100 * ts::PACKET));
    });
}

#[test]
fn silent_source_is_answered_with_503() {
    with_links(|| {
        let server = Server::start(&["--no-data-timeout", "0.3"]);
        let began = Instant::now();
        let response = server.get("/rtp/239.2.0.2:5000");
        response.assert_error(503, "Service Unavailable");
        let why = response.header("X-Flowgate-Error").unwrap_or("");
        assert!(why.contains("no media arrived for 0.3 s"), "{why}");
        let took = began.elapsed();
        assert!((300..2000).contains(&took.as_millis()), "{took:?}");

        // Each packet with a time stamp in front, as on Blu-ray discs: something comes, and it is said what it is not.
        let timed = [[0, 0, 0, 0, 0x47].as_slice(), &[1; 187]]
            .concat()
            .repeat(7);
        let mut stream = server.ask("/rtp/239.2.0.3:5000");
        server.log().wait("239.2.0.3:5000: joined");
        let sender = std::net::UdpSocket::bind((WEST, 0)).expect("an address of ours");
        sender.send_to(&timed, "239.2.0.3:5000").expect("sent");
        let response = read_response(&mut stream);
        let why = response.header("X-Flowgate-Error").unwrap_or("");
        assert!(
            why.ends_with("; datagrams that were neither RTP nor MPEG-TS: 1"),
            "{why}"
        );
        server.stop_empty();
    });
}

#[test]
fn address_that_is_no_group_is_answered_with_503() {
    with_links(|| {
        let server = Server::start(&[]);
        for path in [
            "/rtp/10.1.0.1:5000",
            "/rtp/127.0.0.1:5000",
            "/rtp/[::1]:5000",
        ] {
            server.get(path).assert_error(503, "Service Unavailable");
        }
        let response = server.get("/rtp/239.2.0.1:5000?r2h-ifname=nothere");
        response.assert_error(503, "Service Unavailable");
        let why = response.header("X-Flowgate-Error").unwrap_or("");
        assert!(why.contains("nothere"), "{why}");
        server.stop_empty();
    });
}

#[test]
fn stream_ends_in_order_when_its_source_falls_silent() {
    with_links(|| {
        let server = Server::start(&["--no-data-timeout", "0.5"]);
        let sender = sender();
        let mut body = server.open(PATH);
        let mut bytes = body.take(200 * ts::PACKET);
        let end = sender.stop();
        bytes.extend(read_to_end(&mut body.stream));
        assert_eq!(ts::assert_gapless(&bytes).1, end - 1);
        server.stop_empty();
    });
}

#[test]
fn every_spelling_of_a_group_is_the_same_channel() {
    with_links(|| {
        let server = Server::start(&["-m", "16"]);
        let _sender = sender();
        let mut bodies = Vec::new();
        for path in [
            "/rtp/239.2.0.1:5000",
            "/udp/239.2.0.1:5000",
            "/rtp/239.2.0.1:5000/",
            "/rtp/239.2.0.1:5000$First%20channel",
            "/rtp/239.2.0.1:5000?unknown=1",
            "/rtp/239%2E2.0.1%3a5000",
            "/rtp/%32%33%39.2.0.1:5000?x=$y",
            // The separators of udpxy.
            "/udp/239.2.0.1%5000",
            "/udp/239.2.0.1~5000",
            "/udp/239.2.0.1+5000",
            "/udp/239.2.0.1-5000/",
            "/udp/239.2.0.1^5000",
        ] {
            println!("{path}");
            bodies.push(server.open(path));
        }
        for mut body in bodies {
            ts::assert_gapless(&body.take(70 * ts::PACKET));
            assert_eq!(body.head.header("R2H-Upstream-Payload"), Some("mp2t-rtp"));
        }
        assert_eq!(server.log().count(|line| line.ends_with(": joined")), 1);
    });
}

#[test]
fn thousands_of_slow_heads_do_not_lock_out_a_real_client() {
    with_links(|| {
        raise_descriptor_limit();
        let server = Server::start(&[]);
        let _sender = sender();
        let mut watching = server.open(PATH);
        let mut slow: Vec<_> = (0..3000)
            .map(|_| {
                let mut stream = server.connect();
                stream
                    .write_all(b"GET /rtp/239.2.0.1:5000 HTTP/1.1\r\nX-Slow: ")
                    .expect("sent");
                stream
            })
            .collect();
        let began = Instant::now();
        server.get("/nothing").assert_error(404, "Not Found");
        ts::assert_gapless(&server.open(PATH).take(70 * ts::PACKET));
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        // The oldest have given way, the newest have not.
        let mut byte = [0];
        let oldest = slow[0].read(&mut byte);
        assert!(
            matches!(&oldest, Ok(0))
                || oldest.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
        );
        let newest = slow.last_mut().expect("3000");
        newest.write_all(b"y\r\nHost: a\r\n\r\n").expect("sent");
        ts::assert_gapless(&Body::begin(newest.try_clone().expect("handle")).take(70 * ts::PACKET));
        assert!(proc::descriptors(server.worker()) < 2048 + 100);
        drop(slow);
        ts::assert_gapless(&watching.take(400 * ts::PACKET));
        drop(watching);
        server.stop_empty();
    });
}

/// Raises our own limit of open descriptors as far as it goes.
fn raise_descriptor_limit() {
    let limit = flowgate::sys::process::raise_descriptor_limit().expect("the limit is raised");
    assert!(limit >= 4096, "at most {limit} descriptors are allowed");
}

#[test]
fn other_clients_understand_the_answers() {
    if !tool::have(&["curl", "python3"]) {
        return;
    }
    with_links(|| {
        let server = Server::start(&[]);
        let _sender = sender();
        let url = server.url(PATH);
        let curl = |arguments: &[&str]| {
            tool::run(
                Command::new("curl")
                    .args(["-sS", "-o", "/dev/null", "-w"])
                    .args(arguments),
            )
        };
        let head = curl(&["%{http_code} %{content_type}", "-I", &url]);
        assert_eq!(head.stdout, "200 video/mp2t", "{}", head.stderr);
        let missing = curl(&["%{http_code} %{size_download}", &server.url("/nothing")]);
        assert_eq!(missing.stdout, "404 42", "{}", missing.stderr);
        let old = curl(&[
            "%{http_code} %{http_version}",
            "-0",
            &server.url("/nothing"),
        ]);
        assert_eq!(old.stdout, "404 1.1", "{}", old.stderr);
        let script = "\
import http.client, sys
c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=10)
c.request('GET', sys.argv[2])
r = c.getresponse()
assert r.status == 200 and r.getheader('Content-Type') == 'video/mp2t', r.headers
data = r.read(188 * 1000)
assert len(data) == 188 * 1000 and data[::188] == b'G' * 1000
c.close()
c.request('GET', '/nothing')
r = c.getresponse()
assert r.status == 404 and len(r.read()) == 42 and r.will_close
c.close()
c.request('OPTIONS', sys.argv[2])
r = c.getresponse()
assert r.status == 204 and r.read() == b''
print('good')
";
        let port = server.port.to_string();
        let python = tool::run(Command::new("python3").args(["-c", script, &port, PATH]));
        assert_eq!(python.stdout.trim(), "good", "{}", python.stderr);
        server.stop_empty();
    });
}

#[test]
fn status_pages_ask_for_name_and_password_besides_the_token() {
    let directory = TempDir::new();
    let file = directory.path().join("status-auth");
    std::fs::write(&file, "admin:s3cret\n").expect("written");
    let auth = format!("@{}", file.display());
    let server = Server::start(&["--status-auth", &auth, "-T", "t0ken"]);
    // admin:s3cret and admin:wrong
    let right = "Authorization: Basic YWRtaW46czNjcmV0\r\n";
    let wrong = "Authorization: Basic YWRtaW46d3Jvbmc=\r\n";
    for (path, header, status, challenge) in [
        ("/status?r2h-token=t0ken", right, 200, None),
        ("/status.webmanifest?r2h-token=t0ken", right, 200, None),
        ("/status", right, 401, Some("Bearer")),
        (
            "/status?r2h-token=t0ken",
            "",
            401,
            Some("Basic realm=\"flowgate status\", charset=\"UTF-8\""),
        ),
        (
            "/status?r2h-token=t0ken",
            wrong,
            401,
            Some("Basic realm=\"flowgate status\", charset=\"UTF-8\""),
        ),
        ("/assets/icon-192.png", "", 200, None),
        ("/nothing?r2h-token=t0ken", "", 404, None),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n");
        let response = server.exchange(request.as_bytes());
        assert_eq!(response.status, status, "{path} {header}");
        assert_eq!(response.header("WWW-Authenticate"), challenge);
    }
    // Further complaints within the second are only counted.
    server.log().wait("an access token is needed");
    for line in server.log().all() {
        for secret in ["t0ken", "s3cret", "YWRtaW46", "wrong:"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    server.stop_empty();
}

#[test]
fn page_is_sent_once_and_as_the_browser_likes_it() {
    let server = Server::start(&["-O", "*"]);
    let ask = |method: &str, headers: &str| {
        let request = format!("{method} /status HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        server.exchange(request.as_bytes())
    };
    let plain = ask("GET", "");
    assert_eq!(plain.header("Content-Encoding"), None);
    assert_eq!(plain.header("Access-Control-Allow-Origin"), Some("*"));
    let length = plain.body.len().to_string();
    assert_eq!(plain.header("Content-Length"), Some(&*length));
    let packed = ask("GET", "Accept-Encoding: br, gzip\r\n");
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    assert_eq!(packed.body.get(..2), Some(&[0x1f, 0x8b][..]));
    assert_ne!(plain.header("ETag"), packed.header("ETag"));
    for response in [&plain, &packed] {
        assert_eq!(response.header("Vary"), Some("Accept-Encoding"));
    }
    let head = ask("HEAD", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("Content-Length"), Some(&*length));
    let tag = plain.header("ETag").expect("a validator");
    let known = ask("GET", &format!("If-None-Match: \"x\", {tag}\r\n"));
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(known.header("ETag"), Some(tag));
    ask("POST", "Content-Length: 0\r\n").assert_error(405, "Method Not Allowed");
    server.stop_empty();
}

#[test]
fn many_kinds_of_broken_input_leave_the_server_whole() {
    // Some of the mess may still name a group or a host.
    with_links(|| {
        let mut server = Server::start(&["--no-data-timeout", "0.1"]);
        // A reproducible mess: every answer must be a whole one, and the server must live.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let good = b"GET /rtp/239.2.0.1:5000?fcc= HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n";
        for _ in 0..300 {
            let mut request = good.to_vec();
            for _ in 0..1 + random() % 3 {
                let at = random() as usize % request.len();
                request[at] = random() as u8;
            }
            let mut stream = server.connect();
            stream.write_all(&request).expect("sent");
            stream.shutdown(Shutdown::Write).expect("open");
            let response = http::parse(read_to_end(&mut stream));
            assert!(
                (400..600).contains(&response.status) || response.status == 204,
                "{response:?}"
            );
        }
        assert!(server.is_running());
        server.stop_empty();
    });
}
