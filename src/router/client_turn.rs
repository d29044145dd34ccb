//! A client's turn: what it sends is served, and what waits for it is written.
//!
//! Afterwards it is queued again, armed or buried, and what its request held is given back once that is over.

use super::close::CloseReason;
use super::ready::Entity;
use super::slots::{ClientId, ClientPipe, Feed};
use super::{Router, flow};
use crate::client::{Ended, Incoming};
use crate::limits::{CONNECTIONS_READING_MAX, FORM_BYTES_MAX};

impl Router {
    /// Gives every client that waits for one a turn.
    pub(super) fn run_clients(&mut self) {
        self.brought_bytes = 0;
        for _ in 0..self.run.clients_len() {
            if let Some(Entity::Client(id)) = self.run.pop_client() {
                self.run_client(id);
            }
        }
    }

    pub(super) fn run_client(&mut self, id: ClientId) {
        let limits = self.limits();
        let mut incoming = std::mem::take(&mut self.incoming);
        let Self {
            clients,
            upstreams,
            shared,
            ..
        } = self;
        let Some(sink) = clients.get_mut(id) else {
            return;
        };
        sink.queued = false;
        let body_allowed = sink.body_allowed();
        sink.client.expire(body_allowed, shared, &mut incoming);
        let expired = match sink.feed {
            Feed::Lookup { lookup, until } => (until <= shared.now).then_some(lookup),
            _ => None,
        };
        let body_room = match sink.feed {
            _ if sink.form.is_some() => FORM_BYTES_MAX,
            Feed::Upstream(upstream) if body_allowed => upstreams
                .get(upstream)
                .map_or(0, |source| limits.upload_room(source)),
            _ => 0,
        };
        // The limits may have shrunk since the last part was taken.
        if body_room == 0
            && body_allowed
            && matches!(sink.feed, Feed::Upstream(_))
            && sink.client.has_body()
        {
            flow::pause_upload(sink, shared);
        }
        sink.client.receive(body_room, shared, &mut incoming);
        if let Some(lookup) = expired {
            let reason = CloseReason::Lookup(self.lookup_status(lookup));
            self.end_stream(id, &reason);
        }
        for item in incoming.drain(..) {
            match item {
                Incoming::Request(request) => self.serve(id, &request),
                part => self.take_upload(id, part),
            }
        }
        self.incoming = incoming;
        self.flush_client(id);
        self.after_turn(id);
    }

    /// Writes what a client takes now, and lets its upstream go on if that makes room.
    pub(super) fn flush_client(&mut self, id: ClientId) {
        let limits = self.limits();
        let Self {
            clients,
            upstreams,
            shared,
            run,
            ..
        } = self;
        let Some(sink) = clients.get_mut(id) else {
            return;
        };
        let held_bytes = sink.client.held_bytes();
        sink.client.flush(shared);
        if let Some(pipe) = &mut sink.pipe
            && sink.client.queue().piped_bytes() == 0
        {
            // What it held at most depended on the pieces that came.
            *pipe = ClientPipe::new(pipe.id);
        }
        if sink.client.held_bytes() == held_bytes {
            return;
        }
        flow::on_client_drain(sink, upstreams, run, limits, shared.now);
        if let Feed::Upstream(upstream) = sink.feed {
            if let Some(source) = upstreams.get_mut(upstream) {
                source.upstream.note_drained(shared.now);
            }
            self.after_upstream_turn(upstream);
        }
    }

    /// After anything was done to a client: queue it, arm it, or bury it. One that has been sent everything no
    /// longer counts towards the limit.
    pub(super) fn after_turn(&mut self, id: ClientId) {
        let is_over = self.clients.get(id).is_some_and(|sink| {
            let client = &sink.client;
            client.is_lingering() || client.is_closed() || client.is_reading()
        });
        if is_over {
            self.note_request_end(id);
        }
        let Self {
            clients,
            run,
            timers,
            graveyard,
            streams,
            reading,
            next_reading,
            shared,
            worker,
            desk,
            ..
        } = self;
        let Some(sink) = clients.get_mut(id) else {
            return;
        };
        let is_reading = sink.client.is_reading();
        match sink.reading {
            None if is_reading => {
                sink.reading = Some(*next_reading);
                reading.insert(*next_reading, id);
                *next_reading += 1;
            }
            Some(number) if !is_reading => {
                sink.reading = None;
                reading.remove(&number);
            }
            _ => {}
        }
        if sink.client.is_lingering() || sink.client.is_closed() || is_reading {
            if sink.streams {
                sink.streams = false;
                *streams -= 1;
            }
            sink.form = None;
            if let Some(record) = sink.record.take() {
                record.close(worker, sink.client.sent_bytes());
                desk.mark();
            }
            if let Some(pipe) = sink.pipe.take() {
                sink.client.detach_pipe();
                shared.net.close_pipe(pipe.id);
            }
        }
        if sink.client.is_closed() {
            return graveyard.push(Entity::Client(id));
        }
        run.push_if(sink.runnable(), Entity::Client(id), &mut sink.queued);
        timers.arm(Entity::Client(id), sink.deadline(), &mut sink.armed);
        self.bound_reading();
    }

    /// A connection without a request gives way when there are too many of them, the oldest first.
    fn bound_reading(&mut self) {
        if self.reading.len() > CONNECTIONS_READING_MAX
            && let Some((_, id)) = self.reading.pop_first()
            && let Some(sink) = self.clients.get_mut(id)
        {
            sink.reading = None;
            sink.client.close(Ended::Idle);
            self.after_turn(id);
        }
    }
}
