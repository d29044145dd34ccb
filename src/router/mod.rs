//! The loop and the relations: the only place where entities meet.
//!
//! One tick: wait, note edges (no I/O), queue what is due, run the sources, run the clients, reap.
//! Sources come first, so that one write per client carries all that a tick has brought. Each lane runs what
//! it held when its phase began; work made meanwhile waits for the next tick, so that no tick is unbounded.
//!
//! | Files | Are about |
//! |---|---|
//! | `ready`, `deadlines`, `slots` | who runs next, who is due, and what is known of each entity |
//! | `channel_turn`, `client_turn`, `upstream_turn` | a turn of each |
//! | `accept`, `attach`, `fetch`, `play` | from a connection to a request to its source: a group, a server, a session |
//! | `fanout`, `flow`, `idle` | from a source to its clients: gates and gaps, pauses, connections kept for the next |
//! | `close`, `leave`, `reconfigure`, `overdraft`, `calm` | how things end, change, and are given back |
//! | `errand`, `news`, `library`, `links` | lists and guides: fetched, shared with other workers, served, linked |
//! | `desk`, `calls`, `facts`, `record`, `access`, `complaints` | what others are told: status, its calls, logs |
//! | `invariants`, `observe` | what holds between ticks, and what the simulation may look at |

mod accept;
pub mod access;
pub mod attach;
mod calls;
mod calm;
mod channel_turn;
mod client_turn;
pub mod close;
pub mod complaints;
mod deadlines;
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
mod news;
#[cfg(test)]
mod observe;
mod overdraft;
mod play;
pub mod ready;
mod reconfigure;
pub mod record;
pub mod slots;
#[cfg(test)]
mod tests;
mod upstream_turn;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::access_log::AccessLog;
use crate::area::Worker;
use crate::arena::Arena;
use crate::client::Incoming;
use crate::config::Config;
use crate::limits::{HANDED_ON_AFTER_BYTES, UPSTREAM_READ_BYTES};
use crate::net::{Edge, Event, LookupId, Net, SocketId};
use crate::pool::Run;
use crate::proto::origins::RecentOrigins;
use crate::shared::Shared;
use crate::timers::Timers;
use crate::upstream::Outcome;
use attach::Lookup;
use calm::Calm;
use complaints::Complaints;
use desk::Desk;
use errand::Errands;
use flow::{Limits, Waiters};
use idle::Idles;
use leave::Leaving;
use library::Library;
use links::LastLinks;
use overdraft::Overdraft;
use ready::{Entity, Owners, RunQueue};
use slots::{ChannelSlot, ClientId, ClientSlot, ListenerSlot, UpstreamSlot};

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
    calm: Calm,
    /// Set while a reload has left the pool with less than is in use.
    overdraft: Option<Overdraft>,
    /// Scratch, reused.
    events: Vec<Event>,
    runs: Vec<Run>,
    /// What channels have brought since clients had their turn, bytes.
    brought_bytes: usize,
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
        let library = Library::new(&config);
        let generation = worker.area().generation();
        let errands = Errands::new(&config, library.guide_address(), generation, net.now());
        let mut router = Self {
            errands,
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
            calm: Calm::new(net.now()),
            overdraft: None,
            events: Vec::new(),
            runs: Vec::new(),
            brought_bytes: 0,
            outcomes: Vec::new(),
            incoming: Vec::new(),
            shared: Shared::new(net, config),
            #[cfg(test)]
            reaped: Vec::new(),
            #[cfg(test)]
            left_channels: Vec::new(),
        };
        router.inherit_list();
        router
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
        self.wait(timeout)?;
        self.shared.now = self.shared.net.now();
        self.shared.stats.ticks += 1;
        self.note_events();
        self.queue_due();
        self.leave_if_due();
        self.end_overdraft_if_due();
        self.run_errands();
        for _ in 0..self.run.sources_len() {
            self.run_next_source();
            if self.brought_bytes >= HANDED_ON_AFTER_BYTES {
                self.run_clients();
            }
        }
        self.run_clients();
        self.tell_viewers();
        self.reap();
        self.settle_if_due();
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

    fn run_next_source(&mut self) {
        match self.run.pop_source() {
            Some(Entity::Listener(id)) => self.run_listener(id),
            Some(Entity::Channel(id)) => self.run_channel(id),
            Some(Entity::Upstream(id)) => self.run_upstream(id),
            Some(Entity::Idle(id)) => self.run_idle(id),
            Some(Entity::Client(_)) | None => {}
        }
    }

    /// How much clients may hold now.
    fn limits(&self) -> Limits {
        Limits::new(
            &self.shared.pool,
            self.channels.len() + self.upstreams.len(),
        )
    }
}
