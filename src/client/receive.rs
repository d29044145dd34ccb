//! What a client sends: heads, read ahead of their time where it sends on, and bodies.
//!
//! Reads no more than somebody has room for: a body goes at the pace of whoever takes it, what comes before its time is
//! bounded, and what nobody wants is discarded.

use std::time::Instant;

use super::request::{self, Request};
use super::response::{Answer, Status};
use super::{Client, Ended, State};
use crate::limits::{DISCARD_BYTES_PER_TURN, HEAD_WAIT, READ_AHEAD_BYTES_MAX, UPSTREAM_READ_BYTES};
use crate::net::Io;
use crate::pool::Packet;
use crate::proto::http::{Body, Framing, HEAD_BYTES_MAX, Method, Relay};
use crate::shared::Shared;

/// What a client has sent, in order.
#[derive(Debug)]
pub enum Incoming {
    /// A complete request head.
    Request(Request),
    /// A part of the body, in the form that was asked for.
    Body(Packet),
    /// The body is complete.
    BodyEnd,
    /// The body makes no sense or was cut short.
    BodyFailed(Answer),
    /// The pool has no buffer for the body; nothing was read.
    Starved,
    /// It has closed its sending side, and nothing could be sent to it for [`HALF_CLOSED_WAIT`](crate::limits) inside
    /// its answer.
    Left,
}

impl Client {
    /// From now on the body of the request is read; [`Client::receive`] brings it in the form that `relay` says.
    pub fn begin_body(&mut self, framing: Framing, relay: Relay, now: Instant) {
        let body = Body::new(framing);
        self.relay = relay;
        self.body = (!body.is_complete()).then_some(body);
        self.body_at = now;
    }

    /// Whether a body is being read.
    pub fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Reading the body goes on after a pause.
    pub fn resume_body(&mut self, now: Instant) {
        self.body_at = now;
    }

    pub(super) fn would_read(&self, body_allowed: bool) -> bool {
        if self.body.is_some() {
            body_allowed && (self.socket.readable || !self.ahead.is_empty())
        } else {
            // What is discarded has no limit: unread bytes would reset the connection when it is closed.
            let room = self.ahead.len() < READ_AHEAD_BYTES_MAX || !self.keeps_what_comes();
            self.socket.readable && room
        }
    }

    /// Reads what the client sent, at most `body_room` bytes of a body, and appends it to `incoming`. Heads that
    /// are wrong are answered here.
    pub fn receive(&mut self, body_room: usize, shared: &mut Shared, incoming: &mut Vec<Incoming>) {
        if self.body.is_some() {
            self.receive_body(body_room, shared, incoming);
        } else {
            self.receive_ahead(shared, incoming);
        }
    }

    /// Reads towards the next head, or what comes before its time.
    fn receive_ahead(&mut self, shared: &mut Shared, incoming: &mut Vec<Incoming>) {
        if self.read_head(shared, incoming) {
            return;
        }
        let mut scratch = std::mem::take(&mut shared.scratch);
        scratch.resize(HEAD_BYTES_MAX, 0);
        let mut budget = DISCARD_BYTES_PER_TURN;
        while budget > 0 && !self.is_closed() && self.body.is_none() && self.would_read(false) {
            match self.socket.read(&mut *shared.net, &mut scratch) {
                Ok(Io::Done(0)) => self.note_end(shared),
                Ok(Io::Done(len)) => {
                    budget = budget.saturating_sub(len);
                    if self.keeps_what_comes() && self.take_in(&scratch[..len], shared, incoming) {
                        break;
                    }
                }
                Ok(Io::Blocked) => {}
                Err(_) => self.close(Ended::Peer),
            }
        }
        shared.scratch = scratch;
    }

    /// Whether what the client sends now may be another request; otherwise it is discarded.
    fn keeps_what_comes(&self) -> bool {
        match self.state {
            State::Reading { .. } => true,
            State::Waiting | State::Streaming | State::Draining => self.keep_alive,
            State::Lingering { .. } | State::Breaking { .. } | State::Closed(_) => false,
        }
    }

    /// The client has closed its sending side. It still gets what it asked for, unless that keeps it waiting.
    fn note_end(&mut self, shared: &mut Shared) {
        if !self.read_closed {
            self.read_closed = true;
            self.progress_at = shared.now;
        }
        // Another edge would tell that the connection broke, and so does another read then.
        self.socket.readable = false;
        match self.state {
            State::Reading { .. } if self.ahead.is_empty() => self.close(Ended::Peer),
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

    /// Keeps what has just come, but for a head that is awaited and complete. Tells whether there was one.
    fn take_in(&mut self, bytes: &[u8], shared: &mut Shared, incoming: &mut Vec<Incoming>) -> bool {
        if !self.is_reading() || !self.ahead.is_empty() {
            self.ahead.extend_from_slice(bytes);
            return self.read_head(shared, incoming);
        }
        // Most heads come in one piece, and need not be kept.
        let head_bytes = self.decode_head(bytes, shared, incoming);
        if head_bytes.is_some() || self.is_reading() {
            let rest = bytes.get(head_bytes.unwrap_or(0)..).unwrap_or_default();
            self.ahead.extend_from_slice(rest);
        }
        if head_bytes.is_none() {
            self.ahead_checked = self.ahead.len();
        }
        head_bytes.is_some()
    }

    /// Takes a complete head off what has been read ahead, if a head is awaited. Tells whether there was one.
    fn read_head(&mut self, shared: &mut Shared, incoming: &mut Vec<Incoming>) -> bool {
        if !self.is_reading() || self.ahead.len() == self.ahead_checked {
            return false;
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        self.ahead_checked = 0;
        match self.decode_head(&ahead, shared, incoming) {
            Some(len) => {
                if len < ahead.len() {
                    ahead.drain(..len);
                    self.ahead = ahead;
                }
                true
            }
            None => {
                if self.is_reading() {
                    self.ahead_checked = ahead.len();
                    self.ahead = ahead;
                    if self.read_closed {
                        self.note_end(shared);
                    }
                }
                false
            }
        }
    }

    /// Decodes the head at the front of `bytes` and tells its length; a wrong one is answered.
    fn decode_head(
        &mut self,
        bytes: &[u8],
        shared: &mut Shared,
        incoming: &mut Vec<Incoming>,
    ) -> Option<usize> {
        match request::decode(bytes) {
            Ok(Some((request, len))) => {
                self.state = State::Waiting;
                self.minor_version = request.minor_version;
                self.is_head = request.method == Method::Head;
                self.wants_page = request.wants_page();
                self.status = None;
                self.failure = None;
                incoming.push(Incoming::Request(request));
                Some(len)
            }
            Ok(None) => {
                if matches!(self.state, State::Reading { kept: true, .. }) {
                    self.state = State::Reading {
                        until: shared.now + HEAD_WAIT,
                        kept: false,
                    };
                }
                None
            }
            Err(error) => {
                self.is_head = false;
                self.wants_page = false;
                self.answer(&error.answer(), shared);
                None
            }
        }
    }

    fn receive_body(&mut self, mut room: usize, shared: &mut Shared, incoming: &mut Vec<Incoming>) {
        let mut budget = DISCARD_BYTES_PER_TURN;
        while room > 0 && budget > 0 && self.would_read(true) {
            let Some(body) = &mut self.body else { return };
            let mut len = room
                .min(UPSTREAM_READ_BYTES)
                .min(shared.pool.buffer_bytes_max());
            if !self.ahead.is_empty() {
                len = len.min(self.ahead.len());
            }
            let Some(mut chunk) = shared.pool.take_patient(len) else {
                return incoming.push(Incoming::Starved);
            };
            let count = if self.ahead.is_empty() {
                match self
                    .socket
                    .read(&mut *shared.net, &mut chunk.bytes_mut()[..len])
                {
                    Ok(Io::Done(count)) => count,
                    Ok(Io::Blocked) => return,
                    Err(_) => return self.close(Ended::Peer),
                }
            } else {
                chunk.bytes_mut()[..len].copy_from_slice(&self.ahead[..len]);
                self.ahead.drain(..len);
                len
            };
            if count == 0 {
                self.read_closed = true;
                self.socket.readable = false;
                let text = "the request body is incomplete";
                return incoming.push(Incoming::BodyFailed(Answer::new(Status::BadRequest, text)));
            }
            self.body_at = shared.now;
            let mut parts = Vec::new();
            let result = body.receive(&chunk.bytes()[..count], self.relay, &mut parts);
            let complete = body.is_complete();
            let chunk = chunk.freeze(count);
            for part in parts {
                let view = chunk.slice(part);
                room = room.saturating_sub(view.held_bytes());
                incoming.push(Incoming::Body(view));
            }
            budget = budget.saturating_sub(count);
            match result {
                Ok(used) => {
                    if let Some(surplus) = chunk.bytes().and_then(|bytes| bytes.get(used..)) {
                        self.ahead.splice(..0, surplus.iter().copied());
                    }
                }
                Err(error) => {
                    let answer = Answer::new(Status::BadRequest, format!("request body: {error}"));
                    return incoming.push(Incoming::BodyFailed(answer));
                }
            }
            if complete {
                self.body = None;
                incoming.push(Incoming::BodyEnd);
            }
        }
    }
}
