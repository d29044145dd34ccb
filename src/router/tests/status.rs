//! The status over real sockets: what viewers are told, and what they may ask for.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use super::{Bench, TICKS_MAX, paused, receive, write};
use crate::area::{Area, Seat, Worker};
use crate::config::Config;
use crate::limits::{EVENT_INTERVAL_MIN, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, STATUS_INTERVAL};
use crate::net::mio::MioNet;
use crate::net::tls::TlsConfig;
use crate::net::{Listener, Net, Place};
use crate::router::Router;
use crate::router::close::CloseReason;
use crate::upstream::UpstreamError;

/// A client that is being sent a body without end, and the origin's side of it.
fn served(bench: &mut Bench) -> (TcpStream, TcpStream) {
    let client = bench.client();
    write(
        &client,
        &bench.request("GET", "/live?r2h-token=s3cret", "\r\n"),
    );
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    write(&origin, "HTTP/1.1 200 OK\r\n\r\n12345");
    bench.read(&client, "\r\n\r\n12345");
    (client, origin)
}

/// The whole answer to one request.
fn ask(bench: &mut Bench, request: &str) -> String {
    let client = bench.client();
    write(&client, request);
    bench.read_to_end(&client)
}

fn snapshot(bench: &mut Bench) -> String {
    ask(bench, "GET /status/api/status HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn call(bench: &mut Bench, method: &str, name: &str, headers: &str, form: &str) -> String {
    let request = format!(
        "{method} /status/api/{name} HTTP/1.1\r\nHost: tv.home\r\n{headers}Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    ask(bench, &request)
}

/// The value of a field, as it stands there.
fn field<'a>(json: &'a str, key: &str) -> &'a str {
    let (_, rest) = json
        .split_once(&format!("\"{key}\":"))
        .unwrap_or_else(|| panic!("no {key} in {json}"));
    let end = match rest.strip_prefix('"') {
        Some(text) => text.find('"').expect("its end") + 2,
        None => rest.find([',', '}', ']']).expect("its end"),
    };
    rest[..end].trim_matches('"')
}

fn viewer(bench: &mut Bench) -> TcpStream {
    let viewer = bench.client();
    write(&viewer, "GET /status/sse HTTP/1.1\r\nHost: a\r\n\r\n");
    viewer
}

#[test]
fn a_viewer_is_told_at_once_and_every_second() {
    let mut bench = Bench::new(Config::default());
    let viewer = viewer(&mut bench);
    let began = bench.router.shared.now;
    let first = bench.read(&viewer, "\n\n");
    let (head, event) = first.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close"), "{head}");
    assert!(event.starts_with("data: {\"serverStartTime\":"), "{event}");
    assert_eq!(field(event, "logsMode"), "full");
    assert!(bench.router.shared.now - began < EVENT_INTERVAL_MIN);
    for _ in 0..2 {
        let event = bench.read(&viewer, "\n\n");
        assert_eq!(field(&event, "logsMode"), "none");
        assert_eq!(event.matches("data: ").count(), 1);
    }
    let waited = bench.router.shared.now - began;
    assert!(
        waited >= STATUS_INTERVAL && waited < STATUS_INTERVAL * 4,
        "{waited:?}"
    );
}

#[test]
fn many_viewers_get_one_event_each_and_the_same() {
    let mut bench = Bench::new(Config::default());
    let viewers: Vec<TcpStream> = (0..20).map(|_| viewer(&mut bench)).collect();
    for viewer in &viewers {
        bench.read(viewer, "\n\n");
    }
    let told: Vec<String> = viewers
        .iter()
        .map(|viewer| bench.read(viewer, "\n\n"))
        .collect();
    assert!(told.iter().all(|event| *event == told[0]));
    assert_eq!(told[0].matches("data: ").count(), 1);
}

#[test]
fn whoever_comes_and_goes_is_told_soon() {
    let mut bench = Bench::new(Config::default());
    let viewer = viewer(&mut bench);
    bench.read(&viewer, "\n\n");
    let (client, origin) = served(&mut bench);
    let began = bench.router.shared.now;
    let event = bench.read(&viewer, "\n\n");
    assert_eq!(field(&event, "totalClients"), "1");
    drop((client, origin));
    bench.until(|| {
        let mut text = Vec::new();
        receive(&viewer, &mut text);
        String::from_utf8(text)
            .expect("text")
            .contains("\"totalClients\":0")
            .then_some(())
    });
    assert!(bench.router.shared.now - began < STATUS_INTERVAL);
}

#[test]
fn with_no_viewer_nothing_is_computed() {
    let mut bench = Bench::new(Config::default());
    let (_client, _origin) = served(&mut bench);
    assert_eq!(
        bench
            .router
            .desk
            .deadline(bench.router.worker.area().is_viewed()),
        None
    );
    let viewer = viewer(&mut bench);
    bench.read(&viewer, "\n\n");
    assert!(bench.router.worker.area().is_viewed());
    drop(viewer);
    let area = Arc::clone(bench.router.worker.area());
    bench.until(|| (!area.is_viewed()).then_some(()));
    assert_eq!(bench.router.desk.deadline(false), None);
}

#[test]
fn every_byte_of_a_client_is_counted_once_and_no_secret_is_told() {
    let mut bench = Bench::new(Config::default());
    let (client, origin) = served(&mut bench);
    let json = snapshot(&mut bench);
    assert!(
        json.contains("Content-Type: application/json\r\n"),
        "{json}"
    );
    assert!(!json.contains("s3cret"), "{json}");
    let address = client.local_addr().expect("an address");
    assert_eq!(field(&json, "clientId"), format!("{address}-worker0-seq0"));
    assert_eq!(field(&json, "clientAddr"), address.to_string());
    let url = format!("/http/{}/live", origin.local_addr().expect("an address"));
    assert_eq!(field(&json, "serviceUrl"), url);
    assert_eq!(field(&json, "state"), "29");
    let sent: u64 = field(&json, "bytesSent").parse().expect("a number");
    assert_eq!(field(&json, "totalBytesSent"), sent.to_string());
    assert_eq!(field(&json, "transport"), "tcp");
    write(&origin, "678");
    drop(origin);
    assert_eq!(bench.read_to_end(&client), "678");
    drop(client);
    let json = snapshot(&mut bench);
    assert_eq!(field(&json, "totalClients"), "0");
    assert_eq!(field(&json, "totalBytesSent"), (sent + 3).to_string());
    let metrics = ask(
        &mut bench,
        "GET /status/metrics HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert!(
        metrics.contains("Content-Type: text/plain; version=0.0.4"),
        "{metrics}"
    );
    let sample = format!(
        "\nflowgate_client_sent_bytes_total{{worker=\"0\"}} {}\n",
        sent + 3
    );
    assert!(metrics.contains(&sample), "{metrics}");
}

#[test]
fn a_client_whose_stream_has_broken_off_is_told_as_failed() {
    let mut bench = Bench::new(Config::default());
    let (_client, _origin) = paused(&mut bench);
    assert!(!snapshot(&mut bench).contains("\"state\":30,"));
    let (id, _) = bench.router.clients.iter().next().expect("a client");
    bench.router.detach(id);
    let error = UpstreamError::Io(ErrorKind::ConnectionReset.into());
    bench.router.end_stream(id, &CloseReason::Upstream(error));
    let json = snapshot(&mut bench);
    assert!(json.contains("\"state\":30,"), "{json}");
}

#[test]
fn a_client_is_disconnected_by_its_id() {
    let mut bench = Bench::new(Config::default());
    let (client, _origin) = served(&mut bench);
    let (other, _other_origin) = served(&mut bench);
    let address = client.local_addr().expect("an address");
    let form = format!("client_id={address}-worker0-seq0");
    let answer = call(&mut bench, "POST", "disconnect", "", &form);
    let done = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    assert!(answer.starts_with(done), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\n{\"success\":true,\"message\":\"Disconnect request sent\"}"),
        "{answer}"
    );
    assert_eq!(bench.read_to_end(&client), "");
    let again = call(&mut bench, "DELETE", "disconnect", "", &form);
    assert!(again.starts_with("HTTP/1.1 404 "), "{again}");
    let mut rest = Vec::new();
    assert!(!receive(&other, &mut rest), "the other one stays");
    assert_eq!(bench.router.streams, 1);
}

/// The answer to a call whose form comes in chunks.
fn call_in_chunks(bench: &mut Bench, method: &str, name: &str, chunks: &[&str]) -> String {
    let mut request = format!(
        "{method} /status/api/{name} HTTP/1.1\r\nHost: tv.home\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for chunk in chunks {
        request += &format!("{:x};a=b\r\n{chunk}\r\n", chunk.len());
    }
    ask(bench, &(request + "0\r\nClient_Id: 1\r\n\r\n"))
}

#[test]
fn a_form_may_come_in_chunks() {
    let mut bench = Bench::new(Config::default());
    let _witness = bench.client();
    for (chunks, expected) in [
        (&["le", "vel", "=2"][..], "200 OK"),
        (&["level=2"], "200 OK"),
        (&["level=9"], "400 Bad Request"),
        (&[], "400 Bad Request"),
        (&["level=2", "x"], "400 Bad Request"),
    ] {
        let answer = call_in_chunks(&mut bench, "PUT", "log-level", chunks);
        let status = format!("HTTP/1.1 {expected}\r\n");
        assert!(answer.starts_with(&status), "{chunks:?}: {answer}");
    }
    let piece = "x".repeat(1000);
    for (pieces, expected) in [(4, "400 Bad Request"), (5, "413 "), (40, "413 ")] {
        let chunks = vec![&*piece; pieces];
        let answer = call_in_chunks(&mut bench, "PUT", "log-level", &chunks);
        let status = format!("HTTP/1.1 {expected}");
        assert!(answer.starts_with(&status), "{pieces}: {answer}");
    }
    // It is refused once, and nothing of it is acted on.
    let level = bench.router.worker.area().log_level();
    let long = ["level=4&x=", &piece, &piece, &piece, &piece, &piece];
    let answer = call_in_chunks(&mut bench, "PUT", "log-level", &long);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(bench.router.worker.area().log_level(), level);
    // One that needs none has it discarded.
    let answer = call_in_chunks(&mut bench, "POST", "clear-logs", &["a=b"]);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_form_that_breaks_off_is_not_acted_on() {
    let mut bench = Bench::new(Config::default());
    let _witness = bench.client();
    let level = bench.router.worker.area().log_level();
    for (framing, sent) in [
        ("Transfer-Encoding: chunked", "7\r\nlevel=4\r\nz\r\n"),
        ("Transfer-Encoding: chunked", "7\r\nlevel=4z"),
        ("Transfer-Encoding: chunked", "7\r\nlevel=4\r\n"),
        ("Content-Length: 8", "level=4"),
    ] {
        let client = bench.client();
        let request = format!("PUT /status/api/log-level HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        write(&client, &(request + sent));
        client.shutdown(Shutdown::Write).expect("connected");
        let answer = bench.read_to_end(&client);
        let is_told = answer.starts_with("HTTP/1.1 400 ");
        assert!(is_told || answer.is_empty(), "{sent}: {answer}");
        assert_eq!(bench.router.worker.area().log_level(), level, "{sent}");
    }
}

#[test]
fn a_form_is_asked_for_where_its_client_waits_to_be_asked() {
    let mut bench = Bench::new(Config::default());
    let _witness = bench.client();
    for (framing, form) in [
        ("Content-Length: 7", "level=2"),
        ("Transfer-Encoding: chunked", "7\r\nlevel=2\r\n0\r\n\r\n"),
    ] {
        let client = bench.client();
        let head = "PUT /status/api/log-level HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
        write(&client, &format!("{head}{framing}\r\n\r\n"));
        let interim = bench.read(&client, "\r\n\r\n");
        assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
        write(&client, form);
        let answer = bench.read_to_end(&client);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    let mut bench = Bench::new(Config::default());
    let _witness = bench.client();
    for (method, name, headers, form, expected) in [
        ("GET", "disconnect", "", "", "405 Method Not Allowed"),
        ("POST", "disconnect", "", "", "400 Bad Request"),
        ("POST", "disconnect", "", "client_id=", "400 Bad Request"),
        (
            "POST",
            "disconnect",
            "",
            "client_id=nobody",
            "404 Not Found",
        ),
        ("POST", "log-level", "", "level=1", "405 Method Not Allowed"),
        ("PUT", "log-level", "", "level=9", "400 Bad Request"),
        ("PUT", "log-level", "", "level=x", "400 Bad Request"),
        ("GET", "clear-logs", "", "", "405 Method Not Allowed"),
        ("POST", "reload-config", "", "", "500 Internal Server Error"),
        (
            "POST",
            "restart-workers",
            "",
            "",
            "500 Internal Server Error",
        ),
        ("POST", "other", "", "", "404 Not Found"),
        (
            "POST",
            "clear-logs",
            "Origin: http://evil\r\n",
            "",
            "403 Forbidden",
        ),
        (
            "POST",
            "clear-logs",
            "Sec-Fetch-Site: cross-site\r\n",
            "",
            "403 Forbidden",
        ),
        (
            "POST",
            "clear-logs",
            "Origin: http://tv.home\r\n",
            "",
            "200 OK",
        ),
        ("DELETE", "status", "", "", "405 Method Not Allowed"),
    ] {
        let answer = call(&mut bench, method, name, headers, form);
        let status = format!("HTTP/1.1 {expected}\r\n");
        assert!(
            answer.starts_with(&status),
            "{method} {name} {form}: {answer}"
        );
        if expected.starts_with("405") {
            assert!(answer.contains("\r\nAllow: "), "{answer}");
        }
    }
    let long = "x".repeat(5000);
    let answer = call(&mut bench, "POST", "disconnect", "", &long);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn head_gets_no_body() {
    let mut bench = Bench::new(Config::default());
    let _witness = bench.client();
    for path in ["sse", "metrics", "api/status", "api/clear-logs"] {
        let answer = ask(
            &mut bench,
            &format!("HEAD /status/{path} HTTP/1.1\r\nHost: a\r\n\r\n"),
        );
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[test]
fn a_viewer_that_does_not_read_skips_whole_events() {
    let mut bench = Bench::new(Config::default());
    let viewer = viewer(&mut bench);
    let head_and_first = bench.read(&viewer, "\n\n");
    let area = Arc::clone(bench.router.worker.area());
    let line = [&[b'x'; LOG_LINE_BYTES_MAX - 1][..], b"\n"].concat();
    let mut rounds = 0;
    let mut later = bench.router.shared.now;
    let stuck = |router: &Router| {
        let mut viewers = router.clients.iter();
        viewers.any(|(_, sink)| !sink.client.takes_event())
    };
    // Until its socket is full, and a few more events that it misses.
    let mut missed = 0;
    while missed < 3 {
        rounds += 1;
        assert!(rounds < 100, "no socket takes that much");
        for _ in 0..LOG_LINES_MAX {
            area.log().push(0, 0, 3, &line);
        }
        bench.router.desk.mark();
        // Every tick sets the clock right again.
        later += EVENT_INTERVAL_MIN;
        bench.router.shared.now = later;
        bench.router.tell_viewers();
        for _ in 0..TICKS_MAX {
            if !bench.router.run.is_empty() {
                bench.tick();
            }
        }
        missed += u32::from(stuck(&bench.router));
    }
    let mut text = head_and_first.into_bytes();
    bench.until_ticks(10_000, || {
        receive(&viewer, &mut text);
        let whole = String::from_utf8_lossy(&text);
        let last = whole.rsplit("data: ").next().unwrap_or_default();
        (last.contains("\"logsMode\":\"none\"") && whole.ends_with("\n\n")).then_some(())
    });
    let text = String::from_utf8(text).expect("text");
    let (_, events) = text.split_once("\r\n\r\n").expect("a head");
    let modes: Vec<&str> = events
        .split_terminator("\n\n")
        .map(|event| {
            assert!(
                event.starts_with("data: {\"serverStartTime\":"),
                "broken: {event:.80}"
            );
            assert!(event.ends_with("]}") && !event.contains('\n'), "broken");
            field(event, "logsMode")
        })
        .collect();
    let count = |wanted| modes.iter().filter(|mode| **mode == wanted).count();
    assert!(count("incremental") + 2 <= rounds, "some were skipped");
    assert!(
        count("full") >= 2,
        "the first, and the one after a gap: {modes:?}"
    );
}

#[test]
fn viewers_of_one_worker_see_the_clients_of_all() {
    let mut bench = Bench::new(Config::default());
    let (_client, origin) = served(&mut bench);
    // A second worker, which shares the area.
    let area: Arc<Area> = Arc::clone(bench.router.worker.area());
    bench.router.worker.begin(100);
    let mut net = MioNet::new(TlsConfig::load(None).expect("settings")).expect("a poll");
    net.watch_bell(area.bell()).expect("a bell");
    let worker = Worker::new(Arc::clone(&area), Seat::of(1).next().expect("a seat"));
    worker.begin(101);
    let now = net.now();
    let mut second = Router::new(Box::new(net), Rc::new(Config::default()), worker);
    second.shared.now = now;
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("it does not block");
    let address = socket.local_addr().expect("an address");
    let listener = Listener::new(socket.into(), Place::Tcp(address));
    second.adopt_listener(listener).expect("adopted");
    let viewer = TcpStream::connect(address).expect("a connection");
    viewer.set_nonblocking(true).expect("it does not block");
    write(&viewer, "GET /status/sse HTTP/1.1\r\nHost: a\r\n\r\n");
    while area.log().oldest().last() == 0 && second.desk.deadline(area.is_viewed()).is_none() {
        second.tick().expect("a tick");
    }
    // The first has been rung for, but its poll knows no bell here.
    bench.router.answer_bell();
    bench.router.tell_viewers();
    let mut text = Vec::new();
    for _ in 0..TICKS_MAX {
        if text.ends_with(b"\n\n") {
            break;
        }
        second.tick().expect("a tick");
        receive(&viewer, &mut text);
    }
    let event = String::from_utf8(text).expect("text");
    assert_eq!(field(&event, "totalClients"), "1");
    assert_eq!(field(&event, "workerPid"), "100");
    assert_eq!(event.matches("\"activeClients\"").count(), 2, "{event}");
    drop(origin);
}
