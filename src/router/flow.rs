//! Flow control: how much a client may be given, and when its upstream is paused and resumed.
//!
//! The same holds in the other direction: a client that uploads is not read while its upstream takes nothing.
//!
//! Only this file sets a [`PauseFlag`]. Pausing changes no registration: the socket keeps its cached
//! readiness, so that bytes which arrive meanwhile are read at the resume without a new edge.
//!
//! A client's limit is a source's fair share of the whole pool, more while most of the pool is free and less
//! when it is nearly full (server spec §11.2). The share is taken from the pool's bound and not from what
//! happens to be allocated, so a stalled client cannot raise its own limit, and nobody may hold more than a
//! quarter of the pool.

use std::time::Instant;

use super::ready::{Entity, RunQueue};
use super::slots::{ChannelSlot, ClientId, ClientSlot, Feed, UpstreamSlot};
use crate::arena::Arena;
use crate::limits::{
    QUEUE_HIGH_PERCENT, QUEUE_LOW_PERCENT, QUEUE_POOL_SHARE, QUEUE_SHARE_BYTES_MIN, SLOW_AFTER,
};
use crate::pool::Pool;
use crate::shared::Shared;
use crate::upstream::Grant;

/// A bit that only `flow` sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PauseFlag(bool);

impl PauseFlag {
    /// Whether it is set.
    pub fn is_set(self) -> bool {
        self.0
    }
}

/// How much clients may hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A source's share of the pool, bytes.
    share: usize,
    /// The limit of a client that keeps up, bytes held.
    normal: usize,
    /// The limit of a slow one.
    slow: usize,
}

impl Limits {
    /// For a router that receives from `sources` channels and upstreams.
    ///
    /// The shares are those of sources and not of clients: the clients of one channel hold views of the same
    /// buffers, so that together they pin little more than the one that is farthest behind.
    pub fn new(pool: &Pool, sources: usize) -> Self {
        let bytes_max = pool.bytes_max();
        let cap = bytes_max / QUEUE_POOL_SHARE;
        let share = (bytes_max / sources.max(1)).max(QUEUE_SHARE_BYTES_MIN);
        // Divided first: where a word has 32 bits, the products would not fit.
        let used_percent = pool.held_bytes() / (bytes_max / 100);
        // Tenths of the share.
        let tenths = match used_percent {
            95.. => 10,
            85.. => 15,
            _ => 30,
        };
        let limit = |tenths: usize| (share / 10).saturating_mul(tenths).min(cap);
        Self {
            share,
            normal: limit(tenths),
            slow: limit(tenths.min(8)),
        }
    }

    /// Bytes that `sink` may hold: its share, and no more than its pipe takes.
    pub fn limit(&self, sink: &ClientSlot) -> usize {
        let share = if sink.client.flow().is_some_and(|flow| flow.slow) {
            self.slow
        } else {
            self.normal
        };
        sink.pipe.map_or(share, |pipe| share.min(pipe.bytes_max))
    }

    /// At or above this many bytes held a TCP upstream is paused.
    pub fn high(&self, sink: &ClientSlot) -> usize {
        self.limit(sink) / 100 * QUEUE_HIGH_PERCENT
    }

    /// At or below this many bytes held it is resumed, and a skipping client is given media again.
    pub fn low(&self, sink: &ClientSlot) -> usize {
        self.limit(sink) / 100 * QUEUE_LOW_PERCENT
    }

    /// Bytes that `sink` may be given before its upstream must pause.
    pub fn room(&self, sink: &ClientSlot) -> usize {
        self.high(sink).saturating_sub(sink.client.held_bytes())
    }

    /// What `sink` may be given now.
    pub fn grant(&self, sink: &ClientSlot) -> Grant {
        Grant {
            room: self.room(sink),
            piped: sink.client.queue().piped_bytes(),
            keeps_up: sink.client.keeps_up(),
        }
    }

    /// Bytes of a request's body that `source` may be given before its client must pause.
    pub fn upload_room(&self, source: &UpstreamSlot) -> usize {
        let high = self.normal / 100 * QUEUE_HIGH_PERCENT;
        high.saturating_sub(source.upstream.held_bytes())
    }

    fn upload_low(&self) -> usize {
        self.normal / 100 * QUEUE_LOW_PERCENT
    }

    /// The high mark of a client that keeps up, and of an upload.
    #[cfg(test)]
    pub(crate) fn highest(&self) -> usize {
        self.normal / 100 * QUEUE_HIGH_PERCENT
    }

    /// Keeps up the judgement whether `sink` is slow (server spec §11.3).
    pub fn judge_pace(&self, sink: &mut ClientSlot, shared: &Shared) {
        let (enter, exit) = self.pace_marks();
        sink.client.judge_pace(enter, exit, SLOW_AFTER, shared.now);
    }

    /// Bytes held above which a client falls behind, and below which it keeps up again.
    fn pace_marks(&self) -> (usize, usize) {
        let enter = (self.share / 2).saturating_mul(3).min(self.normal / 10 * 9);
        let exit = (self.share / 10)
            .saturating_mul(11)
            .min(self.normal / 4 * 3)
            .min(enter / 4 * 3);
        (enter, exit)
    }
}

/// Stops reading `source`, because `sink` is full.
pub fn pause(sink: &mut ClientSlot, source: &mut UpstreamSlot, shared: &mut Shared) {
    if !source.upstream_paused.0 {
        source.upstream_paused = PauseFlag(true);
        sink.any_upstream_paused = PauseFlag(true);
        source.upstream.pause(shared.now);
        note_pause(sink, shared.now);
        shared.stats.backpressure_events += 1;
    }
}

/// Stops reading the body that `sink` uploads until there is an upstream to give it to.
pub fn hold_upload(sink: &mut ClientSlot) {
    sink.upload_paused = PauseFlag(true);
}

/// There is an upstream that the body which `sink` uploads can be given to.
pub fn begin_upload(sink: &mut ClientSlot, now: Instant) {
    sink.upload_paused = PauseFlag(false);
    sink.client.resume_body(now);
}

/// Stops reading the body that `sink` uploads, because its upstream is full.
pub fn pause_upload(sink: &mut ClientSlot, shared: &mut Shared) {
    if !sink.upload_paused.0 {
        sink.upload_paused = PauseFlag(true);
        note_pause(sink, shared.now);
        shared.stats.backpressure_events += 1;
    }
}

/// After an upstream has been written to: once it holds no more than the low mark, the client that uploads is
/// queued. An upstream that takes nothing more holds nothing either, so that the rest is read and forgotten.
pub fn on_upstream_drain(
    source: &UpstreamSlot,
    sink: &mut ClientSlot,
    run: &mut RunQueue,
    limits: Limits,
    now: Instant,
) {
    if !sink.upload_paused.0 || source.upstream.held_bytes() > limits.upload_low() {
        return;
    }
    sink.upload_paused = PauseFlag(false);
    note_resume(sink, now);
    sink.client.resume_body(now);
    if let Some(id) = source.client {
        run.push_if(sink.runnable(), Entity::Client(id), &mut sink.queued);
    }
}

/// After a client has been written to: once it holds no more than the low mark, its upstream is queued, which
/// still remembers that it is readable.
pub fn on_client_drain(
    sink: &mut ClientSlot,
    upstreams: &mut Arena<UpstreamSlot>,
    run: &mut RunQueue,
    limits: Limits,
    now: Instant,
) {
    if !sink.any_upstream_paused.0 {
        return;
    }
    if sink.client.held_bytes() > limits.low(sink) {
        return;
    }
    sink.any_upstream_paused = PauseFlag(false);
    note_resume(sink, now);
    let Feed::Upstream(id) = sink.feed else {
        return;
    };
    if let Some(source) = upstreams.get_mut(id) {
        source.upstream_paused = PauseFlag(false);
        resume(source, now);
        // Even if nothing waits to be read: its deadline counts again, and its turn arms it.
        run.push(Entity::Upstream(id), &mut source.queued);
    }
}

/// Counts a pause and remembers when it began.
fn note_pause(sink: &mut ClientSlot, now: Instant) {
    sink.client.note_pause();
    if let Some(record) = &mut sink.record {
        record.pauses.begin(now);
    }
}

/// Remembers when a pause ended, once nothing is paused in either direction.
fn note_resume(sink: &mut ClientSlot, now: Instant) {
    if !sink.any_upstream_paused.0
        && !sink.upload_paused.0
        && let Some(record) = &mut sink.record
    {
        record.pauses.end(now);
    }
}

/// An obstacle is gone; if it was the last one, reading goes on.
fn resume(source: &mut UpstreamSlot, now: Instant) {
    if source.may_read() {
        source.upstream.resume(now);
    }
}

/// The client of `source` is gone, and nobody is left to pause it for.
pub fn release(source: &mut UpstreamSlot, now: Instant) {
    source.client = None;
    source.upstream_paused = PauseFlag(false);
    resume(source, now);
}

/// A client's upstream has ended: nothing between the two is paused any more.
pub fn unlink(id: ClientId, clients: &mut Arena<ClientSlot>, now: Instant) {
    if let Some(sink) = clients.get_mut(id) {
        sink.any_upstream_paused = PauseFlag(false);
        sink.upload_paused = PauseFlag(false);
        note_resume(sink, now);
    }
}

/// TCP upstreams, and clients that upload, that found the pool empty. They are queued when buffers have come
/// back, and not before: to try again at once would only spin.
#[derive(Debug, Default)]
pub struct Waiters {
    parked: Vec<Entity>,
}

impl Waiters {
    /// Parks an entity; `starved` is its slot's.
    pub fn park(&mut self, entity: Entity, starved: &mut bool) {
        if !*starved {
            *starved = true;
            self.parked.push(entity);
        }
    }

    /// Queues all of them once the pool has room for a read.
    pub fn wake(
        &mut self,
        shared: &Shared,
        read_bytes: usize,
        clients: &mut Arena<ClientSlot>,
        upstreams: &mut Arena<UpstreamSlot>,
        run: &mut RunQueue,
    ) {
        let pool = &shared.pool;
        if self.parked.is_empty() || !pool.has_patient_room(read_bytes.min(pool.buffer_bytes_max()))
        {
            return;
        }
        for entity in self.parked.drain(..) {
            match entity {
                Entity::Upstream(id) => {
                    if let Some(source) = upstreams.get_mut(id) {
                        source.starved = false;
                        resume(source, shared.now);
                        run.push(entity, &mut source.queued);
                    }
                }
                Entity::Client(id) => {
                    if let Some(sink) = clients.get_mut(id) {
                        sink.starved = false;
                        sink.client.resume_body(shared.now);
                        run.push_if(sink.runnable(), entity, &mut sink.queued);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether nobody is parked.
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }
}

/// Makes room in the pool for a live channel that needs `wanted` bytes, so that a stalled client costs nobody
/// else a packet: first what is kept for newcomers is given up, then the client that holds most live media
/// loses the oldest half of it, counted as skipped, and so on.
pub fn reclaim(
    wanted: usize,
    clients: &mut Arena<ClientSlot>,
    channels: &mut Arena<ChannelSlot>,
    shared: &mut Shared,
    run: &mut RunQueue,
) {
    while !shared.pool.has_room(wanted) {
        if !forget_largest_replay(channels, shared) && !shed_largest_queue(clients, shared, run) {
            return;
        }
    }
}

/// Makes room for a TCP upstream: what is kept for newcomers is worth less than a client that waits.
pub fn reclaim_patient(wanted: usize, channels: &mut Arena<ChannelSlot>, shared: &mut Shared) {
    while !shared.pool.has_patient_room(wanted) && forget_largest_replay(channels, shared) {}
}

fn forget_largest_replay(channels: &mut Arena<ChannelSlot>, shared: &mut Shared) -> bool {
    let largest = channels
        .iter_mut()
        .filter(|(_, slot)| slot.channel.replay_held_bytes() > 0)
        .max_by_key(|(_, slot)| slot.channel.replay_held_bytes());
    let Some((_, slot)) = largest else {
        return false;
    };
    slot.channel.forget_replay();
    shared.stats.reclaims += 1;
    true
}

fn shed_largest_queue(
    clients: &mut Arena<ClientSlot>,
    shared: &mut Shared,
    run: &mut RunQueue,
) -> bool {
    let largest = clients
        .iter_mut()
        .filter(|(_, slot)| slot.client.queue().can_shed())
        .max_by_key(|(_, slot)| slot.client.held_bytes());
    let Some((id, sink)) = largest else {
        return false;
    };
    let half = sink.client.held_bytes() / 2;
    shared.stats.reclaims += 1;
    let gap = sink.client.shed(half, &mut shared.stats);
    // One whose stream is over only had that to wait for.
    run.push_if(sink.runnable(), Entity::Client(id), &mut sink.queued);
    gap.packets > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    use crate::arena::Id;
    use crate::client::Client;
    use crate::limits::BODY_WAIT;
    use crate::net::{Edge, Peer, SocketId};
    use crate::pool::Run;
    use crate::proto::http::{Framing, Relay};
    use crate::router::slots::ClientPipe;
    use crate::sim::Bench;
    use crate::upstream::{Outcome, Upstream};

    fn sink(bench: &Bench) -> ClientSlot {
        ClientSlot::new(Client::new(bench.socket, Peer::Unix, bench.shared.now))
    }

    /// Its client uploads a body.
    fn uploading(bench: &Bench) -> ClientSlot {
        let mut sink = sink(bench);
        sink.client.await_stream();
        let (body, now) = (Framing::Length(10), bench.shared.now);
        sink.client.begin_body(body, Relay::AsFramed, now);
        sink
    }

    /// An upstream that has nothing to do, and tells when reading last went on.
    struct Silent {
        resumed_at: Rc<Cell<Option<Instant>>>,
    }

    impl Upstream for Silent {
        fn visit_sockets(&self, _: &mut dyn FnMut(SocketId)) {}

        fn note(&mut self, _: SocketId, _: Edge) {}

        fn runnable(&self, _: bool) -> bool {
            false
        }

        fn deadline(&self, _: bool, _: &Shared) -> Option<Instant> {
            None
        }

        fn state_number(&self) -> u8 {
            0
        }

        fn transport(&self) -> &'static str {
            "tcp"
        }

        fn is_closed(&self) -> bool {
            false
        }

        fn run(&mut self, _: Option<Grant>, _: &mut Shared, _: &mut Vec<Outcome>) {}

        fn close(&mut self) -> Vec<SocketId> {
            Vec::new()
        }

        fn resume(&mut self, now: Instant) {
            self.resumed_at.set(Some(now));
        }
    }

    /// One for `client`, and when reading it last went on.
    fn source(client: ClientId, now: Instant) -> (UpstreamSlot, Rc<Cell<Option<Instant>>>) {
        let resumed_at = Rc::default();
        let upstream = Silent {
            resumed_at: Rc::clone(&resumed_at),
        };
        let slot = UpstreamSlot::new(Box::new(upstream), "tv.home:80".into(), client, now);
        (slot, resumed_at)
    }

    /// Has a client hold this many runs of live media.
    fn hold(sink: &mut ClientSlot, runs: usize, bench: &Bench) {
        for _ in 0..runs {
            let view = bench.shared.pool.take(2048).expect("room").freeze(1316);
            let (packets, start) = (1, None);
            let media = Run {
                view,
                packets,
                start,
            };
            sink.client.push_run(&media, bench.shared.now);
        }
    }

    #[test]
    fn a_client_is_given_no_more_than_its_pipe_takes() {
        let bench = Bench::new(1024);
        let limits = Limits::new(&bench.shared.pool, 1);
        let mut sink = sink(&bench);
        let mut pipe = ClientPipe::new(Id::from_parts(0, 0));
        pipe.bytes_max = 5000;
        sink.pipe = Some(pipe);
        assert_eq!(limits.limit(&sink), 5000);
    }

    #[test]
    fn time_that_an_upload_was_held_does_not_count_against_it() {
        let mut bench = Bench::new(1024);
        let mut sink = uploading(&bench);
        hold_upload(&mut sink);
        assert_eq!(sink.deadline(), None);
        bench.pass(2 * BODY_WAIT);
        begin_upload(&mut sink, bench.shared.now);
        assert_eq!(sink.deadline(), Some(bench.shared.now + BODY_WAIT));
    }

    #[test]
    fn time_that_the_upstream_was_full_does_not_count_against_an_upload() {
        let mut bench = Bench::new(1024);
        let mut sink = uploading(&bench);
        let (client, mut run) = (Id::from_parts(0, 0), RunQueue::default());
        let (source, _) = source(client, bench.shared.now);
        pause_upload(&mut sink, &mut bench.shared);
        assert_eq!(sink.deadline(), None);
        bench.pass(2 * BODY_WAIT);
        let limits = Limits::new(&bench.shared.pool, 1);
        on_upstream_drain(&source, &mut sink, &mut run, limits, bench.shared.now);
        assert_eq!(sink.deadline(), Some(bench.shared.now + BODY_WAIT));
    }

    #[test]
    fn upload_whose_upstream_has_ended_is_not_held_any_more() {
        let mut bench = Bench::new(1024);
        let mut clients = Arena::new();
        let id = clients.insert(uploading(&bench));
        let sink = clients.get_mut(id).expect("a client");
        pause_upload(sink, &mut bench.shared);
        assert!(!sink.body_allowed());
        unlink(id, &mut clients, bench.shared.now);
        assert!(clients.get(id).is_some_and(ClientSlot::body_allowed));
    }

    /// Its time was not counted while it was held, and its turn arms it.
    #[test]
    fn upstream_that_goes_on_has_a_turn_even_if_it_brings_nothing() {
        let mut bench = Bench::new(1024);
        let mut upstreams = Arena::new();
        let (source, resumed_at) = source(Id::from_parts(0, 0), bench.shared.now);
        let id = upstreams.insert(source);
        let source = upstreams.get_mut(id).expect("an upstream");
        let mut sink = sink(&bench);
        sink.feed = Feed::Upstream(id);
        pause(&mut sink, source, &mut bench.shared);
        bench.pass(BODY_WAIT);
        let mut run = RunQueue::default();
        let limits = Limits::new(&bench.shared.pool, 1);
        let now = bench.shared.now;
        on_client_drain(&mut sink, &mut upstreams, &mut run, limits, now);
        assert_eq!(resumed_at.get(), Some(now));
        assert_eq!(run.pop_source(), Some(Entity::Upstream(id)));
    }

    #[test]
    fn upstream_that_waited_for_memory_goes_on_when_there_is_some() {
        let mut bench = Bench::new(1024);
        let (mut clients, mut upstreams) = (Arena::new(), Arena::new());
        let (source, resumed_at) = source(Id::from_parts(0, 0), bench.shared.now);
        let id = upstreams.insert(source);
        let mut waiters = Waiters::default();
        let source = upstreams.get_mut(id).expect("an upstream");
        waiters.park(Entity::Upstream(id), &mut source.starved);
        bench.pass(BODY_WAIT);
        let mut run = RunQueue::default();
        let shared = &bench.shared;
        waiters.wake(shared, 1, &mut clients, &mut upstreams, &mut run);
        assert_eq!(resumed_at.get(), Some(shared.now));
        assert_eq!(run.pop_source(), Some(Entity::Upstream(id)));
        assert!(waiters.is_empty());
    }

    #[test]
    fn room_is_made_by_whoever_holds_most() {
        let mut bench = Bench::new(1024);
        let mut clients = Arena::new();
        let ids = [1, 9, 3].map(|runs| {
            let mut sink = sink(&bench);
            hold(&mut sink, runs, &bench);
            clients.insert(sink)
        });
        let (shared, run) = (&mut bench.shared, &mut RunQueue::default());
        assert!(shed_largest_queue(&mut clients, shared, run));
        let held = ids.map(|id| clients.get(id).expect("a client").client.held_bytes());
        assert_eq!(held, [2048, 4 * 2048, 3 * 2048]);
        assert_eq!(bench.shared.stats.packets_dropped, 5);
    }

    #[test]
    fn who_loses_the_rest_of_its_stream_has_a_turn() {
        let mut bench = Bench::new(1024);
        let mut clients = Arena::new();
        let mut sink = sink(&bench);
        sink.client.await_stream();
        hold(&mut sink, 1, &bench);
        sink.client.end();
        let id = clients.insert(sink);
        let is_queued = |clients: &Arena<ClientSlot>| clients.get(id).expect("a client").queued;
        assert!(!is_queued(&clients), "its socket takes nothing");
        let (shared, run) = (&mut bench.shared, &mut RunQueue::default());
        assert!(shed_largest_queue(&mut clients, shared, run));
        assert!(is_queued(&clients));
    }

    #[test]
    fn share_follows_the_bound_of_the_pool_and_not_its_use() {
        let pool = Pool::new(24 << 20);
        let alone = Limits::new(&pool, 1);
        assert_eq!(alone.share, 24 << 20);
        let held = pool.take(200_000);
        assert_eq!(Limits::new(&pool, 1), alone);
        drop(held);
        assert_eq!(Limits::new(&pool, 8).share, 3 << 20);
        assert_eq!(Limits::new(&pool, 100_000).share, QUEUE_SHARE_BYTES_MIN);
    }

    #[test]
    fn a_full_pool_takes_the_bonus_away() {
        let pool = Pool::new(4 << 20);
        let roomy = Limits::new(&pool, 8);
        assert_eq!(
            roomy.normal,
            1 << 20,
            "three shares, but at most a quarter of the pool"
        );
        let held: Vec<_> = std::iter::from_fn(|| pool.take(2048)).collect();
        let full = Limits::new(&pool, 8);
        assert_eq!(full.normal, full.share / 10 * 10);
        assert_eq!(full.slow, full.share / 10 * 8);
        drop(held);
    }

    #[test]
    fn marks_of_the_pace_lie_below_the_limit_whatever_a_word_holds() {
        let limits = Limits {
            share: usize::MAX,
            normal: usize::MAX / 4,
            slow: usize::MAX / 4,
        };
        let (enter, exit) = limits.pace_marks();
        assert_eq!(enter, limits.normal / 10 * 9);
        assert_eq!(exit, enter / 4 * 3);
    }

    #[test]
    fn every_pool_leaves_room_between_the_marks_and_the_limit() {
        for units in [64, 65, 100, 112, 128, 1024, 16_384] {
            let pool = Pool::new(units * 1536);
            for sources in [1, 2, 5, 100] {
                let limits = Limits::new(&pool, sources);
                assert!(
                    limits.normal <= pool.bytes_max(),
                    "{units} units, {sources} sources"
                );
                assert!(limits.slow <= limits.normal);
                assert!(limits.slow >= 8 * 1536);
            }
        }
    }
}
