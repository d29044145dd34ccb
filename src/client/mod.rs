//! Downstream: one HTTP connection.
//!
//! Owns the socket, what has been read ahead and the send queue. Reads a request (`receive`), is given an answer or a
//! stream, and then ends or reads the next one. It does not know where its media comes from; the router does.
//!
//! ```text
//! Reading ── request ──▶ Waiting ── first media ──▶ Streaming
//!    │ ▲                    │                           │
//!    │ │ kept alive         │                           │
//!    │ └────────────────────│───────────────────┐       │
//!    └──── answer ──────────┴──────── end ──────│───────┤
//!                                               │       ▼
//!                                               └── Draining ── empty ──▶ Lingering ──▶ Closed
//!                                                      └─ empty, the body is cut ──▶ Breaking ──▶ Closed
//! ```
//!
//! Any state goes to `Closed` when the connection breaks. The body of a request is read while the client is
//! `Waiting` or `Streaming`.

pub mod access;
mod answer;
mod flow;
pub mod pages;
mod receive;
mod request;
pub mod resource;
pub mod response;
pub mod route;
pub mod service;

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::limits::{
    BODY_WAIT, BREAK_CHECK_MAX, BREAK_CHECK_MIN, CLOSE_WAIT, HALF_CLOSED_WAIT, HEAD_WAIT,
    KEPT_ALIVE_WAIT, STALL_CHECK, UNANSWERED_MAX,
};
use crate::net::{Edge, Peer, PipeId, SocketId, Watched};
use crate::pool::{Charge, Packet, Run};
use crate::proto::http::{Body, Relay, ReplyHead};
use crate::send_queue::{Gap, LocalBody, SendQueue};
use crate::shared::Shared;
use crate::stats::Stats;

pub use flow::Flow;
pub use receive::Incoming;
pub use request::Request;
use response::{Answer, Status};

/// Where a connection stands; the diagram is at the top of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The request head is incomplete. By `until` it must be complete, or begun if the connection was `kept`.
    Reading { until: Instant, kept: bool },
    /// A stream was asked for; nothing has been sent, so an error can still be answered.
    Waiting,
    /// The head of a stream has been queued.
    Streaming,
    /// All there will ever be is queued.
    Draining,
    /// Everything is sent and our side closed; the client may finish sending (RFC 9112 §9.6).
    Lingering { until: Instant },
    /// A body whose end only the connection's end tells was cut: once the client has received everything, the
    /// connection is broken, so that the part is not taken for the whole (RFC 9112 §8).
    Breaking { check: Instant, wait: Duration },
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
    /// It took nothing of a body of our own for [`STALL_CHECK`], or of any while others needed the memory.
    Stalled,
    /// Somebody has asked that it be disconnected.
    Disconnected,
    /// The program stops.
    Stop,
}

/// Not even the reserve of the pool has room for the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory;

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for the answer")
    }
}

/// One HTTP connection.
#[derive(Debug)]
pub struct Client {
    /// Who has connected.
    pub peer: Peer,
    /// The same in words, once somebody has asked.
    peer_name: OnceCell<Rc<str>>,
    socket: Watched,
    state: State,
    /// What has been read and not been used yet: the beginning of a head, or what followed the last request.
    ahead: Vec<u8>,
    /// So many bytes of `ahead` are known not to be a whole head.
    ahead_checked: usize,
    /// The body of the request that is being read for somebody.
    body: Option<Body>,
    /// In which form that is passed on.
    relay: Relay,
    /// When the client last sent a part of the body, or was let go on.
    body_at: Instant,
    /// The client's HTTP version, as `HTTP/1.x`.
    minor_version: u8,
    /// The request is `HEAD`: answers announce their body only.
    is_head: bool,
    /// A person is likely to see the answer, so an error is explained on a page.
    wants_page: bool,
    /// After this exchange the client may send another request.
    keep_alive: bool,
    /// The body that is relayed ends where the connection does.
    until_close: bool,
    /// Such a body was cut.
    breaks: bool,
    /// The client has closed its sending side; it may well go on reading.
    read_closed: bool,
    queue: SendQueue,
    sent_bytes: u64,
    /// When the socket last took something, or there was nothing to take.
    progress_at: Instant,
    /// What the kernel still had of a body of our own when it was last looked whether the client takes it, bytes;
    /// nothing once more has been written.
    stall_check: Option<usize>,
    /// Present once a stream was asked for.
    flow: Option<Box<Flow>>,
    /// Whatever is answered carries the access cookie: the token came in the query.
    sets_cookie: bool,
    /// Status of the answer to the last request, once there is one.
    status: Option<u16>,
    /// Why that request was refused or failed.
    failure: Option<Box<str>>,
}

impl Client {
    /// A connection just accepted.
    pub fn new(socket: SocketId, peer: Peer, now: Instant) -> Self {
        Self {
            peer,
            peer_name: OnceCell::new(),
            socket: Watched::accepted(socket),
            state: State::Reading {
                until: now + HEAD_WAIT,
                kept: false,
            },
            ahead: Vec::new(),
            ahead_checked: 0,
            body: None,
            relay: Relay::AsFramed,
            body_at: now,
            minor_version: 1,
            is_head: false,
            wants_page: false,
            keep_alive: false,
            until_close: false,
            breaks: false,
            read_closed: false,
            queue: SendQueue::default(),
            sent_bytes: 0,
            progress_at: now,
            stall_check: None,
            flow: None,
            sets_cookie: false,
            status: None,
            failure: None,
        }
    }

    /// Whom a request comes from, in words: the address that a proxy in front has named, or who has connected, which a
    /// connection that is kept is asked with every request.
    pub fn asker(&self, forwarded_for: Option<&str>) -> Rc<str> {
        let peer_name = || Rc::clone(self.peer_name.get_or_init(|| self.peer.to_string().into()));
        forwarded_for.map_or_else(peer_name, Rc::from)
    }

    /// The socket.
    pub fn socket(&self) -> SocketId {
        self.socket.id
    }

    /// Notes an edge.
    pub fn note(&mut self, edge: Edge) {
        self.socket.note(edge);
    }

    /// Whether a turn would get something done. Derived, never stored. `body_allowed` says whether more of the
    /// request's body may be read.
    pub fn runnable(&self, body_allowed: bool) -> bool {
        match self.state {
            State::Closed(_) => false,
            State::Draining if self.queue.is_empty() => true,
            State::Reading { .. } if self.ahead.len() > self.ahead_checked => true,
            _ => (self.socket.writable && !self.queue.is_empty()) || self.would_read(body_allowed),
        }
    }

    /// When the connection needs a turn although nothing happens.
    pub fn deadline(&self, body_allowed: bool) -> Option<Instant> {
        let stall = match self.state {
            State::Reading { until, .. } | State::Lingering { until } => return Some(until),
            State::Breaking { check, .. } => return Some(check),
            State::Closed(_) => return None,
            _ if self.queue.local_bytes() > 0 => Some(self.progress_at + STALL_CHECK / 2),
            _ if !self.queue.is_empty() => Some(self.progress_at + STALL_CHECK),
            // Before the head of its answer it waits as long as everybody does.
            State::Streaming if self.read_closed => Some(self.progress_at + HALF_CLOSED_WAIT),
            _ => None,
        };
        let body = (self.body.is_some() && body_allowed).then_some(self.body_at + BODY_WAIT);
        [stall, body].into_iter().flatten().min()
    }

    /// Acts on a deadline that has passed.
    pub fn expire(
        &mut self,
        body_allowed: bool,
        shared: &mut Shared,
        incoming: &mut Vec<Incoming>,
    ) {
        let deadline = self.deadline(body_allowed);
        if deadline.is_none_or(|deadline| deadline > shared.now) {
            return;
        }
        if self.body.is_some() && body_allowed && self.body_at + BODY_WAIT <= shared.now {
            let text = "the request body took too long";
            let answer = Answer::new(Status::RequestTimeout, text);
            return incoming.push(Incoming::BodyFailed(answer));
        }
        match self.state {
            State::Reading { .. } if self.ahead.is_empty() => self.close(Ended::Idle),
            State::Reading { .. } => {
                self.answer(
                    &Answer::new(Status::RequestTimeout, "the request head took too long"),
                    shared,
                );
            }
            State::Lingering { .. } => self.close(Ended::Complete),
            State::Breaking { wait, .. } => {
                self.break_connection((wait * 2).min(BREAK_CHECK_MAX), shared);
            }
            _ if self.queue.local_bytes() > 0 => self.check_stall(shared),
            _ if self.queue.is_empty() => self.check_half_closed(shared, incoming),
            _ => {
                // A client may stall for as long as it likes; one that is gone must not hold its slot.
                self.progress_at = shared.now;
                if self.is_unreachable(shared) {
                    self.close(Ended::Gone);
                }
            }
        }
    }

    /// Closes the connection if the client has taken nothing since the last look: a player may pause; whoever asks
    /// for a page has no reason to hold it. A slow one takes from the kernel, which asks for more only when much has
    /// gone.
    fn check_stall(&mut self, shared: &Shared) {
        let left = shared.net.unacknowledged_bytes(self.socket.id);
        let left = left.unwrap_or_default();
        match self.stall_check {
            Some(before) if left >= before => self.close(Ended::Stalled),
            _ => {
                self.progress_at = shared.now;
                self.stall_check = Some(left);
            }
        }
    }

    /// Tells that a client which has closed its sending side, and has received all there was, is kept waiting. Most of
    /// those have closed both, which only a write would tell; what they asked for must not go on until there is one.
    fn check_half_closed(&mut self, shared: &Shared, incoming: &mut Vec<Incoming>) {
        self.progress_at = shared.now;
        let left = shared.net.unacknowledged_bytes(self.socket.id);
        if left.is_ok_and(|bytes| bytes == 0) {
            incoming.push(Incoming::Left);
        }
    }

    /// Whether the client's host has not answered for long.
    fn is_unreachable(&self, shared: &Shared) -> bool {
        let unanswered = shared.net.unanswered(self.socket.id);
        unanswered.is_ok_and(|count| count >= UNANSWERED_MAX)
    }

    /// Whether the last event has been taken, so that another one may be pushed.
    pub fn takes_event(&self) -> bool {
        self.state == State::Streaming && self.queue.local_bytes() == 0
    }

    /// Queues an event of a stream of events.
    pub fn push_event(&mut self, event: LocalBody, now: Instant) {
        debug_assert!(self.takes_event(), "one event at a time");
        if self.queue.is_empty() {
            self.progress_at = now;
        }
        self.queue.push_local(event);
    }

    /// Whether the answer to this request is to carry the access cookie.
    pub fn set_cookie(&mut self, sets_cookie: bool) {
        self.sets_cookie = sets_cookie;
    }

    /// `head` with the access cookie, if this client is due it.
    pub fn own_head(&self, head: Vec<u8>, config: &Config) -> Vec<u8> {
        if self.sets_cookie {
            response::with_cookie(&head, config)
        } else {
            head
        }
    }

    /// Whether the answer carries the access cookie; local answers do so by themselves.
    pub fn sets_cookie(&self) -> bool {
        self.sets_cookie
    }

    fn forget_request(&mut self) {
        self.ahead = Vec::new();
        self.ahead_checked = 0;
        self.body = None;
        self.keep_alive = false;
    }

    /// The client has asked for a stream and waits for its first bytes.
    pub fn await_stream(&mut self) {
        self.state = State::Waiting;
        self.flow = Some(Box::default());
    }

    /// The client may send another request when this one has been answered.
    pub fn offer_keep_alive(&mut self) {
        self.keep_alive = true;
    }

    /// This request is the last one.
    pub fn refuse_keep_alive(&mut self) {
        self.keep_alive = false;
    }

    /// Whether a stream was asked for and nothing has been sent yet.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// Queues the head of the stream; media follows.
    pub fn begin_stream(&mut self, head: Packet, now: Instant) {
        debug_assert!(self.is_waiting(), "a stream begins once");
        self.status = head.bytes().and_then(status_of);
        self.state = State::Streaming;
        self.push(head, 0, now);
    }

    /// Queues an interim response; the final one is still to come.
    pub fn push_interim(&mut self, head: Packet, now: Instant) {
        debug_assert!(self.is_waiting(), "interim responses come first");
        self.push(head, 0, now);
    }

    /// Queues the head of a response that is relayed; its body follows. A client whose own body is not complete
    /// by now is not kept: what it still sends could not be told from another request.
    ///
    /// # Errors
    ///
    /// As [`Client::begin_with`].
    pub fn begin_reply(&mut self, head: ReplyHead, shared: &Shared) -> Result<(), NoMemory> {
        self.keep_alive &= head.delimited && self.body.is_none();
        self.until_close = !head.delimited;
        let head = head.encode(self.minor_version, self.keep_alive);
        self.begin_with(&head, shared)
    }

    /// As [`Client::begin_stream`], with a head of this client's own.
    ///
    /// # Errors
    ///
    /// When there is no memory for the head. Nothing is queued then.
    pub fn begin_with(&mut self, head: &[u8], shared: &Shared) -> Result<(), NoMemory> {
        let head = shared.pool.copy_reserved(head).ok_or(NoMemory)?;
        self.begin_stream(head, shared.now);
        Ok(())
    }

    /// From now on the body comes through `pipe`, which stays the caller's.
    pub fn attach_pipe(&mut self, pipe: PipeId, charge: Charge) {
        self.queue.attach_pipe(pipe, charge);
    }

    /// The pipe is of no more use.
    pub fn detach_pipe(&mut self) {
        self.queue.detach_pipe();
    }

    /// Notes that `bytes` more of the body wait in the pipe.
    pub fn note_piped(&mut self, bytes: usize, now: Instant) {
        if self.queue.is_empty() {
            self.progress_at = now;
        }
        self.queue.note_piped(bytes);
        if let Some(flow) = &mut self.flow {
            flow.note_held(self.queue.held_bytes());
        }
    }

    /// Whether everything that was queued has been taken, and more may be.
    pub fn keeps_up(&self) -> bool {
        self.socket.writable && self.queue.is_empty()
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
        if self.is_closed() || self.is_lingering() {
            return;
        }
        if self.queue.is_empty() {
            self.progress_at = now;
        }
        self.queue.push(view, packets);
        if let Some(flow) = &mut self.flow {
            flow.note_held(self.queue.held_bytes());
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
            flow.note_gap(gap);
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
        if let Some(flow) = &mut self.flow {
            flow.judge_pace(self.queue.held_bytes(), enter, exit, after, now);
        }
    }

    /// The stream is over: what is queued is still sent.
    pub fn end(&mut self) {
        if matches!(self.state, State::Waiting | State::Streaming) {
            self.state = State::Draining;
            if self.body.take().is_some() {
                self.forget_request();
            }
        }
    }

    /// The stream has broken off: what is queued is still sent, and then the connection is closed or, where that would
    /// look like the end of the body, broken, which tells the client that it is not whole.
    pub fn break_off(&mut self) {
        self.breaks = self.until_close && self.state == State::Streaming;
        self.forget_request();
        self.end();
    }

    /// A body that ends with the connection has ended as its upstream ended it: the client's connection is not broken
    /// for that.
    pub fn take_end_for_end(&mut self) {
        self.until_close = false;
    }

    /// Writes what the socket takes. When all is said, closes the sending side.
    pub fn flush(&mut self, shared: &mut Shared) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        let sent_bytes = shared.stats.to_clients.bytes;
        let result = self.queue.flush(
            &mut self.socket,
            &mut *shared.net,
            &mut shared.stats.to_clients,
        );
        // Some may have been taken before the connection broke.
        self.sent_bytes += shared.stats.to_clients.bytes - sent_bytes;
        match result {
            Ok(0) => {}
            Ok(_) => {
                self.progress_at = shared.now;
                self.stall_check = None;
            }
            Err(_) => return self.close(Ended::Peer),
        }
        if self.state == State::Draining && self.queue.is_empty() {
            if self.keep_alive && !(self.read_closed && self.ahead.is_empty()) {
                self.state = State::Reading {
                    until: shared.now + KEPT_ALIVE_WAIT,
                    kept: true,
                };
                self.keep_alive = false;
                self.is_head = false;
                self.wants_page = false;
                return;
            }
            if self.breaks {
                return self.break_connection(BREAK_CHECK_MIN, shared);
            }
            if self.read_closed {
                return self.close(Ended::Complete);
            }
            shared.net.finish(self.socket.id);
            self.state = State::Lingering {
                until: shared.now + CLOSE_WAIT,
            };
        }
    }

    /// Breaks the connection, or looks again after `wait` whether the client has received everything.
    fn break_connection(&mut self, wait: Duration, shared: &mut Shared) {
        let socket = self.socket.id;
        let waits = shared
            .net
            .unacknowledged_bytes(socket)
            .is_ok_and(|bytes| bytes > 0);
        if self.is_unreachable(shared) {
            self.close(Ended::Gone);
        } else if waits {
            let check = shared.now + wait;
            self.state = State::Breaking { check, wait };
        } else {
            shared.net.break_at_close(socket);
            self.close(Ended::Complete);
        }
    }

    /// Ends the connection without another word.
    pub fn close(&mut self, ended: Ended) {
        if !self.is_closed() {
            self.queue.clear();
            self.state = State::Closed(ended);
        }
    }

    /// Status of the answer to the last request, once there is one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Why the last request was refused or failed, if it was.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
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
        matches!(self.state, State::Lingering { .. } | State::Breaking { .. })
    }

    /// Whether another request is awaited and nothing of it has come.
    pub fn is_kept(&self) -> bool {
        matches!(self.state, State::Reading { kept: true, .. })
    }

    /// Whether the request is still awaited.
    pub fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading { .. })
    }
}

/// The three digits of a status line.
fn status_of(head: &[u8]) -> Option<u16> {
    let digits = head.get("HTTP/1.1 ".len()..)?.get(..3)?;
    str::from_utf8(digits).ok()?.parse().ok()
}
