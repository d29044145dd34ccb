//! The floors of the proxy: the least that a single thread can do to pass bodies on.
//!
//! An edge-triggered loop that copies through a buffer for each client, or moves the bytes through a pipe without
//! looking at them. It knows `GET /http/ADDRESS:PORT/PATH`, Content-Length and kept connections, and nothing else: it
//! rewrites no header, limits nothing, times nothing out, and closes on anything it does not expect. Each client
//! has an upstream connection of its own, for as long as it asks the same origin.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::ops::Range;
use std::os::fd::AsFd;

use flowgate::sys::pipe::Pipe;
use mio::net::{TcpListener, TcpStream};
use slab::Slab;

use super::rounds::{Edge, Rounds};

const LISTENER: usize = usize::MAX;
/// With 256 KiB it took about a third more time than nginx with a buffer of this size: no floor.
const BUFFER_BYTES: usize = 1 << 20;
const PIPE_BYTES: usize = 1 << 20;
/// Read at a time while a head is expected; what follows it is copied whatever the way.
const HEAD_READ_BYTES: usize = 16 << 10;
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Reads for one client before the others have their turn.
const READS_PER_ROUND: usize = 16;

/// How a body goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `read` and `write` with a buffer of 1 MiB for each client.
    Copy,
    /// `splice` with a pipe of 1 MiB for each client.
    Splice,
}

struct Floor {
    way: Way,
    rounds: Rounds,
    listener: TcpListener,
    links: Slab<Link>,
    /// What heads are read into.
    heads: Vec<u8>,
}

/// A client and its upstream. Tokens are twice the key for the client, one more for the upstream.
struct Link {
    client: Side,
    upstream: Option<(SocketAddr, Side)>,
    exchange: Exchange,
    /// The head that is coming: of the request, then of the response.
    head: Vec<u8>,
    /// What was read goes to the client from here; only the bytes in `held` are still to go.
    buffer: Vec<u8>,
    held: Range<usize>,
    pipe: Option<Pipe>,
}

/// A connection and the edges that have been seen of it.
struct Side {
    stream: TcpStream,
    readable: bool,
    writable: bool,
}

/// What is read next.
#[derive(Debug, Clone, Copy)]
enum Exchange {
    Request,
    Head,
    /// This many bytes of the body, which are never none.
    Body(u64),
}

/// The arguments that start a floor; see [`run`].
pub(crate) fn arguments(listen: SocketAddr, way: Way) -> Vec<String> {
    let way = match way {
        Way::Copy => "copy",
        Way::Splice => "splice",
    };
    let arguments = [
        "proxy-floor",
        &format!("listen={listen}"),
        &format!("way={way}"),
    ];
    arguments.map(str::to_owned).to_vec()
}

/// Parses the arguments that [`arguments`] makes, and serves for ever.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let options: HashMap<&str, &str> = arguments
        .iter()
        .filter_map(|argument| argument.split_once('='))
        .collect();
    let listen = options.get("listen").and_then(|text| text.parse().ok());
    let way = match options.get("way") {
        None | Some(&"copy") => Some(Way::Copy),
        Some(&"splice") => Some(Way::Splice),
        Some(_) => None,
    };
    let (Some(listen), Some(way)) = (listen, way) else {
        let usage = "usage: proxy-floor listen=ADDRESS:PORT [way=copy|splice]";
        return Err(io::Error::other(usage));
    };
    let mut listener = TcpListener::bind(listen)?;
    let rounds = Rounds::new()?;
    rounds.watch(&mut listener, LISTENER)?;
    let floor = Floor {
        way,
        rounds,
        listener,
        links: Slab::new(),
        heads: vec![0; HEAD_READ_BYTES],
    };
    floor.serve()
}

impl Floor {
    fn serve(mut self) -> io::Result<()> {
        let mut round: Vec<Edge> = Vec::new();
        loop {
            self.rounds.next(None, &mut round)?;
            for edge in &round {
                match edge.token {
                    LISTENER => self.accept()?,
                    _ => self.turn(edge),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let entry = self.links.vacant_entry();
            let client = Side::watched(stream, entry.key() * 2, &self.rounds)?;
            entry.insert(Link {
                client,
                upstream: None,
                exchange: Exchange::Request,
                head: Vec::new(),
                buffer: Vec::new(),
                held: 0..0,
                pipe: None,
            });
        }
    }

    fn turn(&mut self, edge: &Edge) {
        let key = edge.token / 2;
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        let side = match &mut link.upstream {
            Some((_, upstream)) if edge.token % 2 == 1 => upstream,
            _ => &mut link.client,
        };
        side.readable |= edge.readable;
        side.writable |= edge.writable;
        match link.turn(key, self.way, &mut self.heads, &self.rounds) {
            Ok(true) => self.rounds.go_on(key * 2),
            Ok(false) => {}
            Err(_) => drop(self.links.remove(key)),
        }
    }
}

impl Link {
    /// Goes on until a side blocks; whether none did within the budget.
    fn turn(
        &mut self,
        key: usize,
        way: Way,
        heads: &mut [u8],
        rounds: &Rounds,
    ) -> io::Result<bool> {
        for _ in 0..READS_PER_ROUND {
            let goes_on = self.flush()?
                && match self.exchange {
                    Exchange::Request => self.receive_request(key, heads, rounds)?,
                    Exchange::Head => self.receive_head(heads)?,
                    Exchange::Body(left) => match way {
                        Way::Copy => self.copy(left)?,
                        Way::Splice => self.splice(left)?,
                    },
                };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes what was read before; whether all of it is out.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.held.is_empty() {
            match self.client.write(&self.buffer[self.held.clone()])? {
                None => return Ok(false),
                Some(written) => self.held.start += written,
            }
        }
        let Some(pipe) = &self.pipe else {
            return Ok(true);
        };
        while !pipe.is_empty() {
            if !self.client.writable {
                return Ok(false);
            }
            let drained = pipe.drain(self.client.stream.as_fd(), pipe.held_bytes());
            if unless_blocked(drained, &mut self.client.writable)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn receive_request(
        &mut self,
        key: usize,
        heads: &mut [u8],
        rounds: &Rounds,
    ) -> io::Result<bool> {
        let Some(read) = self.client.read(heads)? else {
            return Ok(false);
        };
        self.head.extend_from_slice(&heads[..read]);
        let Some(end) = head_end(&self.head)? else {
            return Ok(true);
        };
        let (origin, request) =
            upstream_request(&self.head[..end]).ok_or(ErrorKind::InvalidData)?;
        let upstream = match &mut self.upstream {
            Some((address, upstream)) if *address == origin => upstream,
            upstream => {
                // The origin is local: its listener answers at once.
                let stream = StdTcpStream::connect(origin)?;
                stream.set_nonblocking(true)?;
                let stream = TcpStream::from_std(stream);
                let side = Side::watched(stream, key * 2 + 1, rounds)?;
                &mut upstream.insert((origin, side)).1
            }
        };
        upstream.stream.write_all(request.as_bytes())?;
        self.head.clear();
        self.exchange = Exchange::Head;
        Ok(true)
    }

    fn receive_head(&mut self, heads: &mut [u8]) -> io::Result<bool> {
        let Some(read) = self.upstream()?.read(heads)? else {
            return Ok(false);
        };
        self.head.extend_from_slice(&heads[..read]);
        let Some(end) = head_end(&self.head)? else {
            return Ok(true);
        };
        let length = content_length(&self.head[..end]).ok_or(ErrorKind::InvalidData)?;
        let left = length.checked_sub((self.head.len() - end) as u64);
        self.expect_body(left.ok_or(ErrorKind::InvalidData)?);
        self.held = 0..self.head.len();
        std::mem::swap(&mut self.buffer, &mut self.head);
        self.head.clear();
        Ok(true)
    }

    fn copy(&mut self, left: u64) -> io::Result<bool> {
        self.buffer.resize(BUFFER_BYTES, 0);
        let wanted = left.min(BUFFER_BYTES as u64) as usize;
        let Some((_, upstream)) = &mut self.upstream else {
            return Err(ErrorKind::NotConnected.into());
        };
        let Some(read) = upstream.read(&mut self.buffer[..wanted])? else {
            return Ok(false);
        };
        self.held = 0..read;
        self.expect_body(left - read as u64);
        Ok(true)
    }

    fn splice(&mut self, left: u64) -> io::Result<bool> {
        if self.pipe.is_none() {
            self.pipe = Some(Pipe::new(PIPE_BYTES)?);
        }
        let (Some(pipe), Some((_, upstream))) = (&self.pipe, &mut self.upstream) else {
            return Err(ErrorKind::NotConnected.into());
        };
        if !upstream.readable {
            return Ok(false);
        }
        let wanted = left.min(PIPE_BYTES as u64) as usize;
        let filled = pipe.fill(upstream.stream.as_fd(), wanted);
        let Some(filled) = unless_blocked(filled, &mut upstream.readable)? else {
            return Ok(false);
        };
        self.expect_body(left - filled as u64);
        Ok(true)
    }

    fn expect_body(&mut self, left: u64) {
        self.exchange = match left {
            0 => Exchange::Request,
            left => Exchange::Body(left),
        };
    }

    fn upstream(&mut self) -> io::Result<&mut Side> {
        let upstream = self.upstream.as_mut().map(|(_, upstream)| upstream);
        upstream.ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Side {
    fn watched(mut stream: TcpStream, token: usize, rounds: &Rounds) -> io::Result<Self> {
        let _ = stream.set_nodelay(true);
        rounds.watch(&mut stream, token)?;
        Ok(Self {
            stream,
            readable: true,
            writable: true,
        })
    }

    /// Reads once; `None` until the next edge. A read that does not fill the buffer has emptied the socket
    /// (epoll(7)).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.readable {
            return Ok(None);
        }
        let read = unless_blocked(self.stream.read(buffer), &mut self.readable)?;
        self.readable &= read == Some(buffer.len());
        Ok(read)
    }

    /// Writes once; `None` until the next edge.
    fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if !self.writable {
            return Ok(None);
        }
        unless_blocked(self.stream.write(bytes), &mut self.writable)
    }
}

/// `None`, and not `ready` any more, if the call blocked; an error at the end of a stream.
fn unless_blocked(moved: io::Result<usize>, ready: &mut bool) -> io::Result<Option<usize>> {
    match moved {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(moved) => Ok(Some(moved)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            *ready = false;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Where the body begins, once the head is whole.
fn head_end(bytes: &[u8]) -> io::Result<Option<usize>> {
    match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(end) => Ok(Some(end + 4)),
        None if bytes.len() > HEAD_BYTES_MAX => Err(ErrorKind::InvalidData.into()),
        None => Ok(None),
    }
}

/// The origin of `GET /http/ADDRESS:PORT/PATH …`, and the request to it.
fn upstream_request(head: &[u8]) -> Option<(SocketAddr, String)> {
    let target = std::str::from_utf8(head).ok()?.split(' ').nth(1)?;
    let (origin, path) = target.strip_prefix("/http/")?.split_once('/')?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
    Some((origin.parse().ok()?, request))
}

fn content_length(head: &[u8]) -> Option<u64> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let (_, value) = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.parse().ok()
}
