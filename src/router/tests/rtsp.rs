//! RTSP sessions over real sockets: a test speaks for the server.

use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::time::Duration;

use super::*;

/// Interleaved frames, as the server chooses them.
const TCP: &str = "Session: abc;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";

/// TS packets in one RTP packet.
const TS_PACKETS: usize = 7;

/// An RTP packet whose payload is TS that carries its number.
fn rtp(number: u32) -> Vec<u8> {
    let [high, low] = (number as u16).to_be_bytes();
    let mut packet = vec![0x80, 33, high, low, 0, 0, 0, 0, 0, 0, 0, 7];
    packet.extend(payload(number));
    packet
}

fn payload(number: u32) -> Vec<u8> {
    let mut ts = [0xff; 188];
    (ts[0], ts[1], ts[2], ts[3]) = (0x47, 0x01, 0, 0x10);
    ts[4..8].copy_from_slice(&number.to_be_bytes());
    ts.repeat(TS_PACKETS)
}

fn frame(channel: u8, packet: &[u8]) -> Vec<u8> {
    let [high, low] = (packet.len() as u16).to_be_bytes();
    [&[b'$', channel, high, low], packet].concat()
}

fn frames(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(|number| frame(0, &rtp(number))).collect()
}

fn payloads(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(payload).collect()
}

/// The numbers of the RTP packets whose payload `bytes` is; all of it must be whole.
fn numbers(bytes: &[u8]) -> Vec<u32> {
    let mut chunks = bytes.chunks_exact(188 * TS_PACKETS);
    let numbers = chunks
        .by_ref()
        .map(|chunk| {
            let number = u32::from_be_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
            assert!(chunk == payload(number), "packet {number} is damaged");
            number
        })
        .collect();
    assert!(chunks.remainder().is_empty(), "a packet is cut");
    numbers
}

fn cseq(request: &str) -> &str {
    let mut lines = request.lines();
    lines
        .find_map(|line| line.strip_prefix("CSeq: "))
        .expect("a number")
}

fn reply(stream: &TcpStream, request: &str, status: u16, headers: &str, body: &str) {
    let length = body.len();
    let cseq = cseq(request);
    write(
        stream,
        &format!(
            "RTSP/1.0 {status} X\r\nCSeq: {cseq}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ),
    );
}

impl Bench {
    fn address(&self) -> SocketAddr {
        self.origin.local_addr().expect("an address")
    }

    fn ask(&self, method: &str, host: &str, rest: &str) -> TcpStream {
        let client = self.client();
        write(
            &client,
            &format!("{method} /rtsp/{host}/live/ch1{rest} HTTP/1.1\r\nHost: tv.home\r\n\r\n"),
        );
        client
    }

    fn watch(&self) -> TcpStream {
        self.ask("GET", &self.address().to_string(), "")
    }

    /// The next request of the session, which must have this method.
    fn expect(&mut self, server: &TcpStream, method: &str) -> String {
        let mut text = Vec::new();
        self.work(|_| {
            receive(server, &mut text);
            text.ends_with(b"\r\n\r\n")
        });
        let text = String::from_utf8(text).expect("text");
        assert!(text.starts_with(method), "{method}: {text}");
        text
    }

    fn serve(&mut self, server: &TcpStream, method: &str, headers: &str) -> String {
        let request = self.expect(server, method);
        reply(server, &request, 200, headers, "");
        request
    }

    /// Lets the router work until `done`, whoever has gone.
    fn work(&mut self, mut done: impl FnMut(&Router) -> bool) {
        for _ in 0..100 * TICKS_MAX {
            if done(&self.router) {
                return;
            }
            self.tick();
        }
        panic!("nothing comes of it");
    }

    /// Answers everything up to PLAY.
    fn handshake(&mut self, server: &TcpStream, transport: &str) {
        self.serve(server, "OPTIONS ", "Public: GET_PARAMETER, TEARDOWN\r\n");
        self.serve(server, "DESCRIBE ", "");
        self.serve(server, "SETUP ", transport);
        self.serve(server, "PLAY ", "");
    }

    fn playing(&mut self) -> (TcpStream, TcpStream) {
        let client = self.watch();
        let server = self.accept();
        self.handshake(&server, TCP);
        (client, server)
    }

    /// Lets the client go, which shows when there is media for it.
    fn hang_up(&mut self, client: TcpStream, mut send: impl FnMut()) {
        drop(client);
        self.work(|router| {
            if !router.clients.is_empty() {
                send();
            }
            router.clients.is_empty()
        });
    }

    /// Reads the head of a stream and this much of it.
    fn read_stream(&mut self, client: &TcpStream, len: usize) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut body = None;
        self.work(|_| {
            receive(client, &mut bytes);
            body = bytes.windows(4).position(|end| end == b"\r\n\r\n");
            body.is_some_and(|at| bytes.len() >= at + 4 + len)
        });
        let media = bytes.split_off(body.expect("a head") + 4);
        (String::from_utf8(bytes).expect("a head"), media)
    }
}

fn is_paused(router: &Router) -> bool {
    let mut upstreams = router.upstreams.iter();
    upstreams.any(|(_, source)| source.upstream_paused.is_set())
}

/// Writes what is taken now.
fn offer(mut stream: &TcpStream, bytes: &mut &[u8]) {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => *bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn interleaved_media_arrives_whole_and_in_order() {
    let mut bench = Bench::new(Config::default());
    let (client, server) = bench.playing();
    let media = [frames(0..3), frame(1, b"rtcp"), frames(3..40)].concat();
    for piece in media.chunks(1000) {
        (&server).write_all(piece).expect("it is taken");
        bench.tick();
    }
    drop(server);
    let (head, mut body) = bench.read_stream(&client, 0);
    bench.work(|_| receive(&client, &mut body));
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\
         R2H-Upstream-Protocol: rtsp\r\nR2H-Upstream-Transport: tcp-interleaved\r\n\
         R2H-Upstream-Payload: mp2t-rtp\r\n\r\n"
    );
    assert!(body == payloads(0..40), "{:?}", numbers(&body));
    assert!(bench.router.upstreams.is_empty());
}

#[test]
fn media_that_comes_with_the_answer_to_play_is_not_lost() {
    let mut bench = Bench::new(Config::default());
    let client = bench.watch();
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    bench.serve(&server, "DESCRIBE ", "");
    bench.serve(&server, "SETUP ", TCP);
    let request = bench.expect(&server, "PLAY ");
    let answer = format!("RTSP/1.0 200 OK\r\nCSeq: {}\r\n\r\n", cseq(&request));
    let both = [answer.into_bytes(), frames(0..2)].concat();
    (&server).write_all(&both).expect("it is taken");
    drop(server);
    let (_, mut body) = bench.read_stream(&client, 0);
    bench.work(|_| receive(&client, &mut body));
    assert_eq!(numbers(&body), [0, 1]);
}

#[test]
fn datagrams_are_put_in_order() {
    let mut bench = Bench::new(Config::default());
    let client = bench.watch();
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    bench.serve(&server, "DESCRIBE ", "");
    let setup = bench.expect(&server, "SETUP ");
    let (_, ports) = setup.split_once("client_port=").expect("a UDP transport");
    let port: u16 = ports
        .split('-')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    assert_eq!(port % 2, 0);
    let (rtp_socket, rtcp_socket) = (loopback(), loopback());
    let ports = [&rtp_socket, &rtcp_socket].map(|it| it.local_addr().expect("an address").port());
    let transport = format!(
        "Session: abc\r\nTransport: RTP/AVP;unicast;client_port={port}-{};server_port={}-{}\r\n",
        port + 1,
        ports[0],
        ports[1]
    );
    reply(&server, &setup, 200, &transport, "");
    bench.serve(&server, "PLAY ", "");
    // Before the media, the way through a translator of addresses is opened.
    let mut probe = [0; 100];
    assert_eq!(rtp_socket.recv(&mut probe).expect("a probe"), 84);
    assert_eq!(rtcp_socket.recv(&mut probe).expect("a probe"), 8);
    for number in (0..8).chain([9, 8, 10, 12, 11]) {
        rtp_socket
            .send_to(&rtp(number), ("127.0.0.1", port))
            .expect("sent");
    }
    let (head, body) = bench.read_stream(&client, payloads(0..13).len());
    assert!(head.contains("R2H-Upstream-Transport: udp\r\n"), "{head}");
    assert_eq!(numbers(&body), (0..13).collect::<Vec<_>>());
    let mut next = 13;
    bench.hang_up(client, || {
        rtp_socket
            .send_to(&rtp(next), ("127.0.0.1", port))
            .expect("sent");
        next += 1;
    });
    bench.serve(&server, "TEARDOWN ", "");
    bench.work(|router| router.upstreams.is_empty());
    UdpSocket::bind(("127.0.0.1", port)).expect("the port is free again");
}

fn loopback() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let limit = Some(Duration::from_secs(10));
    socket.set_read_timeout(limit).expect("a limit");
    socket
}

#[test]
fn full_client_misses_whole_datagrams_and_they_are_counted() {
    let mut bench = Bench::new(Config {
        pool_buffers_max: 256,
        ..Config::default()
    });
    let client = bench.watch();
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    bench.serve(&server, "DESCRIBE ", "");
    let setup = bench.expect(&server, "SETUP ");
    let (_, ports) = setup.split_once("client_port=").expect("a UDP transport");
    let port: u16 = ports
        .split('-')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let transport = "Session: abc\r\nTransport: RTP/AVP;unicast;server_port=9-10\r\n";
    reply(&server, &setup, 200, transport, "");
    bench.serve(&server, "PLAY ", "");
    let media = loopback();
    let mut sent = 0;
    while bench.router.shared.stats.packets_dropped < 100 {
        for _ in 0..50 {
            media
                .send_to(&rtp(sent), ("127.0.0.1", port))
                .expect("sent");
            sent += 1;
        }
        bench.tick();
        assert!(sent < 100_000, "nothing is ever dropped");
    }
    let dropped = bench.router.shared.stats.packets_dropped;
    let (_, mut body) = bench.read_stream(&client, 0);
    bench.work(|router| {
        receive(&client, &mut body);
        router
            .clients
            .iter()
            .all(|(_, sink)| sink.client.queue().is_empty())
            && body.len() % payload(0).len() == 0
    });
    let got = numbers(&body);
    assert!(got.is_sorted(), "out of order");
    let stats = &bench.router.shared.stats;
    assert!(stats.packets_dropped >= dropped);
    assert_eq!(got.len() as u64 + stats.packets_dropped, u64::from(sent));
    assert_eq!(stats.backpressure_events, 0);
}

#[test]
fn slow_client_gets_every_packet_and_the_end() {
    let mut bench = Bench::new(Config {
        pool_buffers_max: 1024,
        ..Config::default()
    });
    let (client, server) = bench.playing();
    let count = 12_000;
    let media = frames(0..count);
    let mut rest = media.as_slice();
    bench.work(|router| {
        offer(&server, &mut rest);
        is_paused(router)
    });
    offer(&server, &mut rest);
    assert!(!rest.is_empty(), "nothing has held the server back");
    assert!(bench.router.shared.stats.backpressure_events > 0);
    let mut server = Some(server);
    let mut bytes = Vec::new();
    bench.work(|_| {
        if let Some(stream) = &server {
            offer(stream, &mut rest);
        }
        if rest.is_empty() {
            server = None;
        }
        receive(&client, &mut bytes)
    });
    let body = bytes
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .expect("a head")
        + 4;
    let got = numbers(&bytes[body..]);
    assert!(got.iter().copied().eq(0..count), "{} packets", got.len());
    assert_eq!(bench.router.shared.stats.packets_dropped, 0);
}

/// A frame as large as frames get, full of TS that carries its number.
fn large_frame(number: u32) -> (Vec<u8>, Vec<u8>) {
    let media = [payload(number).as_slice(); 49].concat();
    let packet = [&rtp(number)[..12], &media].concat();
    assert!(packet.len() + payload(0).len() > usize::from(u16::MAX));
    (frame(0, &packet), media)
}

#[test]
fn largest_frames_pass_through_the_smallest_pool_and_the_end_comes_behind_them() {
    let mut bench = Bench::new(Config {
        pool_buffers_max: 64,
        ..Config::default()
    });
    let (client, server) = bench.playing();
    let (frames, sent): (Vec<_>, Vec<_>) = (0..240).map(large_frame).unzip();
    let end = b"TEARDOWN * RTSP/1.0\r\nCSeq: 9\r\n\r\n";
    let media = [frames.concat(), end.to_vec()].concat();
    let mut rest = media.as_slice();
    // Nobody reads at first.
    bench.work(|router| {
        offer(&server, &mut rest);
        is_paused(router)
    });
    let mut bytes = Vec::new();
    bench.work(|_| {
        offer(&server, &mut rest);
        receive(&client, &mut bytes)
    });
    let body = bytes
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .expect("a head")
        + 4;
    assert!(
        bytes[body..] == sent.concat(),
        "{} bytes of {}",
        bytes.len() - body,
        sent.concat().len()
    );
    bench.work(|router| router.upstreams.is_empty());
    assert_eq!(bench.router.shared.pool.held_bytes(), 0);
}

#[test]
fn keep_alives_go_out_while_the_client_is_full() {
    let mut bench = Bench::new(Config {
        pool_buffers_max: 256,
        ..Config::default()
    });
    let client = bench.watch();
    let server = bench.accept();
    let transport = TCP.replace("timeout=60", "timeout=2");
    bench.handshake(&server, &transport);
    let media = frames(0..12_000);
    let mut rest = media.as_slice();
    bench.work(|router| {
        offer(&server, &mut rest);
        is_paused(router)
    });
    for _ in 0..2 {
        bench.expect(&server, "GET_PARAMETER ");
        assert!(is_paused(&bench.router));
    }
    drop(client);
    let request = bench.expect(&server, "TEARDOWN ");
    // What was on its way is of no interest any more.
    bench.work(|_| {
        offer(&server, &mut rest);
        rest.is_empty()
    });
    reply(&server, &request, 200, "", "");
    bench.work(|router| router.upstreams.is_empty());
    assert_eq!(bench.router.shared.pool.held_bytes(), 0);
}

#[test]
fn session_is_ended_after_its_client_has_gone() {
    let mut bench = Bench::new(Config::default());
    let (client, server) = bench.playing();
    (&server).write_all(&frames(0..3)).expect("it is taken");
    bench.read_stream(&client, payloads(0..3).len());
    bench.hang_up(client, || {
        (&server).write_all(&frames(3..4)).expect("it is taken");
    });
    assert_eq!(bench.router.upstreams.len(), 1);
    let request = bench.serve(&server, "TEARDOWN ", "");
    assert!(request.contains("\r\nSession: abc\r\n"), "{request}");
    bench.work(|router| router.upstreams.is_empty());
}

#[test]
fn server_that_does_not_answer_teardown_is_left() {
    let mut bench = Bench::new(Config::default());
    let (client, server) = bench.playing();
    bench.hang_up(client, || {
        (&server).write_all(&frames(0..1)).expect("it is taken");
    });
    bench.expect(&server, "TEARDOWN ");
    bench.work(|router| router.upstreams.is_empty());
    assert!(receive(&server, &mut Vec::new()), "the connection is open");
}

#[test]
fn stopping_ends_sessions_first() {
    let mut bench = Bench::new(Config::default());
    let (client, server) = bench.playing();
    (&server).write_all(&frames(0..3)).expect("it is taken");
    bench.read_stream(&client, 0);
    bench.router.stop();
    drop(client);
    bench.work(|router| router.clients.is_empty());
    assert!(!bench.router.is_stopped());
    bench.serve(&server, "TEARDOWN ", "");
    bench.work(Router::is_stopped);
}

#[test]
fn challenge_is_answered_and_the_password_kept_out_of_the_url() {
    let mut bench = Bench::new(Config::default());
    let host = format!("user:p%40ss@{}", bench.address());
    let client = bench.ask("GET", &host, "?a=b");
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    let request = bench.expect(&server, "DESCRIBE ");
    let line = format!(
        "DESCRIBE rtsp://{}/live/ch1?a=b RTSP/1.0\r\n",
        bench.address()
    );
    assert!(request.starts_with(&line), "{request}");
    assert!(!request.contains("Authorization"), "{request}");
    let challenge = "WWW-Authenticate: Basic realm=\"r\"\r\n";
    reply(&server, &request, 401, challenge, "");
    let request = bench.expect(&server, "DESCRIBE ");
    let answer = "\r\nAuthorization: Basic dXNlcjpwQHNz\r\n";
    assert!(request.contains(answer), "{request}");
    reply(&server, &request, 401, challenge, "");
    let request = bench.expect(&server, "DESCRIBE ");
    reply(&server, &request, 401, challenge, "");
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        !answer.contains("p@ss") && !answer.contains("p%40ss"),
        "{answer}"
    );
}

#[test]
fn redirect_leads_to_another_server() {
    let mut bench = Bench::new(Config::default());
    let client = bench.watch();
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    let request = bench.expect(&server, "DESCRIBE ");
    let other = TcpListener::bind("127.0.0.1:0").expect("another server");
    other.set_nonblocking(true).expect("it does not block");
    let target = other.local_addr().expect("an address");
    reply(
        &server,
        &request,
        302,
        &format!("Location: rtsp://{target}/b\r\n"),
        "",
    );
    let (there, _) = bench.until(|| other.accept().ok());
    there.set_nonblocking(true).expect("it does not block");
    assert!(
        receive(&server, &mut Vec::new()),
        "the first connection is open"
    );
    bench.handshake(&there, TCP);
    (&there).write_all(&frames(0..2)).expect("it is taken");
    let (_, body) = bench.read_stream(&client, payloads(0..2).len());
    assert_eq!(numbers(&body), [0, 1]);
}

#[test]
fn redirect_to_where_the_client_must_not_go_is_refused() {
    let mut config = Config::default();
    config
        .upstream_policy
        .allow("127.0.0.1")
        .expect("a pattern");
    let mut bench = Bench::new(config);
    let client = bench.client();
    let request = format!(
        "GET /rtsp/{}/a HTTP/1.1\r\nHost: tv.home\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
        bench.address()
    );
    write(&client, &request);
    let server = bench.accept();
    let request = bench.expect(&server, "OPTIONS ");
    reply(
        &server,
        &request,
        301,
        "Location: rtsp://127.0.0.2:554/b\r\n",
        "",
    );
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains("127.0.0.2"), "{answer}");
    let remote = bench.client();
    let request = "GET /rtsp/127.0.0.3/a HTTP/1.1\r\nHost: tv.home\r\nX-Real-IP: 192.0.2.1\r\n\r\n";
    write(&remote, request);
    let answer = bench.read_to_end(&remote);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn server_that_chokes_on_the_list_is_offered_one_transport_after_the_other() {
    let mut bench = Bench::new(Config::default());
    let client = bench.watch();
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    bench.serve(&server, "DESCRIBE ", "");
    let all = bench.expect(&server, "SETUP ");
    assert!(all.contains("MP2T/TCP"), "{all}");
    reply(&server, &all, 461, "", "");
    let tcp = bench.expect(&server, "SETUP ");
    assert!(
        tcp.contains("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
        "{tcp}"
    );
    reply(&server, &tcp, 461, "", "");
    let udp = bench.expect(&server, "SETUP ");
    assert!(udp.contains("Transport: RTP/AVP;unicast;"), "{udp}");
    reply(&server, &udp, 461, "", "");
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("X-Flowgate-Error: RTSP: server answered SETUP with 461\r\n"),
        "{answer}"
    );
}

const DESCRIPTION: &str = "v=0\r\nm=video 0 RTP/AVP 33\r\na=range:npt=10.25-40.5\r\n";

#[test]
fn head_learns_what_there_is_and_begins_nothing() {
    let mut bench = Bench::new(Config {
        clients_max: 1,
        ..Config::default()
    });
    let (_watching, _server) = bench.playing();
    let client = bench.ask("HEAD", &bench.address().to_string(), "?r2h-duration=1");
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    let request = bench.expect(&server, "DESCRIBE ");
    assert!(request.starts_with(&format!("DESCRIBE rtsp://{}/live/ch1 ", bench.address())));
    reply(&server, &request, 200, "", DESCRIPTION);
    assert_eq!(
        bench.read_to_end(&client),
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\
         R2H-Upstream-Protocol: rtsp\r\nR2H-Upstream-Payload: mp2t-rtp\r\n\
         R2H-Media-Duration: 30.25\r\n\r\n"
    );
    assert!(receive(&server, &mut Vec::new()), "more is asked");
}

#[test]
fn duration_is_told_in_json() {
    let mut bench = Bench::new(Config::default());
    let client = bench.ask("GET", &bench.address().to_string(), "?r2h-duration=1");
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    let request = bench.expect(&server, "DESCRIBE ");
    reply(&server, &request, 200, "", DESCRIPTION);
    assert_eq!(
        bench.read_to_end(&client),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n\
         {\"duration\": \"30.250\"}"
    );
}

#[test]
fn recent_time_is_asked_of_play_and_an_older_one_passed_on() {
    let mut bench = Bench::new(Config::default());
    let host = bench.address().to_string();
    let now = bench.router.shared.net.unix_time();
    let begin = now - 600;
    let rest = format!("?playseek={begin}-{now}&r2h-seek-mode=range&r2h-start=5");
    let _client = bench.ask("GET", &host, &rest);
    let server = bench.accept();
    bench.serve(&server, "OPTIONS ", "");
    let request = bench.serve(&server, "DESCRIBE ", "");
    assert!(request.contains("/live/ch1 RTSP/1.0"), "{request}");
    bench.serve(&server, "SETUP ", TCP);
    let request = bench.expect(&server, "PLAY ");
    let (_, range) = request.split_once("\r\nRange: clock=").expect("a range");
    assert!(
        range.starts_with("20") && range.contains("Z-\r\n"),
        "{request}"
    );
    let _client = bench.ask(
        "GET",
        &host,
        "?playseek=20240101120000-20240101130000&r2h-start=5",
    );
    let server = bench.accept();
    let request = bench.serve(&server, "OPTIONS ", "");
    let query = "/live/ch1?playseek=20240101120000-20240101130000 RTSP/1.0";
    assert!(request.contains(query), "{request}");
    bench.serve(&server, "DESCRIBE ", "");
    bench.serve(&server, "SETUP ", TCP);
    let request = bench.expect(&server, "PLAY ");
    assert!(request.contains("\r\nRange: npt=5-\r\n"), "{request}");
}

#[test]
fn head_tells_all_that_is_known() {
    let mut bench = Bench::new(Config::default());
    let client = bench.ask(
        "GET",
        &bench.address().to_string(),
        "?r2h-scale=1.5&snapshot=1",
    );
    let server = bench.accept();
    let request = bench.serve(&server, "OPTIONS ", "");
    assert!(request.contains("/live/ch1 RTSP/1.0\r\n"), "{request}");
    let request = bench.expect(&server, "DESCRIBE ");
    reply(&server, &request, 200, "", DESCRIPTION);
    bench.serve(&server, "SETUP ", TCP);
    let request = bench.serve(
        &server,
        "PLAY ",
        "Scale: 1.500000\r\nRange: npt=10.25-40.5\r\n",
    );
    assert!(request.contains("\r\nScale: 1.5\r\n"), "{request}");
    (&server).write_all(&frames(0..1)).expect("it is taken");
    let (head, _) = bench.read_stream(&client, payloads(0..1).len());
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\
         R2H-Upstream-Protocol: rtsp\r\nR2H-Upstream-Transport: tcp-interleaved\r\n\
         R2H-Upstream-Payload: mp2t-rtp\r\nR2H-Playback-Scale: 1.5\r\n\
         R2H-Playback-Range: npt=10.25-40.5\r\nR2H-Media-Duration: 30.25\r\n\r\n"
    );
}

#[test]
fn names_are_looked_up() {
    let mut bench = Bench::new(Config::default());
    let host = format!("localhost:{}", bench.address().port());
    let _client = bench.ask("GET", &host, "");
    let server = bench.accept();
    let request = bench.expect(&server, "OPTIONS ");
    assert!(
        request.starts_with(&format!("OPTIONS rtsp://{host}/live/ch1 ")),
        "{request}"
    );
    // Longer than a label of a name can be, so that no server is asked.
    let unknown = "x".repeat(64);
    let client = bench.ask("GET", &unknown, "");
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains(&unknown), "{answer}");
}

#[test]
fn look_up_for_a_client_that_has_gone_is_forgotten() {
    let mut bench = Bench::new(Config::default());
    let _client = bench.ask("GET", "localhost:1", "");
    bench.work(|router| !router.lookups.is_empty());
    let router = &mut bench.router;
    let (id, _) = router.upstreams.iter().next().expect("an upstream");
    router.part(id);
    router.run_upstream(id);
    router.reap();
    assert!(router.upstreams.is_empty());
    assert!(router.lookups.is_empty());
}

/// What a server does in place of an answer.
#[derive(Clone, Copy)]
enum Fault {
    Status(u16, &'static str),
    Says(&'static str),
    HangsUp,
}

#[test]
fn every_failing_answer_is_told_at_once() {
    let mut bench = Bench::new(Config::default());
    let steps = ["OPTIONS ", "DESCRIBE ", "SETUP ", "PLAY "];
    for failing in 0..steps.len() {
        let faults = [
            (Fault::Status(400, ""), "with 400"),
            (Fault::Status(401, ""), "URL has no user"),
            (Fault::Status(403, ""), "with 403"),
            (Fault::Status(404, ""), "with 404"),
            (Fault::Status(453, ""), "with 453"),
            (Fault::Status(454, ""), "with 454"),
            (Fault::Status(461, ""), "with 461"),
            (Fault::Status(500, ""), "with 500"),
            (Fault::Status(503, ""), "with 503"),
            (Fault::Status(301, ""), "redirect without Location"),
            (Fault::Status(302, "Location: http://h/\r\n"), "redirect: "),
            (Fault::Status(303, "Location: rtsp://:1/\r\n"), "redirect: "),
            (Fault::Status(200, "a b: c\r\n"), "malformed"),
            (Fault::Status(200, "a: \u{1}\r\n"), "malformed"),
            (
                Fault::Says("RTSP/1.0 200 OK\r\nContent-Length: 70000\r\n\r\n"),
                "body longer",
            ),
            (
                Fault::Says("RTSP/1.0 200 OK\r\nContent-Length: x\r\n\r\n"),
                "malformed",
            ),
            (Fault::HangsUp, "server closed"),
        ];
        for (fault, expected) in faults {
            let client = bench.watch();
            let server = bench.accept();
            for (step, method) in steps.into_iter().enumerate().take(failing + 1) {
                if step < failing {
                    bench.serve(&server, method, if method == "SETUP " { TCP } else { "" });
                    continue;
                }
                let request = bench.expect(&server, method);
                match fault {
                    Fault::Status(status, headers) => {
                        reply(&server, &request, status, headers, "");
                    }
                    Fault::Says(text) => write(&server, text),
                    Fault::HangsUp => {}
                }
                // A list of transports that is refused is offered one by one.
                if let (2, Fault::Status(status @ (400 | 461), _)) = (step, fault) {
                    for _ in 0..2 {
                        let request = bench.expect(&server, method);
                        reply(&server, &request, status, "", "");
                    }
                }
            }
            if let Fault::HangsUp = fault {
                server.shutdown(Shutdown::Both).expect("it is open");
            }
            let answer = bench.read_to_end(&client);
            let method = steps[failing];
            assert!(answer.starts_with("HTTP/1.1 503 "), "{method}: {answer}");
            let told = answer
                .lines()
                .find_map(|line| line.strip_prefix("X-Flowgate-Error: RTSP: "))
                .unwrap_or_default();
            assert!(told.contains(expected), "{method}, {expected}: {answer}");
            // Whoever has said yes to SETUP is told that it is over.
            let mut text = Vec::new();
            bench.work(|router| {
                receive(&server, &mut text);
                if text.ends_with(b"\r\n\r\n") {
                    let request = String::from_utf8(std::mem::take(&mut text)).expect("text");
                    assert!(request.starts_with("TEARDOWN "), "{request}");
                    reply(&server, &request, 200, "", "");
                }
                router.upstreams.is_empty()
            });
        }
    }
}

#[test]
fn what_is_asked_wrongly_is_refused_without_asking_anybody() {
    let mut bench = Bench::new(Config::default());
    let host = bench.address().to_string();
    let long = "x".repeat(2048);
    for (host, rest, status) in [
        ("", "", 503),
        (":554", "", 503),
        ("u%zz@h", "", 503),
        ("h:0", "", 503),
        ("h:65536", "", 503),
        ("[::1", "", 503),
        (&host, &*format!("?{long}"), 404),
        (&host, "?playseek=%zz", 404),
        (&host, "?playseek=1%0d%0aX:y", 404),
        (&host, "?r2h-start=5%0d%0aX:y", 400),
        (&host, "?r2h-scale=0", 400),
        (&host, "/{utc}?playseek=tomorrow", 400),
        (&host, "/{end}?playseek=99990101000000", 400),
        (&host, "?playseek={utc}", 400),
        (
            &host,
            "/{utc}?playseek=99991231235959&r2h-seek-offset=1",
            400,
        ),
    ] {
        let client = bench.ask("GET", host, rest);
        let answer = bench.read_to_end(&client);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{host} {rest}: {answer}"
        );
        assert!(answer.contains("\r\nX-Flowgate-Error: "), "{answer}");
        assert!(bench.origin.accept().is_err(), "{rest}: somebody is asked");
    }
}

#[test]
fn failures_before_the_media_are_answered() {
    let mut bench = Bench::new(Config::default());
    let client = bench.watch();
    let server = bench.accept();
    let request = bench.expect(&server, "OPTIONS ");
    reply(&server, &request, 404, "", "");
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("OPTIONS with 404\r\n"), "{answer}");
    let (client, server) = bench.playing();
    drop(server);
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let client = bench.ask("GET", &closed.expect("an address").to_string(), "");
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("refused"), "{answer}");
    let client = bench.ask("GET", ":554", "");
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(bench.router.streams, 0);
}

#[test]
fn frames_of_the_longest_kind_pass() {
    let mut bench = Bench::new(Config::default());
    let (client, server) = bench.playing();
    let ts = payload(1);
    let long = ts.repeat(49);
    let packet = [&[0x80, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &long].concat();
    assert!(packet.len() > 64_000 && packet.len() <= 65_535);
    let media = [frame(0, &packet), frame(0, &packet)].concat();
    for piece in media.chunks(10_000) {
        (&server).write_all(piece).expect("it is taken");
        bench.tick();
    }
    let (_, body) = bench.read_stream(&client, 2 * long.len());
    assert!(body == long.repeat(2), "{} bytes", body.len());
}
