//! The whole router under a seed: a scenario is drawn, run until nothing will ever happen any more, and judged
//! by its ends. How to run and replay, what is modelled and what not: `README.md` beside this file.
//!
//! The invariants are checked after every tick by the router itself; the oracles here look at bytes delivered,
//! gaps counted, buffers returned, and times kept.

mod media;
mod net;
mod peers;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::Ended as ClientEnded;
use crate::config::Config;
use crate::limits::POOL_UNIT_BYTES;
use crate::router::Router;
use crate::router::slots::{ChannelId, ChannelSlot, ClientId, Feed, Gate, UpstreamId};
use media::{Expected, Rng, Seen, Viewer};
use net::{Faults, SimNet, World};
use peers::{Client, Close, Ended, Leave, Pace, Peer, Sender, Server};

/// What a promise may be late by: ticks take some microseconds of virtual time each.
const SLACK: Duration = Duration::from_micros(1500);
/// More polls per virtual second than this are a loop that spins.
const POLLS_PER_SECOND_MAX: u64 = 40_000;
/// Longest scenario in virtual time.
const TIME_MAX: Duration = Duration::from_secs(1200);

// ---- The flush promise, checked as bytes are written --------------------------------------------------------

/// A TS packet has been written whole: was that in time?
fn check_delay(world: &mut World, peer: usize, packet: Seen) {
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
    let Expected::Channel(channel) = viewer.expected else {
        return;
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

// ---- A scenario ---------------------------------------------------------------------------------------------

struct Scenario {
    config: Config,
    stop_at: Option<Duration>,
    /// The pool is large enough that nobody who reads may lose anything.
    roomy: bool,
}

fn group(channel: usize) -> SocketAddr {
    SocketAddr::from(([239, 0, 0, channel as u8 + 1], 5000))
}

/// Draws a scenario and puts its peers into the world.
fn draw(seed: u64, world: &mut World) -> Scenario {
    let mut rng = Rng::new(seed);
    let marathon = rng.one_in(10);
    // Many clients of one channel share its pages.
    let crowd = rng.one_in(5);
    let channels = match (crowd, marathon) {
        (true, _) => 1,
        (_, true) => rng.count(1, 2),
        _ => rng.count(1, 6),
    };
    let clients = match rng.range(0, 3) {
        _ if crowd => rng.count(25, 40),
        0 => rng.count(1, 4),
        1 => rng.count(5, 16),
        _ => rng.count(1, 40),
    };
    let units = match rng.range(0, 4) {
        0 => 64,
        1 => rng.count(64, 200),
        2 => rng.count(200, 2000),
        _ => rng.count(4096, 16_384),
    };
    let flush_interval = match rng.range(0, 3) {
        0 => None,
        1 => Some(Duration::ZERO),
        _ => Some(rng.millis(1, 40)),
    };
    let rejoin = rng.one_in(3).then(|| Duration::from_secs(rng.range(1, 4)));
    let config = Config {
        clients_max: if rng.one_in(3) { rng.count(1, 10) } else { 64 },
        pool_buffers_max: units,
        flush_interval,
        channel_linger: rng.pick(&[0, 200, 2000, 5000].map(Duration::from_millis)),
        channels_lingering_max: rng.pick(&[0, 1, 8, 8, 8]),
        fast_start_bytes: rng.pick(&[0, 64 << 10, 4 << 20]),
        no_data_timeout: if marathon {
            Duration::from_secs(5)
        } else {
            rng.millis(1000, 5000)
        },
        mcast_rejoin_interval: rejoin,
        udp_receive_buffer_bytes: rng.pick(&[64 << 10, 512 << 10, 4 << 20]),
        ..Config::default()
    };
    world.receive_buffer_bytes = rng.pick(&[128 << 10, 1 << 20, 8 << 20]);
    world.promise =
        flush_interval.unwrap_or(Duration::from_millis(if clients <= 16 { 5 } else { 20 }));
    for channel in 0..channels {
        draw_sender(channel, marathon, &mut rng, world);
    }
    for _ in 0..clients {
        draw_client(channels, marathon, &mut rng, world);
    }
    for _ in 0..if rng.one_in(2) { 0 } else { rng.count(1, 8) } {
        draw_upstream(marathon, &mut rng, world);
    }
    for _ in 0..rng.count(0, 3) {
        let mut client = Client::new(world.now, Vec::new(), Expected::Page);
        draw_behaviour(&mut client, marathon, &mut rng);
        (client.piece, client.leave) = ((usize::MAX, Duration::ZERO), None);
        let peer = world.add_peer(Peer::Client(client), None);
        world.ambush.push(peer);
    }
    Scenario {
        config,
        stop_at: rng.one_in(8).then(|| rng.millis(100, 8000)),
        roomy: units >= 4096,
    }
}

fn draw_sender(channel: usize, marathon: bool, rng: &mut Rng, world: &mut World) {
    let clean = rng.one_in(3);
    let bare = rng.one_in(5);
    let unless_clean = |rng: &mut Rng, max: u64| {
        if clean || rng.one_in(2) {
            0
        } else {
            rng.range(1, max)
        }
    };
    let loss = unless_clean(rng, 10);
    // A stream that restarts all the time is none: the window needs some packets to believe it.
    let restart_one_in = match unless_clean(rng, 200) {
        0 => 0,
        some => some + 40,
    };
    let sender = Sender {
        channel,
        group: group(channel),
        rng: Rng::new(rng.next()),
        left: if marathon { 300 } else { rng.range(100, 1500) },
        gap: match rng.range(0, 3) {
            0 => rng.micros(200, 500),
            1 => rng.millis(20, 300),
            _ => rng.micros(500, 20_000),
        },
        burst: rng.pick(&[1, 1, 4, 30, 300]),
        loss_percent: loss,
        duplicate_percent: if bare { 0 } else { unless_clean(rng, 10) },
        reorder_percent: if bare { 0 } else { unless_clean(rng, 20) },
        restart_one_in,
        pause_one_in: if rng.one_in(3) { 100 } else { 0 },
        pause: rng.millis(100, 7000),
        junk_percent: if rng.one_in(2) { 0 } else { rng.range(1, 10) },
        bare,
        mixed: rng.one_in(3),
        slow_last: if marathon { 150 } else { 0 },
        slow_gap: Duration::from_secs(1),
        sequence: rng.next() as u16,
        ssrc: rng.next() as u32,
        held: Default::default(),
        ended_at: None,
    };
    world.sent.push(Vec::new());
    world.clean.push(clean);
    let at = world.now + rng.millis(0, 3000);
    world.add_peer(Peer::Sender(sender), Some(at));
}

fn draw_client(channels: usize, marathon: bool, rng: &mut Rng, world: &mut World) {
    let channel = rng.count(0, channels - 1);
    let by_name = rng.one_in(8);
    let number = channel + 1;
    let target = match rng.range(0, 3) {
        _ if by_name && rng.one_in(4) => {
            format!("/rtp/{}:5000", rng.pick(&["never", "wrong", "busy"]))
        }
        _ if by_name => format!("/rtp/group-{number}:5000"),
        0 => format!("/udp/239.0.0.{number}:5000$a%20label"),
        _ => format!("/rtp/239.0.0.{number}:5000"),
    };
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: sim\r\n\r\n");
    let (request, expected) = match rng.range(0, 15) {
        0 => (
            rng.pick(&["GET / HTTP/1.1\r\nHost: x\r\n", "", "GET"])
                .to_owned(),
            Expected::Page,
        ),
        1 => (
            rng.pick(&[
                "HEAD /rtp/239.0.0.1:5000 HTTP/1.1\r\nHost: sim\r\n\r\n",
                "OPTIONS /rtp/239.0.0.1:5000 HTTP/1.1\r\nHost: sim\r\n\r\n",
                "BREW /rtp/239.0.0.1:5000 HTTP/1.1\r\nHost: sim\r\n\r\n",
                "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
                "\0\r\n\r\n",
                "GET / HTTP/7.7\r\n\r\n",
            ])
            .to_owned(),
            Expected::Page,
        ),
        2 => (
            get(&target) + "POST /more HTTP/1.1\r\n\r\n",
            Expected::Channel(channel),
        ),
        _ => (get(&target), Expected::Channel(channel)),
    };
    let begin = world.now + rng.millis(0, 9000);
    let mut client = Client::new(begin, request.into_bytes(), expected);
    client.by_name = by_name;
    draw_behaviour(&mut client, marathon, rng);
    world.add_peer(Peer::Client(client), Some(begin));
}

fn draw_behaviour(client: &mut Client, marathon: bool, rng: &mut Rng) {
    if rng.one_in(3) {
        client.piece = (rng.count(1, 30), rng.millis(0, 200));
    }
    client.to_peer_max = rng.pick(&[4, 16, 64, 256, 1024]) << 10;
    client.pace = match rng.range(0, 6) {
        0 => Pace::Slow {
            bytes: rng.count(500, 20_000),
            every: rng.millis(5, 100),
        },
        1 | 2 => {
            let time = if marathon {
                rng.millis(40_000, 130_000)
            } else {
                rng.millis(500, 6000)
            };
            Pace::Stops {
                after: if rng.one_in(4) {
                    Duration::ZERO
                } else {
                    rng.millis(100, 3000)
                },
                time,
            }
        }
        _ => Pace::Fast,
    };
    if client.is_fast() && rng.one_in(2) {
        client.to_peer_max = 4 << 20;
    }
    if rng.one_in(10) {
        // Not even a head fits, for a while.
        client.to_peer_max = rng.count(1, 200);
        let time = rng.millis(1000, 8000);
        client.pace = Pace::Stops {
            after: Duration::ZERO,
            time,
        };
    }
    client.half_closes = rng.one_in(6);
    client.closes = !rng.one_in(6);
    if rng.one_in(3) {
        let at = client.begin + rng.millis(10, if marathon { 60_000 } else { 6000 });
        client.leave = Some((
            at,
            rng.pick(&[Leave::Reset, Leave::Reset, Leave::Close, Leave::Silently]),
        ));
    }
}

fn draw_upstream(marathon: bool, rng: &mut Rng, world: &mut World) {
    let body_bytes = rng.pick(&[0, 1, 5000, 100_000, 500_000, 1_500_000]);
    let body_bytes = if body_bytes > 1 {
        rng.range(body_bytes / 2, body_bytes)
    } else {
        body_bytes
    };
    let announces = rng.one_in(2);
    let close = match rng.range(0, 3) {
        0 => Close::Reset {
            after: rng.range(0, body_bytes),
        },
        1 if announces && body_bytes > 0 => Close::Early {
            after: rng.range(0, body_bytes - 1),
        },
        _ => Close::Clean,
    };
    let server = Server {
        refuses_at_once: rng.one_in(20),
        refuses: rng.one_in(10),
        body_bytes,
        announces,
        bytes_at_a_time: rng.pick(&[1000, 10_000, 100_000]),
        every: rng.micros(10, 20_000),
        close,
        sent: 0,
        begun: false,
        done: false,
        next_at: None,
    };
    let peer = world.add_peer(Peer::Server(server), None);
    let begin = world.now + rng.millis(0, 9000);
    let request =
        format!("GET /http/10.0.0.2:{peer}/ HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n")
            .into_bytes();
    let mut client = Client::new(begin, request, Expected::Server(peer));
    draw_behaviour(&mut client, marathon, rng);
    if rng.one_in(2) {
        client.to_peer_max = 4 << 10;
    }
    world.add_peer(Peer::Client(client), Some(begin));
}

// ---- A run --------------------------------------------------------------------------------------------------

/// What the oracles remember from tick to tick.
#[derive(Default)]
struct Memory {
    /// Per client of a channel: what it had been given, and what the channel had handed on.
    books: HashMap<ClientId, (ChannelId, u64, u64)>,
    paused: HashMap<UpstreamId, ClientId>,
    lingering: HashMap<ChannelId, (SocketAddr, Instant)>,
    second: u64,
    polls: u64,
}

/// How often each thing happened, over one run or many.
type Coverage = HashMap<&'static str, u64>;

fn run(seed: u64) -> Coverage {
    let mut rng = Rng::new(seed ^ 0xfa17);
    let faults = Faults {
        short_calls: rng.one_in(2),
        late_events: rng.one_in(2),
        accept_errors: rng.one_in(4),
        join_errors: rng.one_in(8),
        pipe_errors: rng.one_in(8),
    };
    let mut world = World::new(seed, faults);
    let scenario = draw(seed, &mut world);
    let began = world.began;
    let world = Rc::new(RefCell::new(world));
    let net = SimNet(Rc::clone(&world));
    let mut router = Router::new(Box::new(net), Rc::new(scenario.config.clone()));
    router.listen(group(0)).expect("listening");
    let mut memory = Memory::default();
    let mut stopped = None;
    while !world.borrow().quiet && !router.is_stopped() {
        let now = world.borrow().now;
        if stopped.is_none() && scenario.stop_at.is_some_and(|after| now >= began + after) {
            stopped = Some(now);
            router.stop();
        }
        router.tick().expect("a tick");
        observe(
            &router,
            &mut world.borrow_mut(),
            &scenario,
            stopped,
            &mut memory,
        );
        if now >= began + TIME_MAX {
            let standing = standing(&router, &world.borrow());
            panic!("the scenario does not end:{standing}");
        }
    }
    let mut world = world.borrow_mut();
    judge(&router, &mut world, &scenario, stopped);
    let stats = &router.shared().stats;
    let mut coverage = std::mem::take(&mut world.events_seen);
    for (what, count) in [
        ("fast start", stats.fast_starts),
        ("shared join", stats.shared_joins),
        ("reclaim", stats.reclaims),
        ("overrun", stats.packets_overrun),
        ("dropped", stats.packets_dropped),
        ("client limit", stats.refused_for_limit),
        ("pool exhausted", router.shared().pool.exhaustions()),
    ] {
        *coverage.entry(what).or_default() += count;
    }
    coverage
}

/// Who is still there, for a failure message.
fn standing(router: &Router, world: &World) -> String {
    let mut text = String::new();
    for (id, slot) in router.clients().iter() {
        let peer = usize::from(slot.client.peer.port());
        text += &format!(
            "\nclient {id}: {:?}, {} bytes queued\n  {:?}\n  {:?}",
            slot.feed,
            slot.client.queued_bytes(),
            world.peers[peer],
            world.connections[peer]
        );
    }
    for (id, slot) in router.channels().iter() {
        text += &format!("\nchannel {id}: {:?}", slot.subscribers);
    }
    text
}

/// After every tick: the books of live clients, what lingers, and what is worth counting.
fn observe(
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
    world.overrun = router.shared().stats.packets_overrun > 0;
    let pool = &router.shared().pool;
    let bound = scenario.config.pool_buffers_max * POOL_UNIT_BYTES;
    assert!(
        pool.held_bytes() + pool.spare_bytes() <= bound,
        "more memory than -b"
    );
    check_books(router, world, memory);
    observe_pauses(router, world, memory);
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
        world.fed_until.insert(slot.client.peer.port(), world.now);
        let head = source.head.as_ref().map_or(0, crate::pool::Packet::len) as u64;
        let given =
            slot.client.sent_bytes() + slot.client.queued_bytes() as u64 + flow.dropped.bytes;
        let given = given.saturating_sub(head);
        let handed = source.channel.counters().bytes;
        let (_, given_before, handed_before) = *books.entry(id).or_insert((channel, given, handed));
        assert_eq!(
            given - given_before,
            handed - handed_before,
            "books of client {id}"
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
    for (id, source) in router.upstreams().iter() {
        if source.starved {
            world.note("starved");
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

// ---- The verdict --------------------------------------------------------------------------------------------

fn judge(router: &Router, world: &mut World, scenario: &Scenario, stopped: Option<Instant>) {
    if stopped.is_none() {
        router.check_empty();
        assert_eq!(world.open_sockets(), 0, "sockets are left");
        assert_eq!(world.open_pipes(), 0, "pipes are left");
        judge_groups(world, scenario);
        let dropped: u64 = router
            .reaped
            .iter()
            .filter_map(|(_, client)| Some(client.flow()?.dropped.bytes))
            .sum();
        assert_eq!(
            dropped,
            router.shared().stats.bytes_dropped,
            "bytes dropped in all"
        );
        for counters in &router.left_channels {
            assert!(counters.rtp.received <= counters.datagrams + counters.rtp.duplicates);
        }
    } else {
        world.note("stopped");
    }
    assert!(router.shared().pool.held_bytes_highwater() <= router.shared().pool.bytes_max());
    if scenario.roomy {
        assert_eq!(
            router.shared().stats.packets_overrun,
            0,
            "overrun in a large pool"
        );
    }
    for peer in 0..world.peers.len() {
        let Some(client) = world.peers[peer].as_ref().and_then(Peer::client) else {
            continue;
        };
        let Some(connection) = &world.connections[peer] else {
            let unused = world.ambush.contains(&peer);
            assert!(unused || stopped.is_some(), "client {peer} never connected");
            continue;
        };
        let (Some(viewer), Some((at, ended))) = (&connection.viewer, client.ended) else {
            assert!(stopped.is_some(), "client {peer} is left waiting");
            continue;
        };
        let flow = router
            .reaped
            .iter()
            .find(|(_, reaped)| usize::from(reaped.peer.port()) == peer)
            .map(|(_, reaped)| (reaped.flow().copied().unwrap_or_default(), reaped.ended()));
        let (flow, closed) = flow.unwrap_or_default();
        let stays = ended == Ended::Finished && stopped.is_none();
        if stays {
            assert_eq!(
                client.received, connection.sent_bytes,
                "client {peer} read everything"
            );
            // Where not even the reserve is left, a connection is closed without a word.
            let mute =
                closed == Some(ClientEnded::Memory) && scenario.config.pool_buffers_max < 1024;
            let idle = client.request.is_empty();
            assert!(
                !viewer.is_empty() || mute || idle,
                "client {peer} got no answer"
            );
        }
        assert!(
            ended != Ended::Cut || stopped.is_some(),
            "client {peer} was cut off"
        );
        if closed == Some(ClientEnded::Gone) {
            assert!(connection.silent, "client {peer} was taken for gone");
        }
        let note = match viewer.expected {
            // Who left before its request was whole may have been told so.
            _ if client.sent < client.request.len() => "left early",
            Expected::Page => judge_page(viewer, client, stays),
            Expected::Server(server) => {
                assert_eq!(flow.dropped.bytes, 0, "bytes of a body were dropped");
                let source = world.peers[server].as_ref().and_then(Peer::server);
                judge_body(viewer, source.expect("a server"), stays, closed)
            }
            Expected::Channel(channel) => {
                // What it was fed by may have ended long before it had read everything.
                let at = world
                    .fed_until
                    .get(&(peer as u16))
                    .map_or(at, |fed| at.min(*fed));
                let clean = world.clean[channel] && router.shared().stats.packets_overrun == 0;
                let sent = &world.sent[channel];
                if stays && viewer.status == Some(200) {
                    assert!(viewer.is_whole(), "client {peer} ends inside a datagram");
                    if clean {
                        let tail = sent
                            .iter()
                            .skip(viewer.last.map_or(0, |(last, ..)| last as usize + 1));
                        let half = scenario.config.no_data_timeout / 2;
                        let cut =
                            tail.filter(|sent| sent.arrived.is_some_and(|its| its + half < at));
                        let cut: u64 = cut.map(|sent| sent.payload.len() as u64).sum();
                        assert!(
                            cut <= flow.dropped.bytes,
                            "client {peer} misses the end: {cut} bytes"
                        );
                    }
                }
                if clean {
                    assert!(
                        viewer.missing_arrived_bytes <= flow.dropped.bytes,
                        "client {peer} misses {} bytes, {} are counted",
                        viewer.missing_arrived_bytes,
                        flow.dropped.bytes
                    );
                }
                let keeps_up = client.is_fast() && client.to_peer_max >= 4 << 20;
                if scenario.roomy && keeps_up && connection.writable_since.is_some() {
                    assert_eq!(flow.dropped.packets, 0, "client {peer} reads fast");
                }
                // In the smallest pools the heads of stalled clients alone can take what live media needs.
                let small = scenario.config.pool_buffers_max < 256;
                let at = if small {
                    client.begin + Duration::from_secs(1)
                } else {
                    at
                };
                judge_return(viewer, client, sent, at, peer)
            }
        };
        world.note(note);
        match ended {
            Ended::Left(Leave::Reset) => world.note("client resets"),
            Ended::Left(Leave::Close) => world.note("client closes"),
            Ended::Left(Leave::Silently) => world.note("client vanishes"),
            _ => {}
        }
        if closed == Some(ClientEnded::Gone) {
            world.note("client taken for gone");
        }
    }
}

/// Who reads is given media: after a stop, and to the end.
fn judge_return(
    viewer: &Viewer,
    client: &Client,
    sent: &[media::Sent],
    ended: Instant,
    peer: usize,
) -> &'static str {
    let status = match viewer.status {
        Some(200) => "stream",
        Some(503) => return "503",
        Some(404) => return "404",
        None => return "no answer",
        Some(other) => panic!("client {peer} got {other}"),
    };
    let from = match (client.pace, client.resumed_at, viewer.first_media_at) {
        (Pace::Stops { .. }, Some(resumed), _) => resumed,
        (Pace::Fast, _, Some(begun)) => begun,
        _ => return status,
    };
    let last = viewer
        .last
        .and_then(|(last, ..)| sent[last as usize].arrived);
    let last = last.map_or(from, |last| last.max(from));
    let to = ended - Duration::from_secs(1);
    let missed = sent
        .iter()
        .filter(|sent| sent.arrived.is_some_and(|at| at > last && at < to));
    let missed: Vec<_> = missed.filter_map(|sent| sent.arrived).collect();
    if let ([first, .., last], 40..) = (&missed[..], missed.len()) {
        assert!(
            *last - *first < Duration::from_secs(1),
            "client {peer} reads and was not given the last {} datagrams",
            missed.len()
        );
    }
    match client.resumed_at {
        Some(resumed) if last > resumed => "client returns",
        _ => status,
    }
}

fn judge_page(viewer: &Viewer, client: &Client, stays: bool) -> &'static str {
    if !stays {
        return "page left";
    }
    let whole = client.request.ends_with(b"\r\n\r\n");
    match viewer.status {
        None => {
            assert!(client.request.is_empty(), "a request without an answer");
            "idle connection closed"
        }
        Some(408) => {
            assert!(!whole && !client.half_closes);
            "408"
        }
        Some(status) => {
            assert!(whole || (client.half_closes && status == 400), "{status}");
            "page"
        }
    }
}

fn judge_body(
    viewer: &Viewer,
    server: &Server,
    stays: bool,
    closed: Option<ClientEnded>,
) -> &'static str {
    let limit = match server.close {
        Close::Clean => server.body_bytes,
        Close::Reset { after } | Close::Early { after } => after,
    };
    match viewer.status {
        Some(200) => {
            assert!(viewer.body_bytes <= limit, "more than the server sent");
            if stays && server.close == Close::Clean {
                assert_eq!(
                    viewer.body_bytes, server.body_bytes,
                    "the body is incomplete"
                );
                return "body complete";
            }
            "body in part"
        }
        Some(502) => {
            assert!(server.refuses || server.refuses_at_once || server.close != Close::Clean);
            "502"
        }
        Some(503) => "503",
        Some(other) => panic!("{other} for a body"),
        None => {
            assert!(!stays || closed == Some(ClientEnded::Stop), "no answer");
            "no answer"
        }
    }
}

fn judge_groups(world: &World, scenario: &Scenario) {
    for (address, log) in &world.groups {
        for membership in &log.memberships {
            let left = membership.left.expect("every group is left");
            let time = left - membership.joined;
            let Some(interval) = scenario.config.mcast_rejoin_interval else {
                assert_eq!(membership.rejoins, 0);
                continue;
            };
            let due = time.as_millis() as u64 / interval.as_millis() as u64;
            assert!(
                (due.saturating_sub(1)..=due).contains(&membership.rejoins),
                "{} rejoins of {address} in {time:?}, every {interval:?}",
                membership.rejoins
            );
        }
    }
}

// ---- Tests --------------------------------------------------------------------------------------------------

/// Seeds of one test, unless `FLOWGATE_SEEDS` says otherwise.
const SEEDS: u64 = 200;

/// Runs one range of seeds; a failing seed is named, and `FLOWGATE_SEED` replays it.
fn run_seeds(lane: u64) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match number("FLOWGATE_SEED") {
        Some(seed) if seed % LANES == lane => vec![seed],
        Some(_) => return,
        None => {
            let count = number("FLOWGATE_SEEDS").map_or(SEEDS, |all| all.div_ceil(LANES));
            (0..count).map(|index| index * LANES + lane).collect()
        }
    };
    let mut coverage = Coverage::new();
    let many = seeds.len() as u64 >= SEEDS;
    let mut failed = Vec::new();
    for seed in seeds {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(seen) => seen.into_iter().for_each(|(what, count)| {
                *coverage.entry(what).or_default() += count;
            }),
            Err(_) => {
                eprintln!("replay with: FLOWGATE_SEED={seed} cargo test sim");
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
    if many {
        let mut names: Vec<_> = coverage.iter().collect();
        names.sort();
        println!("{names:?}");
        for what in WANTED {
            assert!(
                coverage.get(what).is_some_and(|count| *count > 0),
                "{what} never happened"
            );
        }
    }
}

/// Tests that run side by side.
const LANES: u64 = 4;

/// What must have happened at least once in each lane: a workload that stops provoking something tests nothing.
const WANTED: &[&str] = &[
    "paused",
    "resume",
    "end of stream while paused",
    "error while paused",
    "client gone while paused",
    "starved",
    "pool exhausted",
    "overrun",
    "dropped",
    "skipping",
    "reclaim",
    "fast start",
    "shared join",
    "linger ended by a client",
    "newcomer on a running channel",
    "flush promise kept",
    "client returns",
    "client resets",
    "client closes",
    "client taken for gone",
    "client limit",
    "body complete",
    "body in part",
    "502",
    "503",
    "404",
    "408",
    "page",
    "idle connection closed",
    "accept: no descriptors",
    "connect failed",
    "connect refused at once",
    "event of a closed socket",
    "kernel buffer overflow",
    "pages shared",
    "rejoin",
    "sender restarts",
    "sender pauses",
    "stopped",
];

#[test]
fn sim_lane_0() {
    run_seeds(0);
}

#[test]
fn sim_lane_1() {
    run_seeds(1);
}

#[test]
fn sim_lane_2() {
    run_seeds(2);
}

#[test]
fn sim_lane_3() {
    run_seeds(3);
}

// ---- For the tests beside the code --------------------------------------------------------------------------

/// What a channel's receiver needs around it: a pool, a clock, and a group whose datagrams the test sends.
pub(crate) struct Bench {
    pub(crate) shared: crate::shared::Shared,
    pub(crate) socket: crate::net::SocketId,
    world: Rc<RefCell<World>>,
}

impl Bench {
    pub(crate) fn new(pool_buffers_max: usize) -> Self {
        let mut world = World::new(0, Faults::default());
        world.receive_buffer_bytes = 16 << 20;
        let world = Rc::new(RefCell::new(world));
        let config = Config {
            pool_buffers_max,
            udp_receive_buffer_bytes: 8 << 20,
            ..Config::default()
        };
        let net = Box::new(SimNet(Rc::clone(&world)));
        let mut shared = crate::shared::Shared::new(net, Rc::new(config));
        let address = crate::net::GroupAddress {
            group: group(0),
            source: None,
            interface: None,
        };
        let socket = shared.net.join(&address, 8 << 20).expect("joined").socket;
        Self {
            shared,
            socket,
            world,
        }
    }

    /// A datagram arrives.
    pub(crate) fn send(&self, datagram: &[u8]) {
        let mut world = self.world.borrow_mut();
        world.polls += 1;
        let place = world.deliver(group(0), datagram);
        assert!(place.is_some(), "there is room in the socket");
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let mut world = self.world.borrow_mut();
        world.now += time;
        world.polls += 1;
        self.shared.now += time;
    }
}
