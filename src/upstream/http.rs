//! One request to an HTTP server and its response, over a connection of its own or one that was kept.
//!
//! ```text
//! Connecting ── made ──▶ Open ── response complete ──▶ Closed (the connection may be kept for another request)
//!     │                   │
//!     └────── failed ─────┴─────────────────────────▶ Closed
//! ```

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::limits::{
    FAST_BODY_PIECE_WAIT, HEAD_TRICKLE_FACTOR, PIPE_BYTES, PIPED_BODY_BYTES_MIN,
    UPSTREAM_BYTES_PER_TURN, UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES_FAST,
};
use crate::net::{Edge, Io, PipeId, SocketId, Writer, is_unannounced_end};
use crate::pool::{Charge, Packet};
use crate::proto::http::{Action, Exchange, Session, SessionError};
use crate::proto::origin::Scheme;
use crate::send_queue::SendQueue;
use crate::shared::Shared;

use super::connect::{Connecting, Progress, SocketChange};
use super::connection::{Connection, Destination};
use super::pieces::Pieces;
use super::{Ending, Grant, Outcome, Upstream, UpstreamError, Wait, freeze};

/// A request to be made of a server: everything that does not change when it is made again.
#[derive(Debug)]
pub struct Fetch {
    /// Where.
    pub destination: Rc<Destination>,
    /// The request's head.
    pub head: Vec<u8>,
    /// What the response is measured by.
    pub exchange: Rc<Exchange>,
    /// How long the answer may take once the request has been sent.
    pub head_wait: Duration,
    /// A body follows the head.
    pub has_body: bool,
    /// Making the request twice does no harm (RFC 9110 §9.2.2), and no body would have to be sent again.
    pub repeatable: bool,
}

/// A connection to a server, for one client's request.
pub struct HttpUpstream {
    fetch: Rc<Fetch>,
    phase: Phase,
    session: Session,
    /// What is still to be sent: the head, and behind it the body as far as it has come.
    queue: SendQueue,
    /// The whole request has been queued.
    request_complete: bool,
    /// There was no memory for the head.
    lacks_head: bool,
    /// Nothing of the request can be sent any more; the response may have been sent all the same.
    send_failed: bool,
    /// The connection has carried a request before this one.
    reused: bool,
    /// Something of the request has been sent.
    asked: bool,
    /// When the upstream last took something, brought something, or was let go on.
    progress_at: Instant,
    /// When it last took a part of the request.
    sent_at: Instant,
    /// The body goes through this pipe.
    pipe: Option<PipeId>,
    /// The pipe or the socket stopped the last filling, and which of them cannot be told yet.
    pipe_unclear: bool,
    /// How fast the body moves, and whether it is taken in large pieces for that.
    pieces: Pieces,
    /// What a gathered playlist takes.
    collected: Charge,
    /// Scratch for one read.
    actions: Vec<Action>,
}

enum Phase {
    Connecting(Connecting),
    Open(Connection),
    Closed,
}

impl HttpUpstream {
    /// Will connect to one of `addresses` and make the request.
    pub fn connect(fetch: Rc<Fetch>, addresses: &[SocketAddr], shared: &Shared) -> Self {
        let connecting = Connecting::new(
            addresses,
            fetch.destination.interface.clone(),
            shared.config.http_connect_timeout,
            shared.now,
        );
        Self::new(fetch, Phase::Connecting(connecting), false, shared)
    }

    /// Makes the request over a connection that has been kept.
    pub fn over(fetch: Rc<Fetch>, connection: Connection, shared: &Shared) -> Self {
        Self::new(fetch, Phase::Open(connection), true, shared)
    }

    fn new(fetch: Rc<Fetch>, phase: Phase, reused: bool, shared: &Shared) -> Self {
        let session = Session::new(Rc::clone(&fetch.exchange));
        let mut queue = SendQueue::default();
        // The reserve is there for heads. Without it the request waits for nobody: the first turn fails.
        let head = shared.pool.copy_reserved(&fetch.head);
        let lacks_head = head.is_none();
        if let Some(head) = head {
            queue.push(head, 0);
        }
        Self {
            request_complete: !fetch.has_body,
            fetch,
            phase,
            session,
            queue,
            lacks_head,
            send_failed: false,
            reused,
            asked: false,
            progress_at: shared.now,
            sent_at: shared.now,
            pipe: None,
            pipe_unclear: false,
            pieces: Pieces::new(shared.now),
            collected: shared.pool.open_charge(),
            actions: Vec::new(),
        }
    }
}

impl Upstream for HttpUpstream {
    fn visit_sockets(&self, visit: &mut dyn FnMut(SocketId)) {
        match &self.phase {
            Phase::Connecting(connecting) => connecting.sockets().for_each(visit),
            Phase::Open(connection) => visit(connection.socket()),
            Phase::Closed => {}
        }
    }

    fn note(&mut self, socket: SocketId, edge: Edge) {
        match &mut self.phase {
            Phase::Connecting(connecting) => connecting.note(socket, edge),
            Phase::Open(connection) => {
                connection.note(edge);
                self.pipe_unclear &= !edge.readable;
            }
            Phase::Closed => {}
        }
    }

    fn state_number(&self) -> u8 {
        match &self.phase {
            Phase::Connecting(_) => 26,
            Phase::Open(_) if !self.session.awaits_head() => 29,
            Phase::Open(_) if self.queue.is_empty() && self.request_complete => 28,
            Phase::Open(_) => 27,
            Phase::Closed => 31,
        }
    }

    fn transport(&self) -> &'static str {
        match self.fetch.destination.origin.scheme() {
            Scheme::Http => "tcp",
            Scheme::Https => "tls",
        }
    }

    fn runnable(&self, may_read: bool) -> bool {
        match &self.phase {
            Phase::Connecting(connecting) => connecting.runnable(),
            Phase::Open(connection) => {
                (may_read && connection.can_read() && !self.pipe_unclear)
                    || (connection.is_writable() && !self.queue.is_empty())
                    || (connection.can_flush() && !self.send_failed)
            }
            Phase::Closed => false,
        }
    }

    fn deadline(&self, paused: bool, shared: &Shared) -> Option<Instant> {
        match &self.phase {
            Phase::Connecting(connecting) => connecting.deadline(),
            Phase::Open(_) => {
                let (_, _, at) = self.wait(paused, shared)?;
                let piece = self.pieces.are_large().then_some(FAST_BODY_PIECE_WAIT);
                Some(piece.map_or(at, |piece| self.progress_at + piece))
            }
            Phase::Closed => None,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn push_body(&mut self, view: Packet, now: Instant) {
        if self.takes_body() {
            if self.queue.is_empty() {
                self.progress_at = now;
            }
            self.queue.push(view, 0);
        }
    }

    fn end_body(&mut self, now: Instant) {
        self.request_complete = true;
        (self.progress_at, self.sent_at) = (now, now);
    }

    fn resume(&mut self, now: Instant) {
        // What it has sent meanwhile lies unread: its time begins anew.
        (self.progress_at, self.sent_at) = (now, now);
    }

    fn note_drained(&mut self, now: Instant) {
        if self.pipe_unclear {
            self.pipe_unclear = false;
            self.progress_at = now;
        }
    }

    fn close(&mut self) -> Vec<SocketId> {
        let sockets = self.sockets();
        self.phase = Phase::Closed;
        self.queue.clear();
        sockets
    }

    fn run(&mut self, grant: Option<Grant>, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        if self.lacks_head {
            return self.fail(UpstreamError::Memory, outcomes);
        }
        self.connect_further(shared, outcomes);
        self.send(shared, outcomes);
        if let Some(grant) = grant {
            self.receive(grant, shared, outcomes);
        }
        let starved = outcomes
            .iter()
            .any(|outcome| matches!(outcome, Outcome::Starved));
        self.expire(grant.is_none() || starved, shared, outcomes);
    }

    fn queue(&self) -> Option<&SendQueue> {
        Some(&self.queue)
    }
}

impl HttpUpstream {
    /// What is waited for, how long it may take, and when that is over.
    fn wait(&self, paused: bool, shared: &Shared) -> Option<(Wait, Duration, Instant)> {
        let config = &shared.config;
        let (wait, waited) = if matches!(&self.phase, Phase::Open(connection) if connection.is_handshaking())
        {
            Some((Wait::Handshake, config.http_connect_timeout))
        } else if paused || self.pipe_unclear {
            // It may have answered already, and may take no more before that is read. Nor is it to blame while
            // it may be the pipe that is full.
            None
        } else if !self.queue.is_empty() {
            Some((Wait::Send, config.http_idle_timeout))
        } else if !self.session.awaits_head() {
            Some((Wait::Body, config.http_idle_timeout))
        } else if self.request_complete || self.send_failed {
            Some((Wait::Head, self.fetch.head_wait))
        } else {
            // The client has not sent its body yet; that it does so is watched elsewhere.
            None
        }?;
        let at = self.progress_at + waited;
        if wait == Wait::Head {
            // What trickles in counts as progress, but not for ever.
            let whole = waited * HEAD_TRICKLE_FACTOR;
            let last = self.sent_at + whole;
            return Some(if last < at {
                (wait, whole, last)
            } else {
                (wait, waited, at)
            });
        }
        Some((wait, waited, at))
    }

    /// Whether more of the body is of use: the upstream has not stopped taking it.
    fn takes_body(&self) -> bool {
        !self.send_failed && !self.is_closed()
    }

    fn connect_further(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let Phase::Connecting(connecting) = &mut self.phase else {
            return;
        };
        match connecting.run(shared, outcomes) {
            Progress::Pending => {}
            Progress::Connected(socket, _) => {
                self.progress_at = shared.now;
                let origin = &self.fetch.destination.origin;
                let tls_host = match origin.scheme() {
                    Scheme::Http => None,
                    Scheme::Https => Some(origin.host().to_string()),
                };
                match Connection::new(socket, tls_host.as_deref(), shared) {
                    Ok(connection) => self.phase = Phase::Open(connection),
                    Err(error) => {
                        let closed = SocketChange::Closed(socket.id);
                        outcomes.push(Outcome::Socket(closed));
                        self.fail(UpstreamError::Io(error), outcomes);
                    }
                }
            }
            Progress::Failed(error) => self.fail(UpstreamError::Connect(error), outcomes),
        }
    }

    fn send(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let Phase::Open(connection) = &mut self.phase else {
            return;
        };
        if self.send_failed {
            return;
        }
        // A farewell that came since the connection was found clean must not be taken for the answer.
        if self.reused && !self.asked && connection.can_read() {
            let net = &mut *shared.net;
            if !connection.is_clean(net) {
                let error = io::ErrorKind::ConnectionAborted.into();
                return self.break_off(error, outcomes);
            }
        }
        let sends = &mut shared.stats.to_upstreams;
        let flushed = self
            .queue
            .flush(connection, &mut *shared.net, sends)
            .and_then(|written| connection.flush(&mut *shared.net).map(|_| written));
        match flushed {
            Ok(0) => {}
            Ok(_) => {
                self.asked = true;
                (self.progress_at, self.sent_at) = (shared.now, shared.now);
            }
            Err(error) => {
                // An answer that was given before the body was complete can still be read; but none comes before
                // there are keys.
                self.queue.clear();
                self.send_failed = true;
                connection.note_failed_write();
                if connection.is_handshaking() || !connection.can_read() {
                    self.break_off(error, outcomes);
                }
            }
        }
    }

    fn receive(&mut self, grant: Grant, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let mut room = grant.room;
        // Bytes that this turn has put into the pipe; the client's queue does not count them yet.
        let mut fresh = 0;
        let mut budget = UPSTREAM_BYTES_PER_TURN;
        while room > 0 && budget > 0 {
            let Phase::Open(connection) = &self.phase else {
                return;
            };
            if !connection.can_read() || self.pipe_unclear {
                return;
            }
            if self.pipe.is_none()
                && connection.is_plain()
                && room >= PIPED_BODY_BYTES_MIN
                && self.session.opaque_bytes() >= PIPED_BODY_BYTES_MIN as u64
            {
                self.open_pipe(shared, outcomes);
            }
            let brought = if self.pipe.is_some() {
                let pool_room = shared.pool.patient_room().saturating_sub(fresh);
                let len = room.min(budget).min(pool_room);
                let brought = self.fill_pipe(len, grant.piped + fresh, shared, outcomes);
                fresh += brought.unwrap_or(0);
                brought
            } else {
                let len = if grant.keeps_up && !self.session.awaits_head() {
                    UPSTREAM_READ_BYTES_FAST
                } else {
                    UPSTREAM_READ_BYTES
                };
                self.read(room.min(len), shared, outcomes)
            };
            let Some(brought) = brought else { return };
            room = room.saturating_sub(brought);
            budget = budget.saturating_sub(brought);
        }
    }

    /// One read of at most `len` bytes. Returns the bytes that the client's queue will hold for it; nothing when
    /// there is no more to be had now.
    fn read(
        &mut self,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<usize> {
        let Phase::Open(connection) = &mut self.phase else {
            return None;
        };
        let large = len.min(shared.pool.buffer_bytes_max());
        let small = large.min(UPSTREAM_READ_BYTES);
        let taken = [large, small]
            .into_iter()
            .find_map(|len| Some((len, shared.pool.take_patient(len)?)));
        let Some((len, mut chunk)) = taken else {
            outcomes.push(Outcome::Starved);
            return None;
        };
        let count = match connection.read(&mut *shared.net, &mut chunk.bytes_mut()[..len]) {
            Ok(Io::Done(count)) => count,
            Ok(Io::Blocked) => return None,
            Err(error) => {
                match is_unannounced_end(&error)
                    && self.session.finish_unannounced(&mut self.actions)
                {
                    true => self.apply(None, shared, outcomes),
                    false => self.break_off(error, outcomes),
                }
                return None;
            }
        };
        self.progress_at = shared.now;
        if count == 0 {
            self.session.finish(&mut self.actions);
        } else {
            self.session
                .receive(&chunk.bytes()[..count], &mut self.actions);
        }
        let chunk = freeze(chunk, count, &shared.pool);
        self.charge_collected(outcomes);
        self.apply(Some(&chunk), shared, outcomes);
        Some(chunk.held_bytes())
    }

    /// Accounts for the playlist that is being gathered.
    fn charge_collected(&mut self, outcomes: &mut Vec<Outcome>) {
        let collected = self.session.collected_bytes();
        let before = self.collected.bytes();
        if collected < before {
            self.collected.shrink(before - collected);
        } else if !self.collected.grow(collected - before) {
            self.actions.clear();
            self.fail(UpstreamError::Memory, outcomes);
        }
    }

    /// Turns what the session wants into outcomes; ranges are those of `chunk`.
    fn apply(&mut self, chunk: Option<&Packet>, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Interim(head) => outcomes.push(Outcome::Interim(head)),
                Action::Head(head) => outcomes.push(Outcome::Head(head)),
                Action::Body(range) => {
                    outcomes.extend(chunk.map(|chunk| Outcome::Body(chunk.slice(range))));
                }
                Action::Whole(head, bytes) => match shared.pool.adopt(bytes) {
                    Some(view) => {
                        outcomes.push(Outcome::Head(head));
                        outcomes.push(Outcome::Body(view));
                    }
                    None => {
                        self.fail(UpstreamError::Memory, outcomes);
                        break;
                    }
                },
                Action::End { reusable } => self.end(reusable, outcomes),
                Action::Failed(SessionError::Empty) if self.may_repeat() => {
                    self.give_up(Outcome::Stale(Rc::clone(&self.fetch)), outcomes);
                }
                Action::Failed(error) => self.fail(UpstreamError::Session(error), outcomes),
            }
        }
        self.actions = actions;
    }

    fn open_pipe(&mut self, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        // Without one the body is copied.
        if let Ok(pipe) = shared.net.open_pipe() {
            self.pipe = Some(pipe);
            outcomes.push(Outcome::PipeOpened(pipe));
        }
    }

    /// Moves at most `len` bytes into the pipe, which holds `piped` bytes. Returns how many; nothing when there
    /// is no more to be had now.
    fn fill_pipe(
        &mut self,
        len: usize,
        piped: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<usize> {
        let (Phase::Open(connection), Some(pipe)) = (&mut self.phase, self.pipe) else {
            return None;
        };
        let opaque = usize::try_from(self.session.opaque_bytes()).unwrap_or(usize::MAX);
        let len = len.min(opaque).min(PIPE_BYTES);
        if len == 0 {
            outcomes.push(Outcome::Starved);
            return None;
        }
        let net = &mut *shared.net;
        let mut result = connection.fill_pipe(net, pipe, len);
        let has_unread =
            piped > 0 && matches!(result, Ok(Io::Blocked)) && connection.has_unread(net);
        if has_unread {
            // The bytes may have come just now: only a pipe that is blocked again is full.
            result = connection.fill_pipe(net, pipe, len);
        }
        match result {
            Ok(Io::Done(0)) => {
                self.session.finish(&mut self.actions);
            }
            Ok(Io::Done(count)) => {
                self.progress_at = shared.now;
                outcomes.push(Outcome::Piped(count));
                self.session.skip(count as u64, &mut self.actions);
                let left = self.session.opaque_bytes();
                let wanted = self.pieces.note(count, left, shared.now);
                if let Some(bytes) = wanted {
                    connection.set_receive_low_water(net, bytes);
                }
                if self.actions.is_empty() {
                    return Some(count);
                }
            }
            Ok(Io::Blocked) => {
                if piped == 0 {
                    connection.note_empty();
                } else if has_unread {
                    outcomes.push(Outcome::PipeFull);
                } else {
                    self.pipe_unclear = true;
                }
                return None;
            }
            Err(error) => {
                self.break_off(error, outcomes);
                return None;
            }
        }
        self.apply(None, shared, outcomes);
        None
    }

    fn end(&mut self, reusable: bool, outcomes: &mut Vec<Outcome>) {
        let clean = reusable && self.request_complete && self.queue.is_empty();
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Open(connection) if clean => {
                let destination = Rc::clone(&self.fetch.destination);
                outcomes.push(Outcome::End(Ending::Reusable(connection, destination)));
            }
            phase => {
                self.phase = phase;
                self.give_up(Outcome::End(Ending::Whole), outcomes);
            }
        }
    }

    /// The server may have closed a kept connection just before the request came.
    fn may_repeat(&self) -> bool {
        self.reused && self.fetch.repeatable
    }

    /// The connection has broken.
    fn break_off(&mut self, error: io::Error, outcomes: &mut Vec<Outcome>) {
        if self.may_repeat() && self.session.is_untouched() {
            self.give_up(Outcome::Stale(Rc::clone(&self.fetch)), outcomes);
        } else {
            self.fail(UpstreamError::Io(error), outcomes);
        }
    }

    fn expire(&mut self, paused: bool, shared: &mut Shared, outcomes: &mut Vec<Outcome>) {
        if !matches!(self.phase, Phase::Open(_)) {
            return;
        }
        let Some((wait, waited, at)) = self.wait(paused, shared) else {
            return;
        };
        if self.pieces.are_large() && self.progress_at + FAST_BODY_PIECE_WAIT <= shared.now {
            self.pieces = Pieces::new(shared.now);
            if let Phase::Open(connection) = &mut self.phase {
                // What waits makes an edge.
                connection.set_receive_low_water(&mut *shared.net, 1);
            }
        }
        if at <= shared.now {
            self.fail(UpstreamError::TimedOut { wait, waited }, outcomes);
        }
    }

    fn fail(&mut self, error: UpstreamError, outcomes: &mut Vec<Outcome>) {
        self.give_up(Outcome::Failed(error), outcomes);
    }

    /// Ends the connection; `last` is the only outcome that says how, and none comes after it.
    fn give_up(&mut self, last: Outcome, outcomes: &mut Vec<Outcome>) {
        outcomes.extend(
            self.close()
                .into_iter()
                .map(|socket| Outcome::Socket(SocketChange::Closed(socket))),
        );
        outcomes.push(last);
    }
}
