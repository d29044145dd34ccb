//! Upstreams that cannot be reached, say nothing, say nonsense, or stop in the middle.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::wire::{Origin, Wire, ok, request};
use crate::support::http::Response;
use crate::support::namespace::with_loopback_only;
use crate::support::server::Server;
use crate::support::wait_for;

fn assert_failed(response: &Response, status: u16, why: &str) {
    let reason = match status {
        502 => "Bad Gateway",
        _ => "Gateway Timeout",
    };
    response.assert_error(status, reason);
    let text = response.header("X-Flowgate-Error").unwrap_or_default();
    assert!(text.contains(why), "{text}");
}

#[test]
fn unreachable_upstream_is_answered_with_502_and_the_reason() {
    // Without a network, so that nobody is asked for the name.
    with_loopback_only(|| {
        let server = Server::start(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            let response = server.get(&format!("/http/{host}:{port}/"));
            assert_failed(&response, 502, "refused");
        }
        assert_failed(
            &server.get("/http/nowhere.invalid/"),
            502,
            "nowhere.invalid",
        );
        assert_failed(&server.get("/http/192.0.2.1/"), 502, "192.0.2.1");
        server.stop_empty();
    });
}

#[test]
fn address_that_does_not_answer_is_given_up_after_three_seconds() {
    // Nobody accepts, and the queue is full: further attempts are not answered.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("a bound socket");
    let address: SockAddr = listener.local_addr().expect("bound");
    let fill = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let _ = socket.connect(&address);
        socket
    };
    let filling: Vec<Socket> = (0..4).map(fill).collect();
    let port = address.as_socket().expect("an IPv4 address").port();

    let server = Server::start(&[]);
    let began = Instant::now();
    let response = server.get(&format!("/http/127.0.0.1:{port}/"));
    let took = began.elapsed();
    assert_failed(&response, 504, "3 s");
    assert!((2900..5000).contains(&took.as_millis()), "{took:?}");
    drop(filling);

    let hasty = Server::start(&["--http-connect-timeout", "0.3"]);
    let began = Instant::now();
    let response = hasty.get(&format!("/http/127.0.0.1:{port}/"));
    assert_failed(&response, 504, "0.3 s");
    assert!(began.elapsed() < Duration::from_secs(2));
    server.stop_empty();
}

#[test]
fn upstream_without_a_complete_head_is_given_up_after_three_seconds() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let mut silent = Wire::to(&server);
    let mut halting = Wire::to(&server);
    let began = Instant::now();
    silent.send(request("GET", &origin.path("/"), ""));
    let mut first = origin.accept();
    first.head();
    halting.send(request("GET", &origin.path("/"), ""));
    let mut second = origin.accept();
    second.head();
    second.send("HTTP/1.1 200 OK\r\nContent-Le");
    for client in [&mut silent, &mut halting] {
        assert_failed(&client.response(), 504, "did not answer");
        let took = began.elapsed();
        assert!((2900..5000).contains(&took.as_millis()), "{took:?}");
    }
    assert_eq!(first.rest_or_reset(), b"");
    assert_eq!(second.rest_or_reset(), b"");
    server.stop_empty();
}

#[test]
fn nonsense_and_an_early_end_are_answered_with_502() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (answer, why) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "head"),
        ("\u{15}\u{3}\u{1}\0\u{2}\u{2}F", "head"),
        ("<html>hello</html>\r\n\r\n", "head"),
        ("HTTP/2 200\r\n\r\n", "head"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "head"),
        ("HTTP/1.1 99 Low\r\n\r\n", "head"),
        ("HTTP/1.1 OK\r\n\r\n", "head"),
        ("RTSP/1.0 200 OK\r\n\r\n", "head"),
        ("", "without a response"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            "head was complete",
        ),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", "closed the connection"),
        (&long, "head"),
        (&many, "head"),
    ] {
        println!("{}", answer.get(..40).unwrap_or(answer));
        let mut client = Wire::to(&server);
        client.send(format!("GET {} HTTP/1.0\r\n\r\n", origin.path("/")));
        let mut peer = origin.accept();
        peer.head();
        // The end of what is refused may not be taken any more.
        let _ = std::io::Write::write_all(&mut peer.stream, answer.as_bytes());
        let _ = peer.stream.shutdown(std::net::Shutdown::Write);
        assert_failed(&client.response(), 502, why);
    }
    let mut client = Wire::to(&server);
    client.send(request("GET", &origin.path("/"), ""));
    let mut peer = origin.accept();
    peer.head();
    peer.reset();
    assert_failed(&client.response(), 502, "");
    server.stop_empty();
}

#[test]
fn body_that_breaks_off_is_seen_to_be_short() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for (headers, body) in [
        ("Content-Length: 1000\r\n", "beginning"),
        ("Content-Length: 9000000\r\n", "beginning"),
        ("Transfer-Encoding: chunked\r\n", "9\r\nbeginning\r\n"),
        ("Transfer-Encoding: chunked\r\n", "9\r\nbeginning\r\n0\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            "9\r\nbeginning\r\nNONSENSE\r\n",
        ),
        ("", "beginning"),
    ] {
        for reset in [false, true] {
            if headers.is_empty() && !reset {
                continue;
            }
            let mut client = Wire::to(&server);
            client.send(request("GET", &origin.path("/"), ""));
            let mut peer = origin.accept();
            peer.head();
            peer.send(format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}"));
            let head = client.response_head();
            assert_eq!(head.status, 200);
            // It is here, so it cannot be lost with the connection.
            let beginning = if headers.contains("chunked") {
                "9\r\nbeginning\r\n"
            } else {
                body
            };
            assert_eq!(client.exact(beginning.len()), beginning.as_bytes());
            match reset {
                true => peer.reset(),
                false => drop(peer),
            }
            if headers.is_empty() {
                let broken = (Vec::new(), true);
                assert_eq!(client.rest_and_reset(), broken, "it looks whole");
                continue;
            }
            let rest = client.rest_or_reset();
            assert!(
                !rest.ends_with(b"0\r\n\r\n"),
                "the end was made up: {headers}"
            );
            assert!(rest.len() < 20, "{headers}: {rest:?}");
        }
    }
    server.stop_empty();
}

/// A client of HTTP/1.0 is given no chunks, so only a broken connection tells that the body is cut. That must wait
/// until all has arrived at a client that reads late.
#[test]
fn cut_body_without_a_length_arrives_before_the_connection_breaks() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let body = vec![b'x'; 1 << 20];
    // One that broke the connection too early would not always be too fast for the client.
    for _ in 0..8 {
        let mut client = Wire::to(&server);
        client.send(format!("GET {} HTTP/1.0\r\n\r\n", origin.path("/")));
        let mut peer = origin.accept();
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n");
        peer.send(&body);
        drop(peer);
        assert_eq!(client.response_head().status, 200);
        let (rest, is_reset) = client.rest_and_reset();
        assert!(is_reset && rest == body, "{} bytes, {is_reset}", rest.len());
    }
    server.stop_empty();
}

#[test]
fn bytes_that_come_with_a_reset_are_not_lost() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for _ in 0..50 {
        let mut client = Wire::to(&server);
        client.send(request("GET", &origin.path("/"), ""));
        let mut peer = origin.accept();
        peer.head();
        peer.send(ok("", "whole"));
        assert_eq!(client.response().body, b"whole");
        peer.reset();
    }
    server.stop_empty();
}

#[test]
fn body_that_falls_silent_is_cut_off() {
    let server = Server::start(&["--http-idle-timeout", "1"]);
    let origin = Origin::start();
    let mut client = Wire::to(&server);
    client.send(request("GET", &origin.path("/"), ""));
    let mut peer = origin.accept();
    peer.head();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    assert_eq!(client.response_head().status, 200);
    assert_eq!(client.exact(3), b"abc");
    // A sign of life now and then is enough.
    let until = Instant::now() + Duration::from_millis(1500);
    let mut sent = 3;
    wait_for(Duration::from_secs(5), "a slow body", || {
        std::thread::sleep(Duration::from_millis(200));
        peer.send("x");
        sent += 1;
        (Instant::now() >= until).then_some(())
    });
    let began = Instant::now();
    client.exact(sent - 3);
    assert_eq!(client.rest_or_reset(), b"");
    let took = began.elapsed();
    assert!((500..3000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(peer.rest_or_reset(), b"");
    server
        .log()
        .wait("the upstream fell silent inside the body within 1 s");
    server.stop_empty();
}
