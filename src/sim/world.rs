//! Everything outside the router: sockets, edges, pipes and look-ups, and a clock that only jumps.
//!
//! The network gives only the edges that the kernel guarantees: one when a socket is registered or watched and ready,
//! and after that only when it becomes ready after a call was `Blocked` (for datagrams: after a batch that was
//! not full). Two edges that are due come together or one by one. Calls are cut short at random, and edges of
//! sockets already closed still come.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::media::{Rng, Seen, Sent, Viewer};
use super::peers::Peer;
use super::rtsp::{Play, Stun};
use super::web::{Exchange, Lookup, Site};
use crate::arena::{Arena, Id};
use crate::net::{Edge, Event, Io, LookupId, SocketId};

/// What waits in a datagram socket is charged this much beyond its payload.
pub(super) const DATAGRAM_CHARGE_BYTES: usize = 512;
/// Polls in a row that neither wait nor get anything done; more is a loop that spins.
const IDLE_POLLS_MAX: u32 = 64;

/// A channel that brings nothing is read by the clock only a few times more.
pub(super) const IN_VAIN_MAX: u32 = 2 * crate::limits::QUIET_TICKS;

/// Pieces that fit into a pipe at most.
pub(super) const PIPE_PIECES_MAX: usize = 16;
/// Most bytes that one call moves into a pipe.
pub(super) const PIPE_PIECE_BYTES: usize = 32 << 10;

/// How unkind the network is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) short_calls: bool,
    pub(super) late_events: bool,
    /// Descriptors have run out when so many connections were to be accepted, on average.
    pub(super) accept_errors_one_in: Option<u64>,
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
    /// Bytes on their way to the peer, and room for them. Only servers are given the bytes themselves.
    pub(super) to_peer: usize,
    received: VecDeque<u8>,
    pub(super) to_peer_max: usize,
    pub(super) to_peer_finished: bool,
    /// The router has closed its end; with unread bytes, which resets the connection.
    pub(super) router_closed: bool,
    pub(super) router_reset: bool,
    /// The router breaks the connection when it closes it, once everything has arrived.
    pub(super) router_breaks: bool,
    /// Since when the router could always have written.
    pub(super) writable_since: Option<Instant>,
    /// When the router had read all that was sent.
    pub(super) read_at: Option<Instant>,
    pub(super) sent_bytes: u64,
    pub(super) viewer: Option<Viewer>,
    /// Bytes that make a readable edge.
    pub(super) low_water: usize,
    pub(super) readable_due: bool,
    pub(super) writable_due: bool,
}

impl Connection {
    pub(super) fn new(established: bool, to_peer_max: usize, viewer: Option<Viewer>) -> Self {
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
            received: VecDeque::new(),
            to_peer_max,
            to_peer_finished: false,
            router_closed: false,
            router_reset: false,
            router_breaks: false,
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

    /// As [`Connection::take`], for a server.
    pub(super) fn take_received(&mut self, bytes: usize, now: Instant) -> Vec<u8> {
        self.take(bytes, now);
        self.received.drain(..bytes).collect()
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

/// A socket for datagrams: a member of a group, or one of a pair.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) address: SocketAddr,
    /// Datagrams and who has sent them.
    pub(super) queue: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) charge: usize,
    pub(super) charge_max: usize,
    pub(super) watched: bool,
    pub(super) edge_due: bool,
    pub(super) arrived: u64,
    /// The poll in which a batch that was not full was last received.
    pub(super) emptied_in: Option<u64>,
    /// Calls in a row, in different polls, that brought nothing.
    pub(super) in_vain: u32,
}

#[derive(Debug)]
pub(super) enum Socket {
    Listener {
        edge_due: bool,
        /// Who has connected there and waits to be accepted.
        backlog: VecDeque<usize>,
    },
    Stream {
        peer: usize,
    },
    Group(Group),
}

/// A pipe of the kernel: bytes in pieces, and room for so many pieces, however small they are.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) pieces_max: usize,
    pub(super) pieces: VecDeque<Vec<u8>>,
}

/// What happened to a group, for the oracles.
#[derive(Debug, Default, Clone)]
pub(super) struct GroupLog {
    pub(super) memberships: Vec<Membership>,
    pub(super) overflows: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Membership {
    pub(super) socket: SocketId,
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
    pub(super) exchanges: Vec<Exchange>,
    pub(super) sites: Vec<Site>,
    pub(super) plays: Vec<Play>,
    pub(super) stun: Stun,
    /// By peer.
    pub(super) connections: Vec<Option<Connection>>,
    /// Which client each accepted socket belongs to, also after it was closed.
    pub(super) accepted: HashMap<SocketId, usize>,
    /// When a channel last had the client with this number among its subscribers.
    pub(super) fed_until: HashMap<usize, Instant>,
    /// Clients that have yet to be sent somewhere.
    pub(super) ambush: Vec<usize>,
    /// Clients that connect in the moment before an order.
    pub(super) rush: Vec<usize>,
    /// The pool had no buffer for a datagram, which leaves a hole.
    pub(super) overrun: bool,
    /// What every channel's sender has sent, by sequence.
    pub(super) sent: Vec<Vec<Sent>>,
    /// Channels whose flush promise is checked: nothing is lost, reordered or restarted on them.
    pub(super) clean: Vec<bool>,
    pub(super) promise: Duration,
    /// The same for media that one client gets.
    pub(super) promise_alone: Duration,
    /// Whether an upstream waits for the pool, and when one last did.
    pub(super) starving: bool,
    pub(super) starved_at: Option<Instant>,
    pub(super) receive_buffer_bytes: usize,
    pub(super) groups: HashMap<SocketAddr, GroupLog>,
    pub(super) events_seen: HashMap<&'static str, u64>,
    /// Nothing will ever happen any more.
    pub(super) quiet: bool,
    pub(super) polls: u64,
    pub(super) sockets: Arena<Socket>,
    pub(super) pipes: Arena<Pipe>,
    agenda: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    wake_at: Vec<Option<Instant>>,
    order: u64,
    pub(super) hot: Vec<SocketId>,
    pub(super) late: Vec<SocketId>,
    /// When the supervisor next calls, so that nobody waits any longer.
    pub(super) called_at: Option<Instant>,
    /// Where clients connect.
    pub(super) listener: Option<SocketId>,
    /// From when on the router may leave those who wait at a listener: it ends, or another process takes them.
    pub(super) parts_at: Option<Instant>,
    /// What the pool may hold now, in units.
    pub(super) units: usize,
    pub(super) lookups: BinaryHeap<Reverse<(Instant, u64, Vec<String>)>>,
    idle_polls: u32,
    pub(super) progress: bool,
    seen: Vec<Seen>,
}

pub(super) fn key(id: SocketId) -> Id<Socket> {
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
            exchanges: Vec::new(),
            sites: Vec::new(),
            plays: Vec::new(),
            stun: Stun::Silent,
            connections: Vec::new(),
            sent: Vec::new(),
            clean: Vec::new(),
            accepted: HashMap::new(),
            fed_until: HashMap::new(),
            ambush: Vec::new(),
            rush: Vec::new(),
            overrun: false,
            promise: Duration::ZERO,
            promise_alone: Duration::ZERO,
            starving: false,
            starved_at: None,
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
            called_at: None,
            listener: None,
            parts_at: None,
            units: 0,
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

    /// A client connects: it waits at the listener.
    pub(super) fn dial(&mut self, peer: usize, to_peer_max: usize, viewer: Viewer) {
        self.connections[peer] = Some(Connection::new(true, to_peer_max, Some(viewer)));
        self.queue_up([peer].into());
    }

    fn queue_up(&mut self, peers: VecDeque<usize>) {
        let Some(id) = self.listener else {
            return;
        };
        if let Some(Socket::Listener { backlog, .. }) = self.sockets.get_mut(key(id)) {
            backlog.extend(peers);
        }
        self.hot.push(id);
    }

    /// A listener was closed on those who waited there.
    pub(super) fn turn_away(&mut self, backlog: VecDeque<usize>) {
        let is_excused = self.parts_at.is_some_and(|at| at <= self.now);
        assert!(
            backlog.is_empty() || is_excused,
            "clients {backlog:?} waited at a listener that was closed"
        );
        self.queue_up(backlog);
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
        self.deliver_from(SocketAddr::from(([10, 0, 0, 9], 5000)), address, datagram)
    }

    /// As [`World::deliver`], from a sender whose address may be asked for.
    pub(super) fn deliver_from(
        &mut self,
        from: SocketAddr,
        address: SocketAddr,
        datagram: &[u8],
    ) -> Option<u64> {
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
            group.queue.push_back((from, datagram.to_vec()));
            place = Some(group.arrived);
            hot.push(Id::from_parts(id.index(), id.generation()));
        }
        if overflowed {
            if address.ip().is_multicast() {
                self.groups.entry(address).or_default().overflows += 1;
            }
            self.note("kernel buffer overflow");
        }
        place
    }

    /// Has a peer act now.
    pub(super) fn act(&mut self, peer: usize) {
        if let Some(mut actor) = self.peers[peer].take() {
            if let Some(next) = actor.act(peer, self) {
                self.wake(peer, next);
            }
            self.peers[peer] = Some(actor);
        }
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
            self.act(peer);
            self.progress = true;
        }
        while let Some(Reverse((at, ..))) = self.lookups.peek()
            && *at <= self.now
        {
            let Some(Reverse((_, lookup, names))) = self.lookups.pop() else {
                return;
            };
            let addresses = names.iter().map(|name| self.addresses(name));
            let result: Option<Vec<_>> = addresses.collect();
            events.push(Event::Resolved {
                lookup: LookupId(lookup),
                result: result.ok_or_else(|| "no such name".to_owned()),
            });
        }
    }

    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let number = |prefix| name.strip_prefix(prefix)?.parse::<u8>().ok();
        match number("site-") {
            Some(site) => self.site_addresses(usize::from(site)),
            None => number("group-").map(|last| vec![IpAddr::from([239, 0, 0, last])]),
        }
    }

    fn site_addresses(&self, site: usize) -> Option<Vec<IpAddr>> {
        let site = &self.sites[site];
        (site.lookup != Some(Lookup::Fails)).then(|| site.resolved())
    }

    fn collect(&mut self, events: &mut Vec<Event>) {
        let mut hot = std::mem::take(&mut self.hot);
        for id in hot.drain(..) {
            let Some(socket) = self.sockets.get_mut(key(id)) else {
                continue;
            };
            let (readable, writable, ended) = match socket {
                Socket::Listener { edge_due, backlog } => {
                    let edge = *edge_due && !backlog.is_empty();
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
    pub(super) fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) {
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
            let is_over = |at: Option<Instant>| at.is_some_and(|at| self.now >= at);
            if !events.is_empty() || is_over(until) || is_over(self.called_at) {
                break;
            }
            if !self.hot.is_empty() || !self.late.is_empty() {
                continue;
            }
            let next = [self.next_at(), until, self.called_at];
            match next.into_iter().flatten().min() {
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

    pub(super) fn stream(&mut self, socket: SocketId) -> io::Result<usize> {
        match self.sockets.get(key(socket)) {
            Some(Socket::Stream { peer }) => Ok(*peer),
            _ => panic!("socket {socket} is no open stream"),
        }
    }

    pub(super) fn group(&mut self, socket: SocketId) -> &mut Group {
        match self.sockets.get_mut(key(socket)) {
            Some(Socket::Group(group)) => group,
            _ => panic!("socket {socket} is no open group"),
        }
    }

    pub(super) fn open(&mut self, socket: Socket) -> SocketId {
        let id = self.sockets.insert(socket);
        let id = Id::from_parts(id.index(), id.generation());
        self.hot.push(id);
        id
    }

    pub(super) fn read(&mut self, socket: SocketId, bytes: &mut [u8]) -> io::Result<Io<usize>> {
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
            // One byte is asked for only to see whether a kept connection is still good.
            if bytes.len() == 1
                && let Some(Peer::Server(server)) = &mut self.peers[peer]
            {
                server.ambush(now);
                self.wake(peer, now);
            }
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

    pub(super) fn write(&mut self, socket: SocketId, parts: &[&[u8]]) -> io::Result<Io<usize>> {
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
        let lost = connection.peer_gone;
        if lost {
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
            if !(lost && self.connection(peer).viewer.is_none()) {
                self.observe(peer, &part[..taken]);
            }
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
            exchanges,
            ..
        } = self;
        let Some(connection) = &mut connections[peer] else {
            return;
        };
        let Some(viewer) = &mut connection.viewer else {
            connection.received.extend(bytes);
            return;
        };
        viewer.push(bytes, *now, sent, exchanges, seen);
        let mut seen = std::mem::take(&mut self.seen);
        for packet in seen.drain(..) {
            super::oracles::check_delay(self, peer, packet);
        }
        self.seen = seen;
    }
}
