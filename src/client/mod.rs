//! Downstream: one HTTP connection.
//!
//! Owns the socket and the send queue. Reads one request head, is given an answer or a stream, and ends. It
//! does not know where its media comes from; the router does.
//!
//! ```text
//! Reading ── request ──▶ Waiting ── first media ──▶ Streaming
//!    │                      │                           │
//!    └──── answer ──────────┴──────── end ──────────────┤
//!                                                       ▼
//!                              Draining ── empty ──▶ Lingering ──▶ Closed
//! ```
//!
//! Any state goes to `Closed` when the connection breaks.

pub mod access;
pub mod response;
pub mod route;
pub mod send_queue;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::limits::{CLOSE_WAIT, DISCARD_BYTES_PER_TURN, HEAD_WAIT, STALL_CHECK, UNANSWERED_MAX};
use crate::net::{Io, SocketId, Watched};
use crate::pool::{Packet, Pool, Run};
use crate::proto::http::{self, HEAD_BYTES_MAX, HeadError, Method};
use crate::shared::Shared;
use crate::stats::Stats;
use response::{Answer, Status};
use send_queue::{Gap, SendQueue};

/// Where a connection stands; the diagram is at the top of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request head is incomplete.
    Reading { since: Instant },
    /// A stream was asked for; nothing has been sent, so an error can still be answered.
    Waiting,
    /// The head of a stream has been queued.
    Streaming,
    /// All there will ever be is queued.
    Draining,
    /// Everything is sent and our side closed; the client may finish sending (RFC 9112 §9.6).
    Lingering { until: Instant },
    /// Over.
    Closed(Ended),
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything was sent.
    Complete,
    /// The client closed or reset the connection.
    Peer,
    /// The client did not answer the kernel's probes any more.
    Gone,
    /// No request came in time and the answer could not be sent either, or the connection gave way to a new one.
    Idle,
    /// There was no memory left to answer with.
    Memory,
    /// The program stops.
    Stop,
}

/// A complete request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The method as it was sent.
    pub method_name: String,
    /// The request target as it was sent.
    pub target: String,
    /// The `x` of `HTTP/1.x`.
    pub minor_version: u8,
    /// Names as they were sent, and values without surrounding white space, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// Value of the last header called `name` (case-insensitive).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let last = self
            .headers
            .iter()
            .rev()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(&last.1)
    }
}

/// Flow accounts of a client that was given a stream (server spec §10.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Most bytes ever held in the queue.
    pub held_bytes_highwater: usize,
    /// What it was not given because its queue was at its limit.
    pub dropped: Gap,
    /// How often its upstream was paused.
    pub backpressure_events: u64,
    /// Above its share without a break since then.
    above_share_since: Option<Instant>,
    /// It has been above its share for long.
    pub slow: bool,
}

/// One HTTP connection.
#[derive(Debug)]
pub struct Client {
    /// The client's address.
    pub peer: SocketAddr,
    socket: Watched,
    state: State,
    /// The beginning of a request head that did not come in one piece.
    partial_head: Vec<u8>,
    /// The client has closed its sending side; it may well go on reading.
    read_closed: bool,
    queue: SendQueue,
    sent_bytes: u64,
    /// When the socket last took something, or there was nothing to take.
    progress_at: Instant,
    /// Present once a stream was asked for.
    flow: Option<Box<Flow>>,
    /// Whatever is answered carries the access cookie: the token came in the query.
    sets_cookie: bool,
}

impl Client {
    /// A connection just accepted.
    pub fn new(socket: SocketId, peer: SocketAddr, now: Instant) -> Self {
        Self {
            peer,
            // A new connection can be written, and its request has often arrived with it.
            socket: Watched {
                id: socket,
                readable: true,
                writable: true,
            },
            state: State::Reading { since: now },
            partial_head: Vec::new(),
            read_closed: false,
            queue: SendQueue::default(),
            sent_bytes: 0,
            progress_at: now,
            flow: None,
            sets_cookie: false,
        }
    }

    /// The socket.
    pub fn socket(&self) -> SocketId {
        self.socket.id
    }

    /// Notes an edge.
    pub fn note(&mut self, readable: bool, writable: bool) {
        self.socket.note(readable, writable);
    }

    /// Whether a turn would get something done. Derived, never stored.
    pub fn runnable(&self) -> bool {
        match self.state {
            State::Closed(_) => false,
            State::Draining if self.queue.is_empty() => true,
            _ => self.socket.readable || (self.socket.writable && !self.queue.is_empty()),
        }
    }

    /// When the connection needs a turn although nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Reading { since } => Some(since + HEAD_WAIT),
            State::Lingering { until } => Some(until),
            State::Waiting | State::Streaming | State::Draining if !self.queue.is_empty() => {
                Some(self.progress_at + STALL_CHECK)
            }
            _ => None,
        }
    }

    /// Acts on a deadline that has passed.
    pub fn expire(&mut self, shared: &mut Shared) {
        if self.deadline().is_none_or(|deadline| deadline > shared.now) {
            return;
        }
        match self.state {
            State::Reading { .. } if self.partial_head.is_empty() => self.close(Ended::Idle),
            State::Reading { .. } => {
                self.answer(
                    &Answer::new(Status::RequestTimeout, "the request head took too long"),
                    shared,
                );
            }
            State::Lingering { .. } => self.close(Ended::Complete),
            _ => {
                // A client may stall for as long as it likes; one that is gone must not hold its slot.
                self.progress_at = shared.now;
                if shared
                    .net
                    .unanswered(self.socket.id)
                    .is_ok_and(|count| count >= UNANSWERED_MAX)
                {
                    self.close(Ended::Gone);
                }
            }
        }
    }

    /// Reads what the client sent. Returns the request once its head is complete; a bad one is answered here.
    pub fn receive(&mut self, shared: &mut Shared) -> Option<Request> {
        let mut scratch = std::mem::take(&mut shared.scratch);
        scratch.resize(HEAD_BYTES_MAX, 0);
        let mut budget = DISCARD_BYTES_PER_TURN;
        let mut request = None;
        while self.socket.readable && budget > 0 && request.is_none() && !self.is_closed() {
            match self.socket.read(&mut *shared.net, &mut scratch) {
                Ok(Io::Done(0)) => self.note_end(shared),
                Ok(Io::Done(len)) => {
                    budget = budget.saturating_sub(len);
                    if matches!(self.state, State::Reading { .. }) {
                        request = self.read_head(&scratch[..len], shared);
                    }
                }
                Ok(Io::Blocked) => {}
                Err(_) => self.close(Ended::Peer),
            }
        }
        shared.scratch = scratch;
        request
    }

    /// The client has closed its sending side. It still gets what it asked for.
    fn note_end(&mut self, shared: &mut Shared) {
        self.read_closed = true;
        // Another edge would tell that the connection broke, and so does another read then.
        self.socket.readable = false;
        match self.state {
            State::Reading { .. } if self.partial_head.is_empty() => self.close(Ended::Peer),
            State::Reading { .. } => {
                self.answer(
                    &Answer::new(Status::BadRequest, "the request head is incomplete"),
                    shared,
                );
            }
            State::Lingering { .. } => self.close(Ended::Complete),
            _ => {}
        }
    }

    fn read_head(&mut self, bytes: &[u8], shared: &mut Shared) -> Option<Request> {
        let decoded = if self.partial_head.is_empty() {
            decode(bytes)
        } else {
            self.partial_head.extend_from_slice(bytes);
            decode(&self.partial_head)
        };
        match decoded {
            Ok(Some(request)) => {
                self.partial_head = Vec::new();
                self.state = State::Waiting;
                Some(request)
            }
            Ok(None) => {
                if self.partial_head.is_empty() {
                    self.partial_head.extend_from_slice(bytes);
                }
                None
            }
            Err(error) => {
                self.answer(&Answer::new(status_of(&error), error.to_string()), shared);
                None
            }
        }
    }

    /// Queues a local answer and ends the connection after it.
    pub fn answer(&mut self, answer: &Answer, shared: &mut Shared) {
        match answer.status.code() {
            500.. => shared.stats.server_errors += 1,
            400..500 => shared.stats.client_errors += 1,
            _ => {}
        }
        let bytes = answer.encode(&shared.config, self.sets_cookie);
        self.answer_with(&bytes, &shared.pool);
    }

    /// As [`Client::answer`], for a head or a page already put together.
    pub fn answer_with(&mut self, bytes: &[u8], pool: &Pool) {
        self.partial_head = Vec::new();
        match pool.copy_reserved(bytes) {
            Some(packet) => {
                self.queue.push(packet, 0);
                self.state = State::Draining;
            }
            // Not even the reserve is left: there is no memory to say so with.
            None => self.close(Ended::Memory),
        }
    }

    /// From now on, whatever is answered carries the access cookie.
    pub fn set_cookie(&mut self) {
        self.sets_cookie = true;
    }

    /// Whether the answer carries the access cookie; local answers do so by themselves.
    pub fn sets_cookie(&self) -> bool {
        self.sets_cookie
    }

    /// The client has asked for a stream and waits for its first bytes.
    pub fn await_stream(&mut self) {
        self.state = State::Waiting;
        self.flow = Some(Box::default());
    }

    /// Whether a stream was asked for and nothing has been sent yet.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// Queues the head of the stream; media follows.
    pub fn begin_stream(&mut self, head: Packet, now: Instant) {
        debug_assert!(self.is_waiting(), "a stream begins once");
        self.state = State::Streaming;
        self.push(head, 0, now);
    }

    /// Queues a run of live media.
    pub fn push_run(&mut self, run: &Run, now: Instant) {
        self.push(run.view.clone(), run.packets, now);
    }

    /// Queues a part of a body that must arrive whole.
    pub fn push_body(&mut self, view: Packet, now: Instant) {
        self.push(view, 0, now);
    }

    fn push(&mut self, view: Packet, packets: u32, now: Instant) {
        if matches!(self.state, State::Closed(_) | State::Lingering { .. }) {
            return;
        }
        if self.queue.is_empty() {
            self.progress_at = now;
        }
        self.queue.push(view, packets);
        if let Some(flow) = &mut self.flow {
            flow.held_bytes_highwater = flow.held_bytes_highwater.max(self.queue.held_bytes());
        }
    }

    /// Notes media that the client is not given.
    pub fn drop_run(&mut self, run: &Run, stats: &mut Stats) {
        self.note_gap(
            Gap {
                packets: u64::from(run.packets),
                bytes: run.view.len() as u64,
            },
            stats,
        );
    }

    /// Takes back live media that nobody has begun to write, until at most `held_bytes` are pinned.
    pub fn shed(&mut self, held_bytes: usize, stats: &mut Stats) -> Gap {
        let gap = self.queue.shed(held_bytes);
        self.note_gap(gap, stats);
        gap
    }

    fn note_gap(&mut self, gap: Gap, stats: &mut Stats) {
        stats.packets_dropped += gap.packets;
        stats.bytes_dropped += gap.bytes;
        if let Some(flow) = &mut self.flow {
            flow.dropped.packets += gap.packets;
            flow.dropped.bytes += gap.bytes;
        }
    }

    /// Bytes pinned by the queue.
    pub fn held_bytes(&self) -> usize {
        self.queue.held_bytes()
    }

    /// Payload bytes waiting.
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }

    /// The queue, for the invariants.
    pub fn queue(&self) -> &SendQueue {
        &self.queue
    }

    /// Bytes the socket has taken, heads included.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Flow accounts, once a stream was asked for.
    pub fn flow(&self) -> Option<&Flow> {
        self.flow.as_deref()
    }

    /// Counts a pause of the client's upstream.
    pub fn note_pause(&mut self) {
        if let Some(flow) = &mut self.flow {
            flow.backpressure_events += 1;
        }
    }

    /// Decides whether the client is slow: above `enter` bytes for `after` without a break; not any more once
    /// below `exit` (server spec §11.3).
    pub fn judge_pace(&mut self, enter: usize, exit: usize, after: Duration, now: Instant) {
        let held = self.queue.held_bytes();
        let Some(flow) = &mut self.flow else { return };
        if held < exit {
            flow.above_share_since = None;
            flow.slow = false;
        } else if held > enter {
            let since = *flow.above_share_since.get_or_insert(now);
            flow.slow |= now.saturating_duration_since(since) >= after;
        }
    }

    /// The stream is over: what is queued is still sent.
    pub fn end(&mut self) {
        if matches!(self.state, State::Waiting | State::Streaming) {
            self.state = State::Draining;
        }
    }

    /// Writes what the socket takes. When all is said, closes the sending side.
    pub fn flush(&mut self, shared: &mut Shared) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        match self
            .queue
            .flush(&mut self.socket, &mut *shared.net, &mut shared.stats)
        {
            Ok(0) => {}
            Ok(written) => {
                self.sent_bytes += written as u64;
                self.progress_at = shared.now;
            }
            Err(_) => return self.close(Ended::Peer),
        }
        if self.state == State::Draining && self.queue.is_empty() {
            if self.read_closed {
                return self.close(Ended::Complete);
            }
            shared.net.finish(self.socket.id);
            self.state = State::Lingering {
                until: shared.now + CLOSE_WAIT,
            };
        }
    }

    /// Ends the connection without another word.
    pub fn close(&mut self, ended: Ended) {
        if !self.is_closed() {
            self.queue.clear();
            self.state = State::Closed(ended);
        }
    }

    /// Why the connection is over, once it is.
    pub fn ended(&self) -> Option<Ended> {
        match self.state {
            State::Closed(ended) => Some(ended),
            _ => None,
        }
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.ended().is_some()
    }

    /// Whether the client has closed its sending side.
    pub fn has_closed_sending(&self) -> bool {
        self.read_closed
    }

    /// Whether everything was sent: what is left is to let the client close.
    pub fn is_lingering(&self) -> bool {
        matches!(self.state, State::Lingering { .. })
    }

    /// Whether the request is still awaited.
    pub fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading { .. })
    }
}

fn decode(bytes: &[u8]) -> Result<Option<Request>, HeadError> {
    let Some((head, _)) = http::decode(bytes)? else {
        return Ok(None);
    };
    Ok(Some(Request {
        method: head.method,
        method_name: head.method_name.to_owned(),
        target: head.target.to_owned(),
        minor_version: head.minor_version,
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect(),
    }))
}

fn status_of(error: &HeadError) -> Status {
    match error.status() {
        414 => Status::UriTooLong,
        431 => Status::HeadersTooLarge,
        505 => Status::VersionNotSupported,
        _ => Status::BadRequest,
    }
}
