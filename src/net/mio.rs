//! `MioNet`: sockets over mio's poll.

use std::io::{self, IoSlice, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, SockRef, Socket as OsSocket, TcpKeepalive, Type};

use super::reader::Reader;
use super::resolver::Resolver;
use super::shortage::Shortage;
use super::tls::TlsConfig;
use super::{
    Accepted, Batch, Edge, Event, GroupAddress, Io, Joined, Layout, LookupId, Membership, Net,
    Peer, PipeId, ReadId, Socket, SocketId, Stage, nonblocking, rejoin,
};
use crate::arena::{Arena, Id};
use crate::limits::{EVENTS_PER_TICK, KEEPALIVE, PIPE_BYTES};
use crate::pool::Packet;
use crate::sys::{self, pipe::Pipe, signal::Signal, signal::Signals};

/// A token is `generation << INDEX_BITS | index`: a million sockets, and 12 bits of generation where a word
/// has 32.
const INDEX_BITS: u32 = 20;
const GENERATION_BITS: u32 = if usize::BITS > 32 { 32 } else { 12 };
const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const SUPERVISOR: Token = Token(usize::MAX - 2);
const BELL: Token = Token(usize::MAX - 3);

/// The real network.
pub struct MioNet {
    poll: Poll,
    events: Events,
    sockets: Arena<OwnedFd>,
    /// Listeners that other processes accept from too; at most as many as there are listeners.
    shared_listeners: Vec<SharedListener>,
    pipes: Arena<Pipe>,
    shortage: Shortage,
    resolver: Resolver,
    reader: Reader,
    signals: Option<Signals>,
    stopped_by: Option<Signal>,
    tls: TlsConfig,
}

/// A Unix socket, which all workers accept from: each connection is to wake one of them.
#[derive(Debug)]
struct SharedListener {
    id: SocketId,
    /// It has brought a connection, so that the others are to be asked first from now on.
    had_its_turn: bool,
}

impl MioNet {
    /// A network without sockets and without signals, whose TLS connections are made by `tls`.
    ///
    /// # Errors
    ///
    /// When the system gives no poll.
    pub fn new(tls: TlsConfig) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TICK),
            sockets: Arena::with_generation_bits(GENERATION_BITS),
            shared_listeners: Vec::new(),
            pipes: Arena::new(),
            shortage: Shortage::default(),
            resolver: Resolver::new(Arc::clone(&waker)),
            reader: Reader::new(waker),
            signals: None,
            stopped_by: None,
            tls,
        })
    }

    /// Delivers `wanted` as [`Event::Stop`] from now on; the process ignores `ignored`.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn install_signals(&mut self, wanted: &[Signal], ignored: &[Signal]) -> io::Result<()> {
        let signals = Signals::install(wanted, ignored)?;
        self.poll.registry().register(
            &mut SourceFd(&signals.as_raw_fd()),
            SIGNALS,
            Interest::READABLE,
        )?;
        self.signals = Some(signals);
        Ok(())
    }

    /// The signal behind the last [`Event::Stop`].
    pub fn stopped_by(&self) -> Option<Signal> {
        self.stopped_by
    }

    /// Reports with [`Event::Called`] when there is something new to be received from `channel`, which must stay
    /// open; what there is must then be received to the last message.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn watch_supervisor(&mut self, channel: BorrowedFd<'_>) -> io::Result<()> {
        let fd = channel.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), SUPERVISOR, Interest::READABLE)
    }

    /// Reports every ring of `bell`, which must stay open, as [`Event::Rung`].
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn watch_bell(&mut self, bell: BorrowedFd<'_>) -> io::Result<()> {
        self.poll
            .registry()
            .register(&mut SourceFd(&bell.as_raw_fd()), BELL, Interest::READABLE)
    }

    pub(super) fn fd(&self, socket: SocketId) -> io::Result<&OwnedFd> {
        self.sockets
            .get(key(socket))
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Makes a call about `socket`. Where the kernel lacks memory for it, that is [`Io::Blocked`], and an edge comes soon.
    fn attempt<T>(
        &mut self,
        socket: SocketId,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<Io<T>> {
        let fd = self.fd(socket)?.as_fd();
        let result = nonblocking(|| call(fd));
        self.note_shortage(socket, result)
    }

    fn note_shortage<T>(
        &mut self,
        socket: SocketId,
        result: io::Result<Io<T>>,
    ) -> io::Result<Io<T>> {
        match result {
            Err(error) if Shortage::is(&error) => {
                self.shortage.note(socket);
                Ok(Io::Blocked)
            }
            result => result,
        }
    }

    fn pipe(&self, pipe: PipeId) -> io::Result<&Pipe> {
        self.pipes
            .get(Id::from_parts(pipe.index(), pipe.generation()))
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Keeps a stream or listener and registers both directions, once.
    pub(super) fn add_polled(&mut self, socket: OsSocket) -> io::Result<SocketId> {
        let id = self.add(socket);
        match self.register(id, Interest::READABLE | Interest::WRITABLE) {
            Ok(()) => Ok(id),
            Err(error) => {
                self.close(id);
                Err(error)
            }
        }
    }

    fn add(&mut self, socket: OsSocket) -> SocketId {
        let id = self.sockets.insert(socket.into());
        Id::from_parts(id.index(), id.generation())
    }

    /// Takes its place at the end of the line of those who are woken for a connection. Who waits already is reported.
    fn queue_up(&self, listener: SocketId) -> io::Result<()> {
        // mio gives what was put in as the event's token, to which a test in `sys::epoll` holds it.
        let data = token(listener)?.0 as u64;
        let (epoll, fd) = (self.poll.registry().as_fd(), self.fd(listener)?.as_fd());
        // It may have failed to be put in the last time.
        let _ = sys::epoll::remove(epoll, fd);
        sys::epoll::add_exclusive(epoll, fd, data)
    }

    fn shared_listener(&mut self, id: SocketId) -> Option<&mut SharedListener> {
        self.shared_listeners.iter_mut().find(|one| one.id == id)
    }

    /// Nobody waits at `listener` now. After a connection it is somebody else's turn.
    fn pass_the_turn(&mut self, listener: SocketId) -> io::Result<()> {
        let had_its_turn = self
            .shared_listener(listener)
            .is_some_and(|shared| shared.had_its_turn);
        if had_its_turn {
            self.queue_up(listener)?;
            self.note_turn(listener, false);
        }
        Ok(())
    }

    fn note_turn(&mut self, listener: SocketId, had_its_turn: bool) {
        if let Some(shared) = self.shared_listener(listener) {
            shared.had_its_turn = had_its_turn;
        }
    }

    fn register(&mut self, id: SocketId, interest: Interest) -> io::Result<()> {
        let token = token(id)?;
        let fd = self.fd(id)?.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), token, interest)
    }
}

fn token(id: SocketId) -> io::Result<Token> {
    if id.index() >> INDEX_BITS != 0 {
        return Err(io::Error::other("more sockets than poll tokens"));
    }
    Ok(Token(
        (id.generation() as usize) << INDEX_BITS | id.index() as usize,
    ))
}

fn key(id: SocketId) -> Id<OwnedFd> {
    Id::from_parts(id.index(), id.generation())
}

fn socket_id(token: Token) -> SocketId {
    Id::<Socket>::from_parts(
        (token.0 & ((1 << INDEX_BITS) - 1)) as u32,
        (token.0 >> INDEX_BITS) as u32,
    )
}

pub(super) fn stream_socket(address: SocketAddr) -> io::Result<OsSocket> {
    // `Type::STREAM` of socket2 is close-on-exec already.
    let socket = OsSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket for datagrams from and to anybody, bound to `address`.
fn datagram_socket(
    address: SocketAddr,
    interface: Option<&str>,
    receive_buffer_bytes: usize,
) -> io::Result<OsSocket> {
    let socket = OsSocket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    bind_interface(&socket, interface)?;
    socket.bind(&address.into())?;
    sys::udp::set_receive_buffer(socket.as_fd(), receive_buffer_bytes)?;
    Ok(socket)
}

/// A socket that has joined a group.
struct JoinedGroup {
    socket: OsSocket,
    receive_buffer_bytes: usize,
    /// Why it is not bound to the interface that was named.
    unbound: Option<io::Error>,
}

fn join_group(address: &GroupAddress, receive_buffer_bytes: usize) -> io::Result<JoinedGroup> {
    let membership = membership(address)?;
    if !membership.group.is_multicast() {
        let error = "the address is not a multicast group";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    let socket = OsSocket::new(
        Domain::for_address(address.group),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    let receive_buffer_bytes = sys::udp::set_receive_buffer(socket.as_fd(), receive_buffer_bytes)?;
    socket.set_reuse_address(true)?;
    let interface = address.interface.as_ref();
    let unbound = interface.and_then(|name| socket.bind_device(Some(name.as_bytes())).err());
    receive_only_own_groups(&socket, membership.group)?;
    // Bound to the group and not to the wildcard address, so that only this group's datagrams arrive.
    socket.bind(&bind_address(address, membership.interface).into())?;
    sys::udp::join(socket.as_fd(), &membership)
        .map_err(|error| explain_refusal(error, &membership))?;
    Ok(JoinedGroup {
        socket,
        receive_buffer_bytes,
        unbound,
    })
}

/// Shuts out what only other sockets of this host have joined: by default Linux gives a socket any datagram for the
/// address it is bound to that has come for anybody, until the socket joins and from interfaces it has not joined on.
fn receive_only_own_groups(socket: &OsSocket, group: IpAddr) -> io::Result<()> {
    if group.is_ipv4() {
        return socket.set_multicast_all_v4(false);
    }
    match socket.set_multicast_all_v6(false) {
        // Before Linux 4.20 there is no such option; there the groups of all sockets are received.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        result => result,
    }
}

/// Never over another network than the one that was asked for (http-proxy spec §21.33).
fn bind_interface(socket: &OsSocket, interface: Option<&str>) -> io::Result<()> {
    let Some(name) = interface else { return Ok(()) };
    let bound = socket.bind_device(Some(name.as_bytes()));
    bound.map_err(|error| {
        let text = format!("binding to interface {name}: {error}");
        io::Error::new(error.kind(), text)
    })
}

pub(super) fn keepalive() -> TcpKeepalive {
    let (idle, interval, probes) = KEEPALIVE;
    TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(probes)
}

impl Net for MioNet {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn wall_time(&self) -> Duration {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default()
    }

    fn random(&mut self) -> u64 {
        sys::host::random()
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        sys::host::addresses().unwrap_or_default()
    }

    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = self.shortage.timeout(timeout);
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        self.shortage.report(events);
        for event in &self.events {
            match event.token() {
                BELL => events.push(Event::Rung),
                WAKER => {
                    self.resolver.take_answers(events);
                    self.reader.take_answers(events);
                }
                SIGNALS => {
                    while let Some(stop) = self.signals.as_mut().and_then(Signals::take) {
                        self.stopped_by = Some(stop);
                        events.push(Event::Stop);
                    }
                }
                SUPERVISOR => events.push(Event::Called),
                token => {
                    // A hang-up or an error shows in whichever call comes next, so it counts as both edges.
                    let failed =
                        event.is_error() || (event.is_read_closed() && event.is_write_closed());
                    let edge = Edge {
                        readable: event.is_readable() || event.is_read_closed() || failed,
                        writable: event.is_writable() || event.is_write_closed() || failed,
                        ended: event.is_read_closed() || failed,
                    };
                    let socket = socket_id(token);
                    events.push(Event::Ready { socket, edge });
                }
            }
        }
        Ok(())
    }

    fn adopt_listener(&mut self, listener: OwnedFd) -> io::Result<SocketId> {
        let listener = OsSocket::from(listener);
        if !listener.local_addr()?.is_unix() {
            return self.add_polled(listener);
        }
        let id = self.add(listener);
        if let Err(error) = self.queue_up(id) {
            self.close(id);
            return Err(error);
        }
        self.shared_listeners.push(SharedListener {
            id,
            had_its_turn: false,
        });
        Ok(id)
    }

    fn close_listener(&mut self, listener: SocketId) {
        // Where others hold the socket too, closing it here would not take it out of the poll, and an edge that came
        // here would be one that does not come to them. That it is in the poll is certain.
        let _ = self.unwatch(listener);
        self.shared_listeners.retain(|shared| shared.id != listener);
        self.close(listener);
    }

    fn local_address(&self, socket: SocketId) -> io::Result<SocketAddr> {
        let address = SockRef::from(self.fd(socket)?).local_addr()?;
        address
            .as_socket()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn accept(&mut self, listener: SocketId) -> io::Result<Io<Accepted>> {
        let fd = self.fd(listener)?;
        let (socket, peer) = match nonblocking(|| SockRef::from(fd).accept())? {
            Io::Done(accepted) => accepted,
            Io::Blocked => {
                self.pass_the_turn(listener)?;
                return Ok(Io::Blocked);
            }
        };
        self.note_turn(listener, true);
        socket.set_nonblocking(true)?;
        let peer = match peer.as_socket() {
            Some(address) => {
                // Each of these only improves matters; a connection without them still works.
                let _ = socket.set_tcp_nodelay(true);
                let _ = socket.set_tcp_keepalive(&keepalive());
                Peer::Tcp(address)
            }
            None => Peer::Unix,
        };
        let socket = self.add_polled(socket)?;
        Ok(Io::Done(Accepted { socket, peer }))
    }

    fn connect(&mut self, address: SocketAddr, interface: Option<&str>) -> io::Result<SocketId> {
        let socket = stream_socket(address)?;
        bind_interface(&socket, interface)?;
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&keepalive());
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => self.add_polled(socket),
        }
    }

    fn is_connected(&self, socket: SocketId) -> io::Result<bool> {
        let socket = SockRef::from(self.fd(socket)?);
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, socket: SocketId, bytes: &mut [u8]) -> io::Result<Io<usize>> {
        self.attempt(socket, |fd| (&*SockRef::from(&fd)).read(bytes))
    }

    fn write(&mut self, socket: SocketId, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>> {
        self.attempt(socket, |fd| {
            let socket = SockRef::from(&fd);
            match parts {
                [part] => socket.send_with_flags(part, libc::MSG_NOSIGNAL),
                _ => socket.send_vectored_with_flags(parts, libc::MSG_NOSIGNAL),
            }
        })
    }

    fn write_pages(&mut self, socket: SocketId, view: &Packet) -> io::Result<Io<usize>> {
        let (segment, range) = view.segment().ok_or(io::ErrorKind::InvalidInput)?;
        self.attempt(socket, |fd| segment.send(fd, range.start, range.len()))
    }

    fn secure(&mut self, host: &str) -> io::Result<Box<dyn Stage>> {
        let stage = self.tls.connect(host).map_err(io::Error::other)?;
        Ok(Box::new(stage))
    }

    fn open_pipe(&mut self) -> io::Result<PipeId> {
        let id = self.pipes.insert(Pipe::new(PIPE_BYTES)?);
        Ok(Id::from_parts(id.index(), id.generation()))
    }

    fn fill_pipe(
        &mut self,
        pipe: PipeId,
        from: SocketId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>> {
        let pipe = self.pipe(pipe)?;
        let result = nonblocking(|| pipe.fill(self.fd(from)?.as_fd(), bytes_max));
        self.note_shortage(from, result)
    }

    fn drain_pipe(
        &mut self,
        pipe: PipeId,
        to: SocketId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>> {
        let pipe = self.pipe(pipe)?;
        let result = nonblocking(|| pipe.drain(self.fd(to)?.as_fd(), bytes_max));
        self.note_shortage(to, result)
    }

    fn close_pipe(&mut self, pipe: PipeId) {
        self.pipes
            .remove(Id::from_parts(pipe.index(), pipe.generation()));
    }

    fn unread_bytes(&self, socket: SocketId) -> io::Result<usize> {
        sys::tcp::unread_bytes(self.fd(socket)?.as_fd())
    }

    fn set_receive_low_water(&mut self, socket: SocketId, bytes: usize) -> io::Result<()> {
        sys::tcp::set_receive_low_water(self.fd(socket)?.as_fd(), bytes)
    }

    fn finish(&mut self, socket: SocketId) {
        if let Ok(fd) = self.fd(socket) {
            // The peer may be gone already, which is as good.
            let _ = SockRef::from(fd).shutdown(std::net::Shutdown::Write);
        }
    }

    fn break_at_close(&mut self, socket: SocketId) {
        if let Ok(fd) = self.fd(socket) {
            // A peer that is gone sees nothing either way.
            let _ = SockRef::from(fd).set_linger(Some(Duration::ZERO));
        }
    }

    fn unacknowledged_bytes(&self, socket: SocketId) -> io::Result<usize> {
        sys::tcp::unacknowledged_bytes(self.fd(socket)?.as_fd())
    }

    fn unanswered(&self, socket: SocketId) -> io::Result<u8> {
        sys::tcp::unanswered(self.fd(socket)?.as_fd())
    }

    fn join(&mut self, address: &GroupAddress, receive_buffer_bytes: usize) -> io::Result<Joined> {
        let group = join_group(address, receive_buffer_bytes)?;
        if let (Some(interface), Some(error)) = (&address.interface, group.unbound) {
            log::error!("cannot bind to interface {interface}: {error}; the join alone selects it");
        }
        Ok(Joined {
            socket: self.add(group.socket),
            receive_buffer_bytes: group.receive_buffer_bytes,
        })
    }

    fn bind_pair(
        &mut self,
        address: SocketAddr,
        interface: Option<&str>,
        receive_buffer_bytes: usize,
    ) -> io::Result<[SocketId; 2]> {
        let mut above = address;
        above.set_port(
            address
                .port()
                .checked_add(1)
                .ok_or(io::ErrorKind::AddrInUse)?,
        );
        let first = datagram_socket(address, interface, receive_buffer_bytes)?;
        let second = datagram_socket(above, interface, receive_buffer_bytes)?;
        Ok([self.add(first), self.add(second)])
    }

    fn send_to(
        &mut self,
        socket: SocketId,
        address: SocketAddr,
        datagram: &[u8],
    ) -> io::Result<Io<()>> {
        self.attempt(socket, |fd| {
            let socket = SockRef::from(&fd);
            socket.send_to(datagram, &address.into()).map(drop)
        })
    }

    fn set_receive_buffer(&mut self, socket: SocketId, bytes: usize) -> io::Result<usize> {
        sys::udp::set_receive_buffer(self.fd(socket)?.as_fd(), bytes)
    }

    fn rejoin(&mut self, socket: SocketId, address: &GroupAddress) -> io::Result<()> {
        rejoin::rejoin(self.fd(socket)?.as_fd(), &membership(address)?)
    }

    fn renew(&mut self, socket: SocketId, address: &GroupAddress) -> io::Result<()> {
        // The kernel reports twice of what it was asked for.
        let receive_buffer_bytes = SockRef::from(self.fd(socket)?).recv_buffer_size()? / 2;
        let fresh: OwnedFd = join_group(address, receive_buffer_bytes)?.socket.into();
        self.poll.registry().register(
            &mut SourceFd(&fresh.as_raw_fd()),
            token(socket)?,
            Interest::READABLE,
        )?;
        if let Some(place) = self.sockets.get_mut(key(socket)) {
            // Closing the old one takes it out of the poll.
            *place = fresh;
        }
        Ok(())
    }

    fn watch(&mut self, socket: SocketId) -> io::Result<()> {
        self.register(socket, Interest::READABLE)
    }

    fn unwatch(&mut self, socket: SocketId) -> io::Result<()> {
        let fd = self.fd(socket)?.as_raw_fd();
        self.poll.registry().deregister(&mut SourceFd(&fd))
    }

    fn receive(
        &mut self,
        socket: SocketId,
        batch: &mut Batch,
        run: &mut [u8],
        layout: Layout,
    ) -> io::Result<Io<usize>> {
        self.attempt(socket, |fd| batch.receive(fd, run, layout))
    }

    fn receive_from(
        &mut self,
        socket: SocketId,
        batch: &mut Batch,
        run: &mut [u8],
        layout: Layout,
    ) -> io::Result<Io<usize>> {
        self.attempt(socket, |fd| batch.receive_from(fd, run, layout))
    }

    fn resolve(&mut self, lookup: LookupId, names: Vec<String>) -> io::Result<()> {
        self.resolver.ask(lookup, names)
    }

    fn read_file(&mut self, read: ReadId, path: PathBuf, bytes_max: usize) -> io::Result<()> {
        self.reader.read(read, path, bytes_max)
    }

    fn trim_heap(&mut self) {
        sys::process::trim_heap();
    }

    fn release_clean_pages(&mut self) {
        sys::process::release_clean_pages();
    }

    fn close(&mut self, socket: SocketId) {
        // Closing the only descriptor of a socket takes it out of the poll too.
        self.sockets.remove(key(socket));
    }
}

/// Which membership `address` asks for (multicast spec §3.3).
fn membership(address: &GroupAddress) -> io::Result<Membership> {
    let interface = match (&address.interface, address.group) {
        (Some(name), _) => sys::udp::interface_index(name).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no interface {name}"),
            )
        })?,
        (None, SocketAddr::V6(group)) => group.scope_id(),
        (None, SocketAddr::V4(_)) => 0,
    };
    Ok(Membership {
        group: address.group.ip(),
        source: address.source,
        interface,
    })
}

/// Says what "no such device" means where the choice was left to the routing table.
fn explain_refusal(error: io::Error, membership: &Membership) -> io::Error {
    if error.raw_os_error() != Some(libc::ENODEV) || membership.interface != 0 {
        return error;
    }
    io::Error::other("no route leads to the group, and no interface is named (upstream-interface)")
}

/// A link-local IPv6 group can only be bound with its interface.
fn bind_address(address: &GroupAddress, interface: u32) -> SocketAddr {
    match (address.group, address.group.ip()) {
        (SocketAddr::V6(mut group), IpAddr::V6(_)) => {
            group.set_scope_id(interface);
            group.into()
        }
        (group, _) => group,
    }
}
