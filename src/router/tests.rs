//! The proxy over real sockets of this host, one tick at a time: what only shows where client, router and origin
//! meet.

mod library;
mod live;
mod news;
mod resource;
mod rtsp;
mod status;
mod waits;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use super::Router;
use super::close::CloseReason;
use super::errand::Errand;
use super::slots::{ClientPipe, Feed, IdleSlot};
use crate::area::Worker;
use crate::arena::Id;
use crate::client::Ended;
use crate::config::Config;
use crate::limits::{
    CONNECTIONS_READING_MAX, IDLE_CONNECTIONS_MAX, OVERDRAFT_WAIT, PIPED_BODY_BYTES_MIN,
};
use crate::net::clock;
use crate::net::mio::MioNet;
use crate::net::tls::TlsConfig;
use crate::net::{Listener, Place, Watched};
use crate::pool::PacketMut;
use crate::upstream::UpstreamError;
use crate::upstream::connection::Connection;

/// Ticks within which whatever is expected must have happened.
const TICKS_MAX: usize = 100;
/// What a tick may wait for something to happen. Much longer than anything takes on this host, and not too long
/// [`TICKS_MAX`] times.
const TICK_WAIT: Duration = Duration::from_millis(100);

/// A router, and an origin that a test speaks for.
struct Bench {
    router: Router,
    listener: std::net::SocketAddr,
    origin: TcpListener,
}

impl Bench {
    fn new(config: Config) -> Self {
        let worker = Worker::alone(clock::now(), 0).expect("memory");
        Self::of(worker, config)
    }

    fn of(worker: Worker, config: Config) -> Self {
        let tls = TlsConfig::load(None).expect("settings");
        let net = MioNet::new(tls).expect("a poll");
        let mut router = Router::new(Box::new(net), Rc::new(config), worker);
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("it does not block");
        let listener = socket.local_addr().expect("an address");
        router
            .adopt_listener(Listener::new(socket.into(), Place::Tcp(listener)))
            .expect("adopted");
        let origin = TcpListener::bind("127.0.0.1:0").expect("an origin");
        origin.set_nonblocking(true).expect("it does not block");
        Self {
            router,
            listener,
            origin,
        }
    }

    fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.listener).expect("a connection");
        client.set_nonblocking(true).expect("it does not block");
        client
    }

    /// A request for a path of the origin.
    fn request(&self, method: &str, path: &str, rest: &str) -> String {
        let origin = self.origin.local_addr().expect("an address");
        format!("{method} /http/{origin}{path} HTTP/1.1\r\nHost: tv.home\r\n{rest}")
    }

    /// Lets the router work until `done` has something.
    fn until<T>(&mut self, done: impl FnMut() -> Option<T>) -> T {
        self.until_ticks(TICKS_MAX, done)
    }

    /// As [`Bench::until`], for what takes long.
    fn until_ticks<T>(&mut self, ticks_max: usize, mut done: impl FnMut() -> Option<T>) -> T {
        for _ in 0..ticks_max {
            if let Some(done) = done() {
                return done;
            }
            let stats = &self.router.shared.stats;
            let is_over = stats.connections > 0 && stats.connections == stats.connections_closed;
            assert!(!is_over, "everybody has gone");
            self.tick();
        }
        panic!("nothing comes of it");
    }

    /// One tick, which waits no longer than a test that fails may take.
    fn tick(&mut self) {
        let timeout = self.router.timeout().unwrap_or(TICK_WAIT);
        let ticked = self.router.tick_after(Some(timeout.min(TICK_WAIT)));
        ticked.expect("a tick");
    }

    fn accept(&mut self) -> TcpStream {
        let origin = self.origin.try_clone().expect("the same origin");
        let (stream, _) = self.until(|| origin.accept().ok());
        stream.set_nonblocking(true).expect("it does not block");
        stream
    }

    /// Reads what `stream` is sent until it ends in `end`.
    fn read(&mut self, stream: &TcpStream, end: &str) -> String {
        let mut text = Vec::new();
        self.until(|| {
            receive(stream, &mut text);
            text.ends_with(end.as_bytes()).then_some(())
        });
        String::from_utf8(text).expect("text")
    }

    /// Reads what `stream` is sent until it is closed.
    fn read_to_end(&mut self, stream: &TcpStream) -> String {
        let mut text = Vec::new();
        self.until(|| receive(stream, &mut text).then_some(()));
        String::from_utf8(text).expect("text")
    }

    /// One request and its response over connections that exist already.
    fn exchange(&mut self, client: &TcpStream, origin: &TcpStream) {
        let request = self.request("GET", "/a", "\r\n");
        write(client, &request);
        self.read(origin, "\r\n\r\n");
        write(origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        self.read(client, "\r\n\r\nok");
    }

    /// A client, and the connection to the origin that its first request has made.
    fn acquainted(&mut self) -> (TcpStream, TcpStream) {
        let client = self.client();
        write(&client, &self.request("GET", "/a", "\r\n"));
        let origin = self.accept();
        self.read(&origin, "\r\n\r\n");
        write(&origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        self.read(&client, "\r\n\r\nok");
        (client, origin)
    }

    /// Takes buffers until no more than `bytes` can be had.
    fn leave_room(&self, bytes: usize) -> Vec<PacketMut> {
        let pool = &self.router.shared.pool;
        let free = || pool.bytes_max() - pool.held_bytes();
        let taken = std::iter::from_fn(|| (free() > bytes).then(|| pool.take_reserved(1)));
        taken.flatten().collect()
    }
}

fn write(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("it is taken");
}

/// Whether the stream has ended.
fn receive(mut stream: &TcpStream, bytes: &mut Vec<u8>) -> bool {
    match stream.read_to_end(bytes) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn kept_connections_carry_one_request_after_the_other() {
    let mut bench = Bench::new(Config::default());
    let (client, origin) = bench.acquainted();
    for reuses in 1..5 {
        bench.exchange(&client, &origin);
        assert_eq!(bench.router.shared.stats.upstream_reuses, reuses);
    }
    assert_eq!(bench.router.shared.stats.upstream_connections, 1);
    // A client that goes on and on is remembered once.
    assert_eq!(bench.router.reading.len(), 1);
    assert_eq!(bench.router.streams, 0);
}

#[test]
fn client_that_has_closed_its_side_is_not_kept_after_its_answer() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    write(&client, &bench.request("GET", "/a", "\r\n"));
    client
        .shutdown(Shutdown::Write)
        .expect("its side is closed");
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    write(&origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = bench.read_to_end(&client);
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[test]
fn client_that_has_closed_its_side_gives_way_at_the_limit() {
    let mut bench = Bench::new(Config {
        clients_max: 1,
        ..Config::default()
    });
    let leaving = bench.client();
    write(&leaving, &bench.request("GET", "/a", "\r\n"));
    leaving
        .shutdown(Shutdown::Write)
        .expect("its side is closed");
    let _silent = bench.accept();
    let staying = bench.client();
    write(&staying, &bench.request("GET", "/b", "\r\n"));
    let _origin = bench.accept();
    let answer = bench.read_to_end(&leaving);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let refused = bench.client();
    write(&refused, &bench.request("GET", "/c", "\r\n"));
    let answer = bench.read_to_end(&refused);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let stats = &bench.router.shared.stats;
    assert_eq!((stats.refused_for_limit, stats.server_errors), (1, 2));
}

#[test]
fn connection_made_for_a_local_client_is_not_lent_to_others() {
    let mut bench = Bench::new(Config::default());
    let (_local, _origin) = bench.acquainted();
    let remote = bench.client();
    write(
        &remote,
        &bench.request("GET", "/a", "X-Forwarded-For: 192.0.2.1\r\n\r\n"),
    );
    let answer = bench.read_to_end(&remote);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn request_that_finds_a_dead_connection_is_made_again() {
    let mut bench = Bench::new(Config::default());
    let (client, origin) = bench.acquainted();
    write(&client, &bench.request("GET", "/b", "\r\n"));
    bench.read(&origin, "\r\n\r\n");
    drop(origin);
    let anew = bench.accept();
    let request = bench.read(&anew, "\r\n\r\n");
    assert!(request.starts_with("GET /b HTTP/1.1\r\n"), "{request}");
    write(&anew, "HTTP/1.1 204 No Content\r\n\r\n");
    let response = bench.read(&client, "\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 204 "), "{response}");
}

#[test]
fn upstream_is_not_blamed_when_its_client_has_left_in_the_same_tick() {
    let mut bench = Bench::new(Config::default());
    let (client, origin) = bench.acquainted();
    write(&client, &bench.request("GET", "/b", "\r\n"));
    bench.read(&origin, "\r\n\r\n");
    let length = 16 * PIPED_BODY_BYTES_MIN;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    write(&origin, &head);
    let part = "x".repeat(4096);
    write(&origin, &part);
    let piped = |router: &Router| {
        let mut clients = router.clients.iter();
        clients.find_map(|(id, sink)| sink.pipe.is_some().then_some(id))
    };
    let ticks = (0..TICKS_MAX).find(|_| {
        bench.tick();
        piped(&bench.router).is_some()
    });
    assert!(ticks.is_some(), "the body comes through no pipe");
    // A tick in which clients have a turn between two sources, and this one turns out to have left.
    write(&origin, &part);
    let router = &mut bench.router;
    router.wait(Some(TICK_WAIT)).expect("an event");
    router.note_events();
    let id = piped(router).expect("a client");
    let sink = router.clients.get_mut(id).expect("a client");
    sink.client.close(Ended::Peer);
    let Feed::Upstream(upstream) = sink.feed else {
        panic!("it is fed by no upstream")
    };
    router.after_turn(id);
    router.run_upstream(upstream);
    let feed = router.clients.get(id).map(|sink| &sink.feed);
    assert!(
        matches!(feed, Some(Feed::Upstream(_))),
        "the upstream has failed"
    );
    router.reap();
    assert_eq!((router.clients.len(), router.upstreams.len()), (0, 0));
}

#[test]
fn request_that_was_begun_to_be_answered_is_not_made_again() {
    let mut bench = Bench::new(Config::default());
    let (client, origin) = bench.acquainted();
    write(&client, &bench.request("GET", "/b", "\r\n"));
    bench.read(&origin, "\r\n\r\n");
    write(&origin, "HTTP/1.1 103 Early Hints\r\n\r\n");
    drop(origin);
    let response = bench.read_to_end(&client);
    let both = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 ";
    assert!(response.starts_with(both), "{response}");
}

#[test]
fn request_that_cannot_be_made_again_gets_a_new_connection() {
    let mut bench = Bench::new(Config::default());
    let (client, _kept) = bench.acquainted();
    write(
        &client,
        &bench.request("POST", "/b", "Content-Length: 2\r\n\r\nab"),
    );
    let anew = bench.accept();
    bench.read(&anew, "\r\n\r\nab");
    assert_eq!(bench.router.shared.stats.upstream_reuses, 0);
}

#[test]
fn connection_used_last_is_used_first_and_the_oldest_gives_way() {
    let mut bench = Bench::new(Config::default());
    let _both = bench.acquainted();
    let address = bench.origin.local_addr().expect("an address");
    let router = &mut bench.router;
    let (_, slot) = router.idles.iter().next().expect("one is kept");
    let oldest = slot.connection.socket();
    let destination = Rc::clone(&slot.destination);
    let mut newest = oldest;
    for _ in 0..IDLE_CONNECTIONS_MAX {
        let shared = &mut router.shared;
        shared.now += Duration::from_millis(1);
        newest = shared.net.connect(address, None).expect("a socket");
        let connection = Connection::new(Watched::new(newest), None, shared);
        router.keep(connection.expect("plain"), Rc::clone(&destination));
    }
    assert_eq!(router.idles.len(), IDLE_CONNECTIONS_MAX);
    let is_oldest = |slot: &IdleSlot| slot.connection.socket() == oldest;
    assert!(!router.idles.iter().any(|(_, slot)| is_oldest(slot)));
    let used = router.take_kept(&destination).expect("one is kept");
    assert_eq!(used.socket(), newest);
}

#[test]
fn oldest_connection_without_a_request_gives_way() {
    let mut bench = Bench::new(Config::default());
    let _client = bench.client();
    while bench.router.clients.is_empty() {
        bench.tick();
    }
    let router = &mut bench.router;
    let (id, _) = router.clients.iter().next().expect("a client");
    // The others would take many descriptors.
    let nobody = Id::from_parts(u32::MAX, 0);
    for number in 1..=CONNECTIONS_READING_MAX as u64 {
        let sink = router.clients.get(id).expect("a client");
        assert!(!sink.client.is_closed());
        router.reading.insert(router.next_reading + number, nobody);
        router.after_turn(id);
    }
    let sink = router.clients.get(id).expect("not reaped yet");
    assert!(sink.client.is_closed());
}

#[test]
fn pipe_that_was_emptied_may_hold_as_much_as_ever() {
    let mut bench = Bench::new(Config::default());
    let (_client, _origin) = endless(&mut bench);
    let router = &mut bench.router;
    let new = ClientPipe::new(router.shared.net.open_pipe().expect("a pipe"));
    let (id, sink) = router.clients.iter_mut().next().expect("a client");
    sink.pipe = Some(ClientPipe {
        bytes_max: 1,
        ..new
    });
    router.flush_client(id);
    let sink = router.clients.get(id).expect("a client");
    assert_eq!(sink.pipe, Some(new));
}

#[test]
fn farewell_that_comes_with_the_response_is_noticed() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    write(&client, &bench.request("GET", "/a", "\r\n"));
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    write(&origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    drop(origin);
    bench.read(&client, "\r\n\r\nok");
    write(&client, &bench.request("GET", "/b", "\r\n"));
    let anew = bench.accept();
    bench.read(&anew, "\r\n\r\n");
    assert_eq!(bench.router.shared.stats.upstream_reuses, 0);
}

#[test]
fn body_that_ends_with_the_connection_is_whole() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    write(&client, &bench.request("GET", "/a", "\r\n"));
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    write(&origin, "HTTP/1.0 200 OK\r\n\r\n");
    bench.read(&client, "\r\n\r\n");
    write(&origin, "the end");
    drop(origin);
    assert_eq!(bench.read_to_end(&client), "the end");
}

/// A client with a part of a body that lasts up to the close, and its origin.
fn endless(bench: &mut Bench) -> (TcpStream, TcpStream) {
    let client = bench.client();
    write(&client, &bench.request("GET", "/a", "\r\n"));
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    write(&origin, "HTTP/1.0 200 OK\r\n\r\na part");
    bench.read(&client, "\r\n\r\na part");
    (client, origin)
}

/// How a stream of which nothing more comes has ended.
fn end(bench: &mut Bench, mut stream: &TcpStream) -> Result<(), ErrorKind> {
    bench.until(|| match stream.read(&mut [0]) {
        Ok(0) => Some(Ok(())),
        Ok(_) => panic!("something comes"),
        Err(error) => Some(Err(error.kind())).filter(|end| *end != Err(ErrorKind::WouldBlock)),
    })
}

fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).expect("a socket");
}

#[test]
fn body_that_breaks_off_does_not_look_whole() {
    let mut bench = Bench::new(Config::default());
    let (client, origin) = endless(&mut bench);
    reset(origin);
    assert_eq!(end(&mut bench, &client), Err(ErrorKind::ConnectionReset));
}

/// As many servers end what they send over TLS.
#[test]
fn body_that_ends_without_a_farewell_is_not_broken_off() {
    let mut bench = Bench::new(Config::default());
    let (client, _origin) = endless(&mut bench);
    let (id, _) = bench.router.clients.iter().next().expect("a client");
    bench.router.detach(id);
    let error = UpstreamError::Io(ErrorKind::UnexpectedEof.into());
    bench.router.end_stream(id, &CloseReason::Upstream(error));
    assert_eq!(end(&mut bench, &client), Ok(()));
}

#[test]
fn playlist_that_ends_with_a_reset_is_answered_with_502() {
    let mut bench = Bench::new(Config::default());
    for (resets, status) in [(false, "200 OK"), (true, "502 Bad Gateway")] {
        let client = bench.client();
        write(
            &client,
            &bench.request("GET", "/a.m3u8", "Connection: close\r\n\r\n"),
        );
        let origin = bench.accept();
        bench.read(&origin, "\r\n\r\n");
        write(&origin, "HTTP/1.0 200 OK\r\n\r\n#EXTM3U\nb\n");
        // So that the router has read it all.
        bench.tick();
        match resets {
            true => reset(origin),
            false => drop(origin),
        }
        let answer = bench.read_to_end(&client);
        let status = format!("HTTP/1.1 {status}\r\n");
        assert!(
            answer.replace("HTTP/1.0", "HTTP/1.1").starts_with(&status),
            "{answer}"
        );
    }
}

#[test]
fn early_response_to_an_upload_arrives() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    let rest = "Content-Length: 1000000\r\n\r\nbegin";
    write(&client, &bench.request("POST", "/a", rest));
    let origin = bench.accept();
    bench.read(&origin, "begin");
    write(
        &origin,
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
    );
    drop(origin);
    write(&client, "more");
    let response = bench.read_to_end(&client);
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
}

/// Its next request would be taken for the rest of the body.
#[test]
fn connection_whose_request_is_incomplete_is_not_used_again() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    let rest = "Content-Length: 1000000\r\n\r\nbegin";
    write(&client, &bench.request("POST", "/a", rest));
    let origin = bench.accept();
    bench.read(&origin, "begin");
    write(&origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    bench.read(&client, "\r\n\r\nok");
    assert_eq!(bench.router.idles.len(), 0);
    assert_eq!(bench.read_to_end(&origin), "");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    let both = bench.request("GET", "/a", "\r\n") + &bench.request("HEAD", "/b", "\r\n");
    write(&client, &both);
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    write(&origin, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    let request = bench.read(&origin, "\r\n\r\n");
    assert!(request.starts_with("HEAD /b "), "{request}");
    write(&origin, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    let responses = bench.read(&client, "7\r\n\r\n");
    assert_eq!(
        responses,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    );
}

#[test]
fn errors_have_no_body_for_head() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    write(&client, &bench.request("HEAD", "/a", "\r\n"));
    drop(bench.accept());
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn links_lead_back_by_the_name_the_client_used_last() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    let address = bench.origin.local_addr().expect("an address");
    let mut origin = None;
    let mut link = |bench: &mut Bench, prefix: &str, headers: &str| {
        let target = format!("{prefix}/http/{address}/a.m3u8");
        write(&client, &format!("GET {target} HTTP/1.1\r\n{headers}\r\n"));
        let origin = origin.get_or_insert_with(|| bench.accept());
        bench.read(origin, "\r\n\r\n");
        write(
            origin,
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n#EXTM3U\nb\n",
        );
        let answer = bench.read(&client, "/b\n");
        answer.lines().last().expect("a link").to_owned()
    };
    let below = |base: &str| format!("{base}/http/{address}/b");

    for host in ["tv.home", "tv.home", "192.0.2.7:5140", "tv.home"] {
        let link = link(&mut bench, "", &format!("Host: {host}\r\n"));
        assert_eq!(link, below(&format!("http://{host}")));
    }
    // A host that cannot be one gives way to the address that was reached.
    let own = below(&format!("http://{}", bench.listener));
    assert_eq!(link(&mut bench, "", "Host: a.1\r\n"), own);
    assert_eq!(
        link(&mut bench, "", "Host: tv.home\r\n"),
        below("http://tv.home")
    );

    let mut config = Config {
        app_path_prefix: "/tv".to_owned(),
        ..Config::default()
    };
    bench.router.reconfigure(Rc::new(config.clone()));
    let prefixed = below("http://tv.home/tv");
    assert_eq!(link(&mut bench, "/tv", "Host: tv.home\r\n"), prefixed);

    config.xff = true;
    bench.router.reconfigure(Rc::new(config));
    assert_eq!(link(&mut bench, "/tv", "Host: tv.home\r\n"), prefixed);
    let headers = "Host: tv.home\r\nX-Forwarded-Host: out.example\r\nX-Forwarded-Proto: https\r\n";
    let forwarded = below("https://out.example/tv");
    assert_eq!(link(&mut bench, "/tv", headers), forwarded);
    assert_eq!(link(&mut bench, "/tv", "Host: tv.home\r\n"), prefixed);
}

#[test]
fn links_keep_the_interface_of_their_own_request_alone() {
    let mut bench = Bench::new(Config::default());
    let client = bench.client();
    for (query, in_link) in [("", ""), ("?r2h-ifname=lo", "?r2h-ifname=lo"), ("", "")] {
        let path = format!("/a.m3u8{query}");
        // Another interface is another connection, and so is one whose server has gone.
        write(&client, &bench.request("GET", &path, "\r\n"));
        let origin = bench.accept();
        bench.read(&origin, "\r\n\r\n");
        write(
            &origin,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nb\n",
        );
        let mut answer = Vec::new();
        let link = bench.until(|| {
            receive(&client, &mut answer);
            let text = String::from_utf8_lossy(&answer);
            let link = text.strip_suffix('\n')?.rsplit_once("/b")?.1;
            Some(link.to_owned())
        });
        assert_eq!(link, in_link);
    }
}

/// The smallest pool there is.
fn poor() -> Config {
    Config {
        pool_buffers_max: crate::limits::POOL_UNITS_MIN,
        ..Config::default()
    }
}

#[test]
fn playlist_that_outgrows_the_memory_is_answered_with_503() {
    let mut bench = Bench::new(poor());
    let client = bench.client();
    write(&client, &bench.request("GET", "/a.m3u8", "\r\n"));
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    let playlist = "a\n".repeat(bench.router.shared.pool.bytes_max());
    // It does not end, so that nothing but what has been gathered already can be too much.
    let length = playlist.len() + 1;
    write(
        &origin,
        &format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{playlist}"),
    );
    let answer = bench.read_to_end(&client);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// A client that has stopped reading a body without end, and its origin, which has sent until nobody took more.
fn paused(bench: &mut Bench) -> (TcpStream, TcpStream) {
    let client = bench.client();
    write(&client, &bench.request("GET", "/live", "\r\n"));
    let origin = bench.accept();
    bench.read(&origin, "\r\n\r\n");
    // In chunks it is not left to a pipe, which would hold little.
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    write(&origin, head);
    bench.read(&client, "\r\n\r\n");
    write(&origin, "fffffff\r\n");
    let pauses = bench.router.shared.stats.backpressure_events;
    while bench.router.shared.stats.backpressure_events == pauses {
        let sent = (&origin).write(&[0; 64 << 10]);
        assert!(sent.is_ok_and(|bytes| bytes > 0), "it is not paused");
        bench.tick();
    }
    (client, origin)
}

/// Lets the time be over that an overdrawn pool is watched.
fn end_overdraft(bench: &mut Bench) {
    let now = bench.router.shared.now;
    let overdraft = bench.router.overdraft.as_mut();
    let until = &mut overdraft.expect("the pool is overdrawn").until;
    assert!(*until > now + OVERDRAFT_WAIT / 2);
    *until = now;
    bench.tick();
}

#[test]
fn whoever_takes_nothing_gives_way_when_a_reload_has_left_too_little_memory() {
    let mut bench = Bench::new(Config::default());
    let (client, _origin) = paused(&mut bench);
    let (reader, _other_origin) = paused(&mut bench);
    // Whatever those two take, there is too little.
    let others: Vec<PacketMut> = (0..128)
        .filter_map(|_| bench.router.shared.pool.take(2048))
        .collect();
    bench.router.reconfigure(Rc::new(poor()));
    let sent = bench.router.shared.stats.to_clients.bytes;
    let mut some = [0; 64 << 10];
    while bench.router.shared.stats.to_clients.bytes == sent {
        assert!((&reader).read(&mut some).is_ok_and(|bytes| bytes > 0));
        bench.tick();
    }
    let holds = |bench: &Bench| {
        let clients = bench.router.clients.iter();
        let held = clients.filter(|(_, sink)| sink.client.held_bytes() > 0);
        held.count()
    };
    assert_eq!(holds(&bench), 2);
    end_overdraft(&mut bench);
    let end = (&client).read_to_end(&mut Vec::new());
    let error = end.expect_err("it is not whole");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(holds(&bench), 1, "who has taken some stays");
    // It is his turn when nothing has been under way to him any more.
    for _ in 0..TICKS_MAX {
        if holds(&bench) > 0 {
            end_overdraft(&mut bench);
        }
    }
    assert_eq!(bench.router.shared.stats.reclaims, 2);
    assert!(bench.router.clients.is_empty());
    drop(others);
    end_overdraft(&mut bench);
    assert!(bench.router.overdraft.is_none());
}

#[test]
fn no_more_clients_give_way_after_a_reload_than_have_to() {
    let mut bench = Bench::new(Config::default());
    let _clients = [(); 3].map(|()| paused(&mut bench));
    let held_bytes = bench.router.shared.pool.held_bytes();
    let config = Config {
        pool_buffers_max: held_bytes / crate::limits::POOL_UNIT_BYTES - 1,
        ..Config::default()
    };
    bench.router.reconfigure(Rc::new(config));
    end_overdraft(&mut bench);
    assert_eq!(bench.router.clients.len(), 2);
    assert!(bench.router.overdraft.is_none());
}

#[test]
fn answer_is_sent_where_the_pool_has_nothing_left() {
    for (method, path, status, has_body) in [
        ("GET", "/nothing", "404 Not Found", true),
        ("HEAD", "/nothing", "404 Not Found", false),
        ("GET", "/status", "503 Service Unavailable", true),
        ("GET", "/status/sse", "503 Service Unavailable", true),
        ("GET", "/http/192.0.2.1/a", "503 Service Unavailable", true),
    ] {
        let mut bench = Bench::new(poor());
        let held = bench.leave_room(0);
        let client = bench.client();
        write(
            &client,
            &format!("{method} {path} HTTP/1.1\r\nHost: tv.home\r\n\r\n"),
        );
        let answer = bench.read_to_end(&client);
        drop(held);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{path}: {answer}"
        );
        assert_eq!(
            answer.contains("<!doctype html>"),
            has_body,
            "{path}: {answer}"
        );
        assert_eq!(bench.router.shared.pool.held_bytes(), 0, "{path}");
    }
}

#[test]
fn request_without_memory_for_its_head_is_answered_at_once() {
    let mut bench = Bench::new(poor());
    let client = bench.client();
    let long = format!("X-Long: {}\r\n\r\n", "x".repeat(3000));
    write(&client, &bench.request("GET", "/a", &long));
    let held = bench.leave_room(2048);
    let answer = bench.read_to_end(&client);
    drop(held);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("no memory"), "{answer}");
}
