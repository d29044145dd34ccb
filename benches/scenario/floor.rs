//! The floor: the least that a single thread can do with the same system calls.
//!
//! One tick for all groups: `recvmmsg` until a group's socket is empty, then one `write` (or one `sendfile`
//! from a memory file) per client. It parses nothing but `/rtp/ADDRESS:PORT`, reorders nothing, times nothing
//! out. What a client does not take waits in a short queue and is dropped by whole runs beyond that.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use flowgate::limits::{
    FLUSH_FEW, FLUSH_INTERVAL_FEW, FLUSH_INTERVAL_MANY, FLUSH_INTERVAL_MIN, FLUSH_MANY,
};
use flowgate::sys::segment::Segment;
use flowgate::sys::udp::{
    ASIDE_BYTES, BATCH_MAX, Batch, Layout, Membership, interface_index, join, set_receive_buffer,
};
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock;
use crate::payload::MEDIA_BYTES;

const LISTENER: Token = Token(usize::MAX);
/// Tokens of groups; below are those of clients.
const GROUPS: usize = 1 << 20;
/// Most bytes of a run: what a group brings before its clients are served.
const RUN_BYTES: usize = (256 << 10) / MEDIA_BYTES * MEDIA_BYTES;
/// Runs that may wait for a client.
const RUNS_WAITING_MAX: usize = 32;
/// Bytes that may wait for a client.
pub(crate) const WAITING_BYTES_MAX: usize = RUNS_WAITING_MAX * RUN_BYTES;
/// What its sockets ask for, and what routers are given where the limit is looked for.
pub(crate) const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// The interval is kept as long as a tick brings less, which the receive buffer holds several times.
const TICK_BYTES_MAX: usize = 1 << 20;
const LAYOUT: Layout = Layout {
    aside: ASIDE_BYTES,
    body: MEDIA_BYTES,
};
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n";

/// How a run goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// One `write` per client.
    Copy,
    /// One memory file per run, one `sendfile` per client.
    Pages,
}

/// When runs are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// As the router's default: 5 ms for few clients of a group, 20 ms for many.
    Auto,
    Every(Duration),
    /// When a packet arrives.
    AtOnce,
}

struct Floor {
    path: Path,
    flush: Flush,
    interface: u32,
    poll: Poll,
    groups: Vec<Group>,
    clients: Slab<Client>,
    batch: Batch,
    run: Vec<u8>,
    /// Longest interval that did not bring too much; `None` while that is the nominal one.
    shortened: Option<Duration>,
}

struct Group {
    address: SocketAddrV4,
    socket: UdpSocket,
    clients: Vec<usize>,
}

struct Client {
    stream: TcpStream,
    group: Option<SocketAddrV4>,
    request: Vec<u8>,
    waiting: VecDeque<(Rc<Run>, usize)>,
}

enum Run {
    Bytes(Vec<u8>),
    Pages(Segment),
}

/// Serves for ever.
pub(crate) fn serve(listen: SocketAddr, path: Path, flush: Flush) -> io::Result<()> {
    let mut listener = TcpListener::bind(listen)?;
    let poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor {
        path,
        flush,
        interface: interface_index("lo").ok_or(io::ErrorKind::NotFound)?,
        poll,
        groups: Vec::new(),
        clients: Slab::new(),
        batch: Batch::new(),
        run: vec![0; RUN_BYTES],
        shortened: None,
    };
    let mut events = Events::with_capacity(1024);
    let mut next_tick: Option<Instant> = None;
    loop {
        let timeout = next_tick.map(|tick| tick.saturating_duration_since(clock::now()));
        match floor.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener)?,
                Token(token) if token >= GROUPS => {
                    floor.receive(token - GROUPS)?;
                }
                Token(client) => floor.client_ready(client)?,
            }
        }
        let ticking = floor.flush != Flush::AtOnce && !floor.groups.is_empty();
        let now = clock::now();
        next_tick = match next_tick {
            _ if !ticking => None,
            Some(tick) if tick > now => Some(tick),
            due => {
                let mut most = 0;
                for group in 0..floor.groups.len() {
                    most = most.max(floor.receive(group)?);
                }
                // On a fixed beat, or the floor would tick less often than a router that keeps time.
                Some((due.unwrap_or(now) + floor.interval(most)).max(now))
            }
        };
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let _ = stream.set_nodelay(true);
            let entry = self.clients.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(entry.key()), interest)?;
            entry.insert(Client {
                stream,
                group: None,
                request: Vec::new(),
                waiting: VecDeque::new(),
            });
        }
    }

    fn client_ready(&mut self, key: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(key) else {
            return Ok(());
        };
        let mut bytes = [0; 4096];
        loop {
            match client.stream.read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => {
                    self.remove(key);
                    return Ok(());
                }
                Ok(read) => client.request.extend_from_slice(&bytes[..read]),
            }
        }
        if client.group.is_some() {
            client.send_waiting();
            return Ok(());
        }
        if !client.request.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let Some(address) = group_of(&client.request) else {
            self.remove(key);
            return Ok(());
        };
        client.group = Some(address);
        if client.stream.write(HEAD).ok() != Some(HEAD.len()) {
            self.remove(key);
            return Ok(());
        }
        self.join(key, address)
    }

    fn join(&mut self, client: usize, address: SocketAddrV4) -> io::Result<()> {
        if let Some(group) = self.groups.iter_mut().find(|g| g.address == address) {
            group.clients.push(client);
            return Ok(());
        }
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER_BYTES)?;
        socket.bind(&address.into())?;
        let membership = Membership {
            group: (*address.ip()).into(),
            source: None,
            interface: self.interface,
        };
        join(socket.as_fd(), &membership)?;
        self.groups.push(Group {
            address,
            socket: socket.into(),
            clients: vec![client],
        });
        if self.flush == Flush::AtOnce {
            self.watch(self.groups.len() - 1)?;
        }
        Ok(())
    }

    fn watch(&self, group: usize) -> io::Result<()> {
        let fd = self.groups[group].socket.as_raw_fd();
        let token = Token(GROUPS + group);
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
    }

    fn remove(&mut self, key: usize) {
        let client = self.clients.remove(key);
        for group in &mut self.groups {
            if Some(group.address) == client.group {
                group.clients.retain(|&other| other != key);
            }
        }
        // Polled groups keep their places, by which their tokens name them.
        if self.flush != Flush::AtOnce {
            self.groups.retain(|group| !group.clients.is_empty());
        }
    }

    /// Receives what a group's socket holds and passes it on; returns the bytes.
    fn receive(&mut self, group: usize) -> io::Result<usize> {
        let mut total = 0;
        let mut used = 0;
        loop {
            let socket = self.groups[group].socket.as_fd();
            let wanted = ((RUN_BYTES - used) / MEDIA_BYTES).min(BATCH_MAX);
            let room = &mut self.run[used..];
            let received = match self.batch.receive(socket, room, LAYOUT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                result => result?,
            };
            used += received * MEDIA_BYTES;
            let is_dry = received < wanted;
            if used > 0 && (is_dry || used == RUN_BYTES) {
                self.pass_on(group, used)?;
                total += used;
                used = 0;
            }
            // A source that is never dry must not keep the clients from being looked at.
            if is_dry || total >= 16 * RUN_BYTES {
                return Ok(total);
            }
        }
    }

    fn pass_on(&mut self, group: usize, len: usize) -> io::Result<()> {
        let bytes = &self.run[..len];
        let mut run = match self.path {
            Path::Copy => None,
            Path::Pages => Some(Rc::new(Run::Pages(Segment::new(bytes)?))),
        };
        for &key in &self.groups[group].clients {
            let client = &mut self.clients[key];
            let sent = if client.waiting.is_empty() {
                match &run {
                    Some(run) => run.send(&mut client.stream, 0),
                    None => client.stream.write(bytes),
                }
                .unwrap_or(0)
            } else {
                0
            };
            if sent < len && client.waiting.len() < RUNS_WAITING_MAX {
                let run = run.get_or_insert_with(|| Rc::new(Run::Bytes(bytes.to_vec())));
                client.waiting.push_back((Rc::clone(run), sent));
            }
        }
        Ok(())
    }

    fn interval(&mut self, bytes: usize) -> Duration {
        let most = self.groups.iter().map(|g| g.clients.len()).max();
        let nominal = match self.flush {
            Flush::Every(interval) => interval,
            Flush::Auto | Flush::AtOnce => automatic_interval(most.unwrap_or(0)),
        };
        let interval = self.shortened.unwrap_or(nominal);
        if bytes > TICK_BYTES_MAX {
            self.shortened = Some((interval / 2).max(FLUSH_INTERVAL_MIN));
        } else if bytes < TICK_BYTES_MAX / 4 {
            let longer = interval * 2;
            self.shortened = (longer < nominal).then_some(longer);
        }
        self.shortened.unwrap_or(nominal).min(nominal)
    }
}

/// The router's default: [`FLUSH_INTERVAL_FEW`] up to [`FLUSH_FEW`] clients, [`FLUSH_INTERVAL_MANY`] from
/// [`FLUSH_MANY`] on, in proportion between.
fn automatic_interval(clients: usize) -> Duration {
    let above = clients.clamp(FLUSH_FEW, FLUSH_MANY) - FLUSH_FEW;
    let share = above as f64 / (FLUSH_MANY - FLUSH_FEW) as f64;
    FLUSH_INTERVAL_FEW + (FLUSH_INTERVAL_MANY - FLUSH_INTERVAL_FEW).mul_f64(share)
}

impl Client {
    fn send_waiting(&mut self) {
        while let Some((run, start)) = self.waiting.front_mut() {
            match run.send(&mut self.stream, *start) {
                Ok(sent) => *start += sent,
                Err(_) => return,
            }
            if *start < run.len() {
                return;
            }
            self.waiting.pop_front();
        }
    }
}

impl Run {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pages(segment) => segment.len(),
        }
    }

    fn send(&self, stream: &mut TcpStream, start: usize) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => stream.write(&bytes[start..]),
            Self::Pages(segment) => segment.send(stream.as_fd(), start, segment.len() - start),
        }
    }
}

/// The group of `GET /rtp/ADDRESS:PORT …`.
fn group_of(request: &[u8]) -> Option<SocketAddrV4> {
    let target = std::str::from_utf8(request).ok()?.split(' ').nth(1)?;
    let (address, port) = target.strip_prefix("/rtp/")?.split_once(':')?;
    let address: Ipv4Addr = address.parse().ok()?;
    Some(SocketAddrV4::new(address, port.parse().ok()?))
}

/// Parses the arguments that [`arguments`] makes, and serves.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let options: HashMap<&str, &str> = arguments
        .iter()
        .filter_map(|argument| argument.split_once('='))
        .collect();
    let invalid = || {
        io::Error::other(
            "usage: floor listen=ADDRESS:PORT [path=copy|pages] [flush=auto|packet|MS]",
        )
    };
    let listen = options.get("listen").and_then(|text| text.parse().ok());
    let path = match options.get("path") {
        None | Some(&"copy") => Path::Copy,
        Some(&"pages") => Path::Pages,
        Some(_) => return Err(invalid()),
    };
    let flush = match options.get("flush") {
        None | Some(&"auto") => Flush::Auto,
        Some(&"packet") => Flush::AtOnce,
        Some(text) => Flush::Every(Duration::from_millis(text.parse().map_err(|_| invalid())?)),
    };
    serve(listen.ok_or_else(invalid)?, path, flush)
}

/// The arguments that start a floor; see [`run`].
pub(crate) fn arguments(listen: SocketAddr, path: Path, flush: Flush) -> Vec<String> {
    let path = match path {
        Path::Copy => "copy",
        Path::Pages => "pages",
    };
    let flush = match flush {
        Flush::Auto => "auto".to_owned(),
        Flush::AtOnce => "packet".to_owned(),
        Flush::Every(interval) => interval.as_millis().to_string(),
    };
    let options = [
        ("listen", listen.to_string()),
        ("path", path.to_owned()),
        ("flush", flush),
    ];
    let options = options.map(|(name, value)| format!("{name}={value}"));
    std::iter::once("floor".to_owned()).chain(options).collect()
}
