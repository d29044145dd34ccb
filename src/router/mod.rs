//! The loop and the relations: the only place where entities meet.
//!
//! One tick: wait, note edges (no I/O), queue what is due, run the sources, run the clients, reap.
//! Sources come first, so that one write per client carries all that a tick has brought. Each lane runs what
//! it held when its phase began; work made meanwhile waits for the next tick, so that no tick is unbounded.

mod accept;
pub mod access;
pub mod attach;
mod calm;
pub mod close;
pub mod complaints;
pub mod desk;
pub mod errand;
mod facts;
pub mod fanout;
mod fetch;
pub mod flow;
mod idle;
pub mod invariants;
mod leave;
mod library;
mod links;
#[cfg(test)]
mod observe;
mod play;
pub mod ready;
mod reconfigure;
pub mod record;
pub mod slots;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::access_log::AccessLog;
use crate::area::Worker;
use crate::arena::Arena;
use crate::client::{Ended, Incoming};
use crate::config::Config;
use crate::limits::{
    CONNECTIONS_READING_MAX, FORM_BYTES_MAX, SETTLE_WAIT, UPSTREAM_READ_BYTES,
    UPSTREAM_ROUNDS_PER_TURN, WARM_BYTES_MAX,
};
use crate::net::{Edge, Event, LookupId, Net, SocketId};
use crate::pool::Run;
use crate::proto::origins::RecentOrigins;
use crate::shared::Shared;
use crate::timers::Timers;
use crate::upstream::connect::SocketChange;
use crate::upstream::http::Fetch;
use crate::upstream::{Ending, Grant, Outcome, UpstreamError};
use attach::Lookup;
use calm::Calm;
use close::CloseReason;
use complaints::{Complaint, Complaints};
use desk::Desk;
use errand::Errands;
use flow::{Limits, Waiters};
use idle::Idles;
use leave::Leaving;
use library::Library;
use links::LastLinks;
use ready::{Entity, Owners, RunQueue};
use slots::{
    ChannelId, ChannelSlot, ClientId, ClientPipe, ClientSlot, Feed, ListenerSlot, UpstreamId,
    UpstreamSlot,
};

/// Why [`Router::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// There is something to be heard from the supervisor.
    Called,
    /// There is something to be told to the supervisor.
    Wishes(Wish),
    /// Everything is over.
    Stopped,
}

/// What a user of the status has asked of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To read the configuration again.
    Reload,
    /// To restart the workers.
    RestartWorkers,
}

/// The stream router.
pub struct Router {
    listeners: Arena<ListenerSlot>,
    clients: Arena<ClientSlot>,
    channels: Arena<ChannelSlot>,
    upstreams: Arena<UpstreamSlot>,
    idles: Idles,
    owners: Owners,
    run: RunQueue,
    timers: Timers<Entity>,
    graveyard: Vec<Entity>,
    waiters: Waiters,
    complaints: Complaints,
    access_log: AccessLog,
    /// Channel lists and what comes of them.
    library: Library,
    /// What is fetched for it.
    errands: Errands,
    /// Servers that were asked for lately.
    origins: RecentOrigins,
    /// How links in answers lead back here, as it was last written.
    last_links: Option<LastLinks>,
    /// Who watches the status.
    desk: Desk,
    /// What this worker shares with the others.
    worker: Worker,
    /// Exactly the clients whose next request is awaited, by the number they were given when that began.
    reading: BTreeMap<u64, ClientId>,
    next_reading: u64,
    lookups: HashMap<LookupId, Lookup>,
    next_lookup: u64,
    /// Clients that hold or await a stream.
    streams: usize,
    /// The supervisor has said something that nobody has heard yet.
    called: bool,
    /// What is to be told to the supervisor.
    wish: Option<Wish>,
    /// Set once the router is on its way out.
    leaving: Option<Leaving>,
    /// How many connections there had been when memory was last given back.
    settled_at: u64,
    /// Since when nobody is there; unset once memory has been given back.
    quiet_since: Option<Instant>,
    /// Since when nobody has come.
    calm: Calm,
    /// Scratch, reused.
    events: Vec<Event>,
    runs: Vec<Run>,
    /// What channels have brought since clients had their turn, bytes.
    warm_bytes: usize,
    outcomes: Vec<Outcome>,
    incoming: Vec<Incoming>,
    shared: Shared,
    /// What was reaped, for the simulation's oracles.
    #[cfg(test)]
    pub(crate) reaped: Vec<(ClientId, crate::client::Client)>,
    #[cfg(test)]
    pub(crate) left_channels: Vec<crate::channel::receive::Counters>,
}

impl Router {
    /// A router without listeners, which shares the client limit and the status with the other workers.
    pub fn new(net: Box<dyn Net>, config: Rc<Config>, worker: Worker) -> Self {
        let inherited = errand::inherited_list(&config, worker.area());
        let library = Library::new(&config, inherited);
        Self {
            errands: Errands::new(&config, library.guide_address(), net.now()),
            listeners: Arena::new(),
            clients: Arena::new(),
            channels: Arena::new(),
            upstreams: Arena::new(),
            idles: Idles::default(),
            owners: Owners::default(),
            run: RunQueue::default(),
            timers: Timers::default(),
            graveyard: Vec::new(),
            waiters: Waiters::default(),
            complaints: Complaints::default(),
            access_log: AccessLog::default(),
            library,
            origins: RecentOrigins::default(),
            last_links: None,
            desk: Desk::default(),
            worker,
            reading: BTreeMap::new(),
            next_reading: 0,
            lookups: HashMap::new(),
            next_lookup: 0,
            streams: 0,
            called: false,
            wish: None,
            leaving: None,
            settled_at: 0,
            quiet_since: None,
            calm: Calm::new(net.now()),
            events: Vec::new(),
            runs: Vec::new(),
            warm_bytes: 0,
            outcomes: Vec::new(),
            incoming: Vec::new(),
            shared: Shared::new(net, config),
            #[cfg(test)]
            reaped: Vec::new(),
            #[cfg(test)]
            left_channels: Vec::new(),
        }
    }

    /// Gives back what a quiet router does not need: after start-up, and when the last client has gone.
    pub fn settle(&mut self) {
        self.shared.release_memory();
        self.settled_at = self.shared.stats.connections;
    }

    /// Gives memory back when it has been quiet for a while: not between clients that come one after another.
    fn settle_if_due(&mut self) {
        if !self.is_quiet() {
            self.quiet_since = None;
        } else if self.shared.now >= *self.quiet_since.get_or_insert(self.shared.now) + SETTLE_WAIT
        {
            self.quiet_since = None;
            self.settle();
        }
    }

    /// Unmaps what clients needed only to begin, once nobody has come for a while. Wakes nobody for it: where streams
    /// run there are ticks enough, and elsewhere it is worth no wake-up.
    fn release_pages_if_due(&mut self) {
        let connections = self.shared.stats.connections;
        if self.calm.begins(connections, self.shared.now, SETTLE_WAIT) {
            self.shared.net.release_clean_pages();
        }
    }

    /// Whether nobody is connected, nothing is received, and this has not been noted yet.
    fn is_quiet(&self) -> bool {
        self.clients.is_empty()
            && self.channels.is_empty()
            && self.settled_at != self.shared.stats.connections
    }

    /// Runs until the supervisor has said something, or until everything is over.
    ///
    /// # Errors
    ///
    /// Only when the system lets nobody wait for events any more.
    pub fn run(&mut self) -> io::Result<Pause> {
        while !self.is_stopped() {
            self.tick()?;
            if std::mem::take(&mut self.called) {
                return Ok(Pause::Called);
            }
            if let Some(wish) = self.wish.take() {
                return Ok(Pause::Wishes(wish));
            }
        }
        let rest: Vec<ClientId> = self.clients.iter().map(|(id, _)| id).collect();
        rest.into_iter().for_each(|id| self.note_request_end(id));
        log::info!(
            "stopped: {}; {} bytes of buffers in use",
            self.shared.stats,
            self.shared.pool.held_bytes()
        );
        Ok(Pause::Stopped)
    }

    /// One pass of the loop.
    ///
    /// # Errors
    ///
    /// As [`Router::run`].
    pub fn tick(&mut self) -> io::Result<()> {
        self.tick_after(self.timeout())
    }

    /// The same when nothing has happened for `timeout`, or has at all if there is none.
    fn tick_after(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.shared.net.poll(timeout, &mut self.events)?;
        self.shared.now = self.shared.net.now();
        self.shared.stats.ticks += 1;
        self.note_events();
        self.queue_due();
        self.leave_if_due();
        self.run_errands();
        for _ in 0..self.run.sources_len() {
            self.run_next_source();
            if self.warm_bytes >= WARM_BYTES_MAX {
                self.run_clients();
            }
        }
        self.run_clients();
        self.tell_viewers();
        self.reap();
        self.settle_if_due();
        self.release_pages_if_due();
        self.shared.trim_if_due();
        self.waiters.wake(
            &self.shared,
            UPSTREAM_READ_BYTES,
            &mut self.clients,
            &mut self.upstreams,
            &mut self.run,
        );
        if cfg!(debug_assertions) {
            self.check();
        }
        Ok(())
    }

    /// Gives every client that waits for one a turn.
    fn run_clients(&mut self) {
        self.warm_bytes = 0;
        for _ in 0..self.run.clients_len() {
            if let Some(Entity::Client(id)) = self.run.pop_client() {
                self.run_client(id);
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let is_leaving = self.leaving.is_some();
        let reads_list = self.library.is_reading() && !is_leaving;
        // What was given up between two ticks is to be freed, and may be the last thing to wait for.
        if !self.run.is_empty() || !self.graveyard.is_empty() || reads_list {
            return Some(Duration::ZERO);
        }
        let errands_at = self.errands.deadline().filter(|_| !is_leaving);
        let settle_at = self.quiet_since.map(|since| since + SETTLE_WAIT);
        let status_at = self.desk.deadline(self.worker.area().is_viewed());
        let next = [
            self.timers.next_at(),
            self.leaving_deadline(),
            settle_at,
            status_at,
            errands_at,
        ]
        .into_iter()
        .flatten()
        .min()?;
        Some(next.saturating_duration_since(self.shared.net.now()))
    }

    fn note_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                Event::Ready { socket, edge } => {
                    // Edges of a socket closed in an earlier tick find no owner.
                    if let Some(entity) = self.owners.get(socket) {
                        self.note_edge(entity, socket, edge);
                    }
                }
                Event::Resolved { lookup, result } => self.resolved(lookup, result),
                Event::FileRead { read, result } => self.file_read(read, result),
                Event::Rung => self.answer_bell(),
                Event::Stop => self.stop(),
                Event::Called => self.called = true,
            }
        }
        self.events = events;
    }

    fn note_edge(&mut self, entity: Entity, socket: SocketId, edge: Edge) {
        let Self {
            listeners,
            clients,
            channels,
            upstreams,
            idles,
            run,
            ..
        } = self;
        match entity {
            Entity::Listener(id) => {
                let Some(slot) = listeners.get_mut(id) else {
                    return;
                };
                slot.socket.note(edge);
                run.push_if(slot.runnable(), entity, &mut slot.queued);
            }
            Entity::Client(id) => {
                let Some(slot) = clients.get_mut(id) else {
                    return;
                };
                slot.client.note(edge);
                run.push_if(slot.runnable(), entity, &mut slot.queued);
            }
            Entity::Channel(id) => {
                let Some(slot) = channels.get_mut(id) else {
                    return;
                };
                slot.channel.note(edge);
                run.push_if(slot.channel.runnable(), entity, &mut slot.queued);
            }
            Entity::Upstream(id) => {
                let Some(slot) = upstreams.get_mut(id) else {
                    return;
                };
                slot.upstream.note(socket, edge);
                run.push_if(slot.runnable(), entity, &mut slot.queued);
            }
            Entity::Idle(id) => {
                let Some(slot) = idles.get_mut(id) else {
                    return;
                };
                slot.connection.note(edge);
                run.push_if(slot.connection.can_read(), entity, &mut slot.queued);
            }
        }
    }

    /// Queues whoever has a deadline that has passed; arms again whose deadline has moved on.
    fn queue_due(&mut self) {
        let now = self.shared.now;
        while let Some((entity, at)) = self.timers.pop_due(now) {
            let Self {
                listeners,
                clients,
                channels,
                upstreams,
                idles,
                timers,
                run,
                shared,
                ..
            } = self;
            let slot = match entity {
                Entity::Listener(id) => listeners
                    .get_mut(id)
                    .map(|slot| (slot.retry_at, &mut slot.armed, &mut slot.queued)),
                Entity::Client(id) => clients
                    .get_mut(id)
                    .map(|slot| (slot.deadline(), &mut slot.armed, &mut slot.queued)),
                Entity::Channel(id) => channels.get_mut(id).map(|slot| {
                    let deadline = channel_deadline(slot, shared);
                    (Some(deadline), &mut slot.armed, &mut slot.queued)
                }),
                Entity::Upstream(id) => upstreams
                    .get_mut(id)
                    .map(|slot| (slot.deadline(shared), &mut slot.armed, &mut slot.queued)),
                Entity::Idle(id) => idles
                    .get_mut(id)
                    .map(|slot| (Some(slot.until), &mut slot.armed, &mut slot.queued)),
            };
            let Some((deadline, armed, queued)) = slot else {
                continue;
            };
            if *armed != Some(at) {
                continue;
            }
            *armed = None;
            if deadline.is_some_and(|deadline| deadline <= now) {
                run.push(entity, queued);
            } else {
                timers.arm(entity, deadline, armed);
            }
        }
        let live = self.clients.len()
            + self.channels.len()
            + self.upstreams.len()
            + self.idles.len()
            + self.listeners.len();
        if self.timers.is_bloated(live) {
            let Self {
                listeners,
                clients,
                channels,
                upstreams,
                idles,
                timers,
                ..
            } = self;
            timers.rebuild(|entity, at| {
                let armed = match entity {
                    Entity::Listener(id) => listeners.get(id).and_then(|slot| slot.armed),
                    Entity::Client(id) => clients.get(id).and_then(|slot| slot.armed),
                    Entity::Channel(id) => channels.get(id).and_then(|slot| slot.armed),
                    Entity::Upstream(id) => upstreams.get(id).and_then(|slot| slot.armed),
                    Entity::Idle(id) => idles.get(id).and_then(|slot| slot.armed),
                };
                armed == Some(at)
            });
        }
    }

    fn run_next_source(&mut self) {
        match self.run.pop_source() {
            Some(Entity::Listener(id)) => self.run_listener(id),
            Some(Entity::Channel(id)) => self.run_channel(id),
            Some(Entity::Upstream(id)) => self.run_upstream(id),
            Some(Entity::Idle(id)) => self.run_idle(id),
            Some(Entity::Client(_)) | None => {}
        }
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

    fn run_channel(&mut self, id: ChannelId) {
        let Some(slot) = self.channels.get_mut(id) else {
            return;
        };
        slot.queued = false;
        let wanted = slot.channel.wanted_bytes(&self.shared);
        if !self.shared.pool.has_room(wanted) {
            flow::reclaim(
                wanted,
                &mut self.clients,
                &mut self.channels,
                &mut self.shared,
            );
        }
        let limits = self.limits();
        let mut runs = std::mem::take(&mut self.runs);
        let Self {
            clients,
            channels,
            run,
            shared,
            ..
        } = self;
        let Some(slot) = channels.get_mut(id) else {
            return;
        };
        let result = slot.channel.run(slot.audience(), shared, &mut runs);
        fanout::deliver(slot, &runs, limits, clients, run, shared);
        self.warm_bytes += runs.iter().map(|run| run.view.len()).sum::<usize>();
        for subscriber in &slot.subscribers {
            if let Some(sink) = clients.get_mut(subscriber.client) {
                self.timers.arm(
                    Entity::Client(subscriber.client),
                    sink.deadline(),
                    &mut sink.armed,
                );
            }
        }
        runs.clear();
        self.runs = runs;
        let linger = self.shared.config.channel_linger;
        match result {
            Err(error) => self.fail_channel(id, error),
            Ok(())
                if slot
                    .lingering_since
                    .is_some_and(|since| self.shared.now >= since + linger) =>
            {
                self.end_channel(id);
            }
            Ok(()) => self.arm_channel(id),
        }
    }

    fn arm_channel(&mut self, id: ChannelId) {
        let Self {
            channels,
            timers,
            run,
            shared,
            ..
        } = self;
        let Some(slot) = channels.get_mut(id) else {
            return;
        };
        timers.arm(
            Entity::Channel(id),
            Some(channel_deadline(slot, shared)),
            &mut slot.armed,
        );
        run.push_if(
            slot.channel.runnable(),
            Entity::Channel(id),
            &mut slot.queued,
        );
    }

    /// Lets an upstream bring what its client can take; more than once while a body rushes through, because to
    /// fill the client's socket in one go costs fewer wake-ups at its other end than bit by bit.
    fn run_upstream(&mut self, id: UpstreamId) {
        for _ in 0..UPSTREAM_ROUNDS_PER_TURN {
            if !self.run_upstream_once(id) {
                return;
            }
        }
    }

    /// Tells whether the upstream has more and its client has taken everything so far.
    fn run_upstream_once(&mut self, id: UpstreamId) -> bool {
        let wanted = UPSTREAM_READ_BYTES.min(self.shared.pool.buffer_bytes_max());
        flow::reclaim_patient(wanted, &mut self.channels, &mut self.shared);
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
    fn part(&mut self, id: UpstreamId) {
        if let Some(source) = self.upstreams.get_mut(id) {
            flow::release(source, self.shared.now);
            source.outlives_client = source.upstream.leave();
        }
        self.after_parting(id);
    }

    /// Queues an upstream that can get on, and arms it.
    fn after_upstream_turn(&mut self, id: UpstreamId) {
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
                    .warn(Complaint::Upstream, self.shared.now, &text);
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

    fn run_client(&mut self, id: ClientId) {
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
    fn flush_client(&mut self, id: ClientId) {
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

    /// How much clients may hold now.
    fn limits(&self) -> Limits {
        Limits::new(
            &self.shared.pool,
            self.channels.len() + self.upstreams.len(),
        )
    }

    /// After anything was done to a client: queue it, arm it, or bury it. One that has been sent everything no
    /// longer counts towards the limit.
    fn after_turn(&mut self, id: ClientId) {
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
fn apply_change(change: SocketChange, id: UpstreamId, owners: &mut Owners, shared: &mut Shared) {
    match change {
        SocketChange::Opened(socket) => owners.insert(socket, Entity::Upstream(id)),
        SocketChange::Closed(socket) => {
            owners.remove(socket);
            shared.net.close(socket);
        }
    }
}

/// When a channel needs a turn although no edge comes.
fn channel_deadline(slot: &ChannelSlot, shared: &Shared) -> Instant {
    let deadline = slot.channel.deadline(shared);
    match slot.lingering_since {
        Some(since) => deadline.min(since + shared.config.channel_linger),
        None => deadline,
    }
}
