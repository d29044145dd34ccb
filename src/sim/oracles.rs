//! What is judged while a scenario runs: books, pauses, times and bounds, after every tick.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::media::{Expected, Seen};
use super::peers::Peer;
use super::scenario::{Scenario, group};
use super::world::World;
use crate::limits::{
    BUFFER_BYTES_MIN, POOL_UNIT_BYTES, UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES_FAST,
};
use crate::router::Router;
use crate::router::slots::{ChannelId, ChannelSlot, ClientId, Feed, Gate, UpstreamId};
use crate::status::codec;
use crate::status::facts::WorkerFacts;

/// What a promise may be late by: ticks take some microseconds of virtual time each.
pub(super) const SLACK: Duration = Duration::from_micros(1500);
/// Media that is never dropped is written so soon after it has come and can be written. Chosen: a client that has
/// stopped first takes what waits before it, in small pieces.
const WAITING_MEDIA_DELAY_MAX: Duration = Duration::from_millis(100);
/// More polls per virtual second than this are a loop that spins.
const POLLS_PER_SECOND_MAX: u64 = 40_000;

/// What the oracles remember from tick to tick.
#[derive(Default)]
pub(super) struct Memory {
    /// How long the head of each channel is.
    heads: HashMap<ChannelId, u64>,
    /// Per client of a channel: who it is, what it had been given, and what the channel had handed on.
    books: HashMap<ClientId, (ChannelId, usize, u64, u64)>,
    pool_bytes: usize,
    paused: HashMap<UpstreamId, ClientId>,
    lingering: HashMap<ChannelId, (SocketAddr, Instant)>,
    /// What the queue of each client of an upstream, and that of its upstream, held.
    held: HashMap<ClientId, (usize, usize)>,
    /// The high mark of a client that keeps up.
    highest: usize,
    second: u64,
    polls: u64,
}

/// Who is still there, for a failure message.
pub(super) fn standing(router: &Router, world: &World) -> String {
    let mut text = String::new();
    for (id, slot) in router.clients().iter() {
        let peer = world.accepted[&slot.client.socket()];
        text += &format!(
            "\nclient {id}: {:?}, {} bytes queued, queued: {}, upload paused: {}\n  {:?}\n  {:?}",
            slot.feed,
            slot.client.queued_bytes(),
            slot.queued,
            slot.upload_paused.is_set(),
            world.peers[peer],
            world.connections[peer]
        );
    }
    for (id, slot) in router.upstreams().iter() {
        text += &format!(
            "\nupstream {id}: {} bytes queued, paused: {}, starved: {}, queued: {}",
            slot.upstream.held_bytes(),
            slot.upstream_paused.is_set(),
            slot.starved,
            slot.queued
        );
    }
    for (id, slot) in router.channels().iter() {
        text += &format!("\nchannel {id}: {:?}", slot.subscribers);
    }
    text
}

/// After every tick: the books of live clients, what lingers, and what is worth counting.
pub(super) fn observe(
    router: &Router,
    world: &mut World,
    scenario: &Scenario,
    stopped: Option<Instant>,
    memory: &mut Memory,
) {
    assert!(
        router.streams() <= scenario.config.clients_max,
        "more streams than -m"
    );
    let stats = &router.shared().stats;
    // In the smallest pools even the first media of a newcomer is taken back again.
    let small = scenario.config.pool_buffers_max < 256;
    world.overrun = stats.packets_overrun > 0 || (small && stats.packets_dropped > 0);
    let pool = &router.shared().pool;
    let bound = world.units * POOL_UNIT_BYTES;
    assert_eq!(pool.bytes_max(), bound, "another pool than -b");
    // What was given out by a larger pool only becomes less.
    let held = pool.held_bytes() + pool.spare_bytes();
    let held_before = std::mem::replace(&mut memory.pool_bytes, held);
    assert!(held <= bound.max(held_before), "more memory than -b");
    if stopped.is_none_or(|_| world.parts_at.is_none_or(|at| world.now < at)) {
        check_kept(router, world, memory);
    }
    check_books(router, world, memory);
    observe_pauses(router, world, memory);
    check_bounds(router, world, memory);
    check_linger(router, world, scenario, stopped, memory);
    ambush(router, world);
    let second = (world.now - world.began).as_secs();
    if second != memory.second {
        (memory.second, memory.polls) = (second, world.polls);
    }
    assert!(
        world.polls - memory.polls < POLLS_PER_SECOND_MAX,
        "the loop spins"
    );
}

/// What the status would tell must agree with what there is, and reach other workers as it is.
pub(super) fn check_facts(router: &mut Router) {
    let mut facts = router.told();
    let sent: u64 = facts.clients.iter().map(|client| client.sent_bytes).sum();
    assert!(
        sent <= router.client_bytes(),
        "bytes of the clients that are there"
    );
    let paused = router
        .clients()
        .iter()
        .filter(|(_, slot)| slot.any_upstream_paused.is_set());
    assert!(
        paused.count() as u64 <= facts.clients_paused,
        "clients that are paused"
    );
    assert_eq!(facts.clients_count as usize, facts.clients.len());
    assert!(
        facts.clients_count as usize >= router.streams(),
        "clients that count"
    );
    let mut copy: WorkerFacts = codec::decode(&codec::encode(&mut facts)).expect("decoded");
    // Kept in the area.
    (copy.stats, copy.pool.exhaustions) = (facts.stats, facts.pool.exhaustions);
    assert_eq!(copy, facts);
}

/// Has a client ask for a channel in the very moment in which it will be left.
fn ambush(router: &Router, world: &mut World) {
    if world.ambush.is_empty() || !world.rng.one_in(10) {
        return;
    }
    let now = world.now;
    let ends = |(_, slot): (ChannelId, &ChannelSlot)| {
        let linger = router.shared().config.channel_linger;
        let lingers = slot.lingering_since.map(|since| since + linger);
        let ends = slot.channel.deadline(router.shared());
        let ends = lingers.map_or(ends, |lingers| lingers.min(ends));
        (ends > now + Duration::from_millis(20)).then(|| (ends, slot.channel.address().group))
    };
    let Some((ends, address)) = router.channels().iter().find_map(ends) else {
        return;
    };
    let Some(peer) = world.ambush.pop() else {
        return;
    };
    let begin = ends + world.rng.micros(0, 900);
    if let Some(Peer::Client(client)) = &mut world.peers[peer] {
        client.begin = begin;
        client.request = format!("GET /rtp/{address} HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes();
        let channel = (0..).find(|channel| group(*channel) == address);
        client.expected = Expected::Channel(channel.expect("the group of a channel"));
    }
    world.wake(peer, begin);
    world.note("ambush");
}

/// Everything a channel has handed on is with each client, or counted as skipped: at every tick, to the byte.
fn check_books(router: &Router, world: &mut World, memory: &mut Memory) {
    let books = &mut memory.books;
    books.retain(|id, _| router.clients().get(*id).is_some());
    for (id, slot) in router.clients().iter() {
        let Feed::Channel(channel) = slot.feed else {
            continue;
        };
        let (Some(source), Some(flow)) = (router.channels().get(channel), slot.client.flow())
        else {
            continue;
        };
        let peer = world.accepted[&slot.client.socket()];
        world.fed_until.insert(peer, world.now);
        // After a reload there is none until somebody asks for it again; it is as long as it was.
        let head = memory.heads.entry(channel).or_default();
        if let Some(known) = &source.head {
            *head = known.len() as u64;
        }
        let head = *head;
        let given =
            slot.client.sent_bytes() + slot.client.queued_bytes() as u64 + flow.dropped.bytes;
        let given = given.saturating_sub(head);
        let handed = source.channel.counters().bytes;
        let (.., given_before, handed_before) =
            *books.entry(id).or_insert((channel, peer, given, handed));
        assert_eq!(
            given - given_before,
            handed - handed_before,
            "books of client {id}"
        );
    }
}

/// Nobody is taken off a channel that goes on, unless he has left.
fn check_kept(router: &Router, world: &World, memory: &Memory) {
    for (id, (channel, peer, ..)) in &memory.books {
        let mut clients = router.clients().get(*id).into_iter();
        let is_fed = clients.any(|slot| slot.feed == Feed::Channel(*channel));
        let Some(connection) = &world.connections[*peer] else {
            continue;
        };
        let has_left = connection.reset || connection.silent || connection.to_router_finished;
        assert!(
            is_fed || has_left || router.channels().get(*channel).is_none(),
            "client {peer} was taken off a channel that goes on"
        );
    }
}

fn observe_pauses(router: &Router, world: &mut World, memory: &mut Memory) {
    for (upstream, client) in std::mem::take(&mut memory.paused) {
        match router.upstreams().get(upstream) {
            Some(source) if !source.upstream_paused.is_set() => world.note("resume"),
            None if router.clients().get(client).is_none() => {
                world.note("client gone while paused")
            }
            _ => {}
        }
    }
    // Between two ticks nobody is looked at, so who waited before this one has waited up to now.
    let was_starving = std::mem::take(&mut world.starving);
    for (id, source) in router.upstreams().iter() {
        if source.starved {
            world.note("starved");
            world.starving = true;
        }
        let Some(client) = source.client.filter(|_| source.upstream_paused.is_set()) else {
            continue;
        };
        world.note("paused");
        memory.paused.insert(id, client);
        let Some(socket) = source.upstream.sockets().first().copied() else {
            continue;
        };
        let mut connections = world.connections.iter().flatten();
        let (reset, finished) = connections
            .find(|connection| connection.socket == Some(socket))
            .map_or((false, false), |connection| {
                (connection.reset, connection.to_router_finished)
            });
        if reset {
            world.note("error while paused");
        }
        if finished {
            world.note("end of stream while paused");
        }
    }
    if was_starving || world.starving {
        world.starved_at = Some(world.now);
    }
}

/// No queue of the HTTP path holds more than its high mark, one read and a head, in either direction.
fn check_bounds(router: &Router, world: &mut World, memory: &mut Memory) {
    let limits = router.flow_limits();
    // The mark moves with the number of sources, and what was below it a tick ago may be above it now.
    let high = limits
        .highest()
        .max(std::mem::replace(&mut memory.highest, limits.highest()));
    let before = std::mem::take(&mut memory.held);
    let read = UPSTREAM_READ_BYTES_FAST.min(router.shared().pool.buffer_bytes_max());
    for (id, sink) in router.clients().iter() {
        let Feed::Upstream(upstream) = sink.feed else {
            continue;
        };
        let Some(source) = router.upstreams().get(upstream) else {
            continue;
        };
        if !source.upstream.is_patient() {
            // Live media is skipped above the limit itself.
            continue;
        }
        let held = (sink.client.held_bytes(), source.upstream.held_bytes());
        let (down, up) = before.get(&id).copied().unwrap_or_default();
        let (down, up) = (
            down.max(high + read + 2 * BUFFER_BYTES_MIN),
            up.max(high + 2 * UPSTREAM_READ_BYTES),
        );
        assert!(
            held.0 <= down,
            "client {id} holds {} bytes, not {down}",
            held.0
        );
        assert!(
            held.1 <= up,
            "upstream {upstream} holds {} bytes, not {up}",
            held.1
        );
        let uploads = sink.upload_paused.is_set();
        if uploads && source.upstream_paused.is_set() {
            world.note("paused in both directions");
        }
        if uploads
            && source
                .upstream
                .queue()
                .is_some_and(|queue| !queue.is_empty())
        {
            world.note("upload paused");
        }
        if sink.starved {
            world.note("upload starved");
        }
        memory.held.insert(id, held);
    }
}

/// A channel that nobody listens to stays for the linger time and no longer.
fn check_linger(
    router: &Router,
    world: &mut World,
    scenario: &Scenario,
    stopped: Option<Instant>,
    memory: &mut Memory,
) {
    let linger = scenario.config.channel_linger;
    for (id, (address, since)) in std::mem::take(&mut memory.lingering) {
        match router.channels().get(id) {
            None if world.now < since + linger && stopped.is_none() => {
                // Only silence, or too many of them, ends one early.
                let channel = world
                    .sent
                    .iter()
                    .enumerate()
                    .find(|(index, _)| group(*index) == address);
                let arrived =
                    channel.and_then(|(_, sent)| sent.iter().rev().find_map(|sent| sent.arrived));
                let clean = channel.is_some_and(|(index, _)| world.clean[index]);
                let silent = arrived.is_none_or(|at| {
                    at + scenario.config.no_data_timeout <= world.now + Duration::from_millis(100)
                });
                let few = scenario.config.channels_lingering_max >= 8;
                assert!(
                    !few || !clean || silent,
                    "{address} was left while it lingered"
                );
            }
            Some(slot) if slot.lingering_since.is_none() => world.note("linger ended by a client"),
            _ => {}
        }
    }
    for (id, slot) in router.channels().iter() {
        if let Some(since) = slot.lingering_since {
            let late = world.now.saturating_duration_since(since + linger);
            assert!(late <= SLACK, "channel {id} lingers {late:?} too long");
            memory
                .lingering
                .insert(id, (slot.channel.address().group, since));
        }
        if slot
            .subscribers
            .iter()
            .any(|subscriber| matches!(subscriber.gate, Gate::Skipping { .. }))
        {
            world.note("skipping");
        }
    }
}

/// A TS packet has been written whole: was that in time?
pub(super) fn check_delay(world: &mut World, peer: usize, packet: Seen) {
    let by_name = world.peers[peer]
        .as_ref()
        .and_then(Peer::client)
        .is_none_or(|client| client.by_name);
    let (now, promise) = (world.now, world.promise);
    let Some(connection) = &world.connections[peer] else {
        return;
    };
    let Some(viewer) = &connection.viewer else {
        return;
    };
    let channel = match viewer.expected {
        Expected::Channel(channel) => channel,
        Expected::Stream(channel) => return check_stream_delay(world, peer, channel, packet),
        Expected::Page | Expected::Replies => return,
    };
    let sent = &world.sent[channel][packet.sequence as usize];
    let (Some(arrived), Some(writable_since)) = (sent.arrived, connection.writable_since) else {
        return;
    };
    // The first packets of a channel are put in order; after that nothing is held back on a clean one.
    let overflows = world
        .groups
        .get(&group(channel))
        .map_or(0, |log| log.overflows);
    if !world.clean[channel] || sent.place <= 16 || overflows > 0 || world.overrun {
        return;
    }
    if packet.first {
        let from = connection.read_at.map_or(arrived, |at| at.max(arrived));
        if !by_name && writable_since <= from {
            let delay = now - from;
            assert!(
                delay <= SLACK,
                "the first packet of client {peer} took {delay:?}"
            );
            world.note("newcomer on a running channel");
        }
    } else if viewer.first_media_at.is_some_and(|at| at < arrived) && writable_since <= arrived {
        let delay = now - arrived;
        assert!(
            delay <= promise + SLACK,
            "datagram {} ({sent:?}) took {delay:?} to client {peer}, not {promise:?}: {connection:?}",
            packet.sequence
        );
        world.note("flush promise kept");
    }
}

/// As [`check_delay`], for the media of a session.
fn check_stream_delay(world: &mut World, peer: usize, channel: usize, packet: Seen) {
    let mut plays = world.plays.iter();
    let (Some(play), Some(connection)) = (
        plays.find(|play| play.channel == channel),
        &world.connections[peer],
    ) else {
        return;
    };
    let sent = &world.sent[channel][packet.sequence as usize];
    let viewer = connection.viewer.as_ref();
    let (Some(arrived), Some(writable_since), Some(begun)) = (
        sent.arrived,
        connection.writable_since,
        viewer.and_then(|viewer| viewer.first_media_at),
    ) else {
        return;
    };
    let is_live = play.is_live();
    let from = arrived.max(writable_since);
    let is_judged = match is_live {
        // What is held back behind a hole, and what a full client has to catch up with, is late for a reason.
        true => {
            sent.place > 16 && play.has_no_holes() && writable_since <= arrived && !world.overrun
        }
        false => !world.starving && world.starved_at.is_none_or(|at| at < from),
    };
    if !is_judged || begun >= from {
        return;
    }
    let (delay, promise) = match is_live {
        true => (world.now - from, world.promise_alone),
        false => (world.now - from, WAITING_MEDIA_DELAY_MAX),
    };
    assert!(
        delay <= promise + SLACK,
        "packet {} ({sent:?}) took {delay:?} to client {peer}, not {promise:?}: {play:?} {connection:?}",
        packet.sequence
    );
    world.note(if is_live {
        "live media in time"
    } else {
        "waiting media in time"
    });
}
