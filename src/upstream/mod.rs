//! A source owned by one client and carried by TCP: paused when the client is full, never lossy.
//!
//! Owns the socket and drives a [`Session`], the sans-I/O core that knows the protocol. It does not know its
//! client: it is told how many bytes it may bring, and says what happened in [`Outcome`]s, which the router
//! applies.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Range;

use crate::limits::{UPSTREAM_READ_BYTES, UPSTREAM_READS_PER_TURN};
use crate::net::{Io, SocketId, Watched};
use crate::pool::Packet;
use crate::shared::Shared;

/// What a protocol makes of the bytes of its upstream (design §2.10).
pub trait Session {
    /// What to send once connected; called once.
    fn open(&mut self) -> Vec<u8>;

    /// Takes the next bytes and appends what they mean to `actions`.
    fn receive(&mut self, bytes: &[u8], actions: &mut Vec<Action>);

    /// The upstream has ended its sending side.
    fn finish(&mut self, actions: &mut Vec<Action>);
}

/// What a session wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this response head to the client.
    Head(Vec<u8>),
    /// These bytes of the input are body.
    Body(Range<usize>),
    /// The body is complete.
    End,
    /// What came makes no sense, or ended too early.
    Failed(&'static str),
}

/// What happened during a turn, in order.
#[derive(Debug)]
pub enum Outcome {
    /// The head of the response to the client.
    Head(Vec<u8>),
    /// A part of the body.
    Body(Packet),
    /// The body is complete.
    End,
    /// The upstream is of no more use.
    Failed(UpstreamError),
    /// The pool has no buffer; nothing was read.
    Starved,
}

/// Why an upstream failed.
#[derive(Debug)]
pub enum UpstreamError {
    /// The connection could not be made or broke.
    Io(io::Error),
    /// The protocol was violated.
    Protocol(&'static str),
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "upstream connection: {error}"),
            Self::Protocol(what) => write!(f, "upstream protocol: {what}"),
        }
    }
}

/// A connection to a server, for one client.
pub struct Upstream {
    socket: Watched,
    session: Box<dyn Session>,
    /// What is still to be sent.
    request: Vec<u8>,
    closed: bool,
    /// Scratch for one read.
    actions: Vec<Action>,
}

impl Upstream {
    /// Starts connecting to `address`.
    ///
    /// # Errors
    ///
    /// What the system reports at once; anything later is an [`Outcome::Failed`].
    pub fn connect(
        address: SocketAddr,
        mut session: Box<dyn Session>,
        shared: &mut Shared,
    ) -> io::Result<Self> {
        let socket = shared.net.connect(address)?;
        let request = session.open();
        Ok(Self {
            socket: Watched::new(socket),
            session,
            request,
            closed: false,
            actions: Vec::new(),
        })
    }

    /// The socket.
    pub fn socket(&self) -> SocketId {
        self.socket.id
    }

    /// Notes an edge.
    pub fn note(&mut self, readable: bool, writable: bool) {
        self.socket.note(readable, writable);
    }

    /// Whether a turn would get something done, if reading is allowed.
    pub fn runnable(&self, may_read: bool) -> bool {
        !self.closed
            && ((may_read && self.socket.readable)
                || (self.socket.writable && !self.request.is_empty()))
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Ends the connection: the client is gone, or all is said.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Sends what is left of the request and reads at most `room` bytes of body.
    pub fn run(&mut self, mut room: usize, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        self.send_request(shared, outcomes);
        for _ in 0..UPSTREAM_READS_PER_TURN {
            if room == 0 || self.closed || !self.socket.readable {
                return;
            }
            room = room.saturating_sub(self.read(room, shared, outcomes));
        }
    }

    fn send_request(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        while !self.closed && self.socket.writable && !self.request.is_empty() {
            match self
                .socket
                .write(&mut *shared.net, &[IoSlice::new(&self.request)])
            {
                Ok(Io::Done(written)) => drop(self.request.drain(..written)),
                Ok(Io::Blocked) => {}
                Err(error) => self.fail(UpstreamError::Io(error), outcomes),
            }
        }
    }

    /// One read of at most `room` bytes. Returns the bytes that the client's queue will hold for it.
    fn read(&mut self, room: usize, shared: &mut Shared, outcomes: &mut Vec<Outcome>) -> usize {
        let len = room
            .min(UPSTREAM_READ_BYTES)
            .min(shared.pool.buffer_bytes_max());
        let Some(mut chunk) = shared.pool.take_patient(len) else {
            outcomes.push(Outcome::Starved);
            return room;
        };
        let count = match self
            .socket
            .read(&mut *shared.net, &mut chunk.bytes_mut()[..len])
        {
            Ok(Io::Done(count)) => count,
            Ok(Io::Blocked) => return 0,
            Err(error) => {
                self.fail(UpstreamError::Io(error), outcomes);
                return 0;
            }
        };
        if count == 0 {
            self.session.finish(&mut self.actions);
            self.closed = true;
        } else {
            self.session
                .receive(&chunk.bytes()[..count], &mut self.actions);
        }
        let chunk = chunk.freeze(count);
        for action in self.actions.drain(..) {
            outcomes.push(match action {
                Action::Head(head) => Outcome::Head(head),
                Action::Body(range) => Outcome::Body(chunk.slice(range)),
                Action::End => Outcome::End,
                Action::Failed(what) => Outcome::Failed(UpstreamError::Protocol(what)),
            });
        }
        self.closed |= outcomes
            .iter()
            .any(|outcome| matches!(outcome, Outcome::End | Outcome::Failed(_)));
        chunk.held_bytes()
    }

    fn fail(&mut self, error: UpstreamError, outcomes: &mut Vec<Outcome>) {
        self.closed = true;
        outcomes.push(Outcome::Failed(error));
    }
}
