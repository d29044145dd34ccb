//! A source owned by one client: paused when the client is full if it comes over TCP, and then never lossy.
//!
//! [`Upstream`] is what the router knows of every kind. An upstream owns its sockets, what is to be sent over them
//! and its protocol's session; it keeps the deadlines. It does not know its client: it is granted how many bytes it
//! may bring, and says what happened in [`Outcome`]s, which the router applies.
//!
//! | Module | Is |
//! |---|---|
//! | [`http`] | one request and its response |
//! | [`rtsp`] | a session with an RTSP server, and its end at the server after the client has gone |
//! | [`connect`], [`connection`] | making a connection; a connection that has been made, with TLS if it is wanted |

pub mod connect;
pub mod connection;
pub mod http;
mod pieces;
pub mod rtsp;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::Denied;
use crate::net::{Edge, PipeId, SocketId};
use crate::pool::{Packet, PacketMut, Pool, Run};
use crate::proto::http::{ReplyHead, SessionError};
use crate::proto::rtsp as protocol;
use crate::send_queue::SendQueue;
use crate::shared::Shared;
use connect::{ConnectError, SocketChange};
use connection::{Connection, Destination};
use http::Fetch;

/// What the router knows of an upstream.
pub trait Upstream {
    /// Shows `visit` the sockets in use.
    fn visit_sockets(&self, visit: &mut dyn FnMut(SocketId));

    /// The sockets in use.
    fn sockets(&self) -> Vec<SocketId> {
        let mut sockets = Vec::new();
        self.visit_sockets(&mut |socket| sockets.push(socket));
        sockets
    }

    /// Notes an edge.
    fn note(&mut self, socket: SocketId, edge: Edge);

    /// Whether a turn would get something done, if bringing media is allowed.
    fn runnable(&self, may_read: bool) -> bool;

    /// When a turn is needed although nothing happens.
    fn deadline(&self, paused: bool, shared: &Shared) -> Option<Instant>;

    /// Where it stands, as the status page numbers it (server spec §10.6).
    fn state_number(&self) -> u8;

    /// How its media comes: `tcp`, `tls`, `interleaved` or `udp`.
    fn transport(&self) -> &'static str;

    /// Whether everything is over and all sockets are given up.
    fn is_closed(&self) -> bool;

    /// Sends what waits, and brings what `grant` allows; nothing without one.
    fn run(&mut self, grant: Option<Grant>, shared: &mut Shared, outcomes: &mut Vec<Outcome>);

    /// Ends at once. Returns the sockets, which are to be closed.
    fn close(&mut self) -> Vec<SocketId>;

    /// The client is gone. Returns whether there is something left to do for which the upstream wants to go on
    /// having turns, for a bounded time; otherwise it is to be closed.
    fn leave(&mut self) -> bool {
        false
    }

    /// Whether it brings something that has an end, which is worth waiting for.
    fn is_finite(&self) -> bool {
        true
    }

    /// Whether it waits while its client is full. One that does not brings [`Outcome::Live`] all the same.
    fn is_patient(&self) -> bool {
        true
    }

    /// Bringing media is not allowed any more.
    fn pause(&mut self, _now: Instant) {}

    /// Bringing media is allowed again.
    fn resume(&mut self, now: Instant);

    /// A look-up that [`Outcome::Resolve`] asked for has ended.
    fn resolved(&mut self, _name: &str, _result: Result<&[IpAddr], &str>) {}

    /// The client has taken something out of the pipe, so that filling may go on.
    fn note_drained(&mut self, _now: Instant) {}

    /// Queues a part of the request's body.
    fn push_body(&mut self, _view: Packet, _now: Instant) {}

    /// The request's body is complete.
    fn end_body(&mut self, _now: Instant) {}

    /// What is still to be sent of the request, if that may be large.
    fn queue(&self) -> Option<&SendQueue> {
        None
    }

    /// Bytes pinned by that.
    fn held_bytes(&self) -> usize {
        self.queue().map_or(0, SendQueue::held_bytes)
    }
}

/// What the client of an upstream can take now.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// Bytes that may be brought.
    pub room: usize,
    /// Bytes that still lie in the pipe.
    pub piped: usize,
    /// The client has taken everything so far: large reads pay.
    pub keeps_up: bool,
}

impl Grant {
    /// For an upstream without a client: whatever comes is thrown away.
    pub const DISCARD: Self = Self {
        room: usize::MAX,
        piped: 0,
        keeps_up: false,
    };
}

/// What happened during a turn, in order.
#[derive(Debug)]
pub enum Outcome {
    /// A socket came or went.
    Socket(SocketChange),
    /// The addresses of this name are wanted; [`Upstream::resolved`] is to be called.
    Resolve(String),
    /// An interim response for the client, whole.
    Interim(Vec<u8>),
    /// The head of the response to the client.
    Head(ReplyHead),
    /// A part of the body.
    Body(Packet),
    /// From now on the body comes through this pipe, whose bytes the client's queue counts.
    PipeOpened(PipeId),
    /// So many bytes of the body were put into the pipe.
    Piped(usize),
    /// The pipe takes no more, although the upstream has more.
    PipeFull,
    /// A stream begins of which this is known.
    Stream(protocol::Metadata),
    /// Live media, which the client is given if it can take it.
    Live(Run),
    /// The pool has no buffer; nothing was read.
    Starved,
    /// The response is complete.
    End(Ending),
    /// The request found a connection that had been kept and was dead: it may be made again.
    Stale(Rc<Fetch>),
    /// There is no response, or no more of it.
    Failed(UpstreamError),
}

/// How a response is complete.
#[derive(Debug)]
pub enum Ending {
    /// All of it was brought.
    Whole,
    /// As [`Ending::Whole`], and the connection may carry another request.
    Reusable(Connection, Rc<Destination>),
    /// There is nothing but this to be said of a stream.
    Described(protocol::Metadata),
    /// The stream is so long.
    Lasts(Duration),
}

/// What an upstream took too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Agreeing on keys.
    Handshake,
    /// Taking the request.
    Send,
    /// Answering with a complete head.
    Head,
    /// Going on with the body.
    Body,
}

/// Why an upstream failed.
#[derive(Debug)]
pub enum UpstreamError {
    /// The connection could not be made.
    Connect(ConnectError),
    /// The connection broke.
    Io(io::Error),
    /// The response made no sense, or ended too early.
    Session(SessionError),
    /// It took too long.
    TimedOut {
        /// For what.
        wait: Wait,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The pool has no room for the request's head, or for a playlist, which has to be gathered whole.
    Memory,
    /// The policy forbids its addresses.
    Denied(Denied),
    /// There is no RTSP session.
    Rtsp {
        /// Why.
        error: protocol::Error,
        /// More precisely, as far as the connection is to blame.
        detail: Option<String>,
    },
}

impl UpstreamError {
    /// Whether it was silence that made it fail.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::TimedOut { .. } | Self::Connect(ConnectError::Silent { .. })
        )
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the connection to the upstream broke: {error}"),
            Self::Session(error) => error.fmt(f),
            Self::TimedOut { wait, waited } => {
                let what = match wait {
                    Wait::Handshake => "the TLS handshake did not complete",
                    Wait::Send => "the upstream did not take the request",
                    Wait::Head => "the upstream did not answer",
                    Wait::Body => "the upstream fell silent inside the body",
                };
                write!(f, "{what} within {} s", waited.as_secs_f32())
            }
            Self::Memory => f.write_str(
                "no memory for the request, for the answer, or to gather the playlist in",
            ),
            Self::Denied(denied) => denied.fmt(f),
            Self::Rtsp {
                error,
                detail: None,
            } => write!(f, "RTSP: {error}"),
            Self::Rtsp {
                error,
                detail: Some(detail),
            } => write!(f, "RTSP: {error}: {detail}"),
        }
    }
}

/// Shares the first `count` bytes of `chunk`. A few bytes must not pin a large buffer for a client that stops now:
/// they are copied to a small one.
fn freeze(chunk: PacketMut, count: usize, pool: &Pool) -> Packet {
    let small = (count <= chunk.bytes().len() / 4)
        .then(|| pool.take_patient(count))
        .flatten();
    match small {
        Some(mut small) => {
            small.bytes_mut()[..count].copy_from_slice(&chunk.bytes()[..count]);
            small.freeze(count)
        }
        None => chunk.freeze(count),
    }
}
