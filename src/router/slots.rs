//! The router's record of each entity: the entity, its relations and whether its turn has come.

use std::rc::Rc;
use std::time::Instant;

use super::access::Logged;
use super::calls::Form;
use super::errand::Errand;
use super::flow::PauseFlag;
use super::record::Record;
use crate::arena::Id;
use crate::channel::{Audience, Channel};
use crate::client::Client;
use crate::limits::PIPE_BYTES;
use crate::net::{LookupId, PipeId, Place, Watched};
use crate::pool::Packet;
use crate::shared::Shared;
use crate::status::rate::Rate;
use crate::upstream::Upstream;
use crate::upstream::connection::{Connection, Destination};

/// Names a client.
pub type ClientId = Id<ClientSlot>;
/// Names a channel.
pub type ChannelId = Id<ChannelSlot>;
/// Names an upstream.
pub type UpstreamId = Id<UpstreamSlot>;
/// Names a connection that is kept.
pub type IdleId = Id<IdleSlot>;
/// Names a listener.
pub type ListenerId = Id<ListenerSlot>;

/// What a client is fed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Nothing.
    None,
    /// A look-up that will tell which channel.
    Lookup {
        /// Which.
        lookup: LookupId,
        /// When the client has waited long enough.
        until: Instant,
    },
    /// A live channel.
    Channel(ChannelId),
    /// A source of its own.
    Upstream(UpstreamId),
    /// The status of the router.
    Status,
}

/// A client and its relations.
pub struct ClientSlot {
    /// The connection.
    pub client: Client,
    /// What feeds it.
    pub feed: Feed,
    /// Counts towards `-m`: a stream was asked for, and something of the answer is still to be sent.
    pub streams: bool,
    /// What is remembered of the stream that was asked for.
    pub record: Option<Box<Record>>,
    /// What comes with a call of the API.
    pub form: Option<Box<Form>>,
    /// Some upstream of this client is paused: the one bit that `on_client_drain` tests.
    pub any_upstream_paused: PauseFlag,
    /// The body it uploads is not read, because its upstream is full or not there yet.
    pub upload_paused: PauseFlag,
    /// The body it uploads is not read, because the pool is empty; listed in `flow::Waiters`.
    pub starved: bool,
    /// What the body of its response comes through.
    pub pipe: Option<ClientPipe>,
    /// Its number among those whose next request is awaited.
    pub reading: Option<u64>,
    /// What the access log is still to be told of its request.
    pub logged: Option<Box<Logged>>,
    /// In the run queue.
    pub queued: bool,
    /// The deadline the timers know.
    pub armed: Option<Instant>,
}

/// A pipe of the kernel between a client's upstream and its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientPipe {
    /// Which.
    pub id: PipeId,
    /// What it has turned out to hold at most, bytes; small segments fill it sooner than large ones.
    pub bytes_max: usize,
}

impl ClientPipe {
    /// A pipe about which nothing is known yet.
    pub fn new(id: PipeId) -> Self {
        Self {
            id,
            bytes_max: PIPE_BYTES,
        }
    }
}

impl ClientSlot {
    /// A connection just accepted.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            feed: Feed::None,
            streams: false,
            record: None,
            form: None,
            any_upstream_paused: PauseFlag::default(),
            upload_paused: PauseFlag::default(),
            starved: false,
            pipe: None,
            reading: None,
            logged: None,
            queued: false,
            armed: None,
        }
    }

    /// Whether more of the body that it uploads may be read.
    pub fn body_allowed(&self) -> bool {
        !self.upload_paused.is_set() && !self.starved
    }

    /// Whether a turn would get something done.
    pub fn runnable(&self) -> bool {
        self.client.runnable(self.body_allowed())
    }

    /// When the client needs a turn although nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let lookup = match self.feed {
            Feed::Lookup { until, .. } => Some(until),
            _ => None,
        };
        let own = self.client.deadline(self.body_allowed());
        [lookup, own].into_iter().flatten().min()
    }
}

/// A channel and who listens.
pub struct ChannelSlot {
    /// The group.
    pub channel: Channel,
    /// Who listens, in no order.
    pub subscribers: Vec<Subscriber>,
    /// Head of the response, shared by all; made when the first media is known.
    pub head: Option<Packet>,
    /// Since when nobody listens.
    pub lingering_since: Option<Instant>,
    /// When it was joined.
    pub joined_at: Instant,
    /// How fast media comes.
    pub rate: Rate,
    /// In the run queue.
    pub queued: bool,
    /// The deadline the timers know.
    pub armed: Option<Instant>,
}

impl ChannelSlot {
    /// The audience, as the channel's turn needs it.
    pub fn audience(&self) -> Audience {
        Audience {
            subscribers: self.subscribers.len(),
            waiting: self
                .subscribers
                .iter()
                .any(|subscriber| subscriber.gate == Gate::Waiting),
        }
    }

    /// Until when it stays although nobody listens; unset while somebody does.
    pub fn lingers_until(&self, shared: &Shared) -> Option<Instant> {
        let since = self.lingering_since?;
        Some(since + shared.config.channel_linger)
    }

    /// When a turn is needed although no edge comes.
    pub fn deadline(&self, shared: &Shared) -> Instant {
        let own = self.channel.deadline(shared);
        self.lingers_until(shared)
            .map_or(own, |until| own.min(until))
    }
}

/// A client's place on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// Who.
    pub client: ClientId,
    /// Whether media passes.
    pub gate: Gate,
    /// Bytes it may hold beyond its limit: what it was started with, until it has caught up.
    pub credit: usize,
}

/// Whether media passes to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing has been sent yet; the next run takes the head along.
    Waiting,
    /// Runs pass.
    Open,
    /// The queue was at its limit: runs are skipped, and counted, until it is at half and a decoder can start
    /// again. `low_since` is when it came to be at half.
    Skipping {
        /// Unset while the queue is above half of its limit.
        low_since: Option<Instant>,
    },
}

/// An upstream and whom it feeds.
pub struct UpstreamSlot {
    /// The source.
    pub upstream: Box<dyn Upstream>,
    /// Scheme, host and port of the server that was asked for.
    pub address: Rc<str>,
    /// When it was made.
    pub since: Instant,
    /// Its client, unless that is gone.
    pub client: Option<ClientId>,
    /// The document that it brings for the router itself; it has no client then.
    pub errand: Option<Errand>,
    /// It goes on without a client until it has ended what it began.
    pub outlives_client: bool,
    /// Live media is skipped, and counted, until the client holds no more than the low mark.
    pub skips: bool,
    /// Answers a HEAD request, which does not count as a client.
    pub is_probe: bool,
    /// Not read, because the client is full.
    pub upstream_paused: PauseFlag,
    /// Not read, because the pool is empty; listed in `flow::Waiters`.
    pub starved: bool,
    /// In the run queue.
    pub queued: bool,
    /// The deadline the timers know.
    pub armed: Option<Instant>,
}

impl UpstreamSlot {
    /// An upstream for `client`, at `address`.
    pub fn new(
        upstream: Box<dyn Upstream>,
        address: Rc<str>,
        client: ClientId,
        now: Instant,
    ) -> Self {
        Self {
            client: Some(client),
            ..Self::alone(upstream, address, now)
        }
    }

    /// An upstream that brings a document, at `address`.
    pub fn of_errand(
        upstream: Box<dyn Upstream>,
        address: Rc<str>,
        errand: Errand,
        now: Instant,
    ) -> Self {
        Self {
            errand: Some(errand),
            outlives_client: true,
            ..Self::alone(upstream, address, now)
        }
    }

    fn alone(upstream: Box<dyn Upstream>, address: Rc<str>, now: Instant) -> Self {
        Self {
            upstream,
            address,
            since: now,
            client: None,
            errand: None,
            outlives_client: false,
            skips: false,
            is_probe: false,
            upstream_paused: PauseFlag::default(),
            starved: false,
            queued: false,
            armed: None,
        }
    }

    /// Whether it may be read.
    pub fn may_read(&self) -> bool {
        !self.upstream_paused.is_set() && !self.starved
    }

    /// Whether a turn would get something done.
    pub fn runnable(&self) -> bool {
        (self.client.is_some() || self.outlives_client) && self.upstream.runnable(self.may_read())
    }

    /// When a turn is needed although nothing happens.
    pub fn deadline(&self, shared: &Shared) -> Option<Instant> {
        self.upstream.deadline(!self.may_read(), shared)
    }
}

/// A connection to a server that is kept for another request.
pub struct IdleSlot {
    /// The connection.
    pub connection: Connection,
    /// Where it leads.
    pub destination: Rc<Destination>,
    /// When it is given up.
    pub until: Instant,
    /// In the run queue.
    pub queued: bool,
    /// The deadline the timers know.
    pub armed: Option<Instant>,
}

/// A listening socket.
pub struct ListenerSlot {
    /// The socket.
    pub socket: Watched,
    /// Where it listens.
    pub place: Place,
    /// It is given up as soon as nobody waits to be accepted, and then at the latest.
    pub retires_until: Option<Instant>,
    /// Accepting failed for want of descriptors, or the table is full; tried again then.
    pub retry_at: Option<Instant>,
    /// In the run queue.
    pub queued: bool,
    /// The deadline the timers know.
    pub armed: Option<Instant>,
}

impl ListenerSlot {
    /// Whether a turn would get something done.
    pub fn runnable(&self) -> bool {
        self.socket.readable && self.retry_at.is_none()
    }
}
