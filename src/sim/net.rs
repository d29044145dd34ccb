//! `SimNet`: the network of the simulation, with a clock of its own.
//!
//! It gives only the edges that the kernel guarantees: one when a socket is registered or watched and ready,
//! and after that only when it becomes ready after a call was `Blocked` (for datagrams: after a batch that was
//! not full). Two edges that are due come together or one by one. Calls are cut short at random, and edges of
//! sockets already closed still come.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::media::{Rng, Seen, Sent, Viewer};
use super::peers::Peer;
use crate::arena::{Arena, Id};
use crate::net::{
    Accepted, Batch, Edge, Event, GroupAddress, Io, Joined, Layout, LookupId, Net, PipeId,
    SocketId, Stage,
};
use crate::pool::Packet;

/// What waits in a datagram socket is charged this much beyond its payload.
const DATAGRAM_CHARGE_BYTES: usize = 512;
/// Polls in a row that neither wait nor get anything done; more is a loop that spins.
const IDLE_POLLS_MAX: u32 = 64;

/// A channel that brings nothing is read by the clock only a few times more.
const IN_VAIN_MAX: u32 = 2 * crate::limits::QUIET_TICKS;

/// Pieces that fit into a pipe at most.
const PIPE_PIECES_MAX: usize = 16;
/// Most bytes that one call moves into a pipe.
const PIPE_PIECE_BYTES: usize = 32 << 10;

/// How unkind the network is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) short_calls: bool,
    pub(super) late_events: bool,
    pub(super) accept_errors: bool,
    pub(super) join_errors: bool,
    pub(super) pipe_errors: bool,
}

/// One TCP connection, as both of its ends see it. What the router writes is checked and only counted.
#[derive(Debug)]
pub(super) struct Connection {
    /// The router's end, while it is open.
    pub(super) socket: Option<SocketId>,
    pub(super) established: bool,
    /// Bytes on their way to the router, and whether the peer has finished after them.
    pub(super) to_router: VecDeque<u8>,
    pub(super) to_router_finished: bool,
    /// The peer has reset the connection, which the router has yet to be told.
    pub(super) reset: bool,
    pub(super) refused: bool,
    /// The peer has closed; what the router writes from now on is answered with a reset.
    pub(super) peer_gone: bool,
    /// The peer has vanished without a word.
    pub(super) silent: bool,
    /// Bytes on their way to the peer, and room for them.
    pub(super) to_peer: usize,
    pub(super) to_peer_max: usize,
    pub(super) to_peer_finished: bool,
    /// The router has closed its end; with unread bytes, which resets the connection.
    pub(super) router_closed: bool,
    pub(super) router_reset: bool,
    /// Since when the router could always have written.
    pub(super) writable_since: Option<Instant>,
    /// When the router had read all that was sent.
    pub(super) read_at: Option<Instant>,
    pub(super) sent_bytes: u64,
    pub(super) viewer: Option<Viewer>,
    /// Bytes that make a readable edge.
    low_water: usize,
    readable_due: bool,
    writable_due: bool,
}

impl Connection {
    fn new(established: bool, to_peer_max: usize, viewer: Option<Viewer>) -> Self {
        Self {
            socket: None,
            established,
            to_router: VecDeque::new(),
            to_router_finished: false,
            reset: false,
            refused: false,
            peer_gone: false,
            silent: false,
            to_peer: 0,
            to_peer_max,
            to_peer_finished: false,
            router_closed: false,
            router_reset: false,
            writable_since: None,
            read_at: None,
            sent_bytes: 0,
            viewer,
            low_water: 1,
            readable_due: true,
            writable_due: true,
        }
    }

    /// The peer reads.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) {
        self.to_peer -= bytes;
        if !self.writable_due {
            self.writable_since.get_or_insert(now);
        }
    }

    fn is_readable(&self) -> bool {
        let enough = self.to_router.len() >= self.low_water;
        let ready = enough || self.to_router_finished || self.reset;
        self.refused || (self.established && ready)
    }

    fn is_writable(&self) -> bool {
        self.refused || (self.established && (self.reset || self.to_peer < self.to_peer_max))
    }
}

#[derive(Debug)]
struct Group {
    address: SocketAddr,
    queue: VecDeque<Vec<u8>>,
    charge: usize,
    charge_max: usize,
    watched: bool,
    edge_due: bool,
    arrived: u64,
    /// The poll in which a batch that was not full was last received.
    emptied_in: Option<u64>,
    /// Calls in a row, in different polls, that brought nothing.
    in_vain: u32,
}

#[derive(Debug)]
enum Socket {
    Listener { edge_due: bool },
    Stream { peer: usize },
    Group(Group),
}

/// A pipe of the kernel: bytes in pieces, and room for so many pieces, however small they are.
#[derive(Debug)]
struct Pipe {
    pieces_max: usize,
    pieces: VecDeque<Vec<u8>>,
}

/// What happened to a group, for the oracles.
#[derive(Debug, Default, Clone)]
pub(super) struct GroupLog {
    pub(super) memberships: Vec<Membership>,
    pub(super) overflows: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Membership {
    socket: SocketId,
    pub(super) joined: Instant,
    pub(super) left: Option<Instant>,
    pub(super) rejoins: u64,
}

/// Everything outside the router.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) began: Instant,
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) peers: Vec<Option<Peer>>,
    /// By peer.
    pub(super) connections: Vec<Option<Connection>>,
    /// When a channel last had the client with this number among its subscribers.
    pub(super) fed_until: HashMap<u16, Instant>,
    /// Clients that have yet to be sent somewhere.
    pub(super) ambush: Vec<usize>,
    /// The pool had no buffer for a datagram, which leaves a hole.
    pub(super) overrun: bool,
    /// What every channel's sender has sent, by sequence.
    pub(super) sent: Vec<Vec<Sent>>,
    /// Channels whose flush promise is checked: nothing is lost, reordered or restarted on them.
    pub(super) clean: Vec<bool>,
    pub(super) promise: Duration,
    pub(super) receive_buffer_bytes: usize,
    pub(super) groups: HashMap<SocketAddr, GroupLog>,
    pub(super) events_seen: HashMap<&'static str, u64>,
    /// Nothing will ever happen any more.
    pub(super) quiet: bool,
    pub(super) polls: u64,
    sockets: Arena<Socket>,
    pipes: Arena<Pipe>,
    agenda: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    wake_at: Vec<Option<Instant>>,
    order: u64,
    hot: Vec<SocketId>,
    late: Vec<SocketId>,
    backlog: VecDeque<usize>,
    listener: Option<SocketId>,
    lookups: BinaryHeap<Reverse<(Instant, u64, Vec<String>)>>,
    idle_polls: u32,
    progress: bool,
    seen: Vec<Seen>,
}

fn key(id: SocketId) -> Id<Socket> {
    Id::from_parts(id.index(), id.generation())
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        #[allow(
            clippy::disallowed_methods,
            reason = "the origin of a clock that is never read"
        )]
        let now = Instant::now() + Duration::from_secs(1);
        Self {
            now,
            began: now,
            rng: Rng::new(seed ^ 0x5eed),
            faults,
            peers: Vec::new(),
            connections: Vec::new(),
            sent: Vec::new(),
            clean: Vec::new(),
            fed_until: HashMap::new(),
            ambush: Vec::new(),
            overrun: false,
            promise: Duration::ZERO,
            receive_buffer_bytes: 0,
            groups: HashMap::new(),
            events_seen: HashMap::new(),
            quiet: false,
            polls: 0,
            sockets: Arena::new(),
            pipes: Arena::new(),
            agenda: BinaryHeap::new(),
            wake_at: Vec::new(),
            order: 0,
            hot: Vec::new(),
            late: Vec::new(),
            backlog: VecDeque::new(),
            listener: None,
            lookups: BinaryHeap::new(),
            idle_polls: 0,
            progress: false,
            seen: Vec::new(),
        }
    }

    /// Counts that something happened, for the coverage that all seeds together must have.
    pub(super) fn note(&mut self, what: &'static str) {
        *self.events_seen.entry(what).or_default() += 1;
    }

    /// Open sockets, the listener aside.
    pub(super) fn open_pipes(&self) -> usize {
        self.pipes.len()
    }

    pub(super) fn open_sockets(&self) -> usize {
        self.sockets.len() - usize::from(self.listener.is_some())
    }

    pub(super) fn add_peer(&mut self, peer: Peer, first_wake: Option<Instant>) -> usize {
        let index = self.peers.len();
        self.peers.push(Some(peer));
        self.connections.push(None);
        self.wake_at.push(None);
        if let Some(at) = first_wake {
            self.wake(index, at);
        }
        index
    }

    /// Has a peer act at `at`, unless it acts sooner.
    pub(super) fn wake(&mut self, peer: usize, at: Instant) {
        if self.wake_at[peer].is_none_or(|before| at < before) {
            self.wake_at[peer] = Some(at);
            self.order += 1;
            self.agenda.push(Reverse((at, self.order, peer)));
        }
    }

    /// A client connects: it waits in the backlog.
    pub(super) fn dial(&mut self, peer: usize, to_peer_max: usize, viewer: Viewer) {
        self.connections[peer] = Some(Connection::new(true, to_peer_max, Some(viewer)));
        self.backlog.push_back(peer);
        self.hot.extend(self.listener);
    }

    /// To be called whenever a peer has changed its connection.
    pub(super) fn touch(&mut self, peer: usize) {
        let socket = self.connections[peer]
            .as_ref()
            .and_then(|connection| connection.socket);
        self.hot.extend(socket);
    }

    pub(super) fn connection(&mut self, peer: usize) -> &mut Connection {
        self.connections[peer]
            .as_mut()
            .expect("the peer has connected")
    }

    /// A datagram reaches every socket that has joined. Says whether one took it.
    pub(super) fn deliver(&mut self, address: SocketAddr, datagram: &[u8]) -> Option<u64> {
        let charge = datagram.len() + DATAGRAM_CHARGE_BYTES;
        let (mut place, mut overflowed) = (None, false);
        let Self { sockets, hot, .. } = self;
        for (id, socket) in sockets.iter_mut() {
            let Socket::Group(group) = socket else {
                continue;
            };
            if group.address != address {
                continue;
            }
            if group.charge + charge > group.charge_max {
                overflowed = true;
                continue;
            }
            group.charge += charge;
            group.arrived += 1;
            group.queue.push_back(datagram.to_vec());
            place = Some(group.arrived);
            hot.push(Id::from_parts(id.index(), id.generation()));
        }
        if overflowed {
            self.groups.entry(address).or_default().overflows += 1;
            self.note("kernel buffer overflow");
        }
        place
    }

    fn run_due(&mut self, events: &mut Vec<Event>) {
        while let Some(Reverse((at, _, peer))) = self.agenda.peek().copied()
            && at <= self.now
        {
            self.agenda.pop();
            if self.wake_at[peer] != Some(at) {
                continue;
            }
            self.wake_at[peer] = None;
            if let Some(mut actor) = self.peers[peer].take() {
                if let Some(next) = actor.act(peer, self) {
                    self.wake(peer, next);
                }
                self.peers[peer] = Some(actor);
            }
            self.progress = true;
        }
        while let Some(Reverse((at, ..))) = self.lookups.peek()
            && *at <= self.now
        {
            let Some(Reverse((_, lookup, names))) = self.lookups.pop() else {
                return;
            };
            let addresses = names.iter().map(|name| {
                let digit = name
                    .strip_prefix("group-")
                    .and_then(|rest| rest.parse::<u8>().ok());
                digit.map(|last| vec![IpAddr::from([239, 0, 0, last])])
            });
            let result: Option<Vec<_>> = addresses.collect();
            events.push(Event::Resolved {
                lookup: LookupId(lookup),
                result: result.ok_or_else(|| "no such name".to_owned()),
            });
        }
    }

    fn collect(&mut self, events: &mut Vec<Event>) {
        let mut hot = std::mem::take(&mut self.hot);
        for id in hot.drain(..) {
            let Some(socket) = self.sockets.get_mut(key(id)) else {
                continue;
            };
            let (readable, writable, ended) = match socket {
                Socket::Listener { edge_due } => {
                    let edge = *edge_due && !self.backlog.is_empty();
                    *edge_due &= !edge;
                    (edge, false, false)
                }
                Socket::Group(group) => {
                    let edge = group.watched && group.edge_due && !group.queue.is_empty();
                    group.edge_due &= !edge;
                    (edge, false, false)
                }
                Socket::Stream { peer } => {
                    let Some(connection) = &mut self.connections[*peer] else {
                        continue;
                    };
                    let readable = connection.readable_due && connection.is_readable();
                    let mut writable = connection.writable_due && connection.is_writable();
                    if readable && writable && self.rng.one_in(3) {
                        // One by one.
                        writable = false;
                        self.hot.push(id);
                    }
                    connection.readable_due &= !readable;
                    if writable {
                        connection.writable_due = false;
                        connection.writable_since = Some(self.now);
                    }
                    let ended = connection.to_router_finished || connection.reset;
                    (readable, writable, ended || connection.refused)
                }
            };
            if readable || writable {
                let edge = Edge {
                    readable,
                    writable,
                    ended,
                };
                events.push(Event::Ready { socket: id, edge });
            }
        }
        for socket in self.late.drain(..) {
            let edge = Edge {
                readable: true,
                writable: true,
                ended: true,
            };
            events.push(Event::Ready { socket, edge });
            *self
                .events_seen
                .entry("event of a closed socket")
                .or_default() += 1;
        }
    }

    fn next_at(&self) -> Option<Instant> {
        let next = self.agenda.peek().map(|Reverse((at, ..))| *at);
        let lookup = self.lookups.peek().map(|Reverse((at, ..))| *at);
        [next, lookup].into_iter().flatten().min()
    }

    /// Waits as the poll would: whole milliseconds, rounded up.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) {
        self.polls += 1;
        self.now += self.rng.micros(1, 20);
        let until = timeout.map(|timeout| {
            let millis = timeout.as_micros().div_ceil(1000) as u64;
            self.now + Duration::from_millis(millis)
        });
        self.count_idle(timeout);
        loop {
            self.run_due(events);
            self.collect(events);
            if !events.is_empty() || until.is_some_and(|until| self.now >= until) {
                break;
            }
            if !self.hot.is_empty() || !self.late.is_empty() {
                continue;
            }
            match [self.next_at(), until].into_iter().flatten().min() {
                Some(next) => self.now = self.now.max(next),
                None => {
                    self.quiet = true;
                    return;
                }
            }
        }
        self.progress |= !events.is_empty();
    }

    fn count_idle(&mut self, timeout: Option<Duration>) {
        if self.progress || timeout != Some(Duration::ZERO) {
            self.idle_polls = 0;
        } else {
            self.idle_polls += 1;
            assert!(self.idle_polls < IDLE_POLLS_MAX, "the loop spins");
        }
        self.progress = false;
    }

    /// Cuts a call short now and then.
    fn cut(&mut self, len: usize) -> usize {
        if self.faults.short_calls && len > 1 && self.rng.one_in(4) {
            self.rng.count(1, len)
        } else {
            len
        }
    }

    fn stream(&mut self, socket: SocketId) -> io::Result<usize> {
        match self.sockets.get(key(socket)) {
            Some(Socket::Stream { peer }) => Ok(*peer),
            _ => panic!("socket {socket} is no open stream"),
        }
    }

    fn group(&mut self, socket: SocketId) -> &mut Group {
        match self.sockets.get_mut(key(socket)) {
            Some(Socket::Group(group)) => group,
            _ => panic!("socket {socket} is no open group"),
        }
    }

    fn open(&mut self, socket: Socket) -> SocketId {
        let id = self.sockets.insert(socket);
        let id = Id::from_parts(id.index(), id.generation());
        self.hot.push(id);
        id
    }

    fn read(&mut self, socket: SocketId, bytes: &mut [u8]) -> io::Result<Io<usize>> {
        let peer = self.stream(socket)?;
        let now = self.now;
        let wanted = self.cut(bytes.len());
        let connection = self.connections[peer].as_mut().expect("connected");
        if connection.refused || connection.reset {
            self.progress = true;
            let refused = connection.refused;
            return Err(if refused {
                io::ErrorKind::ConnectionRefused.into()
            } else {
                io::ErrorKind::ConnectionReset.into()
            });
        }
        let waiting = connection.to_router.len();
        if !connection.established || (waiting == 0 && !connection.to_router_finished) {
            connection.readable_due = true;
            return Ok(Io::Blocked);
        }
        self.progress = true;
        let count = wanted.min(waiting);
        let parts = connection.to_router.as_slices();
        let front = count.min(parts.0.len());
        bytes[..front].copy_from_slice(&parts.0[..front]);
        bytes[front..count].copy_from_slice(&parts.1[..count - front]);
        connection.to_router.drain(..count);
        if (1..bytes.len()).contains(&count) {
            // Nothing else had arrived; what is still on its way makes an edge.
            connection.readable_due = true;
            if connection.is_readable() {
                self.hot.push(socket);
            }
        }
        let connection = self.connections[peer].as_mut().expect("connected");
        if connection.to_router.is_empty() {
            connection.read_at = Some(now);
            // A server that waited for room goes on.
            self.wake(peer, now);
        }
        Ok(Io::Done(count))
    }

    fn write(&mut self, socket: SocketId, parts: &[&[u8]]) -> io::Result<Io<usize>> {
        let peer = self.stream(socket)?;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        assert!(len > 0, "nothing is written");
        let wanted = self.cut(len);
        let now = self.now;
        let connection = self.connections[peer].as_mut().expect("connected");
        assert!(!connection.to_peer_finished, "written after the end");
        if connection.refused {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if connection.reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !connection.established || connection.to_peer >= connection.to_peer_max {
            connection.writable_due = true;
            connection.writable_since = None;
            return Ok(Io::Blocked);
        }
        self.progress = true;
        let room = connection.to_peer_max - connection.to_peer;
        let count = wanted.min(room);
        connection.sent_bytes += count as u64;
        if connection.peer_gone {
            connection.reset = true;
        } else {
            connection.to_peer += count;
            if count == room {
                connection.writable_since = None;
            }
        }
        let mut rest = count;
        for part in parts {
            let taken = part.len().min(rest);
            rest -= taken;
            self.observe(peer, &part[..taken]);
        }
        if self.connection(peer).reset {
            self.hot.push(socket);
        }
        let reading = self.peers[peer].as_ref().is_some_and(Peer::is_listening);
        if reading {
            let delay = self.rng.micros(0, 300);
            self.wake(peer, now + delay);
        }
        Ok(Io::Done(count))
    }

    /// Checks what is written to a client, and when.
    fn observe(&mut self, peer: usize, bytes: &[u8]) {
        let Self {
            connections,
            sent,
            seen,
            now,
            ..
        } = self;
        let Some(connection) = &mut connections[peer] else {
            return;
        };
        let Some(viewer) = &mut connection.viewer else {
            connection.to_peer = 0;
            return;
        };
        viewer.push(bytes, *now, sent, seen);
        let mut seen = std::mem::take(&mut self.seen);
        for packet in seen.drain(..) {
            super::check_delay(self, peer, packet);
        }
        self.seen = seen;
    }
}

/// The router's end of the world.
pub(super) struct SimNet(pub(super) Rc<RefCell<World>>);

impl Net for SimNet {
    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.0.borrow_mut().wait(timeout, events);
        Ok(())
    }

    fn listen(&mut self, _: SocketAddr) -> io::Result<SocketId> {
        let mut world = self.0.borrow_mut();
        let id = world.open(Socket::Listener { edge_due: true });
        world.listener = Some(id);
        Ok(id)
    }

    fn local_address(&self, _: SocketId) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 5140)))
    }

    fn accept(&mut self, listener: SocketId) -> io::Result<Io<Accepted>> {
        let world = &mut *self.0.borrow_mut();
        if world.backlog.is_empty() {
            if let Some(Socket::Listener { edge_due }) = world.sockets.get_mut(key(listener)) {
                *edge_due = true;
            }
            return Ok(Io::Blocked);
        }
        world.progress = true;
        if world.faults.accept_errors && world.rng.one_in(10) {
            world.note("accept: no descriptors");
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let Some(peer) = world.backlog.pop_front() else {
            return Ok(Io::Blocked);
        };
        let socket = world.open(Socket::Stream { peer });
        let now = world.now;
        let connection = world.connection(peer);
        connection.socket = Some(socket);
        connection.writable_since = Some(now);
        let peer = SocketAddr::from(([10, 0, 0, 1], peer as u16));
        Ok(Io::Done(Accepted { socket, peer }))
    }

    fn unix_time(&self) -> i64 {
        let world = self.0.borrow();
        1_741_635_000 + (world.now - world.began).as_secs() as i64
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        vec![[10, 0, 0, 3].into()]
    }

    fn secure(&mut self, _: &str) -> io::Result<Box<dyn Stage>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_connected(&self, socket: SocketId) -> io::Result<bool> {
        let world = &mut *self.0.borrow_mut();
        let peer = world.stream(socket)?;
        let connection = world.connection(peer);
        if connection.refused {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if !connection.established {
            connection.writable_due = true;
        }
        Ok(connection.established)
    }

    fn open_pipe(&mut self) -> io::Result<PipeId> {
        let mut world = self.0.borrow_mut();
        if world.faults.pipe_errors && world.rng.one_in(3) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let pieces_max = world.rng.count(1, PIPE_PIECES_MAX);
        let id = world.pipes.insert(Pipe {
            pieces_max,
            pieces: VecDeque::new(),
        });
        Ok(Id::from_parts(id.index(), id.generation()))
    }

    fn fill_pipe(
        &mut self,
        pipe: PipeId,
        from: SocketId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>> {
        let world = &mut *self.0.borrow_mut();
        assert!(bytes_max > 0, "filled with nothing");
        let id = Id::from_parts(pipe.index(), pipe.generation());
        let pipe = world.pipes.get(id).expect("an open pipe");
        if pipe.pieces.len() >= pipe.pieces_max {
            // The socket was not even looked at, so no edge is due for it.
            world.note("pipe full");
            return Ok(Io::Blocked);
        }
        let mut bytes = vec![0; bytes_max.min(PIPE_PIECE_BYTES)];
        let result = world.read(from, &mut bytes)?;
        if let Io::Done(count) = result
            && count > 0
        {
            bytes.truncate(count);
            world.note("piped");
            let pipe = world.pipes.get_mut(id).expect("an open pipe");
            pipe.pieces.push_back(bytes);
        }
        Ok(result)
    }

    fn drain_pipe(
        &mut self,
        pipe: PipeId,
        to: SocketId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>> {
        let world = &mut *self.0.borrow_mut();
        let id = Id::from_parts(pipe.index(), pipe.generation());
        let pipe = world.pipes.get_mut(id).expect("an open pipe");
        let mut piece = pipe.pieces.pop_front().expect("a pipe that is not empty");
        let result = world.write(to, &[&piece[..piece.len().min(bytes_max)]]);
        let taken = match result {
            Ok(Io::Done(count)) => count,
            _ => 0,
        };
        piece.drain(..taken);
        if !piece.is_empty() {
            let pipe = world.pipes.get_mut(id).expect("an open pipe");
            pipe.pieces.push_front(piece);
        }
        result
    }

    fn close_pipe(&mut self, pipe: PipeId) {
        let id = Id::from_parts(pipe.index(), pipe.generation());
        let closed = self.0.borrow_mut().pipes.remove(id);
        closed.expect("a pipe is closed once");
    }

    fn set_receive_low_water(&mut self, socket: SocketId, bytes: usize) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        let peer = world.stream(socket)?;
        let connection = world.connection(peer);
        connection.low_water = bytes;
        connection.readable_due = true;
        world.hot.push(socket);
        world.note("low water");
        Ok(())
    }

    fn unread_bytes(&self, socket: SocketId) -> io::Result<usize> {
        let world = &mut *self.0.borrow_mut();
        let peer = world.stream(socket)?;
        Ok(world.connection(peer).to_router.len())
    }

    fn connect(&mut self, address: SocketAddr, _: Option<&str>) -> io::Result<SocketId> {
        let world = &mut *self.0.borrow_mut();
        let peer = usize::from(address.port());
        let Some(Peer::Server(server)) = &world.peers[peer] else {
            panic!("no server at {address}");
        };
        if server.refuses_at_once {
            world.note("connect refused at once");
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let socket = world.open(Socket::Stream { peer });
        let mut connection = Connection::new(false, 64 << 10, None);
        connection.socket = Some(socket);
        world.connections[peer] = Some(connection);
        let at = world.now + world.rng.millis(0, 300);
        world.wake(peer, at);
        Ok(socket)
    }

    fn read(&mut self, socket: SocketId, bytes: &mut [u8]) -> io::Result<Io<usize>> {
        self.0.borrow_mut().read(socket, bytes)
    }

    fn write(&mut self, socket: SocketId, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        self.0.borrow_mut().write(socket, &parts)
    }

    fn write_pages(&mut self, socket: SocketId, view: &Packet) -> io::Result<Io<usize>> {
        let (segment, range) = view.segment().ok_or(io::ErrorKind::InvalidInput)?;
        let mut bytes = vec![0; range.len()];
        assert_eq!(segment.read_at(&mut bytes, range.start)?, range.len());
        let mut world = self.0.borrow_mut();
        world.note("pages shared");
        world.write(socket, &[&bytes])
    }

    fn finish(&mut self, socket: SocketId) {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        if let Ok(peer) = world.stream(socket) {
            world.connection(peer).to_peer_finished = true;
            world.wake(peer, now);
        }
    }

    fn unanswered(&self, socket: SocketId) -> io::Result<u8> {
        let mut world = self.0.borrow_mut();
        let peer = world.stream(socket)?;
        Ok(if world.connection(peer).silent { 9 } else { 0 })
    }

    fn join(&mut self, address: &GroupAddress, bytes: usize) -> io::Result<Joined> {
        let world = &mut *self.0.borrow_mut();
        if world.faults.join_errors && world.rng.one_in(20) {
            world.note("join failed");
            return Err(io::ErrorKind::NotFound.into());
        }
        let receive_buffer_bytes = world.receive_buffer_bytes.min(2 * bytes);
        let socket = world.open(Socket::Group(Group {
            address: address.group,
            queue: VecDeque::new(),
            charge: 0,
            charge_max: receive_buffer_bytes,
            watched: false,
            edge_due: false,
            arrived: 0,
            emptied_in: None,
            in_vain: 0,
        }));
        let now = world.now;
        let log = world.groups.entry(address.group).or_default();
        log.memberships.push(Membership {
            socket,
            joined: now,
            left: None,
            rejoins: 0,
        });
        Ok(Joined {
            socket,
            receive_buffer_bytes,
        })
    }

    fn set_receive_buffer(&mut self, socket: SocketId, bytes: usize) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        // The system's limit, as `join` knows it; the kernel accounts for twice the request.
        let granted = world.receive_buffer_bytes.min(2 * bytes);
        let group = world.group(socket);
        group.charge_max = group.charge_max.max(granted);
        Ok(granted)
    }

    fn rejoin(&mut self, socket: SocketId, address: &GroupAddress) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        assert_eq!(world.group(socket).address, address.group);
        world.note("rejoin");
        let log = world.groups.entry(address.group).or_default();
        let mut memberships = log.memberships.iter_mut();
        if let Some(membership) = memberships.find(|its| its.socket == socket) {
            membership.rejoins += 1;
        }
        Ok(())
    }

    fn watch(&mut self, socket: SocketId) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let group = world.group(socket);
        assert!(!group.watched, "watched twice");
        group.watched = true;
        group.edge_due = true;
        world.hot.push(socket);
        Ok(())
    }

    fn unwatch(&mut self, socket: SocketId) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let group = world.group(socket);
        assert!(group.watched, "unwatched without being watched");
        group.watched = false;
        Ok(())
    }

    fn receive(
        &mut self,
        socket: SocketId,
        batch: &mut Batch,
        run: &mut [u8],
        layout: Layout,
    ) -> io::Result<Io<usize>> {
        let mut world = self.0.borrow_mut();
        let polls = world.polls;
        let group = world.group(socket);
        assert_ne!(
            group.emptied_in,
            Some(polls),
            "asked again after a batch that was not full"
        );
        let wanted = (run.len() / layout.body).min(crate::sys::udp::BATCH_MAX);
        let Group { queue, charge, .. } = group;
        let count = batch.fill(run, layout, || {
            let datagram = queue.pop_front()?;
            *charge -= datagram.len() + DATAGRAM_CHARGE_BYTES;
            Some(datagram)
        });
        if count < wanted {
            group.emptied_in = Some(polls);
        }
        group.in_vain = if count > 0 { 0 } else { group.in_vain + 1 };
        assert!(
            group.in_vain <= IN_VAIN_MAX,
            "a silent channel is polled by the clock"
        );
        // A batch that is not full has emptied the socket: the next datagram makes an edge.
        group.edge_due |= count < wanted;
        if count == 0 {
            return Ok(Io::Blocked);
        }
        world.progress = true;
        Ok(Io::Done(count))
    }

    fn resolve(&mut self, lookup: LookupId, names: Vec<String>) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if names.iter().any(|name| name == "busy") {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if names.iter().any(|name| name == "never") {
            return Ok(());
        }
        let at = world.now + world.rng.millis(1, 6000);
        world.lookups.push(Reverse((at, lookup.0, names)));
        Ok(())
    }

    fn close(&mut self, socket: SocketId) {
        let world = &mut *self.0.borrow_mut();
        let closed = world
            .sockets
            .remove(key(socket))
            .expect("a socket is closed once");
        match closed {
            Socket::Listener { .. } => world.listener = None,
            Socket::Group(group) => {
                let now = world.now;
                let log = world.groups.entry(group.address).or_default();
                for other in &mut log.memberships {
                    if other.socket == socket {
                        other.left = Some(now);
                    } else if other.left.is_none() {
                        // Only a channel that ends in this tick may have a successor already.
                        assert_eq!(other.joined, now, "{} is joined twice", group.address);
                    }
                }
            }
            Socket::Stream { peer } => {
                let now = world.now;
                let connection = world.connection(peer);
                connection.socket = None;
                connection.router_closed = true;
                // What the router has not read makes the kernel answer with a reset.
                connection.router_reset = !connection.to_router.is_empty();
                world.wake(peer, now);
            }
        }
        if world.faults.late_events && world.rng.one_in(3) {
            world.late.push(socket);
        }
    }
}
