//! The origin behind the proxies: a thread that answers `GET /N` with a body of N bytes, and keeps connections.
//!
//! A long body goes out by `sendfile` from a memory file, so that the proxy has more to do than the origin.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use flowgate::sys::segment::Segment;
use mio::Waker;
use mio::net::{TcpListener, TcpStream};
use slab::Slab;

use super::body::{self, PERIOD};
use super::rounds::{Edge, Rounds};

const LISTENER: usize = usize::MAX;
const WAKER: usize = usize::MAX - 1;
/// Longest request head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A body up to this length goes out in one write with its head.
const SMALL_BYTES_MAX: u64 = 64 << 10;
/// Writes for one connection before the others have their turn.
const WRITES_PER_ROUND: usize = 4;

/// A running origin; dropping it ends it.
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Connections accepted.
    accepted: AtomicU64,
}

impl Origin {
    /// Starts on the core of the calling thread.
    pub(crate) fn start() -> io::Result<Self> {
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        let rounds = Rounds::new()?;
        rounds.watch(&mut listener, LISTENER)?;
        let waker = rounds.waker(WAKER)?;
        let shared = Arc::new(Shared::default());
        let serving = Serving {
            shared: Arc::clone(&shared),
            listener,
            rounds,
            connections: Slab::new(),
            segment: Segment::new(body::block())?,
        };
        Ok(Self {
            address,
            shared,
            waker,
            thread: Some(thread::spawn(move || serving.run())),
        })
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            if !matches!(outcome, Ok(Ok(()))) {
                eprintln!("scenario: the origin failed: {outcome:?}");
            }
        }
    }
}

struct Serving {
    shared: Arc<Shared>,
    listener: TcpListener,
    rounds: Rounds,
    connections: Slab<Connection>,
    segment: Segment,
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    /// The head, and with a short body all of it, of which `written` bytes are out.
    answer: Vec<u8>,
    written: usize,
    position: u64,
    length: u64,
    closes: bool,
}

/// How a turn ended.
enum Turn {
    Blocked,
    Spent,
    Closed,
}

impl Serving {
    fn run(mut self) -> io::Result<()> {
        let mut round: Vec<Edge> = Vec::new();
        while !self.shared.stop.load(Relaxed) {
            self.rounds.next(None, &mut round)?;
            for edge in &round {
                match edge.token {
                    WAKER => {}
                    LISTENER => self.accept()?,
                    key => self.serve(key),
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let _ = stream.set_nodelay(true);
            self.shared.accepted.fetch_add(1, Relaxed);
            let entry = self.connections.vacant_entry();
            self.rounds.watch(&mut stream, entry.key())?;
            entry.insert(Connection {
                stream,
                request: Vec::new(),
                answer: Vec::new(),
                written: 0,
                position: 0,
                length: 0,
                closes: false,
            });
        }
    }

    fn serve(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.turn(&self.segment) {
            Ok(Turn::Blocked) => {}
            Ok(Turn::Spent) => self.rounds.go_on(key),
            // A proxy may close whenever it likes; the client behind it sees what is missing.
            Ok(Turn::Closed) | Err(_) => drop(self.connections.remove(key)),
        }
    }
}

impl Connection {
    fn turn(&mut self, segment: &Segment) -> io::Result<Turn> {
        for _ in 0..WRITES_PER_ROUND {
            let outcome = if self.written < self.answer.len() {
                self.stream
                    .write(&self.answer[self.written..])
                    .map(|written| {
                        self.written += written;
                    })
            } else if self.position < self.length {
                let start = (self.position % PERIOD as u64) as usize;
                let len = (self.length - self.position).min((PERIOD - start) as u64) as usize;
                let sent = segment.send(self.stream.as_fd(), start, len);
                sent.map(|sent| self.position += sent as u64)
            } else if self.closes {
                return Ok(Turn::Closed);
            } else {
                let mut bytes = [0; 4096];
                match self.stream.read(&mut bytes) {
                    Ok(0) => return Ok(Turn::Closed),
                    read => read.and_then(|read| {
                        self.request.extend_from_slice(&bytes[..read]);
                        self.answer_request()
                    }),
                }
            };
            match outcome {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Blocked),
                outcome => outcome?,
            }
        }
        Ok(Turn::Spent)
    }

    /// Prepares the answer once the request is whole. One request at a time: nothing here pipelines.
    fn answer_request(&mut self) -> io::Result<()> {
        if !self.request.ends_with(b"\r\n\r\n") {
            return match self.request.len() {
                ..=HEAD_BYTES_MAX => Ok(()),
                _ => Err(ErrorKind::InvalidData.into()),
            };
        }
        let request = String::from_utf8_lossy(&self.request).to_ascii_lowercase();
        let length = request
            .strip_prefix("get /")
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .ok_or(ErrorKind::InvalidData)?;
        self.closes =
            request.contains("\r\nconnection: close") || request.contains(" http/1.0\r\n");
        self.answer.clear();
        write!(
            self.answer,
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n{}\r\n",
            if self.closes {
                "Connection: close\r\n"
            } else {
                ""
            }
        )?;
        self.request.clear();
        self.written = 0;
        self.length = length;
        self.position = 0;
        if length <= SMALL_BYTES_MAX {
            self.answer
                .extend_from_slice(&body::block()[..length as usize]);
            self.position = length;
        }
        Ok(())
    }
}
