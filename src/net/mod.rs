//! The edge to the operating system: `trait Net`, behind which sockets, the clock and name look-ups live.
//!
//! `MioNet` is the real one, `SimNet` (tests) the simulated one. `WouldBlock` never leaves this module: it is
//! the value [`Io::Blocked`]. Interests are registered once, edge-triggered, in both directions; only a live
//! datagram source leaves the poll for a while, because it is read by the clock ([`Net::unwatch`]). A [`Stage`]
//! between a socket and its user transforms the bytes; TLS is one ([`tls`]).

pub mod clock;
mod listener;
mod measure;
pub mod mio;
mod peer;
mod reader;
mod rejoin;
mod resolver;
mod shortage;
mod stage;
pub mod tls;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use self::listener::{Listener, Place};
pub use self::measure::{TcpInfo, Tuning};
pub use self::peer::Peer;
pub use self::stage::{Stage, is_unannounced_end};
use crate::arena::Id;
use crate::pool::Packet;
pub use crate::sys::udp::{Batch, Datagram, Layout, Membership};

/// What a [`SocketId`] names; has no value of its own.
#[derive(Debug)]
pub enum Socket {}
/// Names an open socket of a [`Net`].
pub type SocketId = Id<Socket>;

/// What a [`PipeId`] names; has no value of its own.
#[derive(Debug)]
pub enum Pipe {}
/// Names a pipe of the kernel, through which bytes pass from one stream to another unseen.
pub type PipeId = Id<Pipe>;

/// Names a look-up under way; given by whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LookupId(pub u64);

/// Names a file that is being read; given by whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadId(pub u64);

/// Result of an operation that may find nothing to do yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io<T> {
    /// It was done.
    Done(T),
    /// It would have had to wait; an edge will tell when to try again.
    Blocked,
}

/// Turns `WouldBlock` into [`Io::Blocked`] and repeats what a signal interrupted.
///
/// # Errors
///
/// Every other error as it is.
pub fn nonblocking<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<Io<T>> {
    loop {
        return match operation() {
            Ok(value) => Ok(Io::Done(value)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Ok(Io::Blocked),
                io::ErrorKind::Interrupted => continue,
                _ => Err(error),
            },
        };
    }
}

/// Something that happened, as [`Net::poll`] reports it.
#[derive(Debug)]
pub enum Event {
    /// A socket has a new edge.
    Ready {
        /// Which.
        socket: SocketId,
        /// What may be done now.
        edge: Edge,
    },
    /// A name look-up ended: for each name its addresses, at least one, or what went wrong.
    Resolved {
        /// As given to [`Net::resolve`].
        lookup: LookupId,
        /// One list per name asked for.
        result: Result<Vec<Vec<IpAddr>>, String>,
    },
    /// A file was read whole, or why it was not.
    FileRead {
        /// As given to [`Net::read_file`].
        read: ReadId,
        /// Its bytes.
        result: Result<Vec<u8>, String>,
    },
    /// The program is asked to stop.
    Stop,
    /// The supervisor has said something, or is gone.
    Called,
    /// The bell has rung that was to be watched.
    Rung,
}

/// What the kernel reports of a socket once, when it changes. Hang-ups and errors count as readable and writable
/// too; the next call says what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// It may be read, or accepts.
    pub readable: bool,
    /// It may be written.
    pub writable: bool,
    /// The peer has finished or the connection has failed; behind what waits to be read there is an end.
    pub ended: bool,
}

/// How to receive a group of datagrams.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupAddress {
    /// Address and port; the scope id of an IPv6 group names an interface if `interface` does not.
    pub group: SocketAddr,
    /// The only source to accept.
    pub source: Option<IpAddr>,
    /// Name of the interface to join on.
    pub interface: Option<String>,
}

/// A joined socket.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    /// The socket.
    pub socket: SocketId,
    /// Bytes the kernel lets wait in it, by its own way of counting.
    pub receive_buffer_bytes: usize,
}

/// An accepted connection.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    /// The connection.
    pub socket: SocketId,
    /// Who has connected.
    pub peer: Peer,
}

/// The operating system, as far as the router needs it.
pub trait Net {
    /// The clock, monotonic. The router reads it once per tick.
    fn now(&self) -> Instant;

    /// The wall clock, since 1970 (UTC).
    fn wall_time(&self) -> Duration;

    /// The same in whole seconds.
    fn unix_time(&self) -> i64 {
        i64::try_from(self.wall_time().as_secs()).unwrap_or(i64::MAX)
    }

    /// A number that nobody can foresee.
    fn random(&mut self) -> u64;

    /// The addresses of this host; empty if they cannot be told.
    fn own_addresses(&self) -> Vec<IpAddr>;

    /// Waits for events, at most `timeout`, or for ever, and appends them to `events`.
    ///
    /// # Errors
    ///
    /// Only when waiting itself is impossible.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Takes over a listening socket, which others may hold too. Connections that wait already make an edge.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn adopt_listener(&mut self, listener: OwnedFd) -> io::Result<SocketId>;

    /// Gives a listening socket up and forgets its id. It goes on listening if others hold it.
    fn close_listener(&mut self, listener: SocketId);

    /// This host's address of a TCP connection.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a Unix socket, otherwise what the system reports.
    fn local_address(&self, socket: SocketId) -> io::Result<SocketAddr>;

    /// Takes a waiting connection.
    ///
    /// # Errors
    ///
    /// What the system reports, for instance that descriptors have run out.
    fn accept(&mut self, listener: SocketId) -> io::Result<Io<Accepted>>;

    /// Starts a TCP connection, through `interface` if one is named; a writable edge follows when it is made or
    /// has failed, and [`Net::is_connected`] tells which.
    ///
    /// # Errors
    ///
    /// What the system reports at once, for instance that there is no such interface.
    fn connect(&mut self, address: SocketAddr, interface: Option<&str>) -> io::Result<SocketId>;

    /// Whether a connection that was started has been made.
    ///
    /// # Errors
    ///
    /// Why it could not be made.
    fn is_connected(&self, socket: SocketId) -> io::Result<bool>;

    /// A stage that secures a new connection to `host` (TLS), whose certificate must be `host`'s.
    ///
    /// # Errors
    ///
    /// `Unsupported` in a build without TLS, otherwise what is wrong with the configuration or the name.
    fn secure(&mut self, host: &str) -> io::Result<Box<dyn Stage>>;

    /// Reads from a stream; `Done(0)` is its end. When less was read than `bytes` holds, nothing else waits, and
    /// whatever comes later makes an edge (`epoll(7)`), unless an end was reported before.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn read(&mut self, socket: SocketId, bytes: &mut [u8]) -> io::Result<Io<usize>>;

    /// Writes to a stream as much as it takes now.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn write(&mut self, socket: SocketId, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>>;

    /// As [`Net::write`], for a view of shared pages.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn write_pages(&mut self, socket: SocketId, view: &Packet) -> io::Result<Io<usize>>;

    /// Opens a pipe.
    ///
    /// # Errors
    ///
    /// `Unsupported` where bytes cannot pass from stream to stream inside the kernel, otherwise what the system
    /// reports.
    fn open_pipe(&mut self) -> io::Result<PipeId>;

    /// Moves at most `bytes_max` bytes from a stream into a pipe; `Done(0)` is the stream's end. `Blocked` says
    /// that the stream is empty or the pipe full.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn fill_pipe(
        &mut self,
        pipe: PipeId,
        from: SocketId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>>;

    /// Moves at most `bytes_max` bytes from a pipe to a stream. The pipe must not be empty, so that `Blocked`
    /// says that the stream takes nothing.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn drain_pipe(&mut self, pipe: PipeId, to: SocketId, bytes_max: usize)
    -> io::Result<Io<usize>>;

    /// Closes a pipe and forgets its id, with whatever is in it.
    fn close_pipe(&mut self, pipe: PipeId);

    /// How many bytes wait to be read from a stream.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn unread_bytes(&self, socket: SocketId) -> io::Result<usize>;

    /// From now on only so many bytes, or the end, make a readable edge (`SO_RCVLOWAT`, `socket(7)`). What waits
    /// already and is enough makes one at once.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn set_receive_low_water(&mut self, socket: SocketId, bytes: usize) -> io::Result<()>;

    /// Ends the sending direction of a stream.
    fn finish(&mut self, socket: SocketId);

    /// Makes [`Net::close`] break a stream, so that the peer sees an error in place of an end. What the peer's kernel
    /// has not received is lost then.
    fn break_at_close(&mut self, socket: SocketId);

    /// How many of the bytes written to a stream its peer's kernel has not received.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn unacknowledged_bytes(&self, socket: SocketId) -> io::Result<usize>;

    /// How often in a row the peer of a stream has left the kernel without an answer.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn unanswered(&self, socket: SocketId) -> io::Result<u8>;

    /// Opens a datagram socket and joins a group. It is not in the poll yet.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown interface, otherwise what the system reports.
    fn join(&mut self, address: &GroupAddress, receive_buffer_bytes: usize) -> io::Result<Joined>;

    /// Opens two datagram sockets for one peer, through `interface` if one is named: the first on `address`, the
    /// second on the port above. They are not in the poll yet.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if either port is taken; otherwise what the system reports.
    fn bind_pair(
        &mut self,
        address: SocketAddr,
        interface: Option<&str>,
        receive_buffer_bytes: usize,
    ) -> io::Result<[SocketId; 2]>;

    /// Sends one datagram; `Blocked` when the kernel has no room for it.
    ///
    /// # Errors
    ///
    /// What the system reports, for instance that there is no way to the address.
    fn send_to(
        &mut self,
        socket: SocketId,
        address: SocketAddr,
        datagram: &[u8],
    ) -> io::Result<Io<()>>;

    /// Asks for another receive buffer and returns what the kernel accounts for it.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn set_receive_buffer(&mut self, socket: SocketId, bytes: usize) -> io::Result<usize>;

    /// Tells the network again that the group is wanted, without leaving it.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn rejoin(&mut self, socket: SocketId, address: &GroupAddress) -> io::Result<()>;

    /// Joins the group of a silent socket, which is in the poll, with a fresh one in its place and under its id. An interface
    /// that was removed has taken the memberships on it along, even if one of the same name is there again; and
    /// the routing table may choose another one by now. Where nothing has changed the network notices nothing.
    ///
    /// # Errors
    ///
    /// As [`Net::join`]; the socket stays as it was then.
    fn renew(&mut self, socket: SocketId, address: &GroupAddress) -> io::Result<()>;

    /// Puts a datagram socket into the poll. What waits in it already makes an edge.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn watch(&mut self, socket: SocketId) -> io::Result<()>;

    /// Takes a datagram socket out of the poll: from now on it is read by the clock.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn unwatch(&mut self, socket: SocketId) -> io::Result<()>;

    /// Receives datagrams into `run`, as [`Batch::receive`] does. A batch that is not full has emptied the
    /// socket.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn receive(
        &mut self,
        socket: SocketId,
        batch: &mut Batch,
        run: &mut [u8],
        layout: Layout,
    ) -> io::Result<Io<usize>>;

    /// As [`Net::receive`], with the senders of the datagrams ([`Batch::sender`]).
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn receive_from(
        &mut self,
        socket: SocketId,
        batch: &mut Batch,
        run: &mut [u8],
        layout: Layout,
    ) -> io::Result<Io<usize>>;

    /// Starts looking up `names`; an [`Event::Resolved`] follows.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` when too many look-ups are waiting.
    fn resolve(&mut self, lookup: LookupId, names: Vec<String>) -> io::Result<()>;

    /// Starts reading a regular file of at most `bytes_max` bytes; an [`Event::FileRead`] follows, unless the file
    /// system never answers.
    ///
    /// # Errors
    ///
    /// What the system reports about the thread that it takes.
    fn read_file(&mut self, read: ReadId, path: PathBuf, bytes_max: usize) -> io::Result<()>;

    /// Much was freed: the allocator may give it back to the system.
    fn trim_heap(&mut self) {}

    /// A quiet time begins: code that only start-up or a stream needed may be unmapped.
    fn release_clean_pages(&mut self) {}

    /// Closes a socket and forgets its id.
    fn close(&mut self, socket: SocketId);
}

/// What bytes can be written to: a socket, or a connection with a stage in front of its socket.
pub trait Writer {
    /// Whether writing may be possible.
    fn is_writable(&self) -> bool;

    /// Writes as much as is taken now.
    ///
    /// # Errors
    ///
    /// As [`Net::write`] or [`Stage::write`].
    fn write(&mut self, net: &mut dyn Net, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>>;

    /// As [`Writer::write`], for a view of shared pages.
    ///
    /// # Errors
    ///
    /// As [`Net::write_pages`].
    fn write_pages(&mut self, net: &mut dyn Net, view: &Packet) -> io::Result<Io<usize>>;

    /// As [`Writer::write`], from a pipe that is not empty.
    ///
    /// # Errors
    ///
    /// As [`Net::drain_pipe`].
    fn write_piped(
        &mut self,
        net: &mut dyn Net,
        pipe: PipeId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>>;
}

/// A socket as its entity sees it: with the readiness that past edges have left behind.
///
/// A flag is set by an edge. It is cleared when a call has been [`Io::Blocked`], or when a read was short that
/// promises the same ([`Net::read`]); a short write promises nothing.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// The socket.
    pub id: SocketId,
    /// Reading may bring something.
    pub readable: bool,
    /// Writing may be possible.
    pub writable: bool,
    /// The end of the stream has been reported, so that a short read is no sign that nothing waits.
    ended: bool,
}

impl Watched {
    /// A socket about which nothing is known yet.
    pub fn new(id: SocketId) -> Self {
        Self {
            id,
            readable: false,
            writable: false,
            ended: false,
        }
    }

    /// A connection just accepted: it can be written, and something has often arrived with it.
    pub fn accepted(id: SocketId) -> Self {
        Self {
            readable: true,
            writable: true,
            ..Self::new(id)
        }
    }

    /// Notes an edge.
    pub fn note(&mut self, edge: Edge) {
        self.readable |= edge.readable;
        self.writable |= edge.writable;
        self.ended |= edge.ended;
    }

    /// Reads; clears `readable` when nothing waits.
    ///
    /// # Errors
    ///
    /// As [`Net::read`].
    pub fn read(&mut self, net: &mut dyn Net, bytes: &mut [u8]) -> io::Result<Io<usize>> {
        let result = net.read(self.id, bytes);
        self.readable &= match result {
            Ok(Io::Blocked) => false,
            Ok(Io::Done(count)) => count == bytes.len() || count == 0 || self.ended,
            Err(_) => true,
        };
        result
    }
}

impl Writer for Watched {
    fn is_writable(&self) -> bool {
        self.writable
    }

    fn write(&mut self, net: &mut dyn Net, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>> {
        let result = net.write(self.id, parts);
        self.writable &= !matches!(result, Ok(Io::Blocked));
        result
    }

    fn write_pages(&mut self, net: &mut dyn Net, view: &Packet) -> io::Result<Io<usize>> {
        let result = net.write_pages(self.id, view);
        self.writable &= !matches!(result, Ok(Io::Blocked));
        result
    }

    fn write_piped(
        &mut self,
        net: &mut dyn Net,
        pipe: PipeId,
        bytes_max: usize,
    ) -> io::Result<Io<usize>> {
        let result = net.drain_pipe(pipe, self.id, bytes_max);
        self.writable &= !matches!(result, Ok(Io::Blocked));
        result
    }
}
