//! Draws scenarios: the configuration of the router, and who will be around it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::media::{Expected, Rng};
use super::orders::{self, Order, Plan};
use super::peers::{Client, Leave, Pace, Peer, Sender};
use super::rtsp::{STUN_ADDRESS, Stun, draw_plays};
use super::web::draw_web;
use super::world::World;
use crate::config::Config;
use crate::proto::url::Host;

pub(super) struct Scenario {
    pub(super) config: Config,
    pub(super) stop_at: Option<Duration>,
    /// What the router is told while it serves.
    pub(super) orders: Vec<Plan>,
    /// The pool is large enough that nobody who reads may lose anything.
    pub(super) roomy: bool,
}

pub(super) fn group(channel: usize) -> SocketAddr {
    SocketAddr::from(([239, 0, 0, channel as u8 + 1], 5000))
}

/// Draws a scenario and puts its peers into the world.
pub(super) fn draw(seed: u64, world: &mut World) -> Scenario {
    let mut rng = Rng::new(seed);
    let marathon = rng.one_in(10);
    // Many clients of one channel share its pages.
    let crowd = rng.one_in(5);
    let web = rng.range(0, 3);
    let channels = match (crowd, marathon) {
        _ if web == 3 => 0,
        (true, _) => 1,
        (_, true) => rng.count(1, 2),
        _ => rng.count(1, 6),
    };
    let clients = match rng.range(0, 3) {
        _ if channels == 0 => 0,
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
    let stun = rng.one_in(4);
    let rejoin = rng.one_in(3).then(|| Duration::from_secs(rng.range(1, 4)));
    let config = Config {
        clients_max: if rng.one_in(if web == 3 { 8 } else { 3 }) {
            rng.count(1, 10)
        } else {
            64
        },
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
        http_connect_timeout: rng.millis(1000, 3000),
        http_head_timeout: rng.millis(4000, 6000),
        http_idle_timeout: if rng.one_in(2) {
            rng.millis(5000, 60_000)
        } else {
            rng.millis(4000, 5000)
        },
        rtsp_stun_server: stun.then(|| (Host::from(IpAddr::from(STUN_ADDRESS.0)), STUN_ADDRESS.1)),
        mcast_rejoin_interval: rejoin,
        udp_receive_buffer_bytes: rng.pick(&[64 << 10, 512 << 10, 4 << 20]),
        ..Config::default()
    };
    world.receive_buffer_bytes = rng.pick(&[128 << 10, 1 << 20, 8 << 20]);
    world.units = units;
    world.promise_alone = flush_interval.unwrap_or(Duration::from_millis(5));
    world.promise =
        flush_interval.unwrap_or(Duration::from_millis(if clients <= 16 { 5 } else { 20 }));
    for channel in 0..channels {
        draw_sender(channel, marathon, &mut rng, world);
    }
    for _ in 0..clients {
        draw_client(channels, marathon, &mut rng, world);
    }
    if web > 0 {
        let clients = if web == 3 {
            rng.count(5, 60)
        } else {
            rng.count(1, 10)
        };
        draw_web(rng.count(1, 5), clients, marathon, &mut rng, world);
    }
    if rng.one_in(2) {
        world.stun = rng.pick(&[Stun::Answers, Stun::Answers, Stun::Silent, Stun::Useless]);
        draw_plays(rng.count(1, 8), marathon, units < 256, &mut rng, world);
    }
    for _ in 0..if channels > 0 { rng.count(0, 6) } else { 0 } {
        let peer = draw_spare(marathon, &mut rng, world);
        world.ambush.push(peer);
    }
    let lingers = !config.channel_linger.is_zero() && config.channels_lingering_max > 0;
    let orders = orders::draw(seed, units, lingers);
    for _ in 0..if channels > 0 { 2 * orders.len() } else { 0 } {
        let peer = draw_spare(marathon, &mut rng, world);
        world.rush.push(peer);
    }
    Scenario {
        config,
        stop_at: rng.one_in(8).then(|| rng.millis(100, 8000)),
        orders,
        roomy: units >= 4096,
    }
}

impl Scenario {
    /// The largest pool there will be, in units.
    pub(super) fn units_most(&self) -> usize {
        self.units().max().unwrap_or_default()
    }

    /// Whether a reload changes the pool, which then may hold more than it is allowed.
    pub(super) fn is_resized(&self) -> bool {
        let mut orders = self.orders.iter();
        orders.any(|plan| matches!(plan.order, Order::Resize(_)))
    }

    /// Whether the pool is so small, or becomes so small, that anything may be refused.
    pub(super) fn is_cramped(&self) -> bool {
        self.config.pool_buffers_max < 256 || (!self.roomy && self.is_resized())
    }

    fn units(&self) -> impl Iterator<Item = usize> {
        let ordered = self.orders.iter().filter_map(|plan| match plan.order {
            Order::Resize(units) => Some(units),
            _ => None,
        });
        ordered.chain([self.config.pool_buffers_max])
    }
}

/// A client that has yet to be sent somewhere.
fn draw_spare(marathon: bool, rng: &mut Rng, world: &mut World) -> usize {
    let mut client = Client::new(world.now, Vec::new(), Expected::Page);
    draw_behaviour(&mut client, marathon, rng);
    (client.piece, client.leave) = ((usize::MAX, Duration::ZERO), None);
    world.add_peer(Peer::Client(client), None)
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

pub(super) fn draw_behaviour(client: &mut Client, marathon: bool, rng: &mut Rng) {
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
                rng.millis(40_000, 190_000)
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
