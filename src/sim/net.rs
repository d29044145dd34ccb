//! `SimNet`: the router's view of the simulated world.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::peers::Peer;
use super::rtsp::{self, Play, STUN_ADDRESS};
use super::web::{Lookup, Reach, Server, Site, Veil};
use super::world::{
    Connection, DATAGRAM_CHARGE_BYTES, Group, IN_VAIN_MAX, Membership, PIPE_PIECE_BYTES,
    PIPE_PIECES_MAX, Pipe, Socket, World, key,
};
use crate::arena::Id;
use crate::net::{
    self, Accepted, Batch, Event, GroupAddress, Io, Joined, Layout, LookupId, Net, PipeId, ReadId,
    SocketId, Stage,
};
use crate::pool::Packet;

/// When the next address is tried while the one before is silent (RFC 8305 §5).
const CONNECT_OVERLAP: Duration = Duration::from_millis(250);
const OVERLAP_MAX: Duration = Duration::from_millis(253);
/// One client in this many has come through a Unix socket.
const UNIX_PEERS_SHARE: usize = 8;

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

    fn adopt_listener(&mut self, _: OwnedFd) -> io::Result<SocketId> {
        let mut world = self.0.borrow_mut();
        let id = world.open(Socket::Listener {
            edge_due: true,
            backlog: VecDeque::new(),
        });
        world.listener = Some(id);
        Ok(id)
    }

    fn local_address(&self, _: SocketId) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 5140)))
    }

    fn close_listener(&mut self, listener: SocketId) {
        self.close(listener);
    }

    fn accept(&mut self, listener: SocketId) -> io::Result<Io<Accepted>> {
        let world = &mut *self.0.borrow_mut();
        let Some(Socket::Listener { edge_due, backlog }) = world.sockets.get_mut(key(listener))
        else {
            panic!("only a listener that is open accepts");
        };
        let Some(peer) = backlog.front().copied() else {
            *edge_due = true;
            return Ok(Io::Blocked);
        };
        world.progress = true;
        let fails = |one_in| world.rng.one_in(one_in);
        if world.faults.accept_errors_one_in.is_some_and(fails) {
            world.note("accept: no descriptors");
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        if let Some(Socket::Listener { backlog, .. }) = world.sockets.get_mut(key(listener)) {
            backlog.pop_front();
        }
        let socket = world.open(Socket::Stream { peer });
        let now = world.now;
        let connection = world.connection(peer);
        connection.socket = Some(socket);
        connection.writable_since = Some(now);
        world.accepted.insert(socket, peer);
        let peer = match peer % UNIX_PEERS_SHARE {
            0 => {
                world.note("Unix socket");
                net::Peer::Unix
            }
            _ => SocketAddr::from(([10, 0, 0, 1], peer as u16)).into(),
        };
        Ok(Io::Done(Accepted { socket, peer }))
    }

    fn wall_time(&self) -> Duration {
        let world = self.0.borrow();
        Duration::from_secs(1_741_635_000) + (world.now - world.began)
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        vec![[10, 0, 0, 3].into()]
    }

    fn secure(&mut self, host: &str) -> io::Result<Box<dyn Stage>> {
        Ok(Box::new(Veil::new(host)))
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
        if world.faults.pipe_errors && world.rng.one_in(2) {
            world.note("pipe failed");
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
        let now = world.now;
        if let Some((play, station)) = Play::at(address) {
            let window_bytes = world.plays[play].window_bytes();
            let server = rtsp::Server::new(play, station, world);
            let peer = world.add_peer(Peer::Rtsp(server), Some(now));
            return Ok(dial(peer, window_bytes, world));
        }
        let (number, at) = Site::at(address);
        let site = &mut world.sites[number];
        let reach = site.addresses[at];
        let before = at.checked_sub(1).map(|before| site.addresses[before]);
        if before == Some(Reach::Silent) {
            let silent = site.addresses[..at]
                .iter()
                .all(|reach| *reach == Reach::Silent);
            let mut attempts = site.attempts.iter();
            let in_time = attempts.any(|(begun, its)| {
                // A failure brings the next attempt forward.
                let waited = now - *begun;
                its + 1 == at && waited <= OVERLAP_MAX && (waited >= CONNECT_OVERLAP || !silent)
            });
            assert!(
                in_time,
                "the attempt at {address} does not overlap the one before"
            );
        }
        site.attempts.push((now, at));
        let window_bytes = site.habits.window_bytes;
        if before == Some(Reach::Silent) {
            world.note("attempts overlap");
        }
        if reach == Reach::RefusesAtOnce {
            world.note("connect refused at once");
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let seed = world.rng.next();
        let server = Server::new(number, at, world, seed);
        let delay = world.rng.micros(0, 100);
        let peer = world.add_peer(Peer::Server(server), Some(now + delay));
        Ok(dial(peer, window_bytes, world))
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

    fn break_at_close(&mut self, socket: SocketId) {
        let mut world = self.0.borrow_mut();
        if let Ok(peer) = world.stream(socket) {
            world.connection(peer).router_breaks = true;
        }
    }

    fn unacknowledged_bytes(&self, socket: SocketId) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        let peer = world.stream(socket)?;
        Ok(world.connection(peer).to_peer)
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
        let socket = world.open(datagram_socket(address.group, receive_buffer_bytes));
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

    fn renew(&mut self, socket: SocketId, address: &GroupAddress) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let group = world.group(socket);
        assert_eq!(group.address, address.group);
        assert!(group.watched, "renewed while it is read by the clock");
        world.note("renew");
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
        let mut senders = Vec::new();
        receive(&mut world, socket, batch, run, layout, &mut senders)
    }

    fn random(&mut self) -> u64 {
        self.0.borrow_mut().rng.count(0, u32::MAX as usize) as u64
    }

    fn bind_pair(
        &mut self,
        address: SocketAddr,
        _: Option<&str>,
        bytes: usize,
    ) -> io::Result<[SocketId; 2]> {
        let world = &mut *self.0.borrow_mut();
        let above = SocketAddr::new(address.ip(), address.port() + 1);
        let is_taken = world.sockets.iter().any(|(_, socket)| {
            matches!(socket, Socket::Group(group) if group.address == address || group.address == above)
        });
        if is_taken || world.rng.one_in(4) {
            world.note("port taken");
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let charge_max = world.receive_buffer_bytes.min(2 * bytes);
        Ok([address, above].map(|address| world.open(datagram_socket(address, charge_max))))
    }

    fn send_to(&mut self, socket: SocketId, to: SocketAddr, datagram: &[u8]) -> io::Result<Io<()>> {
        let world = &mut *self.0.borrow_mut();
        let from = world.group(socket).address;
        if world.rng.one_in(10) {
            world.note("datagram not taken");
            return Ok(Io::Blocked);
        }
        world.progress = true;
        if to == SocketAddr::from(STUN_ADDRESS) {
            if let Some(answer) = world.stun.answer(datagram, from) {
                world.deliver_from(to, from, &answer);
                world.note("address told");
            }
        } else {
            let (play, is_control) = Play::at_media(to).expect("a media port");
            let note = world.plays[play].note_datagram(is_control, datagram);
            world.note(note);
        }
        Ok(Io::Done(()))
    }

    fn receive_from(
        &mut self,
        socket: SocketId,
        batch: &mut Batch,
        run: &mut [u8],
        layout: Layout,
    ) -> io::Result<Io<usize>> {
        let mut world = self.0.borrow_mut();
        let mut senders = Vec::new();
        let received = receive(&mut world, socket, batch, run, layout, &mut senders);
        batch.name_senders(senders);
        received
    }

    fn read_file(&mut self, _: ReadId, _: PathBuf, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn resolve(&mut self, lookup: LookupId, names: Vec<String>) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if names.iter().any(|name| name == "busy") {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if names.iter().any(|name| name == "never") {
            return Ok(());
        }
        let site = names
            .first()
            .and_then(|name| name.strip_prefix("site-"))
            .map(|number| number.parse::<usize>().expect("a site"));
        let at = match site.map(|number| world.sites[number].lookup) {
            Some(Some(Lookup::Answers(after))) => world.now + after,
            // Too late, if at all.
            Some(Some(Lookup::Never)) if world.rng.one_in(2) => return Ok(()),
            Some(Some(Lookup::Never)) => world.now + Duration::from_millis(5500),
            _ => world.now + world.rng.millis(1, if site.is_some() { 900 } else { 6000 }),
        };
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
            Socket::Listener { backlog, .. } => {
                // There may be another one already.
                world.listener.take_if(|current| *current == socket);
                world.turn_away(backlog);
            }
            Socket::Group(group) if !group.address.ip().is_multicast() => {}
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
                connection.router_reset =
                    !connection.to_router.is_empty() && !connection.router_breaks;
                world.wake(peer, now);
            }
        }
        if world.faults.late_events && world.rng.one_in(3) {
            world.late.push(socket);
        }
    }
}

/// The router's end of a connection to a server.
fn dial(peer: usize, window_bytes: usize, world: &mut World) -> SocketId {
    let socket = world.open(Socket::Stream { peer });
    let mut connection = Connection::new(false, window_bytes, None);
    connection.socket = Some(socket);
    world.connections[peer] = Some(connection);
    socket
}

fn datagram_socket(address: SocketAddr, charge_max: usize) -> Socket {
    Socket::Group(Group {
        address,
        queue: VecDeque::new(),
        charge: 0,
        charge_max,
        watched: false,
        edge_due: false,
        arrived: 0,
        emptied_in: None,
        in_vain: 0,
    })
}

fn receive(
    world: &mut World,
    socket: SocketId,
    batch: &mut Batch,
    run: &mut [u8],
    layout: Layout,
    senders: &mut Vec<SocketAddr>,
) -> io::Result<Io<usize>> {
    let polls = world.polls;
    let group = world.group(socket);
    // A pair is asked once more when its session ends.
    assert!(
        group.emptied_in != Some(polls) || !group.address.ip().is_multicast(),
        "asked again after a batch that was not full"
    );
    let wanted = (run.len() / layout.body).min(crate::sys::udp::BATCH_MAX);
    let Group { queue, charge, .. } = group;
    let count = batch.fill(run, layout, || {
        let (from, datagram) = queue.pop_front()?;
        *charge -= datagram.len() + DATAGRAM_CHARGE_BYTES;
        senders.push(from);
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
