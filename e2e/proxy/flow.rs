//! Flow control: slow peers slow the other side down, nobody loses a byte, and memory stays bounded.
//!
//! The short versions of what [`endurance`](crate::endurance) does at full size.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::wire::{Origin, Wire, ok, request};
use crate::support::namespace::with_loopback_only;
use crate::support::server::{Server, connect_unix};
use crate::support::{SOON, TempDir, proc, tool, wait_for};

/// Bytes of a body that are made and compared at a time.
const BLOCK: usize = 64 << 10;

/// Block `index` of a body; no two are alike.
fn block(index: u64) -> Vec<u8> {
    let words = (index << 13..).take(BLOCK / 8);
    let mix = |word: u64| (word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    words.flat_map(|word| mix(word).to_le_bytes()).collect()
}

/// Sends a body of so many blocks, and counts what the socket has taken.
fn send_blocks(stream: &mut TcpStream, blocks: u64, written: &AtomicU64) {
    for index in 0..blocks {
        let block = block(index);
        let mut rest = &block[..];
        while !rest.is_empty() {
            let len = stream.write(rest).expect("the peer is there");
            written.fetch_add(len as u64, Ordering::Relaxed);
            rest = &rest[len..];
        }
    }
}

/// Reads such a body and compares it, at most so many bytes per second.
fn receive_blocks(stream: &mut impl Read, blocks: u64, rate: Option<u64>) {
    let began = Instant::now();
    let mut received = vec![0; BLOCK];
    for index in 0..blocks {
        stream.read_exact(&mut received).expect("the body in time");
        assert!(received == block(index), "block {index} was changed");
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(((index + 1) * BLOCK as u64) as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
}

/// Answers one request with so many blocks, in a thread.
fn serve_blocks(mut peer: Wire, blocks: u64, written: Arc<AtomicU64>) -> JoinHandle<()> {
    peer.stream.set_write_timeout(None).expect("valid");
    std::thread::spawn(move || {
        peer.head();
        let len = blocks * BLOCK as u64;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"));
        send_blocks(&mut peer.stream, blocks, &written);
    })
}

/// A connection whose kernel takes little before it is read, so that what is not read waits elsewhere.
fn narrow(address: std::net::SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a socket");
    socket
        .connect_timeout(&SockAddr::from(address), SOON)
        .expect("connected");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).expect("valid timeout");
    stream
}

/// Waits until a count has stood still for `rest`; returns it.
fn standstill(count: &AtomicU64, rest: Duration) -> u64 {
    let mut seen = (count.load(Ordering::Relaxed), Instant::now());
    wait_for(Duration::from_secs(30), "a standstill", || {
        let now = count.load(Ordering::Relaxed);
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        (seen.1.elapsed() >= rest).then_some(now)
    })
}

/// One client that does not read for `stall`, while the origin would send; then it reads all of `blocks`.
pub(crate) fn stalled_client_gets_the_rest(stall: Duration, blocks: u64) {
    // A pause is not the upstream's silence, so this limit must not strike.
    let server = Server::start(&["--http-idle-timeout", "1"]);
    let origin = Origin::start();
    let mut client = Wire::to(&server);
    let until = Instant::now() + stall;
    client.send(request("GET", &origin.path("/"), ""));
    let written = Arc::new(AtomicU64::new(0));
    let sending = serve_blocks(origin.accept(), blocks, written.clone());
    let stopped_at = standstill(&written, Duration::from_secs(2));
    assert!(
        stopped_at < 40 << 20,
        "{stopped_at} bytes were taken for nobody"
    );
    assert!(
        stopped_at < blocks * BLOCK as u64 / 2,
        "too little was left to show anything"
    );
    wait_for(stall + SOON, "the stall", || {
        (Instant::now() >= until).then_some(())
    });
    assert_eq!(
        written.load(Ordering::Relaxed),
        stopped_at,
        "something moved meanwhile"
    );
    assert_eq!(client.response_head().status, 200);
    receive_blocks(&mut client.stream, blocks, None);
    sending.join().expect("all was sent");
    drop(client);
    server.stop_empty();
}

/// So many clients read bodies of so many bytes at `rate` bytes per second each, out of a pool of 192 KiB.
pub(crate) fn crowd_gets_every_byte(clients: usize, blocks: u64, rate: u64) {
    let server = Server::start(&["-b", "128", "-m", "128"]);
    let origin = Origin::start();
    let before = proc::resident_bytes(server.worker());
    let written = Arc::new(AtomicU64::new(0));
    let mut sending = Vec::new();
    let mut streams: Vec<(TcpStream, Vec<u8>)> = (0..clients)
        .map(|_| {
            let mut stream = narrow(([127, 0, 0, 1], server.port).into());
            let asked = request("GET", &origin.path("/"), "");
            stream.write_all(asked.as_bytes()).expect("sent");
            let peer = origin.accept();
            // What the kernel takes beforehand says nothing about the router.
            let socket = SockRef::from(&peer.stream);
            socket.set_send_buffer_size(16 << 10).expect("a socket");
            sending.push(serve_blocks(peer, blocks, written.clone()));
            stream.set_nonblocking(true).expect("a socket");
            (stream, Vec::new())
        })
        .collect();
    let body_bytes = blocks as usize * BLOCK;
    let began = Instant::now();
    let limit = Duration::from_secs(body_bytes as u64 / rate) * 3 + SOON;
    let mut resident_bytes_max = before;
    let mut ahead_bytes_max = 0;
    let mut unfinished = clients;
    wait_for(limit, "every body", || {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as usize;
        let mut received = 0;
        unfinished = 0;
        for (stream, bytes) in &mut streams {
            receive_until(stream, bytes, due);
            received += bytes.len() as u64;
            unfinished += usize::from(!is_complete(bytes, body_bytes));
        }
        let ahead = written.load(Ordering::Relaxed).saturating_sub(received);
        ahead_bytes_max = ahead_bytes_max.max(ahead);
        resident_bytes_max = resident_bytes_max.max(proc::resident_bytes(server.worker()));
        (unfinished == 0).then_some(())
    });
    let expected: Vec<u8> = (0..blocks).flat_map(block).collect();
    for (number, (_, bytes)) in streams.iter().enumerate() {
        assert!(
            bytes.ends_with(&expected),
            "client {number} got other bytes"
        );
    }
    for sending in sending {
        sending.join().expect("all was sent");
    }
    let grown = resident_bytes_max.saturating_sub(before);
    println!("{grown} bytes grown, origin at most {ahead_bytes_max} ahead");
    assert!(grown < 4 << 20, "the process has grown by {grown} bytes");
    // A small body fits into the kernel's buffers as a whole.
    let whole = clients as u64 * body_bytes as u64;
    assert!(
        body_bytes < 2 << 20 || ahead_bytes_max < whole / 2,
        "nobody was ever held back: {ahead_bytes_max}"
    );
    drop(streams);
    server.stop_empty();
}

/// Reads what has come, until `bytes` are as many as are due.
fn receive_until(stream: &mut TcpStream, bytes: &mut Vec<u8>, due: usize) {
    let mut part = [0; 8 << 10];
    while bytes.len() < due {
        let len = part.len().min(due - bytes.len());
        match stream.read(&mut part[..len]) {
            Ok(0) => return,
            Ok(len) => bytes.extend(&part[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn is_complete(bytes: &[u8], body_bytes: usize) -> bool {
    let head = bytes
        .windows(4)
        .take(4096)
        .position(|four| four == b"\r\n\r\n");
    head.is_some_and(|end| bytes.len() == end + 4 + body_bytes)
}

/// A slow and a fast client fetch so many blocks at the same time; every byte is compared.
pub(crate) fn slow_and_fast_client_get_the_same(blocks: u64, slow_rate: u64) {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let readers = [Some(slow_rate), None].map(|rate| {
        let mut client = Wire::to(&server);
        client.send(request("GET", &origin.path("/"), ""));
        let sending = serve_blocks(origin.accept(), blocks, Arc::default());
        let began = Instant::now();
        let reading = std::thread::spawn(move || {
            assert_eq!(client.response_head().status, 200);
            receive_blocks(&mut client.stream, blocks, rate);
            began.elapsed()
        });
        (sending, reading)
    });
    let [slow, fast] = readers.map(|(sending, reading)| {
        let took = reading.join().expect("every byte");
        sending.join().expect("all was sent");
        took
    });
    assert!(
        fast < slow,
        "the fast client waited for the slow one: {fast:?}, {slow:?}"
    );
    server.stop_empty();
}

#[test]
fn crowd_of_slow_clients_gets_every_byte_out_of_a_small_pool() {
    with_loopback_only(|| {
        shorten_frames();
        crowd_gets_every_byte(100, 8, 50_000);
    });
}

#[test]
fn client_that_stalls_for_twenty_seconds_gets_the_rest() {
    stalled_client_gets_the_rest(Duration::from_secs(20), 1536);
}

#[test]
fn stalled_client_of_a_unix_socket_gets_the_rest() {
    let directory = TempDir::new();
    let path = directory.path().join("http.sock");
    let socket = path.to_str().expect("a path in ASCII");
    // The origin is on this host, which such clients do not reach otherwise.
    let server = Server::start(&["-l", socket, "--upstream-allow", "loopback"]);
    let origin = Origin::start();
    let mut client = connect_unix(&path);
    let request = request("GET", &origin.path("/"), "");
    client.write_all(request.as_bytes()).expect("sent");
    let (blocks, written) = (512, Arc::new(AtomicU64::new(0)));
    let sending = serve_blocks(origin.accept(), blocks, written.clone());
    let stopped_at = standstill(&written, Duration::from_secs(1));
    assert!(
        stopped_at < blocks * BLOCK as u64 / 2,
        "{stopped_at} bytes were taken for nobody"
    );
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a head in time");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    receive_blocks(&mut client, blocks, None);
    sending.join().expect("all was sent");
    drop(client);
    server.stop_empty();
}

#[test]
fn big_body_arrives_unchanged_at_a_slow_and_a_fast_client() {
    slow_and_fast_client_get_the_same(2048, 12 << 20);
}

#[test]
fn upload_waits_for_an_origin_that_does_not_read() {
    let blocks = 2048;
    let (server, origin) = (Server::start(&["-b", "1024"]), Origin::start());
    for chunked in [false, true] {
        let mut client = Wire::to(&server);
        let framing = match chunked {
            false => format!("Content-Length: {}\r\n", blocks * BLOCK as u64),
            true => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        client.send(request("POST", &origin.path("/"), &framing));
        client.stream.set_write_timeout(None).expect("valid");
        let written = Arc::new(AtomicU64::new(0));
        let count = written.clone();
        let sending = std::thread::spawn(move || {
            if chunked {
                for index in 0..blocks {
                    client.send(format!("{BLOCK:x}\r\n"));
                    client.send(block(index));
                    client.send("\r\n");
                    count.fetch_add(BLOCK as u64, Ordering::Relaxed);
                }
                client.send("0\r\n\r\n");
            } else {
                send_blocks(&mut client.stream, blocks, &count);
            }
            client.response().status
        });
        let mut peer = origin.accept();
        peer.head();
        let stopped_at = standstill(&written, Duration::from_secs(1));
        assert!(
            stopped_at < 40 << 20,
            "{stopped_at} bytes were taken for nobody"
        );
        if chunked {
            for index in 0..blocks {
                assert_eq!(peer.exact(7), format!("{BLOCK:x}\r\n").as_bytes());
                assert!(
                    peer.exact(BLOCK) == block(index),
                    "block {index} was changed"
                );
                assert_eq!(peer.exact(2), b"\r\n");
            }
            assert_eq!(peer.exact(5), b"0\r\n\r\n");
        } else {
            receive_blocks(&mut peer.stream, blocks, None);
        }
        peer.send(ok("", ""));
        assert_eq!(sending.join().expect("all was sent"), 200);
    }
    server.stop_empty();
}

/// Frames of the size of real ones: the kernel fits its buffers to frames, and with those of loopback it would
/// take whole bodies.
pub(crate) fn shorten_frames() {
    let said = tool::run(Command::new("ip").args(["link", "set", "lo", "mtu", "1500"]));
    assert!(said.status.success(), "{}", said.stderr);
}
