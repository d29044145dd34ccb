//! An upstream's turn: what it brings goes to its client, as long as that has room.
//!
//! Every [`Outcome`] of an upstream that has a client is carried out here, and so is its end. One that has lost its
//! client goes on alone until it has said goodbye; one on an errand of the router itself is left to
//! [`super::errand`].

use std::rc::Rc;

use super::close::CloseReason;
use super::complaints::Complaint;
use super::ready::{Entity, Owners};
use super::slots::{ClientId, ClientPipe, Feed, UpstreamId};
use super::{Router, flow, play};
use crate::limits::{UPSTREAM_READ_BYTES, UPSTREAM_ROUNDS_PER_TURN};
use crate::shared::Shared;
use crate::upstream::connect::SocketChange;
use crate::upstream::http::Fetch;
use crate::upstream::{Ending, Grant, Outcome, UpstreamError};

impl Router {
    /// Lets an upstream bring what its client can take; more than once while a body rushes through, because to
    /// fill the client's socket in one go costs fewer wake-ups at its other end than bit by bit.
    pub(super) fn run_upstream(&mut self, id: UpstreamId) {
        for _ in 0..UPSTREAM_ROUNDS_PER_TURN {
            if !self.run_upstream_once(id) {
                return;
            }
        }
    }

    /// Sees to it that what an upstream brings finds memory. One that waits gets what nobody needs; one that does not is a
    /// live channel like any other.
    fn make_room_for(&mut self, id: UpstreamId) {
        let wanted = UPSTREAM_READ_BYTES.min(self.shared.pool.buffer_bytes_max());
        let source = self.upstreams.get_mut(id);
        if source.is_none_or(|source| source.upstream.is_patient()) {
            flow::reclaim_patient(wanted, &mut self.channels, &mut self.shared);
        } else if !self.shared.pool.has_room(wanted) {
            flow::reclaim(
                wanted,
                &mut self.clients,
                &mut self.channels,
                &mut self.shared,
                &mut self.run,
            );
        }
    }

    /// Tells whether the upstream has more and its client has taken everything so far.
    fn run_upstream_once(&mut self, id: UpstreamId) -> bool {
        self.make_room_for(id);
        let limits = self.limits();
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let Self {
            clients,
            upstreams,
            shared,
            run,
            waiters,
            owners,
            desk,
            ..
        } = self;
        let Some(source) = upstreams.get_mut(id) else {
            return false;
        };
        source.queued = false;
        let client = source
            .client
            .and_then(|client| Some((client, clients.get_mut(client)?)));
        let Some((client_id, sink)) = client else {
            match source.errand {
                Some(errand) => self.run_errand(id, errand, outcomes),
                None => self.run_orphan(id, outcomes),
            }
            return false;
        };
        if sink.client.is_closed() {
            // Clients have turns between two sources: it has left in this tick, and will be parted from its upstream
            // when it is reaped. What it had, a pipe for instance, is no longer there.
            self.outcomes = outcomes;
            return false;
        }
        let grant = source.may_read().then(|| limits.grant(sink));
        let state = source.upstream.state_number();
        source.upstream.run(grant, shared, &mut outcomes);
        if source.upstream.state_number() != state {
            desk.mark();
        }
        let mut end = None;
        let mut pipe_full = false;
        let mut names = Vec::new();
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Socket(change) => apply_change(change, id, owners, shared),
                Outcome::Resolve(name) => names.push(name),
                Outcome::PipeOpened(pipe) => {
                    if end.is_none() {
                        sink.client.attach_pipe(pipe, shared.pool.open_charge());
                    }
                    sink.pipe = Some(ClientPipe::new(pipe));
                }
                // What comes behind a head for which there was no memory.
                _ if end.is_some() => {}
                Outcome::Interim(head) => {
                    // One that finds no memory is left out; the final head is what counts.
                    if let Some(head) = shared.pool.copy_reserved(&head) {
                        sink.client.push_interim(head, shared.now);
                    }
                }
                Outcome::Head(head) => {
                    let result = sink.client.begin_reply(head, shared);
                    end = result
                        .err()
                        .map(|_| UpstreamEnd::Failed(UpstreamError::Memory));
                }
                Outcome::Stream(metadata) => {
                    let result = play::begin(sink, &metadata, shared);
                    end = result
                        .err()
                        .map(|_| UpstreamEnd::Failed(UpstreamError::Memory));
                }
                Outcome::Live(media) => play::pass(source, sink, &media, limits, shared),
                Outcome::Body(view) => sink.client.push_body(view, shared.now),
                Outcome::Piped(bytes) => sink.client.note_piped(bytes, shared.now),
                Outcome::PipeFull => {
                    let piped_bytes = sink.client.queue().piped_bytes();
                    if let Some(pipe) = &mut sink.pipe {
                        pipe.bytes_max = piped_bytes.max(UPSTREAM_READ_BYTES);
                    }
                    pipe_full = true;
                }
                Outcome::Starved => waiters.park(Entity::Upstream(id), &mut source.starved),
                Outcome::End(ending) => end = Some(UpstreamEnd::Complete(ending)),
                Outcome::Stale(fetch) => end = Some(UpstreamEnd::Stale(fetch)),
                Outcome::Failed(error) => end = Some(UpstreamEnd::Failed(error)),
            }
        }
        self.outcomes = outcomes;
        if source.starved {
            source.upstream.pause(shared.now);
        }
        if let Some(end) = end {
            self.finish_upstream(id, client_id, end);
            return false;
        }
        debug_assert!(!source.upstream.is_closed(), "no upstream goes silently");
        flow::on_upstream_drain(source, sink, run, limits, shared.now);
        for name in names {
            self.look_up_for(id, name);
        }
        // At once, while what was brought is at hand: nobody else adds to it. Only what the client does not take
        // is a reason to pause.
        self.flush_client(client_id);
        let limits = self.limits();
        let Self {
            clients,
            upstreams,
            shared,
            ..
        } = self;
        let mut rushes = false;
        if let (Some(sink), Some(source)) = (clients.get_mut(client_id), upstreams.get_mut(id))
            && source.upstream.is_patient()
        {
            let full = pipe_full && sink.client.queue().piped_bytes() > 0;
            if full || limits.room(sink) == 0 {
                flow::pause(sink, source, shared);
            }
            rushes = sink.pipe.is_some()
                && !sink.client.is_closed()
                && sink.client.keeps_up()
                && source.runnable();
        }
        self.after_upstream_turn(id);
        self.after_turn(client_id);
        rushes
    }

    /// A turn of an upstream whose client is gone: it ends what it has begun, and brings nothing.
    fn run_orphan(&mut self, id: UpstreamId, mut outcomes: Vec<Outcome>) {
        let Self {
            upstreams,
            shared,
            owners,
            ..
        } = self;
        let mut names = Vec::new();
        if let Some(source) = upstreams.get_mut(id)
            && source.outlives_client
        {
            source
                .upstream
                .run(Some(Grant::DISCARD), shared, &mut outcomes);
            for outcome in outcomes.drain(..) {
                match outcome {
                    Outcome::Socket(change) => apply_change(change, id, owners, shared),
                    Outcome::Resolve(name) => names.push(name),
                    _ => {}
                }
            }
            source.outlives_client = !source.upstream.is_closed();
        }
        self.outcomes = outcomes;
        for name in names {
            self.look_up_for(id, name);
        }
        self.after_parting(id);
    }

    /// An upstream has lost its client: it goes on for a while, or is buried.
    fn after_parting(&mut self, id: UpstreamId) {
        if self
            .upstreams
            .get(id)
            .is_some_and(|source| source.outlives_client)
        {
            self.after_upstream_turn(id);
        } else {
            self.graveyard.push(Entity::Upstream(id));
        }
    }

    /// Parts an upstream from its client, which is gone or wants nothing more of it.
    pub(super) fn part(&mut self, id: UpstreamId) {
        if let Some(source) = self.upstreams.get_mut(id) {
            flow::release(source, self.shared.now);
            source.outlives_client = source.upstream.leave();
        }
        self.after_parting(id);
    }

    /// Queues an upstream that can get on, and arms it.
    pub(super) fn after_upstream_turn(&mut self, id: UpstreamId) {
        let Self {
            upstreams,
            shared,
            run,
            timers,
            ..
        } = self;
        if let Some(source) = upstreams.get_mut(id) {
            let entity = Entity::Upstream(id);
            run.push_if(source.runnable(), entity, &mut source.queued);
            timers.arm(entity, source.deadline(shared), &mut source.armed);
        }
    }

    /// An upstream has ended: well, or with an error that the client is told of if it can be.
    fn finish_upstream(&mut self, id: UpstreamId, client: ClientId, end: UpstreamEnd) {
        flow::unlink(client, &mut self.clients, self.shared.now);
        self.part(id);
        if let Some(sink) = self.clients.get_mut(client) {
            sink.feed = Feed::None;
        }
        match end {
            UpstreamEnd::Complete(ending) => {
                self.finish_client(client, ending);
                // At once, as what comes before an end: while it is at hand.
                self.flush_client(client);
                self.after_turn(client);
            }
            UpstreamEnd::Stale(fetch) => {
                self.fetch_anew(client, fetch);
                self.after_turn(client);
            }
            UpstreamEnd::Failed(error) => {
                let reason = CloseReason::Upstream(error);
                let text = format!("client {client}: {}", reason.detail());
                self.complaints
                    .log(Complaint::Upstream, self.shared.now, &text);
                self.end_stream(client, &reason);
            }
        }
    }

    /// All has been brought that a client is to get.
    fn finish_client(&mut self, id: ClientId, ending: Ending) {
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        match ending {
            Ending::Whole => sink.client.end(),
            Ending::Reusable(connection, destination) => {
                sink.client.end();
                self.keep(connection, destination);
            }
            Ending::Described(metadata) => play::describe(sink, &metadata, &mut self.shared),
            Ending::Lasts(duration) => play::tell_duration(sink, duration, &mut self.shared),
        }
    }
}

/// How an upstream ended.
enum UpstreamEnd {
    /// All has been said.
    Complete(Ending),
    /// The connection was one that had been kept, and it was dead.
    Stale(Rc<Fetch>),
    Failed(UpstreamError),
}

/// Keeps the owners up to date, and closes what an upstream has given up.
pub(super) fn apply_change(
    change: SocketChange,
    id: UpstreamId,
    owners: &mut Owners,
    shared: &mut Shared,
) {
    match change {
        SocketChange::Opened(socket) => owners.insert(socket, Entity::Upstream(id)),
        SocketChange::Closed(socket) => {
            owners.remove(socket);
            shared.net.close(socket);
        }
    }
}
